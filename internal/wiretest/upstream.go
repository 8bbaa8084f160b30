package wiretest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Upstream plays a Vault at the level of sockets: it keeps the bytes of each request,
// and answers with the bytes that a test wants, right or wrong.
type Upstream struct {
	URL string

	listener net.Listener
	tls      *tls.Config // nil: plain
	mu       sync.Mutex
	got      map[string][]*Message // by path
	answers  map[string]Answer
	open     map[net.Conn]bool
	conns    sync.WaitGroup
}

// Exchange is one request at the upstream, before its body is read.
type Exchange struct {
	Request *Message
	Conn    net.Conn
	R       *bufio.Reader
	below   *segments
	up      *Upstream
}

// Record keeps the request for Got.
func (e *Exchange) Record() {
	e.up.mu.Lock()
	defer e.up.mu.Unlock()
	path := e.Request.path()
	e.up.got[path] = append(e.up.got[path], e.Request)
}

// Body reads the request's body as it comes.
func (e *Exchange) Body() io.Reader { return e.Request.content(e.R, false) }

// Write sends bytes; a test that writes nonsense does not care who reads it.
func (e *Exchange) Write(raw string) { _, _ = io.WriteString(e.Conn, raw) }

// WriteAtOnce sends parts in one segment; over TLS each is a record of its own.
func (e *Exchange) WriteAtOnce(parts ...string) {
	e.below.holds = true
	for _, part := range parts {
		e.Write(part)
	}
	e.below.release()
}

// segments is a connection, below TLS where that is spoken, that can hold back what is
// written to send it at once.
type segments struct {
	net.Conn
	holds bool
	held  []byte
}

// Write holds back a copy, or sends.
func (s *segments) Write(p []byte) (int, error) {
	if !s.holds {
		return s.Conn.Write(p)
	}
	s.held = append(s.held, p...)
	return len(p), nil
}

func (s *segments) release() {
	s.holds = false
	_, _ = s.Conn.Write(s.held) // who does not read it has gone
	s.held = nil
}

// Answer answers a request. It returns false to have the connection closed.
type Answer func(e *Exchange) (keep bool)

// Say reads the request to its end and answers with these bytes.
func Say(raw string) Answer {
	return func(e *Exchange) bool {
		if e.Request.readBody(e.R, false) != nil {
			return false
		}
		e.Record()
		e.Write(raw)
		return true
	}
}

// NewUpstream starts one that says 204 to whatever has no answer of its own. It speaks TLS
// where there is a configuration for it, and then HTTP/1.1 only.
func NewUpstream(t testing.TB, secure *tls.Config) *Upstream {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http"
	if secure != nil {
		scheme, secure = "https", secure.Clone()
		secure.NextProtos = []string{"http/1.1"}
	}
	u := &Upstream{
		URL: scheme + "://" + l.Addr().String(), listener: l, tls: secure,
		got: make(map[string][]*Message), answers: make(map[string]Answer), open: make(map[net.Conn]bool),
	}
	u.On("/v1/sys/health", Say(document(`{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","cluster_name":"one","cluster_id":"11111111-1111-1111-1111-111111111111"}`)))
	u.On("/v1/sys/replication/status", Say(document(`{"data":{"mode":"disabled"}}`)))
	u.On("/v1/auth/token/lookup-self", Say(document(`{"data":{"id":"hvs.client","accessor":"a","ttl":3600,"type":"service","policies":["default"]}}`)))
	u.conns.Go(u.accept)
	t.Cleanup(u.close)
	return u
}

func document(json string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(json), json)
}

// On sets what a path answers.
func (u *Upstream) On(path string, a Answer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answers[path] = a
}

// Got are the requests to a path so far.
func (u *Upstream) Got(path string) []*Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got[path]
}

func (u *Upstream) close() {
	_ = u.listener.Close()
	u.mu.Lock()
	for c := range u.open {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.conns.Wait()
}

func (u *Upstream) accept() {
	for {
		c, err := u.listener.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		u.open[c] = true
		u.mu.Unlock()
		u.conns.Go(func() { u.serve(c) })
	}
}

func (u *Upstream) serve(raw net.Conn) {
	below := &segments{Conn: raw}
	c := net.Conn(below)
	if u.tls != nil {
		c = tls.Server(below, u.tls)
	}
	defer func() {
		_ = c.Close()
		u.mu.Lock()
		delete(u.open, raw)
		u.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	for {
		m, err := readHead(r)
		if err != nil || !u.answerFor(m)(&Exchange{m, c, r, below, u}) {
			return
		}
	}
}

func (u *Upstream) answerFor(m *Message) Answer {
	u.mu.Lock()
	defer u.mu.Unlock()
	a, ok := u.answers[m.path()]
	if !ok {
		a = Say("HTTP/1.1 204 No Content\r\n\r\n")
	}
	return a
}
