package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	smallBuffer = 2 << 10 // what a connection keeps while it waits
	readSize    = 4 << 10 // what a longer head grows by, at least
)

var (
	// errFraming: what came can be read in two ways, or in none.
	errFraming = errors.New("framing that is not strictly that of RFC 9112")
	// errTooLong: a head is longer than may be.
	errTooLong = errors.New("the header is too long")
)

// input is what comes over a connection, with what was read ahead.
type input struct {
	conn net.Conn
	buf  []byte
	r, w int // buf[r:w] is read and not used

	// Where there are many connections that wait, they share their buffers.
	shared *sync.Pool // of *[]byte; nil: it has its own
	lent   *[]byte    // buf, if it is one of them
	socket syscall.RawConn
	turn   func(fd uintptr) bool // arrived
	err    error                 // of the turn
}

func newInput(conn net.Conn) input { return input{conn: conn, buf: make([]byte, smallBuffer)} }

// share makes it hold a buffer only while there is something in it.
func (in *input) share(buffers *sync.Pool) {
	in.shared, in.buf = buffers, nil
	in.socket, in.turn = socketOf(plainOf(in.conn)), in.arrived
}

// plainOf is the connection below all that only watch it.
func plainOf(conn net.Conn) net.Conn {
	for {
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok || isTLS(conn) {
			return conn
		}
		conn = outer.NetConn()
	}
}

func isTLS(conn net.Conn) bool {
	_, ok := conn.(*tls.Conn)
	return ok
}

// buffered is how much was read ahead.
func (in *input) buffered() int { return in.w - in.r }

// use takes n bytes of what was read ahead.
func (in *input) use(n int) {
	in.r += n
	if in.r < in.w {
		return
	}
	in.r, in.w = 0, 0
	switch {
	case in.shared != nil:
		in.giveBack()
	case len(in.buf) > smallBuffer:
		in.buf = make([]byte, smallBuffer)
	}
}

func (in *input) borrow() {
	in.lent, _ = in.shared.Get().(*[]byte)
	in.buf = *in.lent
}

func (in *input) giveBack() {
	if in.lent != nil {
		in.shared.Put(in.lent)
	}
	in.lent, in.buf = nil, nil
}

// arrived reads what has come; false: nothing.
func (in *input) arrived(fd uintptr) bool {
	in.borrow()
	in.w, in.err = readSocket(fd, in.buf)
	if in.w > 0 {
		return true
	}
	in.giveBack()
	return !errors.Is(in.err, errNothing)
}

// wait reads once, and holds no buffer until then.
func (in *input) wait() error {
	if err := in.socket.Read(in.turn); err != nil {
		return err //nolint:wrapcheck // says it all
	}
	return in.err
}

// more reads once, behind what is there.
func (in *input) more() error {
	switch {
	case in.buf != nil:
	case in.socket != nil:
		return in.wait()
	default:
		in.borrow()
	}
	if in.w == len(in.buf) {
		in.makeRoom()
	}
	n, err := in.conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (in *input) makeRoom() {
	to := in.buf
	if in.buffered() > len(in.buf)/2 {
		to = make([]byte, max(2*len(in.buf), readSize))
	}
	in.w = copy(to, in.buf[in.r:in.w])
	if len(to) > len(in.buf) && in.lent != nil {
		in.giveBack()
	}
	in.buf, in.r = to, 0
}

// Read gives what was read ahead first.
func (in *input) Read(p []byte) (int, error) {
	if in.buffered() > 0 {
		n := copy(p, in.buf[in.r:in.w])
		in.use(n)
		return n, nil
	}
	return in.conn.Read(p)
}

// line reads up to the end of a line, which it leaves out. The bytes are good until the
// next call.
func (in *input) line(limit int) ([]byte, error) {
	n, err := in.scan(limit, 0)
	if err != nil {
		return nil, err
	}
	line := in.buf[in.r : in.r+n-2]
	in.r += n // not use: the bytes stay for now
	return line, nil
}

// head reads up to the end of an empty line. A connection that ends before its first byte
// gives io.EOF.
func (in *input) head(limit int) (string, error) {
	if n := in.headEnd(); n > 0 && n <= limit { // its lines are looked at by whoever takes them apart
		text := string(in.buf[in.r : in.r+n])
		in.use(n)
		return text, nil
	}
	for n := 0; ; {
		next, err := in.scan(limit, n)
		switch {
		case errors.Is(err, io.EOF) && in.buffered() > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		case next == n+2: // the empty line
			text := string(in.buf[in.r : in.r+next])
			in.use(next)
			return text, nil
		}
		n = next
	}
}

// scan finds the end of the line that begins behind the first n bytes and gives the place
// behind it. Lines end with CR and LF, never with one of them.
func (in *input) scan(limit, n int) (int, error) {
	for from := n; ; {
		if i := bytes.IndexByte(in.buf[in.r+from:in.w], '\n'); i >= 0 {
			end := from + i + 1
			switch {
			case end > limit:
				return 0, errTooLong
			case end < n+2 || in.buf[in.r+end-2] != '\r':
				return 0, errFraming
			}
			return end, nil
		}
		if from = in.buffered(); from > limit {
			return 0, errTooLong
		}
		if err := in.more(); err != nil {
			return 0, err
		}
	}
}

// headEnd is the length of a head that was read ahead as a whole; else 0.
func (in *input) headEnd() int {
	i := bytes.Index(in.buf[in.r:in.w], []byte("\r\n\r\n"))
	if i < 0 {
		return 0
	}
	return i + len("\r\n\r\n")
}
