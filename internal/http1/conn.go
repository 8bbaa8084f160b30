package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"
)

// What a connection is doing.
const (
	fresh   int32 = iota // it has had no request
	idle                 // it waits for another one
	active               // it has one
	closing              // somebody else closes it
)

const (
	freshGrace = time.Second            // for the first request of a connection when the server leaves
	linger     = 500 * time.Millisecond // for a client to read an answer behind which the connection ends
	headerSlop = 4 << 10                // beyond MaxHeader, for the request line
)

// conn is one connection of a client.
type conn struct {
	s     *Server
	raw   net.Conn
	in    input
	state atomic.Int32
	life  Life // the context of its requests
	watch watch

	readBy  atomic.Int64 // the deadline that is set, in Unix nanoseconds; 0: none
	writeBy time.Time

	plain  net.Conn // what may take two pieces in one call; nil: there is TLS
	pieces [2][]byte
	vector net.Buffers // pieces

	r     *http.Request // the one under way, in the same place each time
	url   url.URL       // of it
	heads *heads        // of it and its answer; nil: there is none
	body  *requestBody  // of it; nil: it has none
	out   writer
}

func newConn(s *Server, raw net.Conn) *conn {
	c := &conn{s: s, raw: raw, in: input{conn: raw}}
	c.in.share(&s.inputs)
	if below := plainOf(raw); !isTLS(below) {
		c.plain = below
	}
	c.life.Begin(context.Background())
	c.r = (&http.Request{URL: &c.url, RemoteAddr: raw.RemoteAddr().String()}).WithContext(&c.life)
	c.out.c = c
	c.watch.c = c
	if t, ok := raw.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := t.ConnectionState()
		c.r.TLS = &state
	}
	return c
}

// serve serves one request after another.
func (c *conn) serve() {
	for c.next() {
		continue
	}
	c.life.End(nil)
	if !c.out.hijacked {
		_ = c.raw.Close()
		c.s.cfg.State(c.raw, http.StateClosed)
		c.s.forget(c)
	}
}

// next serves one; false: there is no other.
func (c *conn) next() bool {
	if !c.await() {
		return false
	}
	text, err := c.in.head(c.s.cfg.MaxHeader + headerSlop)
	if err == nil {
		err = c.read(text)
		if err != nil && strings.Count(text, "\n") != strings.Count(text, "\r\n") {
			err = errFraming // whatever else is wrong: as when it comes in pieces
		}
	}
	if err != nil {
		c.malformed(err)
		return false
	}
	if !c.handle() || !c.out.finish() {
		return false
	}
	return c.rest()
}

// await waits for the first bytes of a request.
func (c *conn) await() bool {
	was, limit := idle, c.s.cfg.IdleTimeout
	if c.state.Load() == fresh {
		was, limit = fresh, c.s.cfg.HeaderTimeout
	}
	if c.in.buffered() == 0 {
		c.deadline(limit)
		if c.s.leaving.Load() {
			_ = c.setDeadline(time.Now().Add(freshGrace))
		}
		if c.in.more() != nil {
			return false
		}
	}
	if !c.begins(was) {
		return false
	}
	c.s.cfg.State(c.raw, http.StateActive)
	if was == idle && c.in.headEnd() == 0 {
		_ = c.setDeadline(time.Now().Add(c.s.cfg.HeaderTimeout))
	}
	return true
}

// begins makes it active. Shutdown must not give a moment to a connection that has a request
// meanwhile.
func (c *conn) begins(was int32) bool {
	if was == fresh {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
	}
	return c.state.CompareAndSwap(was, active)
}

// deadline bounds the next reads. It is moved when that makes a difference only: it costs
// more than the rest.
func (c *conn) deadline(d time.Duration) {
	by := time.Now().Add(d)
	early := by.UnixNano() - c.readBy.Load()
	if early < 0 || early > int64(d/4) {
		_ = c.setDeadline(by)
	}
}

// setDeadline fails where there are none; then nothing is bounded.
func (c *conn) setDeadline(by time.Time) error {
	at := int64(0)
	if !by.IsZero() {
		at = by.UnixNano()
	}
	c.readBy.Store(at)
	return c.raw.SetReadDeadline(by) //nolint:wrapcheck // says it all
}

// heads are the headers of a request and its answer. Connections that wait have none.
type heads struct{ request, answer http.Header }

func (c *conn) borrow() {
	c.heads, _ = c.s.heads.Get().(*heads)
	c.r.Header, c.out.header = c.heads.request, c.heads.answer
}

// manyFields are more than headers have: one that had so many is not used again, as it stays
// that large.
const manyFields = 48

func (c *conn) giveBack() {
	if len(c.heads.request) < manyFields && len(c.heads.answer) < manyFields {
		clear(c.heads.request)
		clear(c.heads.answer)
		c.s.heads.Put(c.heads)
	}
	c.heads, c.r.Header, c.out.header = nil, nil, nil
}

// rest is between two requests.
func (c *conn) rest() bool {
	c.giveBack()
	c.state.Store(idle)
	c.s.cfg.State(c.raw, http.StateIdle)
	return !c.s.leaving.Load() || !c.state.CompareAndSwap(idle, closing)
}

// read makes a request of its head.
func (c *conn) read(text string) error {
	line, fields, _ := strings.Cut(text, "\r\n")
	// A copy: who keeps a part of the path must not keep the whole head with it, and the
	// token in there.
	if err := c.readLine(strings.Clone(line)); err != nil {
		return err
	}
	c.borrow()
	f, err := readFields(fields, c.heads.request)
	if err != nil {
		return err
	}
	r := c.r
	r.Host, r.Close = f.host, f.close || r.ProtoMinor == 0 && !f.keepAlive
	switch {
	case f.hosts > 1 || f.hosts == 0 && r.ProtoMinor == 1 || !httpguts.ValidHostHeader(f.host):
		return errFraming
	case r.ProtoMinor == 0 && (f.chunked || f.unknown):
		return errFraming
	case f.unknown:
		return errCoding
	}
	return c.readBody(f)
}

// readLine takes the first line: three words with one space between them.
func (c *conn) readLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, proto, ok := strings.Cut(rest, " ")
	switch {
	case !ok || !httpguts.ValidHeaderFieldName(method) || !validTarget(target):
		return errFraming
	case proto != "HTTP/1.1" && proto != "HTTP/1.0":
		if _, _, ok := http.ParseHTTPVersion(proto); ok {
			return errVersion
		}
		return errFraming
	}
	r := c.r
	r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor = method, target, proto, 1, int(proto[7]-'0')
	c.url = url.URL{}
	c.url.Opaque, c.url.RawQuery, _ = strings.Cut(target, "?")
	return nil
}

// readBody makes the body that follows.
func (c *conn) readBody(f framing) (err error) {
	r := c.r
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer, c.body = http.NoBody, max(f.length, 0), nil, nil, nil
	expect := c.heads.request.Get("Expect")
	if expect != "" && r.ProtoMinor == 1 && !strings.EqualFold(expect, "100-continue") {
		return errExpectation
	}
	if f.trailer && f.chunked {
		if r.Trailer, err = announced(c.heads.request); err != nil {
			return err
		}
	}
	if !f.chunked && f.length <= 0 {
		return nil
	}
	if f.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	}
	if c.readBy.Load() != 0 {
		_ = c.setDeadline(time.Time{}) // what the head had is not for the body: the handler bounds it
	}
	c.body = &requestBody{c: c, expects: expect != "" && r.ProtoMinor == 1}
	c.body.writer = bounded{&c.out, c.body}
	c.body.start(&c.in, f, &r.Trailer)
	r.Body = c.body
	return nil
}

// validTarget: what a request asks for has no blanks and nothing that can't be seen.
func validTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// handle lets the handler answer; false: the connection has gone another way.
func (c *conn) handle() (ok bool) {
	c.out.start(c.r)
	c.watch.start()
	defer func() {
		c.watch.stop()
		if p := recover(); p != nil {
			ok = false
			c.out.drop()
			if p != http.ErrAbortHandler { //nolint:errorlint // a panic's value
				c.s.cfg.Logger.Error("a handler panicked", zap.Any("panic", p), zap.Stack("stack"))
			}
		}
	}()
	c.s.cfg.Handler.ServeHTTP(c.answer(), c.r)
	return !c.out.hijacked
}

func (c *conn) answer() http.ResponseWriter {
	if c.body == nil {
		return &c.out
	}
	return &c.body.writer
}

// What can be wrong with a request besides its framing.
var (
	errVersion     = errors.New("an HTTP version that is not spoken here")
	errCoding      = errors.New("a transfer coding that is not known")
	errExpectation = errors.New("an expectation that is not known")
)

// malformed refuses what is no request, if it is one at all.
func (c *conn) malformed(err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, errTooLong):
		status = http.StatusRequestHeaderFieldsTooLarge
	case errors.Is(err, errVersion):
		status = http.StatusHTTPVersionNotSupported
	case errors.Is(err, errCoding):
		status = http.StatusNotImplemented
	case errors.Is(err, errExpectation):
		status = http.StatusExpectationFailed
	case !errors.Is(err, errFraming):
		return // it came to no end
	}
	if c.write(Refusal(status, "")) == nil {
		c.lingerOn()
	}
}

// lingerOn gives the client time to read what was said: a connection that is closed while
// something of it is unread is reset, and with it what was sent.
func (c *conn) lingerOn() {
	half, ok := c.raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, c.raw)
}

// write sends bytes.
func (c *conn) write(p []byte) error {
	c.boundWrite()
	_, err := c.raw.Write(p)
	return err //nolint:wrapcheck // says it all
}

// writeBoth sends one behind the other, a socket's in one call; false: by TLS, it is better
// when they are one.
func (c *conn) writeBoth(head, body []byte) (bool, error) {
	if c.plain == nil {
		return false, nil
	}
	c.boundWrite()
	c.pieces = [2][]byte{head, body}
	c.vector = c.pieces[:]
	_, err := c.vector.WriteTo(c.plain)
	c.pieces = [2][]byte{}
	return true, err //nolint:wrapcheck // says it all
}

func (c *conn) boundWrite() {
	limit := c.s.cfg.WriteTimeout
	if now := time.Now(); c.writeBy.Sub(now) < limit*3/4 {
		c.writeBy = now.Add(limit)
		_ = c.raw.SetWriteDeadline(c.writeBy) // where there are none, nothing is bounded
	}
}
