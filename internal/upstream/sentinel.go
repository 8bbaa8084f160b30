package upstream

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// countsWrites is a connection that knows how many bytes were written to it;
// countingConn is one.
type countsWrites interface{ Written() int64 }

// sentinel watches whether a byte of a request may have left. Until then nothing
// can have happened at Vault, whatever the error.
type sentinel struct {
	mu    sync.Mutex // the transport's goroutine reports, ours asks
	conn  countsWrites
	start int64
	wrote bool // used where the connection does not count
	over  bool // the call is
}

// trace also tells of 1xx answers. Without anybody to tell, net/http bounds them by itself.
func (s *sentinel) trace(ctx context.Context, interim func(int, textproto.MIMEHeader) error) context.Context {
	t := &httptrace.ClientTrace{
		GotConn:          s.gotConn,
		WroteHeaderField: func(string, []string) { s.headersWritten() },
		WroteHeaders:     s.headersWritten,
	}
	if interim != nil {
		t.Got1xxResponse = func(status int, h textproto.MIMEHeader) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.over {
				return nil
			}
			return interim(status, h)
		}
	}
	return httptrace.WithClientTrace(ctx, t)
}

// end ends the telling of 1xx answers.
func (s *sentinel) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

func (s *sentinel) gotConn(info httptrace.GotConnInfo) {
	conn := info.Conn
	for { // below TLS, and what else there is
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if _, counts := conn.(countsWrites); counts || !ok {
			break
		}
		conn = outer.NetConn()
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
