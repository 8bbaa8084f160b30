package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// errAnswerTimeout is the cause of a cancelled attempt that got no answer in time.
var errAnswerTimeout = errors.New("no answer in time")

// answer is one answer of Vault, or why there is none.
type answer struct {
	resp    *http.Response // nil when failed
	cluster *health.Cluster
	address string           // of the node
	token   tokencache.Token // sent with it; zero when the client's went as it was
	out     outcome
	// unforwarded: the node was told not to forward the request, so its redirect means
	// that nothing was done.
	unforwarded bool
	demands     bool   // the cluster was asked for the state that the session needs
	old         bool   // it is older than what the session had before
	raw         []byte // the body, where it was read before it is passed on
	err         error
	began       time.Time
	watch       func(Tried) // whoever watches the attempt; nil: nobody
	life        http1.Life  // the attempt's context
	giveBack    func()      // the place at the cluster; nil: none is held
	closed      bool

	gathered gathered
	buffer   *[]byte    // raw is in; nil: in another
	buffers  *sync.Pool // it belongs to
}

// close gives back all that the attempt holds; call it when the body is read.
func (a *answer) close() {
	if a.closed {
		return
	}
	a.closed = true
	if a.resp != nil {
		_ = a.resp.Body.Close()
	}
	a.life.End(nil)
	if a.giveBack != nil {
		a.giveBack()
	}
	if a.buffer != nil {
		a.buffers.Put(a.buffer)
		a.buffer, a.raw = nil, nil
	}
}

// send makes one attempt and reads as much of an error answer as judging needs.
func (x *exchange) send(c *health.Cluster, address string, token tokencache.Token, last bool) *answer {
	x.attempts++
	if x.from == "" {
		x.from = c.Name
	}
	a := &answer{cluster: c, address: address, token: token, began: time.Now(), buffers: &x.p.gathers}
	a.life.Begin(x.r.Context())
	a.out.repeatable = x.decision.Effect == routing.Repeatable && x.body.whole
	wait := x.patience(a, last)
	defer wait.stop()

	call := x.call(address, token, a.out.repeatable)
	req := call.Request
	if !a.out.repeatable && mustNotForward(c, address) {
		// A standby forwards; when that breaks off it redirects, and nobody knows. Told not
		// to, it redirects at once, and nothing was done.
		req.Header.Set(noForwarding, "true")
	}
	a.watch = x.p.cfg.Observer.Attempt(x.r.Context(), c.Name, address, req.Header)
	a.unforwarded = first(req.Header, noForwarding) == "true"
	x.demand(req.Header, a)
	resp, sent, err := x.transfer(a, call) //nolint:bodyclose // answer.close does, once the client has it
	if err != nil {
		a.fail(err, sent)
		return a
	}
	a.resp, a.out.status = resp, resp.StatusCode
	if err := x.unfit(resp); err != nil {
		a.fail(err, true)
		return a
	}
	a.out.json = strings.HasPrefix(first(resp.Header, "Content-Type"), "application/json")
	if resp.StatusCode >= 400 {
		a.out.text = peek(resp)
	}
	if err := x.gather(a); err != nil {
		a.fail(err, true)
	}
	return a
}

// fail notes why there is no answer: what cancelled the attempt, if anything did.
func (a *answer) fail(err error, sent bool) {
	if cause := a.life.Cause(); cause != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	a.err, a.out.failed, a.out.sent = err, true, sent
}

// transfer is one request and the head of its answer, or of two, the first.
func (x *exchange) transfer(a *answer, call *http1.Call) (resp *http.Response, sent bool, err error) {
	if a.out.repeatable && x.p.cfg.Hedge && !x.reading.needs {
		return x.race(&a.life, a, call)
	}
	return x.p.cfg.Upstream.Send(&a.life, a.cluster.Name, call, x.hidesCertificate())
}

// gather reads a small answer before any of it is passed on: if it breaks off, another
// cluster is asked, or the client is told that the outcome is unknown. Larger ones, and
// what is not JSON, are streamed as they come.
func (x *exchange) gather(a *answer) error {
	if !a.out.json || a.resp.ContentLength > gatherBody {
		return nil
	}
	var err error
	if n := a.resp.ContentLength; n >= 0 {
		a.buffer, _ = x.p.gathers.Get().(*[]byte)
		a.raw = slices.Grow((*a.buffer)[:0], int(n))[:n]
		*a.buffer = a.raw
		_, err = io.ReadFull(a.resp.Body, a.raw)
	} else {
		a.raw, err = io.ReadAll(io.LimitReader(a.resp.Body, gatherBody))
	}
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if a.resp.ContentLength < 0 {
		putBack(a.resp, a.raw, nil) // there may be more
		return nil
	}
	a.gathered.Closer = a.resp.Body
	a.gathered.Reset(a.raw)
	a.resp.Body = &a.gathered
	return nil
}

// gathered is a body that was read.
type gathered struct {
	bytes.Reader
	io.Closer
}

// patience gives up on an attempt that gets no answer. What may be repeated waits a
// short while when there is another cluster to ask; otherwise it waits for a slow
// cluster, but not for one that health finds down meanwhile. What may not be
// repeated always waits the long time: giving up early would only lose its outcome.
func (x *exchange) patience(a *answer, last bool) interface{ stop() } {
	if !a.out.repeatable {
		w := newWatchdog(x.p.cfg.AnswerTimeout, func() { a.life.End(errAnswerTimeout) })
		x.body.moves = w.wait // an upload may take its time
		return w
	}
	i, _ := x.p.waiting.Get().(*impatience)
	i.start(x.p, a, last)
	return i
}

// impatience looks now and then whether an attempt is still worth waiting for.
type impatience struct {
	p    *Proxy
	a    *answer
	last bool

	mu    sync.Mutex
	on    bool
	timer *time.Timer
}

func (i *impatience) start(p *Proxy, a *answer, last bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.p, i.a, i.last, i.on = p, a, last, true
	if i.timer == nil {
		i.timer = time.AfterFunc(p.cfg.AttemptTimeout, i.look)
		return
	}
	i.timer.Reset(p.cfg.AttemptTimeout)
}

func (i *impatience) look() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.on {
		return
	}
	now, ok := i.p.cfg.Health.Topology().Cluster(i.a.cluster.Name)
	switch {
	case !i.last, !ok, !now.Usable(), leaderless(now, i.a.address), time.Since(i.a.began) >= i.p.cfg.AnswerTimeout:
		i.a.life.End(errAnswerTimeout)
	default:
		i.timer.Reset(i.p.cfg.AttemptTimeout)
	}
}

func (i *impatience) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.on, i.a = false, nil
	if i.timer.Stop() {
		i.p.waiting.Put(i) // else its function is about to run, and must find nobody
	}
}

// watchdog gives up unless it is stopped, or told again and again to wait.
type watchdog struct {
	mu    sync.Mutex
	limit time.Duration
	timer *time.Timer
	off   bool
}

func newWatchdog(limit time.Duration, giveUp func()) *watchdog {
	return &watchdog{limit: limit, timer: time.AfterFunc(limit, giveUp)}
}

func (w *watchdog) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.off {
		w.timer.Reset(w.limit)
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
	w.timer.Stop()
}

// unfit finds answers that can't be passed on: statuses that are none, and a protocol
// that the client did not ask for.
func (x *exchange) unfit(resp *http.Response) error {
	switch status := resp.StatusCode; {
	case status == http.StatusSwitchingProtocols && (!websocket(x.r.Header) || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket")):
		return errors.New("it switched to a protocol that was not asked for")
	case status < 200 && status != http.StatusSwitchingProtocols:
		return fmt.Errorf("it answered with the status %d", status)
	}
	return nil
}

// leaderless reports whether a node has no active node to forward to.
func leaderless(c *health.Cluster, address string) bool {
	standby := false
	for _, n := range c.Nodes {
		if n.Active {
			return false
		}
		standby = standby || n.Address == address && n.Standby
	}
	return standby
}

// mustNotForward reports whether a request goes to a standby whose active node is one of
// those that are configured: that one is asked then, and not through the standby.
func mustNotForward(c *health.Cluster, address string) bool {
	standby, led := false, false
	for _, n := range c.Nodes {
		standby = standby || n.Address == address && n.Standby
		led = led || n.Led && n.Address != address
	}
	return standby && led
}

// sending is a request to Vault.
type sending struct {
	call http1.Call
	req  http.Request
	url  url.URL
}

// call makes the upstream request: the client's method, path, query, header and body, byte
// for byte, with the token exchanged.
func (x *exchange) call(address string, token tokencache.Token, repeatable bool) *http1.Call {
	base := x.p.bases.get(address, parsed)
	whole := &x.sending
	if x.raced {
		whole = &sending{}
	}
	whole.url = url.URL{
		Scheme: base.Scheme, Host: base.Host,
		Opaque: x.target.path, RawQuery: x.target.query,
		ForceQuery: x.target.hasQuery && x.target.query == "",
	}
	whole.req, whole.call = http.Request{}, http1.Call{}
	out := &whole.req
	out.Method, out.URL, out.Header = x.r.Method, &whole.url, x.upstreamHeader()
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1 // without them, net/http does not wait for a 100
	if x.session != nil && x.session == x.p.cfg.Tokens.Identity() {
		dropBearer(out.Header) // a client's token that the identity replaces
	}
	if !token.IsZero() {
		x.put(out.Header, token.Reveal())
		if x.decision.Special == routing.SelfLookup {
			out.Header.Del("Accept-Encoding") // the answer names the token, which must not reach the client
		}
	}
	if len(x.r.Trailer) > 0 && (!x.body.whole || len(x.body.kept) > 0) {
		out.Trailer = x.r.Trailer // filled when the body is read
	}
	call := &whole.call
	call.Request, call.Repeatable, call.Interim = out, repeatable, x.tell
	x.body.attach(call)
	return call
}

// parsed takes a node's address apart: they are validated with the configuration.
func parsed(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// peek reads the beginning of an error answer and puts it back.
func peek(resp *http.Response) string {
	head, err := io.ReadAll(io.LimitReader(resp.Body, errorPeek))
	putBack(resp, head, err)
	return string(head)
}

// putBack puts what was read of a body in front of the rest, with the error that
// reading met; nil is none.
func putBack(resp *http.Response, head []byte, err error) {
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), errReader{err}, rest), rest}
}

// errReader repeats an error met while peeking; nil is no error.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}
