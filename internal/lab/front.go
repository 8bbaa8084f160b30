package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/core"
)

// maxBody is Vault's max_request_size.
const maxBody = 32 << 20

var (
	// errUnreachable is how gRPC words a connection that was never made.
	errUnreachable = errors.New(`connection error: desc = "transport: Error while dialing: dial tcp: connect: connection refused"`)
	// errAnswerLost is how gRPC words that a stream broke off after the request was sent.
	errAnswerLost = errors.New("error reading from server: EOF")
	errKilled     = errors.New("cluster was killed")
)

// ServeHTTP is the front of the cluster: faults and round trips first, then
// what a cluster says about itself, then the backend.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains") // as Vault does, also without TLS
	// The body is read first: only then does net/http notice, while the
	// request is held, that the client has gone.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, "http: request body too large")
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := c.delay(r.Context()); err != nil {
		c.hangUp(w)
		return
	}
	escaped := r.URL.EscapedPath()
	if clean := cleaned(escaped); clean != escaped {
		redirect(w, r, clean)
		return
	}
	apiPath, ok := strings.CutPrefix(escaped, "/v1/")
	if !ok {
		writeError(w, http.StatusNotFound)
		return
	}
	if h := c.ownAnswer(apiPath); h != nil {
		h(w, r)
		return
	}
	c.serveAPI(w, r, &core.Call{Method: r.Method, Path: apiPath, Query: r.URL.Query(), Header: r.Header, Body: body})
}

// delay lets the round trip pass, and holds the request while the cluster is
// stalled or a black hole.
func (c *Cluster) delay(ctx context.Context) error {
	c.mu.Lock()
	d, life := c.slow, c.life
	c.mu.Unlock()
	if c.lab.cfg.Latency {
		d += c.lab.jitter.vary(c.rtt)
	}
	if err := pause(ctx, d); err != nil {
		return err
	}
	return c.hold(ctx, life)
}

// hold waits until the cluster answers again, in the same life.
func (c *Cluster) hold(ctx context.Context, life int) error {
	for {
		c.mu.Lock()
		held, changed, now := c.stalled || c.blackholed, c.changed, c.life
		c.mu.Unlock()
		if now != life {
			return errKilled
		}
		if !held {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// cleaned removes // and literal .. from an escaped path as Vault's mux does.
func cleaned(p string) string {
	clean := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func redirect(w http.ResponseWriter, r *http.Request, to string) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusTemporaryRedirect)
}

// serveAPI hands a request to the backend and its answer back.
func (c *Cluster) serveAPI(w http.ResponseWriter, r *http.Request, call *core.Call) {
	if h := c.drAnswer(call); h != nil {
		h(w)
		return
	}
	if msg, status := c.refusal(); msg != "" {
		writeError(w, status, msg)
		return
	}
	if c.take(&c.resetBefore) {
		c.hangUp(w)
		return
	}
	reply := c.backend.execute(r.Context(), call, c.forward)
	if reply.Status == 0 { // its process went away
		c.hangUp(w)
		return
	}
	c.note(call, reply)
	if c.take(&c.resetAfter) {
		c.hangUp(w)
		return
	}
	send(w, r, reply)
}

// refusal is what a cluster answers to all API requests in its state.
func (c *Cluster) refusal() (string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sealed:
		return "Vault is sealed", http.StatusServiceUnavailable
	case c.repl.busy(time.Now()):
		return "local node not active but active cluster node not found", http.StatusInternalServerError
	case c.role == roleDR:
		return "path disabled in replication DR secondary mode", http.StatusBadRequest
	default:
		return "", 0
	}
}

// note keeps the request in the cluster's record.
func (c *Cluster) note(call *core.Call, reply *core.Reply) {
	s := Served{Time: time.Now(), Method: call.Method, Path: reply.Path, Namespace: reply.Namespace,
		Status: reply.Status, Forwarded: call.Caller != nil}
	writes := reply.Writes
	if reply.PassedOn {
		writes = 0
	}
	c.record(s, writes)
}

// forward executes a call at the primary that this cluster follows.
func (c *Cluster) forward(ctx context.Context, call *core.Call) (*core.Reply, error) {
	c.mu.Lock()
	up := c.upstream
	c.mu.Unlock()
	if up == nil || up.Role() != rolePrimary || !c.speaks() || !up.hears() {
		return nil, errUnreachable
	}
	if c.lab.cfg.Latency {
		if err := pause(ctx, c.lab.jitter.vary(roundTrip(c.region, up.region))); err != nil {
			return nil, err
		}
		if !up.hears() {
			return nil, errUnreachable
		}
	}
	reply := up.backend.execute(ctx, call, nil)
	up.note(call, reply)
	if !up.speaks() || !c.hears() {
		return nil, errAnswerLost
	}
	return reply, nil
}

// send writes a reply to the client.
func send(w http.ResponseWriter, r *http.Request, reply *core.Reply) {
	for k, v := range reply.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(reply.Status)
	if reply.Stream == nil {
		_, _ = w.Write(reply.Body) // the client may be gone
		return
	}
	out := http.NewResponseController(w)
	_ = reply.Stream(r.Context(), func(b []byte) error {
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	})
}

// hangUp resets the client's connection.
func (c *Cluster) hangUp(w http.ResponseWriter) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	if k, ok := nc.(*conn); ok {
		k.reset()
		return
	}
	_ = nc.Close()
}
