package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// pipes is a network in memory, so that time in it is that of synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p *pipes) Close() error   { close(p.done); return nil }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// slowVault answers when it has the whole body.
type slowVault struct{ got atomic.Int64 }

func (v *slowVault) Send(ctx context.Context, _ string, call *http1.Call, _ bool) (*http.Response, bool, error) {
	r := wholeRequest(ctx, call)
	n, err := copyUntil(r.Context(), r.Body)
	v.got.Add(n)
	if err != nil {
		return nil, true, err
	}
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, true, nil
}

// copyUntil reads a body as a transport does, which gives up with the context.
func copyUntil(ctx context.Context, body io.Reader) (int64, error) {
	type read struct {
		n   int64
		err error
	}
	done := make(chan read, 1)
	go func() {
		n, err := io.Copy(io.Discard, body)
		done <- read{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// inTime serves a proxy in virtual time and gives a connection to it.
func inTime(t *testing.T) (net.Conn, *slowVault) {
	t.Helper()
	tokens, err := tokencache.New(tokencache.Config{Vault: unreachable{}})
	if err != nil {
		t.Fatal(err)
	}
	vault := &slowVault{}
	p := New(Config{
		Health: fixed{&health.Topology{Region: "r", Primary: "one", Clusters: []health.Cluster{{
			Name: "one", Region: "r", Role: health.RolePrimary, State: health.StateHealthy,
			Nodes: []health.Node{{Address: "http://one", State: health.StateHealthy, Serves: true, Active: true}},
		}}}},
		Mounts: noMounts{}, Upstream: vault, Router: routing.New(nil),
		Planner: routing.NewPlanner(routing.Preferences{}), Tokens: tokens, Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	l := newPipes()
	server := &http.Server{Handler: p.Handler(Policy{Lend: LendNever})} //nolint:gosec // the header is not what is slow here
	go func() { _ = server.Serve(l) }()
	c := l.dial()
	t.Cleanup(func() {
		_ = c.Close()
		_ = server.Close()
		<-time.After(time.Second) // net/http lingers
	})
	return c, vault
}

func status(t *testing.T, c net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0 // cut
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestAStalledBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := inTime(t)
			began := time.Now()
			_, _ = fmt.Fprintf(c, "PUT /v1/kv/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\nhalf", size)
			got := status(t, c)
			if got >= 200 && got < 400 || time.Since(began) > 2*time.Minute {
				t.Errorf("%d bytes: status %d after %s", size, got, time.Since(began))
			}
		})
	}
}

// A body may take its time as long as it moves, longer than an answer may.
func TestASlowUploadIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, vault := inTime(t)
		const pieces, piece = 20, 64 << 10
		_, _ = fmt.Fprintf(c, "PUT /v1/kv/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", pieces*piece)
		for range pieces {
			<-time.After(30 * time.Second)
			if _, err := io.WriteString(c, strings.Repeat("x", piece)); err != nil {
				t.Fatal(err)
			}
		}
		if got := status(t, c); got != http.StatusOK || vault.got.Load() != pieces*piece {
			t.Errorf("status %d after %d bytes", got, vault.got.Load())
		}
	})
}
