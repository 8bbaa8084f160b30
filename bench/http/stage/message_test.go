package stage

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMessagesAreReadToTheirEnds(t *testing.T) {
	const next = "GET /next HTTP/1.1\r\n\r\n"
	for name, message := range map[string]string{
		"no body":      "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"length":       "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
		"chunks":       "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"empty chunks": "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			// Byte by byte: a head may come in pieces.
			in := bufio.NewReader(iotest.OneByteReader(strings.NewReader(message + next)))
			top, err := Head(in)
			if err != nil {
				t.Fatal(err)
			}
			if err := Skip(in, top); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(in)
			if err != nil || string(rest) != next {
				t.Errorf("left: %q, %v; want %q", rest, err, next)
			}
		})
	}
}

func TestABrokenMessageIsAnError(t *testing.T) {
	for _, message := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n",
		"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		in := bufio.NewReader(strings.NewReader(message))
		top, err := Head(in)
		if err == nil {
			err = Skip(in, top)
		}
		if err == nil {
			t.Errorf("%q was read without an error", message)
		}
	}
}

func TestFieldsAreFoundInAnyCase(t *testing.T) {
	head := []byte("HTTP/1.1 200 OK\r\nX-Content-Length: 1\r\nCONTENT-length:  42 \r\n\r\n")
	if got := string(Field(head, "Content-Length")); got != "42" {
		t.Errorf("got %q", got)
	}
	if got := Field(head, "Date"); got != nil {
		t.Errorf("got %q", got)
	}
}
