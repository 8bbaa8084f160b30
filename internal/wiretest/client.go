package wiretest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// patience is for what has to happen some time, on a slow machine too.
const patience = 20 * time.Second

// Front is what is tested: how to connect to it, whatever it is made of. Behind it is
// one cluster, named "one", that is the upstream.
type Front struct {
	Dial func(ctx context.Context) (net.Conn, error)
	// HeaderLimit is more than it takes for a header.
	HeaderLimit int
	// Crowd is how many connections may be opened at once in a short test.
	Crowd int
}

// Start makes a front before an upstream, until the test ends.
type Start func(t testing.TB, upstream string) Front

// suite is one front and its upstream.
type suite struct {
	front Front
	up    *Upstream
}

// Run tests a front: what it does to requests and answers, how it streams, and what it
// does to those who mean it ill. Its upstream speaks TLS where there is a configuration for
// it.
func Run(t *testing.T, secure *tls.Config, start Start) {
	up := NewUpstream(t, secure)
	s := &suite{front: start(t, up.URL), up: up}
	t.Run("fidelity", s.fidelity)
	t.Run("streaming", s.streaming)
	t.Run("hostile", s.hostile)
}

// client is a connection to the front.
type client struct {
	net.Conn
	r *bufio.Reader
}

func (s *suite) connect() (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.front.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &client{c, bufio.NewReader(c)}, c.SetDeadline(time.Now().Add(patience))
}

func (s *suite) dial(t testing.TB) *client {
	t.Helper()
	c, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send writes bytes. A refusal may come before all of it is sent.
func (c *client) send(raw string) { _, _ = io.WriteString(c, raw) }

// answer reads the final answer to a request by a method; the interim ones come apart.
func (c *client) answer(method string) (m *Message, interim []*Message, err error) {
	for {
		m, err := readHead(c.r)
		switch {
		case err != nil:
			return nil, interim, err
		case m.Status() >= 100 && m.Status() < 200 && m.Status() != 101:
			interim = append(interim, m)
			continue
		case method == "HEAD", m.Status() == 204, m.Status() == 304, m.Status() == 101:
			m.Chunked = false
			return m, interim, nil
		}
		return m, interim, m.readBody(c.r, true)
	}
}

// closed reports whether the other side has ended the connection, with whatever it
// still had to say.
func (c *client) closed() bool {
	_, err := io.Copy(io.Discard, c.r)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// ask sends bytes on a connection of their own and wants an answer.
func (s *suite) ask(t testing.TB, method, raw string) *Message {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	c.send(raw)
	m, _, err := c.answer(method)
	if err != nil {
		t.Fatalf("%.80q: %v", raw, err)
	}
	return m
}
