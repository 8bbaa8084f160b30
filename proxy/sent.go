package proxy

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
)

// countsWrites is a connection that knows how many bytes were written to it;
// internal/upstream dials such connections.
type countsWrites interface{ Written() int64 }

// sentinel watches whether a byte of a request may have left. Until then nothing
// can have happened at Vault, whatever the error.
type sentinel struct {
	mu    sync.Mutex // the transport's goroutine reports, ours asks
	conn  countsWrites
	start int64
	wrote bool // used where the connection does not count
}

func (s *sentinel) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:          s.gotConn,
		WroteHeaderField: func(string, []string) { s.headersWritten() },
		WroteHeaders:     s.headersWritten,
	})
}

func (s *sentinel) gotConn(info httptrace.GotConnInfo) {
	conn := info.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.wrote = nil, false // net/http tries another connection only when nothing was written
	if c, ok := conn.(countsWrites); ok {
		s.conn, s.start = c, c.Written()
	}
}

func (s *sentinel) headersWritten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = true
}

// happened reports whether a byte may have been sent.
func (s *sentinel) happened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return s.conn.Written() != s.start
	}
	return s.wrote
}
