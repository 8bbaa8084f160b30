package http1

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

const (
	maxChunkLine = 4 << 10  // a chunk's size with its extensions
	maxTrailer   = 64 << 10 // all trailers
)

// content is the body of a message. It ends with io.EOF, and with another error where the
// connection ends before it does.
type content struct {
	in      *input
	left    int64 // of the body, or of the chunk under way; -1: to the end of the connection
	chunked bool
	begun   bool // a chunk was read
	over    bool
	err     error // once it is broken
	// trailer takes what comes behind the last chunk; where it is nil, it is made for the
	// first.
	trailer *http.Header
}

// start makes it that of another message.
func (c *content) start(in *input, f framing, trailer *http.Header) {
	*c = content{in: in, left: f.length, chunked: f.chunked, trailer: trailer, over: !f.chunked && f.length == 0}
	if f.chunked {
		c.left = 0
	}
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if c.chunked && c.left == 0 && !c.over && c.err == nil {
		c.err = tooEarly(c.nextChunk())
	}
	switch {
	case c.err != nil:
		return 0, c.err
	case c.over:
		return 0, io.EOF
	}
	if c.left >= 0 && int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.in.Read(p)
	return n, c.took(n, err)
}

// took notes what was read, and gives the error for whoever reads.
func (c *content) took(n int, err error) error {
	if c.left < 0 {
		if c.over = errors.Is(err, io.EOF); !c.over {
			c.err = err
		}
		return err
	}
	c.left -= int64(n)
	if c.left == 0 && !c.chunked {
		c.over = true
		return io.EOF
	}
	c.err = tooEarly(err)
	return c.err
}

// tooEarly is what the end of the connection means inside of a message.
func tooEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextChunk reads the line before a chunk, with the end of the one before it; behind the
// last one come the trailers.
func (c *content) nextChunk() error {
	if c.begun {
		if _, err := c.in.line(2); err != nil {
			return err
		}
	}
	c.begun = true
	line, err := c.in.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, extensions, _ := bytes.Cut(line, []byte(";"))
	if bytes.IndexByte(extensions, '\r') >= 0 {
		return errFraming
	}
	if c.left, err = number(string(size), 16, 15); err != nil || c.left > 0 {
		return err
	}
	err = c.trailers()
	c.over = err == nil // what comes behind a bad trailer is nobody's
	return err
}

func (c *content) trailers() error {
	for limit := maxTrailer; ; {
		line, err := c.in.line(limit)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			c.in.use(0)
			return nil
		}
		limit -= len(line)
		name, value, ok := splitField(string(line))
		if !ok || framesMessages(name) {
			return errFraming
		}
		if *c.trailer == nil {
			*c.trailer = make(http.Header)
		}
		c.trailer.Add(name, value)
	}
}
