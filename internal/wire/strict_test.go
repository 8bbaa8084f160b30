package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const head = "POST /v1/x HTTP/1.1\r\nHost: h\r\n"

func TestFraming(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, bytes string
		passes      bool
	}{
		{"plain", "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"two", "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\nGET /v1/y HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"length", head + "Content-Length: 5\r\n\r\nhelloGET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"chunked", head + "Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", true},
		{"tunnel", head + "Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\n\x00anything", true},
		{"empty value", head + "X:\r\n\r\n", true},

		{"CL.TE", head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"TE.CL", head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", false},
		{"TE.TE", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", false},
		{"no coding", head + "Transfer-Encoding:\r\n\r\n", false},
		{"behind an unknown coding", head + "Transfer-Encoding: rot13\r\n\r\nGET", false},
		{"TE in 1.0", "POST /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"two lengths", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false},
		{"the same length twice", head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false},
		{"list of lengths", head + "Content-Length: 5, 5\r\n\r\nhello", false},
		{"signed length", head + "Content-Length: +5\r\n\r\nhello", false},
		{"huge length", head + "Content-Length: 99999999999999999999\r\n\r\nhello", false},
		{"obs-fold", head + "X: a\r\n b\r\n\r\n", false},
		{"folded coding", head + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", false},
		{"bare LF", "GET /v1/x HTTP/1.1\nHost: h\r\n\r\n", false},
		{"bare LF ends the head", head + "\n", false},
		{"bare CR", head + "X: a\rContent-Length: 5\r\n\r\n", false},
		{"space before the colon", head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", false},
		{"space before the name", "POST /v1/x HTTP/1.1\r\n Host: h\r\n\r\n", false},
		{"no colon", head + "nonsense\r\n\r\n", false},
		{"no name", head + ": x\r\n\r\n", false},
		{"two spaces", "GET  /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"space in the target", "GET /v1/x y HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"no version", "GET /v1/x\r\n\r\n", false},
		{"empty line before", "\r\nGET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"chunk size with a sign", head + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", false},
		{"chunk size with a space", head + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", false},
		{"chunk longer than said", head + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", false},
		{"bare LF behind a size", head + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", false},
		{"bare LF in an extension", head + "Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n", false},
		{"length in the trailer", head + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", false},
		{"endless line", "GET /" + strings.Repeat("x", 2*maxLine), false},
	} {
		for _, reads := range []string{"whole", "bytes"} {
			got, bad := filter([]byte(c.bytes), reads == "bytes")
			switch {
			case c.passes && (bad || got != c.bytes):
				t.Errorf("%s (%s): %q passed, of %q", c.name, reads, got, c.bytes)
			case !c.passes && !bad:
				t.Errorf("%s (%s) passed", c.name, reads)
			}
		}
	}
}

// filter reads through a Conn; bad means that the poison came out.
func filter(in []byte, byteByByte bool) (out string, bad bool) {
	all, _ := io.ReadAll(&Conn{Conn: &fake{r: source(in, byteByByte)}}) // it ends as the input does
	out, bad = strings.CutSuffix(string(all), poison)
	return out, bad
}

func source(in []byte, byteByByte bool) io.Reader {
	if byteByByte {
		return iotest.OneByteReader(bytes.NewReader(in))
	}
	return bytes.NewReader(in)
}

// fake is a connection to read from.
type fake struct {
	net.Conn
	r io.Reader
}

func (f *fake) Read(p []byte) (int, error) { return f.r.Read(p) }

// Whatever comes in: what net/http takes for a request ends where the filter says it
// ends, has one length at most, and the way it was cut into reads does not matter.
func FuzzStrict(f *testing.F) {
	f.Add([]byte(head + "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Add([]byte(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Add([]byte(head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte(head + "X: a\r\n b\r\n\r\n"))
	f.Add([]byte(head + "Trailer: X\n\r\n"))
	f.Add([]byte(head + "Upgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, bad := filter(in, false)
		again, badAgain := filter(in, true)
		if bad != badAgain {
			t.Fatalf("read whole: %v, byte by byte: %v", bad, badAgain)
		}
		if !strings.HasPrefix(string(in), got) || !strings.HasPrefix(string(in), again) {
			t.Fatalf("%q and %q passed", got, again)
		}
		agrees(t, in)
	})
}

// agrees compares the ends of requests with those of net/http.
func agrees(t *testing.T, in []byte) {
	t.Helper()
	begins := beginnings(in)
	out := &counting{r: &Conn{Conn: &fake{r: bytes.NewReader(in)}}}
	r := bufio.NewReader(out)
	for at := 0; ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		checkHead(t, in[at:])
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		at = out.n - r.Buffered()
		if websocketAsked(req) {
			return // served or not, no other request follows
		}
		if !slices.Contains(begins, at) {
			t.Fatalf("net/http ends a request at %d, the filter at %v", at, begins)
		}
	}
}

func websocketAsked(r *http.Request) bool {
	return slices.ContainsFunc(r.Header["Upgrade"], func(v string) bool { return strings.EqualFold(v, "websocket") })
}

// checkHead: what net/http took has one length.
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

// beginnings are where the filter expects a request.
func beginnings(in []byte) []int {
	var s strict
	var out []int
	for i := range in {
		if _, err := s.feed(in[i : i+1]); err != nil {
			return out
		}
		if s.state == requestLine && len(s.begun) == 0 {
			out = append(out, i+1)
		}
	}
	return out
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// Whatever line it meets, net/http refuses the poison.
func TestThePoisonIsRefused(t *testing.T) {
	t.Parallel()
	for _, before := range []string{
		"", "GET", "GET / HTTP/1.1", "GET / HTTP/1.1\r\n", head, head + "X", head + "X: y", head + "Trailer: x", head + "Trailer:",
		head + "Content-Length: 0", head + "Transfer-Encoding: chunked", head + "X: y\r\n ",
	} {
		if r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(before + poison))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("behind %q it was taken for a request: %v", before, r)
		}
	}
}

func BenchmarkStrict(b *testing.B) {
	in := []byte("GET /v1/secret/data/app HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nUser-Agent: Go-http-client/1.1\r\nX-Vault-Request: true\r\nX-Vault-Token: hvs.xxxxxxxxxxxxxxxxxxxxxxxx\r\nAccept-Encoding: gzip\r\n\r\n")
	b.ReportAllocs()
	var s strict
	for b.Loop() {
		if _, err := s.feed(in); err != nil {
			b.Fatal(err)
		}
	}
}
