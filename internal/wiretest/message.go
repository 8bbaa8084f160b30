// Package wiretest tests a front that speaks HTTP/1.1, whatever it is made of, from
// outside: raw sockets before it and behind it. What may differ between what was sent
// and what arrived is one list (Differences), which docs/fidelity.md shows.
package wiretest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
)

// Field is one header line.
type Field struct{ Name, Value string }

// Message is a request or an answer as it was on the wire.
type Message struct {
	Line    string
	Fields  []Field
	Body    []byte
	Chunked bool
	Trailer []Field
}

func (m *Message) method() string { word, _, _ := strings.Cut(m.Line, " "); return word }

func (m *Message) isAnswer() bool { return strings.HasPrefix(m.Line, "HTTP/") }

// path is that of a request, without its query.
func (m *Message) path() string {
	_, rest, _ := strings.Cut(m.Line, " ")
	target, _, _ := strings.Cut(rest, " ")
	path, _, _ := strings.Cut(target, "?")
	return path
}

// Status is that of an answer.
func (m *Message) Status() int {
	words := strings.SplitN(m.Line, " ", 3)
	if len(words) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(words[1]) // 0: it has none
	return n
}

// Get is the first value of a name in any spelling.
func (m *Message) Get(name string) string {
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

func (m *Message) has(name string) bool {
	return slices.ContainsFunc(m.Fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}

func (m *Message) drop(names ...string) {
	m.Fields = slices.DeleteFunc(m.Fields, func(f Field) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.Name) })
	})
}

func (m *Message) add(name, value string) { m.Fields = append(m.Fields, Field{name, value}) }

func (m *Message) clone() *Message {
	c := *m
	c.Fields, c.Trailer = slices.Clone(m.Fields), slices.Clone(m.Trailer)
	return &c
}

// String shows it for a failure; a large body by its length.
func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", m.Line)
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "%s: %q\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "body of %d bytes, chunked %v, trailer %q, %.200q", len(m.Body), m.Chunked, m.Trailer, m.Body)
	return b.String()
}

// wire is the message in bytes, its body cut at the given places if it is chunked.
func (m *Message) wire(cuts ...int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n", m.Line)
	writeFields(&b, m.Fields)
	if !m.Chunked {
		b.Write(m.Body)
		return b.Bytes()
	}
	rest := m.Body
	for _, c := range append(cuts, len(m.Body)) {
		n := min(c, len(rest))
		if n > 0 {
			fmt.Fprintf(&b, "%x;ext=1\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
	}
	b.WriteString("0\r\n")
	writeFields(&b, m.Trailer)
	return b.Bytes()
}

func writeFields(b *bytes.Buffer, fields []Field) {
	for _, f := range fields {
		fmt.Fprintf(b, "%s:%s\r\n", f.Name, f.Value)
	}
	b.WriteString("\r\n")
}

// readHead reads a start line and header lines and knows nothing of their meaning.
func readHead(r *bufio.Reader) (*Message, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	m := &Message{Line: strings.TrimSuffix(line, "\r\n")}
	m.Fields, err = readFields(r)
	m.Chunked = strings.EqualFold(m.Get("Transfer-Encoding"), "chunked")
	return m, err
}

func readFields(r *bufio.Reader) ([]Field, error) {
	var out []Field
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			return out, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("no header line: %q", line)
		}
		out = append(out, Field{name, strings.Trim(value, " \t")})
	}
}

// content is the body behind a head; toEnd says that it goes on to the end of the
// connection if nothing tells its length.
func (m *Message) content(r *bufio.Reader, toEnd bool) io.Reader {
	switch {
	case m.Chunked:
		return httputil.NewChunkedReader(r)
	case m.has("Content-Length"):
		n, _ := strconv.ParseInt(m.Get("Content-Length"), 10, 64)
		return io.LimitReader(r, n)
	case toEnd:
		return r
	}
	return strings.NewReader("")
}

// readBody reads it, and the trailer.
func (m *Message) readBody(r *bufio.Reader, toEnd bool) error {
	var err error
	if m.Body, err = io.ReadAll(m.content(r, toEnd)); err != nil {
		return err
	}
	if m.Chunked {
		m.Trailer, err = readFields(r)
		return err
	}
	if n := m.Get("Content-Length"); n != "" && n != strconv.Itoa(len(m.Body)) {
		return io.ErrUnexpectedEOF
	}
	return nil
}
