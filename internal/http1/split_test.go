package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// splits listens for TLS; what dials gives is a client of it.
func splits(t *testing.T, refuse error) (one, two net.Listener, address string, client *tls.Config) {
	t.Helper()
	certificate, pool := certify(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	one, two = Split(tls.NewListener(&renaming{l, refuse}, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}))
	return one, two, l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "vault"}
}

// renaming is a listener that calls its end by another error.
type renaming struct {
	net.Listener
	err error // nil: its own
}

func (r *renaming) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err != nil && r.err != nil {
		err = r.err
	}
	return c, err
}

func TestSplit(t *testing.T) {
	t.Parallel()
	one, two, address, client := splits(t, nil)
	for proto, l := range map[string]net.Listener{"": one, "http/1.1": one, "h2": two} {
		cfg := client.Clone()
		if proto != "" {
			cfg.NextProtos = []string{proto}
		}
		ours, err := tls.Dial("tcp", address, cfg)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := theirs.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != proto {
			t.Errorf("%q, want %q", got, proto)
		}
		_, _ = ours.Close(), theirs.Close()
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(plain, "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(plain), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("%v %v", resp, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "use https://") {
		t.Errorf("%q %v", body, err)
	}
	_ = plain.Close()
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if _, err := two.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// Close ends what is under way: handshakes that stall, and those that are done and that
// nobody takes; whatever the listener calls its end.
func TestSplitCloses(t *testing.T) {
	t.Parallel()
	for _, refuse := range []error{nil, errors.New("of its own")} {
		one, _, address, client := splits(t, refuse)
		stalled, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		done, err := tls.Dial("tcp", address, client)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() { _ = one.Close(); close(closed) }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		select {
		case <-closed:
		case <-ctx.Done():
			t.Fatal("it does not close")
		}
		for _, c := range []net.Conn{stalled, done} {
			if _, err := io.Copy(io.Discard, c); errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			_ = c.Close()
		}
	}
}
