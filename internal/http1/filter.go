package http1

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"sync"
)

// Upstream is a connection to Vault on which answers end where they say they do.
//
// net/http's transport reads what comes behind an answer as the answer to the next
// request, which may be another client's; and when it notices in time, it logs it. Here,
// to net/http, the connection ends with the answer.
func Upstream(c net.Conn) net.Conn {
	u := &upstream{Conn: c}
	u.out.hooks = hooks{begins: u.asks}
	u.in.hooks = hooks{idle: func() bool { return !u.asked }, bare: u.isBare, ends: u.answered}
	return u
}

type upstream struct {
	net.Conn
	mu    sync.Mutex // net/http reads and writes on two goroutines
	out   strict     // requests
	in    strict     // answers
	asked bool       // there is a request without an answer
	head  bool       // its method is HEAD
	over  bool
}

// NetConn is the connection below.
func (u *upstream) NetConn() net.Conn { return u.Conn }

// Write follows the requests.
func (u *upstream) Write(p []byte) (int, error) {
	u.mu.Lock()
	_, _ = u.out.feed(p) // net/http frames well; what it does not, has no answer
	u.mu.Unlock()
	return u.Conn.Write(p)
}

// Read passes answers to requests, and ends with the first byte of anything else.
func (u *upstream) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return 0, io.EOF
	}
	good, bad := u.in.feed(p[:n])
	if bad == nil {
		return n, err
	}
	u.over = true
	if good > 0 {
		return good, nil
	}
	return 0, io.EOF
}

func (u *upstream) asks(line []byte) { u.asked, u.head = true, bytes.HasPrefix(line, []byte("HEAD ")) }

func (u *upstream) isBare() bool {
	return u.head || u.in.status == 204 || u.in.status == 304
}

func (u *upstream) answered() {
	u.asked = false
	if u.out.state == tunnel {
		u.out.state = requestLine // an upgrade that was refused
	}
}

// reply takes the first line of an answer.
func (s *strict) reply(line []byte) error {
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) || len(line) > 12 && line[12] != ' ' {
		return errFraming
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 {
		return errFraming
	}
	s.begin(strict{status: status, old: line[7] == '0'})
	return nil
}
