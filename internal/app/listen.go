package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/proxy"
)

// front is what the listeners share.
type front struct {
	cores   *current
	logger  *zap.Logger
	metrics *frontMetrics
	tell    func(key string, err error) // what became of changed files
}

// listener is one bound address for applications.
type listener struct {
	address string // as configured
	net     net.Listener
	server  *http1.Server
	http2   *http.Server // of connections that chose it
	front   *front
	gate    *gate
	busy    atomic.Int64 // requests in flight
	leaving atomic.Bool  // clients are asked to go

	mu  sync.Mutex // of changes
	now atomic.Pointer[terms]
}

// terms are what a reload may change of a listener.
type terms struct {
	key    string           // of the configuration
	listen configs.Listener // what it says there
	policy proxy.Policy
	tls    *tls.Config // nil: plain HTTP
}

// newTerms reads the files of a listener's TLS.
func newTerms(cfg *configs.Config, i int) (*terms, error) {
	l := cfg.Listeners[i]
	t, err := serverTLS(l.TLS)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", l.Address, err)
	}
	return &terms{key: fmt.Sprintf("listeners[%d].tls", i), listen: l, policy: policy(cfg, l), tls: t}, nil
}

// permit refuses plain HTTP where others could listen in. The file is held to it, too,
// but can't know where a socket is that systemd made.
func (t *terms) permit(socket net.Listener) error {
	if t.tls == nil && !t.listen.AllowPlaintext && !private(socket.Addr()) {
		return fmt.Errorf("listening on %s: %w", socket.Addr(), errBeyondLoopback)
	}
	return nil
}

// listen binds one configured address, or takes the socket that was passed for it.
// Nothing is served yet.
func (f *front) listen(ctx context.Context, cfg *configs.Config, i int, passed net.Listener) (*listener, error) {
	l := cfg.Listeners[i]
	t, err := newTerms(cfg, i)
	if err != nil {
		return nil, err
	}
	if passed == nil {
		if passed, err = bind(ctx, l); err != nil {
			return nil, fmt.Errorf("listening on %s: %w; stop what uses the address, or choose another", l.Address, err)
		}
	}
	if err := t.permit(passed); err != nil {
		return nil, errors.Join(err, passed.Close())
	}
	return f.serverOf(cfg, l.Address, passed, t), nil
}

func (f *front) serverOf(cfg *configs.Config, address string, socket net.Listener, t *terms) *listener {
	out := &listener{address: address, front: f, gate: newGate(address, f.metrics)}
	out.now.Store(t)
	out.net = gated{Listener: socket, gate: out.gate, plain: t.tls == nil}
	if t.tls != nil {
		out.net = tls.NewListener(out.net, &tls.Config{MinVersion: t.tls.MinVersion, GetConfigForClient: out.secure})
	}
	out.gate.limit.Store(int64(cfg.Limits.Connections))
	handler, limits := http.HandlerFunc(out.serveHTTP), cfg.Limits
	out.server = http1.NewServer(http1.Config{
		Handler: handler, HeaderTimeout: limits.HeaderTimeout, IdleTimeout: limits.IdleTimeout, MaxHeader: limits.HeaderBytes,
		State: out.gate.state, Logger: f.logger,
	})
	out.http2 = &http.Server{
		Handler: handler, ReadHeaderTimeout: limits.HeaderTimeout, IdleTimeout: limits.IdleTimeout, MaxHeaderBytes: limits.HeaderBytes,
		ConnState: out.gate.state,
		ErrorLog:  zap.NewStdLog(f.logger.WithOptions(zap.IncreaseLevel(zap.WarnLevel))), // net/http complains about clients, at info
	}
	return out
}

// secure gives the TLS of the moment.
func (l *listener) secure(*tls.ClientHelloInfo) (*tls.Config, error) { return l.now.Load().tls, nil }

// serveHTTP serves a request with the core that is current when it arrives.
func (l *listener) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if l.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	if !l.front.metrics.flight.enter() {
		refuse(w, "too many requests are in flight (limits.in_flight)")
		return
	}
	defer l.front.metrics.flight.leave()
	l.busy.Add(1)
	defer l.busy.Add(-1)
	l.front.cores.p.Load().proxy.Serve(w, r, l.now.Load().policy) //nolint:contextcheck // the request has it
}

func refuse(w http.ResponseWriter, text string) {
	header, body := overloaded(text)
	maps.Copy(w.Header(), header)
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body) // the client may be gone
}

// serve serves until drain, or until the socket fails.
func (l *listener) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := newFileWatch(l.now.Load().key, func() []string { return serverFiles(l.now.Load().listen.TLS) }, l.readAgain, l.front.tell)
	var g errgroup.Group
	g.Go(func() error { return watch.Run(ctx) })
	both := map[net.Listener]interface{ Serve(net.Listener) error }{l.net: l.server}
	if l.now.Load().tls != nil {
		one, two := http1.Split(l.net)
		both = map[net.Listener]interface{ Serve(net.Listener) error }{one: l.server, two: l.http2}
	}
	for socket, server := range both {
		g.Go(func() error {
			defer cancel()
			if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) && !l.leaving.Load() {
				return fmt.Errorf("serving %s: %w", l.net.Addr(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// readAgain reads certificate, key and authorities from their files.
func (l *listener) readAgain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.now.Load()
	t, err := serverTLS(next.listen.TLS)
	if err != nil {
		return err
	}
	next.tls = t
	l.now.Store(&next)
	return nil
}

// change puts new terms to use for requests and connections that begin from now on.
func (l *listener) change(t *terms, limits configs.Limits) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.now.Swap(t)
	l.gate.limit.Store(int64(limits.Connections))
	same := before.listen.Mode == t.listen.Mode && before.listen.User == t.listen.User && before.listen.Group == t.listen.Group
	if _, path := t.listen.Endpoint(); t.listen.IsUnix() && !same {
		return own(path, t.listen)
	}
	return nil
}

// drain lets requests in flight finish until ctx ends and returns how many were cut.
func (l *listener) drain(ctx context.Context) int64 {
	l.leaving.Store(true)
	var both errgroup.Group
	both.Go(func() error { return l.server.Shutdown(ctx) })
	both.Go(func() error { return l.http2.Shutdown(ctx) })
	err := both.Wait()
	if err == nil {
		err = l.quiet(ctx) // tunnels are not the server's any more
	}
	if err == nil {
		return 0
	}
	cut := l.busy.Load()
	_, _ = l.server.Close(), l.http2.Close()
	l.gate.closeAll()
	return cut
}

// quiet waits until no request is in flight.
func (l *listener) quiet(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for l.busy.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // only whether matters
		case <-tick.C:
		}
	}
	return nil
}

func bind(ctx context.Context, l configs.Listener) (net.Listener, error) {
	network, address := l.Endpoint()
	if network == "unix" {
		return listenUnix(ctx, address, l)
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, network, address)
}

// listenUnix binds a socket file, replacing one that nobody serves any more.
func listenUnix(ctx context.Context, path string, l configs.Listener) (net.Listener, error) {
	var lc net.ListenConfig
	socket, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		socket, err = lc.Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := own(path, l); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return socket, nil
}

// own gives a socket file its owner and mode.
func own(path string, l configs.Listener) error {
	uid, gid, err := owner(l)
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("giving the socket to user %q, group %q: %w", l.User, l.Group, err)
		}
	}
	mode := l.Mode
	if mode == 0 {
		mode = configs.DefaultSocketMode
	}
	return os.Chmod(path, mode)
}

// owner finds the numbers of a user and a group; -1 leaves one as it is.
func owner(l configs.Listener) (uid, gid int, err error) {
	uid, gid = -1, -1
	if l.User != "" {
		uid, err = number(l.User, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
	}
	if err == nil && l.Group != "" {
		gid, err = number(l.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	return uid, gid, err
}

func number(name string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 {
		return n, nil
	}
	id, err := lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
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
