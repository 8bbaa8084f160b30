package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// script is a connection whose answers are given.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s script) Write(p []byte) (int, error) { return len(p), nil }

func TestAnswersEndWhereTheySay(t *testing.T) {
	t.Parallel()
	const get, head, excess = "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
	const ws = "GET /v1/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for name, c := range map[string]struct{ request, answer, behind string }{
		"length":           {get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		"nothing":          {get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ""},
		"chunked":          {get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", ""},
		"204":              {get, "HTTP/1.1 204 No Content\r\n\r\n", ""},
		"304":              {get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", ""},
		"HEAD":             {head, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ""},
		"interim":          {get, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ""},
		"upgrade refused":  {ws, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""},
		"to the end":       {get, "HTTP/1.1 200 OK\r\n\r\nanything", excess},
		"upgrade":          {ws, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x00\n", excess},
		"nobody asked":     {"", "", ""},
		"two lengths":      {get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", ""},
		"1.0 and chunked":  {get, "HTTP/1.0 200 OK\r\n", ""},
		"a body to a HEAD": {head, "HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n", ""},
	} {
		more := map[string]string{"two lengths": "Content-Length: 3\r\n\r\n", "1.0 and chunked": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}[name]
		u := Upstream(script{Reader: strings.NewReader(c.answer + more + excess)})
		if _, err := io.WriteString(u, c.request); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(u)
		if err != nil || string(got) != c.answer+c.behind {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// A second request on the connection gets its answer, also after an early one to a
// request whose body was still on its way.
func TestAnswersInTurn(t *testing.T) {
	t.Parallel()
	answers, feed := io.Pipe()
	u := Upstream(script{Reader: answers})
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	buf := make([]byte, 200)
	for _, writes := range [][2]string{
		{"PUT /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: hhhhh\r\n\r\n"[:30]},
		{"GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", ""},
	} {
		_, _ = io.WriteString(u, writes[0])
		go func() { _, _ = io.WriteString(feed, ok) }()
		if n, err := u.Read(buf); err != nil || string(buf[:n]) != ok {
			t.Fatalf("%q %v", buf[:n], err)
		}
		_, _ = io.WriteString(u, writes[1])
	}
	go func() { _, _ = io.WriteString(feed, ok) }()
	if n, err := u.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("unasked: %q %v", buf[:n], err)
	}
	_ = feed.Close()
}

// Whatever an upstream says: what net/http takes for an answer ends where it is seen to
// end here, and nothing comes behind it.
func FuzzAnswers(f *testing.F) {
	f.Add("GET", []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n"))
	f.Add("HEAD", []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"))
	f.Add("PUT", []byte("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nHTTP"))
	f.Add("GET", []byte("HTTP/1.0 200 OK\r\n\r\nto the end"))
	f.Fuzz(func(t *testing.T, method string, in []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://h/v1/x", nil)
		if err != nil {
			return
		}
		out := &counting{r: Upstream(script{Reader: bytes.NewReader(in)})}
		if err := req.Write(out.r.(io.Writer)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		for {
			resp, err := http.ReadResponse(r, req)
			if err != nil {
				return
			}
			if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
				continue
			}
			toEnd := resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 || resp.StatusCode == http.StatusSwitchingProtocols
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || toEnd {
				return
			}
			rest, _ := io.ReadAll(r)
			if len(rest) > 0 {
				t.Fatalf("%q comes behind the answer", rest)
			}
			return
		}
	})
}
