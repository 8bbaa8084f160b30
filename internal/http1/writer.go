package http1

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	outputBuffer = 4 << 10
	heldBody     = 2 << 10 // of an answer whose length nobody told, to tell it
)

// ending is how the end of an answer's body is told.
type ending int

const (
	undecided ending = iota // it may be told in time
	told                    // Content-Length
	chunks
	byClose // HTTP/1.0
	bare    // there is no body
)

// writer is the answer to a request. It implements http.ResponseWriter and what
// http.ResponseController looks for.
type writer struct {
	c        *conn
	header   http.Header
	hijacked bool

	status  int
	ending  ending
	length  int64 // told
	written int64
	held    []byte // undecided
	pending *[]byte
	trailer []string // announced
	trails  bool     // there are trailers to come
	close   bool
	broken  error

	mu sync.Mutex // of what goes out: interim answers come on other goroutines
}

// start is for the next request.
func (w *writer) start(r *http.Request) {
	w.status, w.ending, w.length, w.written, w.held, w.trailer = 0, undecided, 0, 0, w.held[:0], nil
	w.close, w.broken, w.trails = r.Close, nil, false
	w.pending, _ = w.c.s.outputs.Get().(*[]byte)
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter. Interim answers go out at once.
func (w *writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.status != 0 || w.hijacked:
	case status < 200 && status != http.StatusSwitchingProtocols:
		if w.c.r.ProtoMinor == 1 {
			w.interim(status)
		}
	default:
		w.begin(status)
	}
}

func (w *writer) interim(status int) {
	b, _ := w.fields(statusLine(nil, 1, status))
	w.trailer, w.trails = nil, false
	w.broken = errors.Join(w.broken, w.c.write(append(b, "\r\n"...)))
}

// proceed says that a body may be sent.
func (w *writer) proceed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 {
		return http.ErrBodyReadAfterClose // it was answered without
	}
	return w.c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
}

// begin makes the head, up to the line that tells the length.
func (w *writer) begin(status int) {
	r := w.c.r
	w.status = status
	b := statusLine((*w.pending)[:0], r.ProtoMinor, status)
	b, said := w.fields(b)
	w.close = w.close || said.close || !w.c.body.drain() || w.c.s.leaving.Load()
	length, err := number(said.length, 10, 18)
	switch {
	case status == http.StatusNoContent, status == http.StatusNotModified, status < 200:
		w.ending = bare
	case err == nil:
		w.ending, w.length = told, length
		if r.Method == http.MethodHead {
			w.ending = bare
		}
		b = field(b, "Content-Length", said.length)
	}
	if !said.date {
		b = w.c.s.date(append(b, "Date: "...))
	}
	if w.ending != undecided {
		b = append(w.connection(b), "\r\n"...)
	}
	*w.pending = b
}

// connection says what becomes of it, where that is not plain.
func (w *writer) connection(b []byte) []byte {
	switch {
	case w.close:
		return append(b, "Connection: close\r\n"...)
	case w.c.r.ProtoMinor == 0:
		return append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}

// decide tells how the body ends, and sends what was held. Of an answer to HEAD only the
// length can be told.
func (w *writer) decide(whole bool) {
	b := *w.pending
	head := w.c.r.Method == http.MethodHead
	if whole && (!head || len(w.held) > 0) {
		w.ending, w.length = told, int64(len(w.held))
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
	}
	switch {
	case head:
		w.ending, w.held = bare, w.held[:0]
	case w.ending == told:
	case w.c.r.ProtoMinor == 1:
		w.ending = chunks
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.ending, w.close = byClose, true
	}
	*w.pending = append(w.connection(b), "\r\n"...)
	held := w.held
	w.held = w.held[:0]
	if len(held) > 0 {
		w.body(held)
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.broken != nil:
		return 0, w.broken
	case w.ending == bare && w.c.r.Method == http.MethodHead, len(p) == 0:
		return len(p), nil
	case w.ending == bare:
		return 0, http.ErrBodyNotAllowed
	case w.ending == told && w.written+int64(len(p)) > w.length:
		w.written = w.length + 1 // what comes behind the gap must not fill it up
		return 0, http.ErrContentLength
	case w.ending == undecided && len(w.held)+len(p) <= heldBody:
		w.held = append(w.held, p...)
		return len(p), nil
	case w.ending == undecided:
		w.decide(false)
	}
	if w.ending != bare {
		w.body(p)
	}
	return len(p), w.broken
}

// body sends a part of the body, framed.
func (w *writer) body(p []byte) {
	w.written += int64(len(p))
	if w.ending != chunks {
		w.send(p)
		return
	}
	*w.pending = append(strconv.AppendInt(*w.pending, int64(len(p)), 16), "\r\n"...)
	w.send(p)
	*w.pending = append(*w.pending, "\r\n"...)
}

// send sends bytes, or keeps them for the next time.
func (w *writer) send(p []byte) {
	b := *w.pending
	if len(b)+len(p) <= cap(b) {
		*w.pending = append(b, p...)
		return
	}
	if w.broken != nil {
		return
	}
	if ok, err := w.c.writeBoth(b, p); ok {
		*w.pending, w.broken = b[:0], err
		return
	}
	fill := min(cap(b)-len(b), len(p))
	*w.pending = append(b, p[:fill]...)
	w.flush()
	if w.broken == nil && len(p) > fill {
		w.broken = w.c.write(p[fill:])
	}
}

func (w *writer) flush() {
	if w.broken == nil && len(*w.pending) > 0 {
		w.broken = w.c.write(*w.pending)
	}
	*w.pending = (*w.pending)[:0]
}

// FlushError implements http.Flusher for http.ResponseController.
func (w *writer) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending == undecided {
		w.decide(false)
	}
	w.flush()
	return w.broken
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// SetReadDeadline bounds the reads of the request's body.
func (w *writer) SetReadDeadline(t time.Time) error { return w.c.setDeadline(t) }

// SetWriteDeadline does nothing: each write is bounded by Config.WriteTimeout.
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// Hijack implements http.Hijacker. Nothing must have been answered. The connection has no
// deadlines and is the caller's; the server neither waits for it nor closes it.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.status != 0 || w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	w.c.watch.stop()
	w.hijacked = true
	w.release()
	_ = w.c.raw.SetDeadline(time.Time{}) // where there are none, there are none
	w.c.s.cfg.State(w.c.raw, http.StateHijacked)
	w.c.s.forget(w.c)
	early := w.c.in.buffered()
	r := bufio.NewReaderSize(&w.c.in, max(early, outputBuffer))
	_, _ = r.Peek(early) // Buffered tells of it
	return w.c.raw, bufio.NewReadWriter(r, bufio.NewWriter(w.c.raw)), nil
}

// finish ends the answer and sends what is left; false: the connection ends here.
func (w *writer) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.end()
	w.c.body.end()
	w.release()
	if w.close && w.broken == nil && !w.c.body.read() {
		w.c.lingerOn()
	}
	return !w.close && w.broken == nil
}

func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending == undecided {
		w.decide(!w.trails)
	}
	switch w.ending {
	case chunks:
		*w.pending = append(*w.pending, "0\r\n"...)
		w.trailers()
		*w.pending = append(*w.pending, "\r\n"...)
	case told:
		w.close = w.close || w.written != w.length
	}
	w.flush()
}

// drop gives the answer up.
func (w *writer) drop() {
	w.c.body.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.release()
}

func (w *writer) release() {
	if w.pending != nil && cap(*w.pending) <= 2*outputBuffer {
		*w.pending = (*w.pending)[:0]
		w.c.s.outputs.Put(w.pending)
	}
	w.pending = nil
	if cap(w.held) > outputBuffer {
		w.held = nil
	}
}

// trailers are those that were announced, and those that say of themselves that they are.
func (w *writer) trailers() {
	for _, name := range w.trailer {
		w.addTrailer(name, w.header[name])
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.addTrailer(name, values)
		}
	}
}

func (w *writer) addTrailer(name string, values []string) {
	if !httpguts.ValidHeaderFieldName(name) {
		return
	}
	for _, value := range values {
		*w.pending = field(*w.pending, name, value)
	}
}

func statusLine(b []byte, minor, status int) []byte {
	b = append(append(b, "HTTP/1."...), byte('0'+minor), ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	return append(b, "\r\n"...)
}

// said is what a header says of the answer.
type said struct {
	length      string
	date, close bool
}

// fields adds the header's lines but those that are about the connection, or framing, or have
// a name that is none.
func (w *writer) fields(b []byte) ([]byte, said) {
	var s said
	for name, values := range w.header {
		switch name {
		case "Content-Length":
			s.length = strings.Join(values, ",") // of several, none is taken
			continue
		case "Connection":
			s.close = slices.ContainsFunc(values, func(line string) bool { return hasToken(line, "close") })
			continue
		case "Transfer-Encoding":
			continue
		case "Content-Type":
			if w.status == http.StatusNotModified {
				continue
			}
		case "Date":
			s.date = true
		case "Trailer":
			w.announce(values)
		case "Cache-Control", "Strict-Transport-Security": // Vault's; spared the look at their letters
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				w.trails = true
				continue
			}
			if !httpguts.ValidHeaderFieldName(name) {
				continue
			}
		}
		for _, value := range values {
			b = field(b, name, value)
		}
	}
	return b, s
}

func (w *writer) announce(lines []string) {
	w.trails = true
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			w.trailer = append(w.trailer, textproto.CanonicalMIMEHeaderKey(trim(name)))
		}
	}
}

// field adds a line. A value never ends it early.
func field(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	at := len(b)
	b = append(b, value...)
	for i := at; i < len(b); i++ {
		if b[i] == '\r' || b[i] == '\n' {
			b[i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// dated is the Date of a second.
type dated struct {
	second int64
	line   string
}

// date adds the value of Date, and the end of its line.
func (s *Server) date(b []byte) []byte {
	now := time.Now()
	d := s.now.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), now.UTC().Format(http.TimeFormat) + "\r\n"}
		s.now.Store(d)
	}
	return append(b, d.line...)
}
