package http1

import (
	"bytes"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxLine bounds what is kept of a line that comes in pieces. It is more than any
// server here takes for a whole header, so that the server says 431 first.
const maxLine = 128 << 10

// state is what the next byte belongs to.
type state int

const (
	requestLine state = iota
	fieldLine
	known     // a body of known length
	chunkLine // a chunk's size
	chunkData
	chunkEnd    // the line end behind a chunk
	trailerLine // behind the last chunk
	refused     // the server refuses this request and closes
	tunnel      // a websocket: no more HTTP
)

// strict follows the framing of the messages in one direction of a connection, by RFC 9112 without its
// leniences: no bare LF, no obs-fold, one Content-Length or one Transfer-Encoding and
// never both. It changes nothing and keeps nothing but a line that comes in pieces.
type strict struct {
	state state
	left  int64 // of a body or chunk
	begun []byte
	hooks

	// of the message under way
	old       bool // HTTP/1.0
	length    int64
	hasLength bool
	coding    string // of the transfer, in small letters
	websocket bool
	status    int
}

// hooks are what answers need to know of requests, and the other way round. All may be
// nil.
type hooks struct {
	begins func(line []byte) // a message, with its first line
	idle   func() bool       // no message may begin
	bare   func() bool       // the answer has no body, whatever its header says
	ends   func()
}

// feed looks at what was read and tells how much of it may pass. After an error nothing
// more may.
func (s *strict) feed(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n, err := s.step(b[done:])
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(b), nil
}

func (s *strict) step(b []byte) (int, error) {
	switch s.state {
	case tunnel:
		return len(b), nil
	case refused:
		return 0, errFraming
	case known, chunkData:
		return s.skip(b), nil
	case requestLine:
		if s.idle != nil && s.idle() {
			return 0, errFraming
		}
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		s.begun = append(s.begun, b...)
		if len(s.begun) > maxLine {
			return 0, errFraming
		}
		return len(b), nil
	}
	line := b[:i]
	if len(s.begun) > 0 {
		line = append(s.begun, line...)
		s.begun = s.begun[:0]
		if cap(s.begun) > 1<<10 {
			s.begun = nil // idle connections keep little
		}
	}
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok || bytes.IndexByte(line, '\r') >= 0 {
		return 0, errFraming
	}
	return i + 1, s.line(line)
}

// skip passes content.
func (s *strict) skip(b []byte) int {
	n := min(int64(len(b)), s.left)
	s.left -= n
	switch {
	case s.left > 0:
	case s.state == known:
		s.finish()
	default:
		s.state = chunkEnd
	}
	return int(n)
}

// finish ends a message.
func (s *strict) finish() {
	s.state = requestLine
	if s.ends != nil {
		s.ends()
	}
}

// line takes one whole line, without its end.
func (s *strict) line(line []byte) error {
	switch s.state {
	case requestLine:
		if s.bare != nil {
			return s.reply(line)
		}
		return s.request(line)
	case fieldLine:
		if len(line) == 0 {
			return s.endOfHead()
		}
		return s.field(line)
	case chunkLine:
		return s.chunk(line)
	case chunkEnd:
		s.state = chunkLine
		if len(line) > 0 {
			return errFraming
		}
		return nil
	default: // trailerLine
		return s.trailer(line)
	}
}

// request: three words with one space between them.
func (s *strict) request(line []byte) error {
	if bytes.Count(line, []byte(" ")) != 2 {
		return errFraming
	}
	s.begin(strict{old: bytes.HasSuffix(line, []byte(" HTTP/1.0"))})
	if s.begins != nil {
		s.begins(line)
	}
	return nil
}

func (s *strict) begin(m strict) {
	m.state, m.begun, m.hooks = fieldLine, s.begun, s.hooks
	*s = m
}

// field looks at the few fields that say where the request ends.
func (s *strict) field(line []byte) error {
	name, value, err := split(line)
	if err != nil {
		return err
	}
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		if s.hasLength || s.coding != "" {
			return errFraming
		}
		s.hasLength = true
		s.length, err = number(string(value), 10, 18)
		return err
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		if s.hasLength || s.coding != "" || s.old {
			return errFraming
		}
		s.coding = strings.ToLower(string(value))
		if s.coding == "" {
			return errFraming
		}
	case bytes.EqualFold(name, []byte("upgrade")):
		s.websocket = s.websocket || bytes.EqualFold(value, []byte("websocket"))
	}
	return nil
}

// endOfHead decides what follows.
func (s *strict) endOfHead() error {
	s.left = s.length
	switch {
	case s.status == 101:
		s.state = tunnel
	case s.status > 0 && s.status < 200:
		s.state = requestLine // another one follows
	case s.status > 0 && s.bare():
		s.finish()
	case s.coding != "" && s.coding != "chunked":
		s.state = refused // net/http says 501
	case s.status > 0 && s.coding == "" && !s.hasLength:
		s.state = tunnel // to the end of the connection
	case s.status == 0 && s.websocket:
		// Whoever serves it either makes a tunnel of the connection or closes it.
		s.state = tunnel
	case s.coding == "chunked":
		s.state = chunkLine
	case s.length > 0:
		s.state = known
	default:
		s.finish()
	}
	return nil
}

// chunk takes a size; extensions mean nothing.
func (s *strict) chunk(line []byte) error {
	size, _, _ := bytes.Cut(line, []byte(";"))
	n, err := number(string(size), 16, 15)
	s.left, s.state = n, chunkData
	if n == 0 {
		s.state = trailerLine
	}
	return err
}

func (s *strict) trailer(line []byte) error {
	if len(line) == 0 {
		s.finish()
		return nil
	}
	name, _, err := split(line)
	if err != nil {
		return err
	}
	if framesMessages(textproto.CanonicalMIMEHeaderKey(string(name))) {
		return errFraming
	}
	return nil
}

// split takes a field line apart. A name is a token, with the colon right behind it.
func split(line []byte) (name, value []byte, err error) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !httpguts.ValidHeaderFieldName(string(name)) {
		return nil, nil, errFraming
	}
	return name, bytes.Trim(value, " \t"), nil
}
