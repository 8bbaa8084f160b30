package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// fake is a connection that gives what a reader has and keeps what is written. It has no
// deadlines.
type fake struct {
	net.Conn
	in io.Reader

	mu  sync.Mutex
	out bytes.Buffer
}

func (f *fake) Read(p []byte) (int, error) { return f.in.Read(p) }

func (f *fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

func (f *fake) Close() error                     { return nil }
func (f *fake) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (f *fake) SetDeadline(time.Time) error      { return nil }
func (f *fake) SetReadDeadline(time.Time) error  { return nil }
func (f *fake) SetWriteDeadline(time.Time) error { return nil }

func source(in []byte, byteByByte bool) io.Reader {
	if byteByByte {
		return iotest.OneByteReader(bytes.NewReader(in))
	}
	return bytes.NewReader(in)
}

// serve serves a connection to its end.
func serve(raw net.Conn, h http.Handler) {
	s := NewServer(Config{Handler: h})
	s.running.Add(1)
	newConn(s, raw).serve()
}

// seen is a request as a handler saw it.
type seen struct {
	method, target, host, body string
	header, trailer            http.Header
	broken                     bool // its body
}

func (s seen) String() string {
	return fmt.Sprintf("%s %s of %s, %v, %q %v, broken: %v", s.method, s.target, s.host, s.header, s.body, s.trailer, s.broken)
}

// serveBytes gives the requests that are in some bytes, and all that was answered.
func serveBytes(in []byte, byteByByte, reads bool) (got []seen, out string) {
	raw := &fake{in: source(in, byteByByte)}
	serve(raw, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{method: r.Method, target: r.RequestURI, host: r.Host, header: maps.Clone(r.Header)}
		if reads {
			body, err := io.ReadAll(r.Body)
			s.body, s.broken, s.trailer = string(body), err != nil, maps.Clone(r.Trailer)
		}
		got = append(got, s)
		w.Header().Set("Date", "today")
		if s.broken {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	return got, raw.out.String()
}

// statuses are those of answers that have come as a whole.
func statuses(t *testing.T, out string, asked []seen) []int {
	t.Helper()
	var got []int
	for r := bufio.NewReader(strings.NewReader(out)); ; {
		req := &http.Request{Method: http.MethodGet}
		if len(got) < len(asked) {
			req.Method = asked[len(got)].method
		}
		resp, err := http.ReadResponse(r, req)
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.StatusCode)
	}
}

const (
	head = "POST /v1/x HTTP/1.1\r\nHost: h\r\n"
	next = "GET /v1/next HTTP/1.1\r\nHost: h\r\n\r\n" // what comes behind a request
)

// chunked begins a request whose body is.
const chunkedHead = head + "Transfer-Encoding: chunked\r\n\r\n"

func TestFraming(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, bytes string
		served      []int // the statuses of all answers
	}{
		{"plain", "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", []int{200}},
		{"two", "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\nGET /v1/y HTTP/1.1\r\nHost: h\r\n\r\n", []int{200, 200}},
		{"length", head + "Content-Length: 5\r\n\r\nhello" + next, []int{200, 200}},
		{"no length", head + "Content-Length: 0\r\n\r\n" + next, []int{200, 200}},
		{"chunked", head + "Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n" + next, []int{200, 200}},
		{"no chunk", chunkedHead + "0\r\n\r\n" + next, []int{200, 200}},
		{"empty value", head + "X:\r\n\r\n" + next, []int{200, 200}},
		{"1.0", "GET /v1/x HTTP/1.0\r\n\r\n" + next, []int{200}},
		{"1.0 that goes on", "GET /v1/x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + next, []int{200, 200}},
		{"close", head + "Connection: x, Close\r\n\r\n" + next, []int{200}},
		{"nothing", "", nil},
		{"half a head", head, nil},
		{"half a line", "GET /v1/x", nil},

		{"CL.TE", head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"TE.CL", head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"TE.TE", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"no coding", head + "Transfer-Encoding:\r\n\r\n" + next, []int{400}},
		{"behind an unknown coding", head + "Transfer-Encoding: rot13\r\n\r\n" + next, []int{501}},
		{"identity", head + "Transfer-Encoding: identity\r\n\r\n" + next, []int{501}},
		{"TE in 1.0", "POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"two lengths", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + next, []int{400}},
		{"the same length twice", head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + next, []int{400}},
		{"a length beside none", head + "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello" + next, []int{400}},
		{"list of lengths", head + "Content-Length: 5, 5\r\n\r\nhello" + next, []int{400}},
		{"signed length", head + "Content-Length: +5\r\n\r\nhello" + next, []int{400}},
		{"empty length", head + "Content-Length:\r\n\r\n" + next, []int{400}},
		{"huge length", head + "Content-Length: 99999999999999999999\r\n\r\nhello" + next, []int{400}},
		{"obs-fold", head + "X: a\r\n b\r\n\r\n" + next, []int{400}},
		{"folded coding", head + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"bare LF", "GET /v1/x HTTP/1.1\nHost: h\r\n\r\n" + next, []int{400}},
		{"bare LF ends the head", head + "\n" + next, []int{400}},
		{"bare CR", head + "X: a\rContent-Length: 5\r\n\r\n" + next, []int{400}},
		{"CR before the line's end", head + "X: a\r\r\n\r\n" + next, []int{400}},
		{"NUL in a value", head + "X: a\x00b\r\n\r\n" + next, []int{400}},
		{"space before the colon", head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + next, []int{400}},
		{"space before the name", "POST /v1/x HTTP/1.1\r\n Host: h\r\n\r\n" + next, []int{400}},
		{"no colon", head + "nonsense\r\n\r\n" + next, []int{400}},
		{"no name", head + ": x\r\n\r\n" + next, []int{400}},
		{"no Host", "GET /v1/x HTTP/1.1\r\n\r\n" + next, []int{400}},
		{"two Hosts", head + "Host: h\r\n\r\n" + next, []int{400}},
		{"two spaces", "GET  /v1/x HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{400}},
		{"space in the target", "GET /v1/x y HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{400}},
		{"space behind the version", "GET /v1/x HTTP/1.1 \r\nHost: h\r\n\r\n" + next, []int{400}},
		{"tab in the target", "GET /v1/x\ty HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{400}},
		{"no version", "GET /v1/x\r\n\r\n" + next, []int{400}},
		{"small letters", "GET /v1/x http/1.1\r\nHost: h\r\n\r\n" + next, []int{400}},
		{"another version", "GET /v1/x HTTP/1.2\r\nHost: h\r\n\r\n" + next, []int{505}},
		{"another expectation", head + "Expect: miracles\r\n\r\n" + next, []int{417}},
		{"empty line before", "\r\nGET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n" + next, []int{400}},
		{"endless line", "GET /" + strings.Repeat("x", 2*maxLine), []int{431}},
		{"endless header", head + strings.Repeat("X: y\r\n", maxLine), []int{431}},
		{"length among the announced trailers", head + "Trailer: X, content-length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, []int{400}},

		{"chunk size with a sign", chunkedHead + "+5\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"chunk size with a space", chunkedHead + "5 \r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"no chunk size", chunkedHead + "\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"huge chunk size", chunkedHead + "fffffffffffffffff\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"chunk size in 0x", chunkedHead + "0x5\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"chunk longer than said", chunkedHead + "4\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"chunk shorter than said", chunkedHead + "6\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"bare LF behind a size", chunkedHead + "5\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"bare LF behind a chunk", chunkedHead + "5\r\nhello\n0\r\n\r\n" + next, []int{400}},
		{"bare LF in an extension", chunkedHead + "5;\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"bare CR in an extension", chunkedHead + "5;\r5\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"endless extension", chunkedHead + "5;" + strings.Repeat("x", maxChunkLine) + "\r\nhello\r\n0\r\n\r\n" + next, []int{400}},
		{"length in the trailer", chunkedHead + "0\r\nContent-Length: 5\r\n\r\n" + next, []int{400}},
		{"length in the trailer, with no end", chunkedHead + "0\r\nContent-Length: 5\r\n" + next, []int{400}},
		{"coding in the trailer", chunkedHead + "0\r\nTransfer-Encoding: chunked\r\n" + next, []int{400}},
		{"nonsense in the trailer", chunkedHead + "5\r\nhello\r\n0\r\nnonsense\r\n" + next, []int{400}},
		{"bare LF in the trailer", chunkedHead + "0\r\nX: y\n" + next, []int{400}},
		{"endless trailer", chunkedHead + "0\r\n" + strings.Repeat("X: y\r\n", maxTrailer) + "\r\n" + next, []int{400}},
		{"endless trailer line", chunkedHead + "0\r\nX: " + strings.Repeat("x", 2*maxTrailer) + "\r\n\r\n" + next, []int{400}},
		{"half a body", head + "Content-Length: 500\r\n\r\n" + next, []int{400}},
		{"half a chunk", chunkedHead + "500\r\n" + next, []int{400}},
	} {
		for _, byteByByte := range []bool{false, true} {
			got, out := serveBytes([]byte(c.bytes), byteByByte, true)
			if s := statuses(t, out, got); !slices.Equal(s, c.served) {
				t.Errorf("%s (byte by byte: %v): %v, want %v: %v", c.name, byteByByte, s, c.served, got)
			}
		}
	}
}

// What a handler leaves of a body is never taken for a request.
func TestUnreadBodies(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", drained)
	for _, c := range []struct {
		name, bytes string
		served      []int
	}{
		{"length", head + "Content-Length: 5\r\n\r\nhello" + next, []int{200, 200}},
		{"chunked", chunkedHead + "5\r\nhello\r\n0\r\nX: y\r\n\r\n" + next, []int{200, 200}},
		{"as much as is read for it", head + fmt.Sprintf("Content-Length: %d\r\n\r\n", drained) + large + next, []int{200, 200}},
		{"more", head + fmt.Sprintf("Content-Length: %d\r\n\r\n", drained+1) + large + "x" + next, []int{200}},
		{"more in chunks", chunkedHead + fmt.Sprintf("%x\r\n", drained+1) + large + "x\r\n0\r\n\r\n" + next, []int{200}},
		{"half", head + fmt.Sprintf("Content-Length: %d\r\n\r\n", drained-1) + next, []int{200}},
		{"bad chunk", chunkedHead + "nonsense\r\n" + next, []int{200}},
		{"bad trailer", chunkedHead + "0\r\nnonsense\r\n" + next, []int{200}},
		{"length in the trailer", chunkedHead + "0\r\nContent-Length: 5\r\n" + next, []int{200}},
		{"not asked for", head + "Expect: 100-continue\r\nContent-Length: 40\r\n\r\n" + next, []int{200}},
	} {
		for _, byteByByte := range []bool{false, true} {
			got, out := serveBytes([]byte(c.bytes), byteByByte, false)
			if s := statuses(t, out, got); !slices.Equal(s, c.served) {
				t.Errorf("%s (byte by byte: %v): %v, want %v", c.name, byteByByte, s, c.served)
			}
		}
	}
}

// A handler sees all of a request.
func TestRequestsAreWhole(t *testing.T) {
	t.Parallel()
	in := "PUT /v1/a%2Fb//c?x=%20&y HTTP/1.1\r\nhost: vault.example:8200\r\nx-vault-token:\t s.x \r\nX-Two: 1\r\nx-two: 2\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"1;x\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 3\r\n\r\n"
	want := seen{
		method: "PUT", target: "/v1/a%2Fb//c?x=%20&y", host: "vault.example:8200", body: "abc",
		header: http.Header{"X-Vault-Token": {"s.x"}, "X-Two": {"1", "2"}}, trailer: http.Header{"X-Sum": {"3"}},
	}
	got, _ := serveBytes([]byte(in), false, true)
	if len(got) != 1 || got[0].String() != want.String() {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whatever comes in: the way it was cut into reads does not matter; what the handler saw is
// what net/http reads there, as long as net/http takes it; and no head with more than one
// length was taken.
func FuzzRequests(f *testing.F) {
	for _, in := range []string{
		head + "Content-Length: 5\r\n\r\nhello" + next,
		chunkedHead + "5\r\nhello\r\n0\r\nX: y\r\n\r\n" + next,
		chunkedHead + "0\r\nX: y\r\nContent-Length: 3\r\n" + next,
		head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		head + "X: a\r\n b\r\n\r\n",
		head + "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n" + next,
		head + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + next,
		head + "Pragma: no-cache\r\nConnection: close\r\n\r\n" + next,
		"GET http://elsewhere/ HTTP/1.1\r\nHost: h\r\n\r\n" + next,
		"GET / HTTP/0.9\r\nX: y\n\r\n\r\n",
	} {
		f.Add([]byte(in), true)
		f.Add([]byte(in), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, reads bool) {
		got, out := serveBytes(in, false, reads)
		again, outAgain := serveBytes(in, true, reads)
		if fmt.Sprint(got) != fmt.Sprint(again) || out != outAgain {
			t.Fatalf("read whole: %v\n%q\nbyte by byte: %v\n%q", got, out, again, outAgain)
		}
		agrees(t, in, got, reads)
	})
}

// agrees compares requests with those that net/http reads.
func agrees(t *testing.T, in []byte, got []seen, reads bool) {
	t.Helper()
	all := &counting{r: bytes.NewReader(in)}
	r := bufio.NewReader(all)
	for _, g := range got {
		checkHead(t, in[all.n-r.Buffered():])
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		want := seen{method: req.Method, target: req.RequestURI, host: req.Host, header: req.Header}
		if g.header["Pragma"] != nil && g.header["Cache-Control"] == nil {
			delete(want.header, "Cache-Control") // which net/http adds
		}
		if !strings.HasPrefix(g.target, "/") {
			want.host = g.host // of an absolute URL
		}
		if reads {
			want.body, want.trailer = string(body), req.Trailer
		}
		if g.broken {
			return // it is stricter
		}
		if g.String() != want.String() {
			t.Fatalf("%v, to net/http %v", g, want)
		}
	}
}

// checkHead: what was taken has one length.
func checkHead(t *testing.T, in []byte) {
	t.Helper()
	text, _, ok := bytes.Cut(in, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("a head without an end was taken: %q", in)
	}
	framing := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		name, _, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "content-length") || strings.EqualFold(name, "transfer-encoding") {
			framing++
		}
	}
	if framing > 1 {
		t.Fatalf("%d lengths in %q", framing, text)
	}
}

func BenchmarkServer(b *testing.B) {
	const request = "GET /v1/secret/data/app HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nUser-Agent: Go-http-client/1.1\r\nX-Vault-Request: true\r\nX-Vault-Token: hvs.xxxxxxxxxxxxxxxxxxxxxxxx\r\nAccept-Encoding: gzip\r\n\r\n"
	answer := []byte(`{"data":{"data":{"password":"hunter2"}}}`)
	raw := &endless{message: []byte(request), n: b.N}
	b.ReportAllocs()
	b.ResetTimer()
	serve(raw, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	}))
	if raw.written == 0 {
		b.Fatal("nothing was answered")
	}
}

// endless is a connection on which the same message comes n times.
type endless struct {
	fake
	message    []byte
	n, written int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	e.n--
	return copy(p, e.message), nil
}

func (e *endless) Write(p []byte) (int, error) { e.written += len(p); return len(p), nil }

// Who reads on when the answer has begun may be told that it is too late, but never gets a
// body with a gap, or half a one as if it were whole.
func TestBodyBehindAnswer(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"length":        head + "Content-Length: 10\r\n\r\n0123456789",
		"chunked":       chunkedHead + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
		"long":          head + fmt.Sprintf("Content-Length: %d\r\n\r\n0123456789", drained+100) + strings.Repeat("x", drained+90),
		"long, chunked": chunkedHead + "5\r\n01234\r\n5\r\n56789\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 2*drained, strings.Repeat("x", 2*drained)),
	} {
		raw := &fake{in: strings.NewReader(body)}
		serve(raw, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, first); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusOK)
			rest, err := io.ReadAll(r.Body)
			all := string(first) + string(rest)
			if err == nil && len(all) != drained+100 || !strings.HasPrefix("0123456789"+strings.Repeat("x", drained+90), all) {
				t.Errorf("%s: %d bytes, %.20q, %v", name, len(all), all, err)
			}
		}))
	}
}
