package stage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
)

// Head waits for the first lines of a message, to the empty one, and leaves them in the
// buffer. They are good until the next read.
func Head(in *bufio.Reader) ([]byte, error) {
	for have := 1; ; {
		if _, err := in.Peek(have); err != nil {
			return nil, err
		}
		buf, _ := in.Peek(in.Buffered()) // what is there can be looked at
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			return buf[:end+4], nil
		}
		have = len(buf) + 1
	}
}

// Field is the value of a header field.
func Field(head []byte, name string) []byte {
	for line := range bytes.Lines(head) {
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// Length is that of the body after a head; -1: it comes in chunks.
func Length(head []byte) (int, error) {
	if value := Field(head, "Content-Length"); value != nil {
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 {
			return 0, fmt.Errorf("unexpected Content-Length: %s", value)
		}
		return n, nil
	}
	if Field(head, "Transfer-Encoding") != nil {
		return -1, nil
	}
	return 0, nil
}

// Skip reads a message to its end.
func Skip(in *bufio.Reader, head []byte) error {
	n, err := Length(head)
	if err != nil {
		return err
	}
	if n >= 0 {
		_, err = in.Discard(len(head) + n)
		return err
	}
	_, _ = in.Discard(len(head)) // it is in the buffer
	if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(in)); err != nil {
		return err
	}
	last, err := in.ReadSlice('\n')
	if err == nil && len(bytes.TrimSpace(last)) > 0 {
		return errors.New("unexpected trailers")
	}
	return err
}
