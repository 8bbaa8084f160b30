package http1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxInterim bounds the 1xx answers that nobody is told of.
const maxInterim = 32

var errInterim = errors.New("interim answers without an end")

// link is one connection to Vault.
type link struct {
	t      *Transport
	node   *node
	conn   net.Conn
	in     input
	out    []byte
	header http.Header // of the answer
	since  time.Time   // when it was kept
	reused bool
	counts interface{ Written() int64 } // of the bytes that went out below TLS; nil: there is none
	below  interface{ Dry(on bool) }    // gives nothing to TLS while it is on; nil: there is none

	life *Life       // of the request under way
	free func() bool // ends the say of a context that is no Life

	socket syscall.RawConn // nil: it can't be looked at
	look   func(fd uintptr) bool
	isOpen bool

	turn  func(fd uintptr) bool // goOn; nil: there is TLS, or no socket
	asked bool
	sent  bool
	err   error // of the turns
}

func newLink(t *Transport, n *node, conn net.Conn) *link {
	l := &link{t: t, node: n, conn: conn, in: newInput(conn), header: make(http.Header)}
	for below := conn; ; {
		if counts, ok := below.(interface{ Written() int64 }); ok && below != conn {
			l.counts = counts
		}
		if dries, ok := below.(interface{ Dry(on bool) }); ok {
			l.below = dries
		}
		if s := socketOf(below); s != nil {
			l.socket = s
		}
		outer, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		below = outer.NetConn()
	}
	l.look = func(fd uintptr) bool { l.isOpen = nothingToRead(fd); return true }
	if !isTLS(conn) && l.socket != nil {
		l.turn = l.goOn
	}
	return l
}

// ask is open, write and the wait for the first bytes in one: the look at the socket is the
// read that finds nothing before a wait, which would come after the request otherwise.
func (l *link) ask() (sent bool, err error) {
	l.asked, l.sent, l.err = false, false, nil
	if err := l.socket.Read(l.turn); err != nil {
		return l.sent, err //nolint:wrapcheck // says it all
	}
	return l.sent, l.err
}

// goOn is called when the socket may be read; false: it waits until then.
func (l *link) goOn(fd uintptr) bool {
	if !l.asked {
		if l.asked = true; !nothingToRead(fd) {
			l.err = errClosed
			return true
		}
		l.sent, l.err = l.write(l.out)
		return l.err != nil
	}
	n, err := readSocket(fd, l.in.buf[l.in.w:])
	l.in.w += n
	return !errors.Is(err, errNothing) // any other error comes again to who reads on
}

// open reports whether a connection that was kept can be used: nothing must have come, not
// even its end. A write that is sent over a closed one has an unknown outcome.
func (l *link) open() bool {
	if l.socket == nil {
		return true
	}
	l.isOpen = false
	return l.socket.Read(l.look) == nil && l.isOpen
}

// hasMore reports whether more was read than was used. What TLS decrypted ahead can't be seen
// in the socket: a read that gets nothing from there finds it.
func (l *link) hasMore() bool {
	if l.in.buffered() > 0 {
		return true
	}
	if !isTLS(l.conn) {
		return false
	}
	l.dry(true)
	err := l.in.more()
	l.dry(false)
	return err == nil || !isTimeout(err)
}

// dry keeps reads from the socket. A deadline does too, and costs more.
func (l *link) dry(on bool) {
	switch {
	case l.below != nil:
		l.below.Dry(on)
	case on:
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	default:
		_ = l.conn.SetReadDeadline(time.Time{})
	}
}

// exchange sends a request and reads the head of the answer. After an error the connection is
// closed.
func (l *link) exchange(ctx context.Context, call *Call) (resp *http.Response, sent bool, err error) {
	l.attach(ctx)
	resp, sent, err = l.transfer(call)
	if err == nil {
		return resp, true, nil
	}
	l.detach()
	_ = l.conn.Close()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return nil, sent, err
}

// attach lets a context end all reads and writes, until detach.
func (l *link) attach(ctx context.Context) {
	life, ok := ctx.(*Life)
	if !ok {
		l.free = context.AfterFunc(ctx, func() { l.over(nil) })
		return
	}
	l.life, l.free = life, nil
	life.watch(l)
}

// detach reports whether the context has not ended them, and will not.
func (l *link) detach() bool {
	if l.free != nil {
		return l.free()
	}
	return l.life.unwatch(l)
}

func (l *link) over(error) { _ = l.conn.SetDeadline(time.Unix(1, 0)) }

func (l *link) transfer(call *Call) (resp *http.Response, sent bool, err error) {
	if l.out, err = appendRequest(l.out[:0], call); err != nil {
		return nil, false, err
	}
	if sent, err = l.begin(); err != nil {
		if l.reused && !isTimeout(err) && !errors.Is(err, errClosed) {
			err = fmt.Errorf("%w (%w)", errClosed, err)
		}
		return nil, sent, fmt.Errorf("sending: %w", err)
	}
	if cap(l.out) > outputBuffer {
		l.out = nil
	}
	for n := 1; ; n++ {
		resp, err = l.answer(call)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, true, err
		}
		if err := call.tell(n, resp); err != nil {
			return nil, true, err
		}
	}
}

// begin sends the request.
func (l *link) begin() (sent bool, err error) {
	switch {
	case l.reused && l.turn != nil:
		return l.ask()
	case l.reused && !l.open():
		return false, errClosed
	}
	return l.write(l.out)
}

// tell is for the n-th interim answer.
func (c *Call) tell(n int, resp *http.Response) error {
	switch {
	case c.Interim != nil:
		return c.Interim(resp.StatusCode, textproto.MIMEHeader(resp.Header))
	case n > maxInterim:
		return errInterim
	}
	return nil
}

// write also tells whether anything went out.
func (l *link) write(p []byte) (sent bool, err error) {
	if l.counts == nil {
		n, err := l.conn.Write(p)
		return n > 0, err //nolint:wrapcheck // says it all
	}
	before := l.counts.Written()
	_, err = l.conn.Write(p)
	return l.counts.Written() != before, err //nolint:wrapcheck // says it all
}

// answer reads one head.
func (l *link) answer(call *Call) (*http.Response, error) {
	text, err := l.in.head(l.t.cfg.MaxHeader)
	if err != nil {
		if l.reused && l.in.buffered() == 0 && !isTimeout(err) {
			err = fmt.Errorf("%w (%w)", errClosed, err)
		}
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	l.reused = false // from now on it is not a matter of age
	whole := &struct {
		resp http.Response
		body answerBody
	}{}
	resp, body := &whole.resp, &whole.body
	f, err := l.readHead(resp, text)
	if err != nil {
		return nil, err
	}
	keeps := !f.close && (resp.ProtoMinor == 1 || f.keepAlive) && resp.StatusCode != http.StatusSwitchingProtocols
	if bodiless(call.Request.Method, resp.StatusCode) {
		resp.ContentLength = max(f.length, 0)
		f.length, f.chunked = 0, false
	}
	*body = answerBody{link: l, keep: keeps && (f.chunked || f.length >= 0)}
	body.start(&l.in, f, &resp.Trailer)
	resp.Request, resp.Body = call.Request, body
	return resp, nil
}

// readHead makes an answer of its head.
func (l *link) readHead(resp *http.Response, text string) (f framing, err error) {
	line, fields, _ := strings.Cut(text, "\r\n")
	if err := readStatus(resp, line); err != nil {
		return f, err
	}
	if len(l.header) < manyFields {
		clear(l.header)
	} else {
		l.header = make(http.Header)
	}
	resp.Header = l.header
	if f, err = readFields(fields, resp.Header); err != nil {
		return f, err
	}
	if f.unknown || f.chunked && resp.ProtoMinor == 0 {
		return f, errFraming
	}
	if f.trailer {
		resp.Trailer, err = announced(resp.Header)
	}
	resp.ContentLength, resp.Close = f.length, f.close
	if f.chunked {
		resp.TransferEncoding = []string{"chunked"}
	}
	return f, err
}

func bodiless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // input gives it as it came
	return ok && e.Timeout()
}

// readStatus takes the first line of an answer.
func readStatus(resp *http.Response, line string) error {
	if len(line) < len("HTTP/1.1 200") || !strings.HasPrefix(line, "HTTP/1.") || line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return errFraming
	}
	if !httpguts.ValidHeaderFieldValue(line[12:]) { // no half of a line end
		return errFraming
	}
	status, err := strconv.Atoi(line[9:12])
	if err != nil || status < 100 {
		return errFraming
	}
	resp.Status, resp.StatusCode, resp.Proto, resp.ProtoMajor, resp.ProtoMinor = line[9:], status, line[:8], 1, int(line[7]-'0')
	return nil
}

// appendRequest makes a request's bytes.
func appendRequest(b []byte, call *Call) ([]byte, error) {
	r := call.Request
	if !httpguts.ValidHeaderFieldName(r.Method) || !validTarget(r.URL.Opaque) || !validTarget("?"+r.URL.RawQuery) {
		return nil, errors.New("the request line can't be sent")
	}
	b = append(append(append(b, r.Method...), ' '), r.URL.Opaque...)
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		b = append(append(b, '?'), r.URL.RawQuery...)
	}
	b = field(append(b, " HTTP/1.1\r\n"...), "Host", call.Host)
	for name, values := range r.Header {
		var err error
		if b, err = appendFields(b, name, values); err != nil {
			return nil, err
		}
	}
	return appendBody(b, r, call.Body), nil
}

// appendFields adds the lines of one name, but those that framing brings.
func appendFields(b []byte, name string, values []string) ([]byte, error) {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return b, nil
	case "User-Agent":
		values = values[:min(len(values), 1)]
		if len(values) > 0 && values[0] == "" {
			return b, nil
		}
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("the header %s has a value that can't be sent", name)
		}
		b = field(b, name, value)
	}
	return b, nil
}

func appendBody(b []byte, r *http.Request, body []byte) []byte {
	switch {
	case r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		if len(body) > 0 {
			b = append(strconv.AppendInt(b, int64(len(body)), 16), "\r\n"...)
			b = append(append(b, body...), "\r\n"...)
		}
		return append(b, "0\r\n\r\n"...)
	case len(body) > 0 || r.Method != http.MethodGet && r.Method != http.MethodHead:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	return append(append(b, "\r\n"...), body...)
}
