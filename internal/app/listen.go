package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/proxy"
)

const (
	headerTimeout = 10 * time.Second // for a client to send its header
	idleTimeout   = 5 * time.Minute  // of a kept-alive client connection
	maxHeader     = 64 << 10
)

// listener is one bound address for applications.
type listener struct {
	net    net.Listener
	server *http.Server
	policy proxy.Policy
	busy   atomic.Int64 // requests in flight
}

// listen binds one configured address. Nothing is served yet.
func listen(ctx context.Context, cfg *configs.Config, l configs.Listener, cores *current, logger *zap.Logger) (*listener, error) {
	out := &listener{policy: policy(cfg, l)}
	var err error
	if path, ok := strings.CutPrefix(l.Address, "unix://"); ok {
		out.net, err = listenUnix(ctx, path, l.Mode)
	} else {
		var lc net.ListenConfig
		out.net, err = lc.Listen(ctx, "tcp", l.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w; stop what uses the address, or choose another", l.Address, err)
	}
	if l.TLS != nil {
		t, err := serverTLS(l.TLS)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listening on %s: %w", l.Address, err), out.net.Close())
		}
		out.net = tls.NewListener(out.net, t)
	} else {
		out.net = vaultShaped{out.net}
	}
	out.server = &http.Server{
		Handler:           out.handler(cores),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(logger.WithOptions(zap.IncreaseLevel(zap.WarnLevel))), // net/http complains about clients, at info
	}
	return out, nil
}

// handler serves each request with the core that is current when it arrives.
func (l *listener) handler(cores *current) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.busy.Add(1)
		defer l.busy.Add(-1)
		cores.p.Load().proxy.Handler(l.policy).ServeHTTP(w, r)
	})
}

func (l *listener) serve(context.Context) error {
	if err := l.server.Serve(l.net); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.net.Addr(), err)
	}
	return nil
}

// drain lets requests in flight finish until ctx ends and returns how many were cut.
func (l *listener) drain(ctx context.Context) int64 {
	if err := l.server.Shutdown(ctx); err == nil {
		return 0
	}
	cut := l.busy.Load()
	_ = l.server.Close()
	return cut
}

// listenUnix binds a socket file, replacing one that nobody serves any more.
func listenUnix(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = lc.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if mode == 0 {
		mode = configs.DefaultSocketMode
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func abandoned(ctx context.Context, path string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
