package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// callOf is a simple request.
func callOf(method, path string, body string) *Call {
	r := &http.Request{Method: method, URL: &url.URL{Opaque: path}, Header: make(http.Header), ContentLength: int64(len(body))}
	return &Call{Request: r, Address: "vault:8200", Host: "vault:8200", Body: []byte(body), Repeatable: method == http.MethodGet}
}

// vault is the other end of a transport: what it does on its n-th connection.
type vault struct {
	on      func(n int, c net.Conn)
	dials   atomic.Int32
	running sync.WaitGroup
}

func (v *vault) dial(context.Context, string, bool) (net.Conn, error) {
	n := int(v.dials.Add(1))
	ours, theirs := net.Pipe()
	v.running.Go(func() {
		defer theirs.Close()
		v.on(n, theirs)
	})
	return ours, nil
}

// transport is one to a vault; both end with the test.
func transport(t testing.TB, cfg TransportConfig, on func(n int, c net.Conn)) (*Transport, *vault) {
	v := &vault{on: on}
	if cfg.Dial == nil {
		cfg.Dial = v.dial
	}
	if cfg.MaxHeader == 0 {
		cfg.MaxHeader = 10_000
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	tr := NewTransport(cfg)
	t.Cleanup(func() { tr.Close(); v.running.Wait() })
	return tr, v
}

// answers reads requests and says the same to each, until nothing comes.
func answers(say string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, say); err != nil {
				return
			}
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// finish reads an answer to its end and closes it.
func finish(resp *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

func send(tr *Transport, call *Call) (string, bool, error) {
	resp, sent, err := tr.Send(context.Background(), call)
	body, err := finish(resp, err)
	return body, sent, err
}

// idleOf is how many connections are kept.
func idleOf(tr *Transport) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := 0
	for _, node := range tr.nodes {
		n += len(node.idle)
	}
	return n
}

func nodeOf(tr *Transport) *node {
	n := tr.enter("vault:8200")
	n.leave(0)
	return n
}

// isFree reports whether all slots of a node were given back, and not more than that.
func isFree(tr *Transport, slots int64) bool {
	n := nodeOf(tr)
	if !n.active.TryAcquire(slots) {
		return false
	}
	defer n.active.Release(slots)
	return !n.active.TryAcquire(1)
}

// heard is what becomes of some bytes that come as an answer.
type heard struct {
	status  int // 0: they are none
	length  int64
	header  http.Header
	body    string
	trailer http.Header
	broken  bool // the body
	kept    bool
	at      int // where the answer ends, if it was kept
}

func (a heard) String() string {
	return fmt.Sprintf("%d %d %v %q %v, broken: %v", a.status, a.length, a.header, a.body, a.trailer, a.broken)
}

func tell(method string, in []byte, byteByByte bool) (a heard) {
	out := &counting{r: source(in, byteByByte)}
	tr := NewTransport(TransportConfig{MaxHeader: 1000, MaxIdle: 1, IdleTimeout: time.Hour, Dial: func(context.Context, string, bool) (net.Conn, error) { return &fake{in: out}, nil }})
	defer tr.Close()
	resp, _, err := tr.Send(context.Background(), callOf(method, "/v1/x", ""))
	if err != nil {
		return a
	}
	body, err := io.ReadAll(resp.Body)
	header := resp.Header.Clone() // it is good until the body is closed
	_ = resp.Body.Close()
	a = heard{status: resp.StatusCode, length: resp.ContentLength, header: header, body: string(body), broken: err != nil, trailer: resp.Trailer, kept: idleOf(tr) == 1}
	if a.kept {
		a.at = out.n
	}
	return a
}

func TestTransportReads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, in string
		status           int
		body             string
		broken, kept     bool
	}{
		{"length", "GET", ok, 200, "ok", false, true},
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", false, true},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", 200, "ok", false, true},
		{"204", "PUT", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false, true},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, "", false, true},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, "", false, true},
		{"HEAD, chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", false, true},
		{"interim", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok, 200, "ok", false, true},
		{"close", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, CLOSE\r\n\r\nok", 200, "ok", false, false},
		{"1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false, false},
		{"1.0 that goes on", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 200, "ok", false, true},
		{"to the end", "GET", "HTTP/1.1 200 OK\r\n\r\nanything" + ok, 200, "anything" + ok, false, false},
		{"switched", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nanything", 101, "anything", false, false},
		{"switched with a length", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n", 101, "", false, false},
		{"excess", "GET", ok + ok, 200, "ok", false, false},
		{"excess behind chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok, 200, "", false, false},
		{"excess behind 204", "PUT", "HTTP/1.1 204 No Content\r\n\r\n" + ok, 204, "", false, false},
		{"a body with HEAD", "HEAD", ok, 200, "", false, false},
		{"half a body", "GET", ok[:len(ok)-1], 200, "o", true, false},
		{"half a chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no", 200, "o", true, false},
		{"no last chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 200, "ok", true, false},
		{"no end of the trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n", 200, "ok", true, false},
		{"bad chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", 200, "", true, false},
		{"length in the trailer", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 200, "", true, false},

		{"nothing", "GET", "", 0, "", false, false},
		{"half a head", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", 0, "", false, false},
		{"interim only", "GET", "HTTP/1.1 100 Continue\r\n\r\n", 0, "", false, false},
		{"two lengths", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 0, "", false, false},
		{"the same length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 0, "", false, false},
		{"length and chunked", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", 0, "", false, false},
		{"1.0 and chunked", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", false, false},
		{"unknown coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nok", 0, "", false, false},
		{"obs-fold", "GET", "HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 2\r\n\r\nok", 0, "", false, false},
		{"bare LF", "GET", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", 0, "", false, false},
		{"bare LF behind an interim answer", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", 0, "", false, false},
		{"bare CR", "GET", "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok", 0, "", false, false},
		{"a status too low", "GET", "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", 0, "", false, false},
		{"a signed status", "GET", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", 0, "", false, false},
		{"a long status", "GET", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 0, "", false, false},
		{"HTTP/2", "GET", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 0, "", false, false},
		{"a long header", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n", 0, "", false, false},
		{"many headers", "GET", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n", 0, "", false, false},
	} {
		for _, byteByByte := range []bool{false, true} {
			a := tell(c.method, []byte(c.in), byteByByte)
			kept := c.kept || byteByByte && strings.HasPrefix(c.name, "excess") || byteByByte && c.name == "a body with HEAD" // nothing has come yet
			if a.status != c.status || a.body != c.body || a.broken != c.broken || a.kept != kept {
				t.Errorf("%s (byte by byte: %v): %v, kept: %v", c.name, byteByByte, a, a.kept)
			}
		}
	}
}

// Whatever comes: the way it was cut into reads does not matter, and what is taken for an
// answer is what net/http takes for one, with the same end.
func FuzzTransport(f *testing.F) {
	for _, in := range []string{
		ok + ok,
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1\r\nx\r\n0\r\nX: y\r\n\r\nHTTP",
		"HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \n\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n" + ok,
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
	} {
		f.Add("GET", []byte(in))
		f.Add("HEAD", []byte(in))
	}
	f.Fuzz(func(t *testing.T, method string, in []byte) {
		if method != "HEAD" {
			method = "GET"
		}
		got, again := tell(method, in, false), tell(method, in, true)
		if got.String() != again.String() || got.kept && !again.kept {
			t.Fatalf("read whole: %v\nbyte by byte: %v", got, again)
		}
		if got.status != 0 {
			agreesOnAnswer(t, method, in, again)
		}
	})
}

// agreesOnAnswer compares an answer with that which net/http reads.
func agreesOnAnswer(t *testing.T, method string, in []byte, got heard) {
	t.Helper()
	all := &counting{r: bytes.NewReader(in)}
	r := bufio.NewReader(all)
	resp := &http.Response{StatusCode: 100}
	for resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		var err error
		if resp, err = http.ReadResponse(r, &http.Request{Method: method}); err != nil {
			return // it does not take it
		}
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if got.kept {
			t.Fatalf("a connection was kept that speaks another protocol")
		}
		return
	}
	if err != nil || got.broken {
		return // one of both is stricter
	}
	for _, h := range []http.Header{got.header, resp.Header} {
		delete(h, "Host")
		delete(h, "Trailer")       // is for this connection only
		delete(h, "Cache-Control") // net/http adds it to a Pragma
	}
	want := heard{status: resp.StatusCode, length: got.length, header: resp.Header, body: string(body), trailer: resp.Trailer}
	if len(resp.Trailer) == 0 || len(got.trailer) == 0 {
		want.trailer, got.trailer = nil, nil // those that are announced with no body are nobody's
	}
	if got.String() != want.String() {
		t.Fatalf("%v, to net/http %v", got, want)
	}
	if end := all.n - r.Buffered(); got.kept && got.at != end {
		t.Fatalf("the answer ends at %d, to net/http at %d", got.at, end)
	}
}

// What a request looks like.
func TestTransportWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		call *Call
		with func(*http.Request)
		want string
	}{
		{callOf("GET", "/v1/a%2Fb", ""), nil, "GET /v1/a%2Fb HTTP/1.1\r\nHost: vault:8200\r\n\r\n"},
		{callOf("PUT", "/v1/x", ""), nil, "PUT /v1/x HTTP/1.1\r\nHost: vault:8200\r\nContent-Length: 0\r\n\r\n"},
		{callOf("PUT", "/v1/x", "abc"), nil, "PUT /v1/x HTTP/1.1\r\nHost: vault:8200\r\nContent-Length: 3\r\n\r\nabc"},
		{callOf("PUT", "/v1/x", "abc"), func(r *http.Request) { r.ContentLength = -1 }, "PUT /v1/x HTTP/1.1\r\nHost: vault:8200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{callOf("PUT", "/v1/x", ""), func(r *http.Request) { r.ContentLength = -1 }, "PUT /v1/x HTTP/1.1\r\nHost: vault:8200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{callOf("GET", "/v1/x", ""), func(r *http.Request) { r.URL.RawQuery = "a=%20&b" }, "GET /v1/x?a=%20&b HTTP/1.1\r\nHost: vault:8200\r\n\r\n"},
		{callOf("GET", "/v1/x", ""), func(r *http.Request) { r.URL.ForceQuery = true }, "GET /v1/x? HTTP/1.1\r\nHost: vault:8200\r\n\r\n"},
		{callOf("GET", "/v1/x", ""), func(r *http.Request) {
			r.Header = http.Header{"X-Two": {"1", "2"}, "Host": {"evil"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}, "User-Agent": {"", "b"}}
		}, "GET /v1/x HTTP/1.1\r\nHost: vault:8200\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n"},
	} {
		if c.with != nil {
			c.with(c.call.Request)
		}
		raw := &fake{in: strings.NewReader(ok)}
		tr, _ := transport(t, TransportConfig{Dial: func(context.Context, string, bool) (net.Conn, error) { return raw, nil }}, nil)
		if body, sent, err := send(tr, c.call); body != "ok" || !sent || err != nil {
			t.Errorf("%q %v %v", body, sent, err)
		}
		if raw.out.String() != c.want {
			t.Errorf("%q, want %q", raw.out.String(), c.want)
		}
	}
}

// A value that would end its line is refused before anything is sent.
func TestTransportRefusesLineEnds(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"a\r\nX-Evil: b", "a\nb", "a\rb", "a\x00b"} {
		raw := &fake{in: strings.NewReader(ok)}
		tr, _ := transport(t, TransportConfig{MaxActive: 1, Dial: func(context.Context, string, bool) (net.Conn, error) { return raw, nil }}, nil)
		call := callOf("GET", "/v1/x", "")
		call.Request.Header.Set("X-Value", value)
		if _, sent, err := send(tr, call); err == nil || sent || raw.out.Len() > 0 || !isFree(tr, 1) || strings.Contains(err.Error(), value) {
			t.Errorf("%v %v, %q was sent", sent, err, raw.out.String())
		}
	}
}

// Connections are used again, the one used last first, and closed when nobody has use for
// them.
func TestKeptConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		tr, v := transport(t, TransportConfig{MaxIdle: 2, IdleTimeout: time.Minute}, func(n int, c net.Conn) {
			open.Add(1)
			defer open.Add(-1)
			answers(ok)(n, c)
		})
		var under []*http.Response
		for range 3 {
			resp, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
			if err != nil {
				t.Fatal(err)
			}
			under = append(under, resp)
		}
		for _, resp := range under {
			if body, err := finish(resp, nil); body != "ok" || err != nil {
				t.Errorf("%q %v", body, err)
			}
		}
		synctest.Wait()
		if open.Load() != 2 || idleOf(tr) != 2 || v.dials.Load() != 3 {
			t.Errorf("%d open, %d idle, %d dialled", open.Load(), idleOf(tr), v.dials.Load())
		}
		for range 50 { // one of both is in use, the other gets old
			time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble's time
			if body, _, err := send(tr, callOf("PUT", "/v1/x", "x")); body != "ok" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
		}
		synctest.Wait()
		if open.Load() != 1 || idleOf(tr) != 1 || v.dials.Load() != 3 {
			t.Errorf("%d open, %d idle, %d dialled", open.Load(), idleOf(tr), v.dials.Load())
		}
		time.Sleep(61 * time.Second) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		if open.Load() != 0 || idleOf(tr) != 0 {
			t.Errorf("%d open, %d idle behind the timeout", open.Load(), idleOf(tr))
		}
	})
}

// An address is forgotten with its last connection, but not while there are requests to it.
func TestNodesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxIdle: 2, MaxActive: 2, IdleTimeout: time.Minute}, answers(ok))
		known := func() int {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			return len(tr.nodes)
		}
		first := nodeOf(tr)
		under, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // one is kept beside it, and its time ends
			if body, _, err := send(tr, callOf("GET", "/v1/x", "")); body != "ok" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
			<-time.After(2 * time.Minute)
			if idleOf(tr) != 0 || known() != 1 || nodeOf(tr) != first {
				t.Errorf("%d connections, %d addresses with a request under way", idleOf(tr), known())
			}
		}
		if body, err := finish(under, nil); body != "ok" || err != nil {
			t.Errorf("%q %v", body, err)
		}
		<-time.After(2 * time.Minute)
		if known() != 0 {
			t.Errorf("%d addresses of nobody", known())
		}
		if body, _, err := send(tr, callOf("GET", "/v1/x", "")); body != "ok" || err != nil || v.dials.Load() != 5 || !isFree(tr, 2) {
			t.Errorf("afterwards: %q %v, %d dialled", body, err, v.dials.Load())
		}
	})
}

// Others send while connections close.
func TestTransportClosesWithoutTheLock(t *testing.T) {
	t.Parallel()
	for name, closes := range map[string]func(*Transport, *link){
		"not used for long": func(tr *Transport, _ *link) { tr.reap() },
		"Close":             func(tr *Transport, _ *link) { tr.Close() },
		"too many":          func(tr *Transport, l *link) { _ = tr.put(l) },
	} {
		tr := NewTransport(TransportConfig{MaxIdle: 1})
		raw := &unlocked{t: t, mu: &tr.mu}
		n := tr.enter("vault:8200")
		l := &link{t: tr, node: n, conn: raw}
		n.idle = []*link{l}
		closes(tr, l)
		if raw.closed != 1 {
			t.Errorf("%s: %d closed", name, raw.closed)
		}
	}
}

// Close closes idle connections at once and others behind their answer.
func TestTransportCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		tr, v := transport(t, TransportConfig{MaxIdle: 2}, func(n int, c net.Conn) {
			open.Add(1)
			defer open.Add(-1)
			answers(ok)(n, c)
		})
		one, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := send(tr, callOf("GET", "/v1/x", "")); err != nil {
			t.Fatal(err)
		}
		tr.Close()
		synctest.Wait()
		if open.Load() != 1 || idleOf(tr) != 0 {
			t.Errorf("%d are open while one is under way", open.Load())
		}
		if body, err := finish(one, nil); body != "ok" || err != nil {
			t.Errorf("%q %v", body, err)
		}
		if body, _, err := send(tr, callOf("GET", "/v1/x", "")); body != "ok" || err != nil {
			t.Errorf("when it was closed: %q %v", body, err)
		}
		synctest.Wait()
		if open.Load() != 0 || v.dials.Load() != 3 {
			t.Errorf("%d are open, %d were dialled", open.Load(), v.dials.Load())
		}
	})
}

// A body that is closed twice gives one slot and one connection back, also when the
// connection has another request by then.
func TestBodiesCloseTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxIdle: 2, MaxActive: 1}, answers(ok))
		first, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
		if _, err := finish(first, err); err != nil {
			t.Fatal(err)
		}
		second, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Body.Close(); err != nil {
			t.Error(err)
		}
		if n, err := first.Body.Read(make([]byte, 9)); n > 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("a closed body gave %d bytes, %v", n, err)
		}
		if nodeOf(tr).active.TryAcquire(1) {
			t.Error("a slot was given back twice")
		}
		if body, err := finish(second, nil); body != "ok" || err != nil {
			t.Errorf("%q %v", body, err)
		}
		if !isFree(tr, 1) || idleOf(tr) != 1 || v.dials.Load() != 1 {
			t.Errorf("%d idle, %d dialled", idleOf(tr), v.dials.Load())
		}
	})
}

// A body that was not read to its end takes the connection with it.
func TestUnreadAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxIdle: 2, MaxActive: 1}, answers(ok))
		for range 3 {
			resp, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		}
		if !isFree(tr, 1) || idleOf(tr) != 0 || v.dials.Load() != 3 {
			t.Errorf("%d idle, %d dialled", idleOf(tr), v.dials.Load())
		}
	})
}

// closesBehind answers the first request and closes behind the next, without an answer, on
// the first connection; it tells of all requests.
func closesBehind(got *[]string, half string) func(int, net.Conn) {
	return func(n int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			*got = append(*got, fmt.Sprintf("%d %s", n, req.RequestURI))
			say := ok
			if n == 1 && len(*got) > 1 {
				say = half
			}
			if _, err := io.WriteString(c, say); err != nil || say == half {
				return
			}
		}
	}
}

// A connection that ends in the very moment: what may be repeated is, once; of anything else
// it is told that it was sent.
func TestClosedInTheVeryMoment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, half string
		want               string
	}{
		{"a read", "GET", "", "[1 /v1/first 1 /v1/x 2 /v1/x]"},
		{"a write", "PUT", "", "[1 /v1/first 1 /v1/x]"},
		{"half an answer", "GET", "HTTP/1.1 200", "[1 /v1/first 1 /v1/x]"},
		{"an interim answer", "GET", "HTTP/1.1 103 Early Hints\r\n\r\n", "[1 /v1/first 1 /v1/x]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []string
				tr, _ := transport(t, TransportConfig{MaxIdle: 1, MaxActive: 1}, closesBehind(&got, c.half))
				if _, _, err := send(tr, callOf("GET", "/v1/first", "")); err != nil {
					t.Fatal(err)
				}
				body, sent, err := send(tr, callOf(c.method, "/v1/x", ""))
				synctest.Wait()
				if again := strings.Contains(c.want, "2 "); (err == nil) != again || (body == "ok") != again || !sent {
					t.Errorf("%q %v %v", body, sent, err)
				}
				if fmt.Sprint(got) != c.want || !isFree(tr, 1) {
					t.Errorf("%v arrived", got)
				}
			})
		})
	}
}

// On a connection that is new, nothing is repeated.
func TestClosedWhenNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxIdle: 1, MaxActive: 1}, func(_ int, c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
		})
		if _, sent, err := send(tr, callOf("GET", "/v1/x", "")); err == nil || !sent || v.dials.Load() != 1 || !isFree(tr, 1) {
			t.Errorf("%v %v, %d dialled", sent, err, v.dials.Load())
		}
	})
}

// A kept connection that was closed meanwhile is noticed before anything is sent over it.
func TestClosedMeanwhile(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, behind := range map[string]string{"closed": "", "excess": ok, "half an answer": "HTTP/1.1"} {
		tr, _ := transport(t, TransportConfig{MaxIdle: 1, MaxActive: 1, Dial: func(ctx context.Context, _ string, _ bool) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		}}, nil)
		var arrived atomic.Int32
		var served sync.WaitGroup
		closed := make(chan struct{})
		served.Go(func() {
			for i := range 2 {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					arrived.Add(1)
				}
				_, _ = io.WriteString(c, ok)
				if i == 0 {
					<-closed
					_, _ = io.WriteString(c, behind)
				}
				if behind == "" || i == 1 {
					_ = c.Close()
				} else {
					defer c.Close()
				}
				if i == 0 {
					closed <- struct{}{}
				}
			}
		})
		if body, _, err := send(tr, callOf("GET", "/v1/x", "")); body != "ok" || err != nil {
			t.Fatalf("%q %v", body, err)
		}
		closed <- struct{}{}
		<-closed
		arrives(t, tr)
		if body, sent, err := send(tr, callOf("POST", "/v1/x", "x")); body != "ok" || !sent || err != nil {
			t.Errorf("%s: %q %v %v", name, body, sent, err)
		}
		served.Wait()
		if arrived.Load() != 2 {
			t.Errorf("%s: %d requests arrived", name, arrived.Load())
		}
	}
}

// arrives waits until something has come over the connection that is kept.
func arrives(t *testing.T, tr *Transport) {
	t.Helper()
	socket, err := nodeOf(tr).idle[0].conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		come := false
		if err := socket.Read(func(fd uintptr) bool { come = hasCome(fd); return true }); err != nil {
			t.Fatal(err)
		}
		if come {
			return
		}
		<-tick.C
	}
	t.Fatal("nothing has come")
}

// dries is a connection that can be dry, and must not be given deadlines.
type dries struct {
	net.Conn
	t  testing.TB
	on bool
}

func (d *dries) Dry(on bool) { d.on = on }

func (d *dries) Read(p []byte) (int, error) {
	if d.on {
		return 0, os.ErrDeadlineExceeded
	}
	return d.Conn.Read(p)
}

func (d *dries) SetReadDeadline(time.Time) error {
	d.t.Error("a deadline was set")
	return nil
}

// atOnce is a connection that can hold back what is written, to send it in one segment.
type atOnce struct {
	net.Conn
	holds bool
	held  []byte
}

func (a *atOnce) Write(p []byte) (int, error) {
	if !a.holds {
		return a.Conn.Write(p)
	}
	a.held = append(a.held, p...)
	return len(p), nil
}

func (a *atOnce) release() {
	_, _ = a.Conn.Write(a.held) // who does not read it has gone
	a.holds, a.held = false, nil
}

// What comes behind an answer within the same TLS record, or in another one that came with
// it, can't be seen in the socket.
func TestExcessWithinTLS(t *testing.T) {
	t.Parallel()
	large := "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10_000)
	for name, c := range map[string]struct {
		records []string
		dials   int32
	}{
		"as it says":       {[]string{large}, 1},
		"small, excess":    {[]string{ok + ok}, 2},
		"excess":           {[]string{large + ok}, 2},
		"excess of a byte": {[]string{large + "H"}, 2},
		"two records":      {[]string{ok, ok}, 2},
	} {
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry: %v", name, dry), func(t *testing.T) {
				t.Parallel()
				var dials atomic.Int32
				secure := dialsTLS(t, c.records)
				tr, _ := transport(t, TransportConfig{MaxIdle: 1, MaxActive: 1, Dial: func(context.Context, string, bool) (net.Conn, error) {
					dials.Add(1)
					return secure(dry), nil
				}}, nil)
				for range 2 {
					resp, _, err := tr.Send(context.Background(), callOf("GET", "/v1/x", ""))
					if err != nil {
						t.Fatal(err)
					}
					if body, err := finish(resp, err); err != nil || !strings.Contains(c.records[0], "\r\n\r\n"+body) || len(body) != int(resp.ContentLength) {
						t.Errorf("%.20q %v", body, err)
					}
				}
				if dials.Load() != c.dials {
					t.Errorf("%d connections, want %d", dials.Load(), c.dials)
				}
			})
		}
	}
}

// dialsTLS gives what connects, by TLS over TCP, to one that sends the same records in one
// segment behind each request.
func dialsTLS(t testing.TB, records []string) func(dry bool) *tls.Conn {
	t.Helper()
	certificate, pool := certify(t)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	return func(dry bool) *tls.Conn {
		ours, theirs := connected(t)
		t.Cleanup(func() { _ = ours.Close() })
		running.Go(func() {
			defer theirs.Close()
			below := &atOnce{Conn: theirs}
			above := tls.Server(below, &tls.Config{Certificates: []tls.Certificate{certificate}, DynamicRecordSizingDisabled: true})
			for r := bufio.NewReader(above); ; below.release() {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				below.holds = true
				for _, record := range records {
					_, _ = io.WriteString(above, record)
				}
			}
		})
		if dry {
			ours = &dries{Conn: ours, t: t}
		}
		return tls.Client(ours, &tls.Config{RootCAs: pool, ServerName: "vault"})
	}
}

// BenchmarkHasMore is over TLS and TCP.
func BenchmarkHasMore(b *testing.B) {
	for name, dry := range map[string]bool{"deadline": false, "dry": true} {
		b.Run(name, func(b *testing.B) {
			conn := dialsTLS(b, nil)(dry)
			if err := conn.Handshake(); err != nil {
				b.Fatal(err)
			}
			l := newLink(nil, nil, conn)
			b.ReportAllocs()
			for b.Loop() {
				if l.hasMore() {
					b.Fatal("there is more")
				}
			}
		})
	}
}

// connected gives both ends of a TCP connection.
func connected(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// certify makes a certificate and those who trust it.
func certify(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"vault"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A request of which nothing left can be told from others.
func TestNothingSent(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, dial := range map[string]func(context.Context, string, bool) (net.Conn, error){
		"dial":  func(context.Context, string, bool) (net.Conn, error) { return nil, broken },
		"write": func(context.Context, string, bool) (net.Conn, error) { return &mute{err: broken}, nil },
	} {
		tr, _ := transport(t, TransportConfig{MaxActive: 1, Dial: dial}, nil)
		if _, sent, err := send(tr, callOf("PUT", "/v1/x", "x")); sent || !errors.Is(err, broken) || !isFree(tr, 1) {
			t.Errorf("%s: %v %v", name, sent, err)
		}
	}
	tr, _ := transport(t, TransportConfig{MaxActive: 1, Dial: func(context.Context, string, bool) (net.Conn, error) { return &mute{n: 1, err: broken}, nil }}, nil)
	if _, sent, err := send(tr, callOf("PUT", "/v1/x", "x")); !sent || !errors.Is(err, broken) || !isFree(tr, 1) {
		t.Errorf("a part: %v %v", sent, err)
	}
}

// mute is a connection to which nothing can be written, or a little.
type mute struct {
	fake
	n   int
	err error
}

func (m *mute) Write([]byte) (int, error) { return m.n, m.err }

// A kept connection that takes nothing more is no reason to give up, whatever the request.
func TestKeptConnectionTakesNothing(t *testing.T) {
	t.Parallel()
	for _, part := range []int{0, 1} {
		var dials atomic.Int32
		conns := []net.Conn{&turning{fake: fake{in: strings.NewReader(ok)}, n: part}, &fake{in: strings.NewReader(ok)}}
		tr, _ := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1, Dial: func(context.Context, string, bool) (net.Conn, error) { return conns[dials.Add(1)-1], nil }}, nil)
		if _, _, err := send(tr, callOf("GET", "/v1/x", "")); err != nil {
			t.Fatal(err)
		}
		_, sent, err := send(tr, callOf("PUT", "/v1/x", "x"))
		if !sent || (err == nil) != (part == 0) || int(dials.Load()) != 2-part || !isFree(tr, 1) {
			t.Errorf("%d bytes out: %v %v, %d dialled", part, sent, err, dials.Load())
		}
	}
}

// turning is a connection that takes one write, and of the next one a little.
type turning struct {
	fake
	writes, n int
}

func (c *turning) Write(p []byte) (int, error) {
	if c.writes++; c.writes > 1 {
		return c.n, errors.New("broken")
	}
	return len(p), nil
}

// When the second connection fails, the request may have arrived over the first one.
func TestSentOverTheFirst(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]net.Conn{"dial": nil, "write": &mute{err: errors.New("broken")}} {
		var dials atomic.Int32
		tr, _ := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1, Dial: func(context.Context, string, bool) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return &fake{in: strings.NewReader(ok)}, nil // and then it ends
			}
			if second == nil {
				return nil, errors.New("broken")
			}
			return second, nil
		}}, nil)
		if _, _, err := send(tr, callOf("GET", "/v1/x", "")); err != nil {
			t.Fatal(err)
		}
		if _, sent, err := send(tr, callOf("GET", "/v1/x", "")); err == nil || !sent || dials.Load() != 2 || !isFree(tr, 1) {
			t.Errorf("%s: %v %v", name, sent, err)
		}
	}
}

// endings are the kinds of contexts that a request may have, with what ends them.
func endings(t *testing.T) map[string]func() (context.Context, func()) {
	return map[string]func() (context.Context, func()){
		"context": func() (context.Context, func()) { return context.WithCancel(t.Context()) },
		"Life": func() (context.Context, func()) {
			l := &Life{}
			l.Begin(t.Context())
			return l, func() { l.End(nil) }
		},
		"Life of a Life": func() (context.Context, func()) {
			l, inner := &Life{}, &Life{}
			l.Begin(t.Context())
			inner.Begin(l)
			return inner, func() { l.End(errors.New("x")) }
		},
		"context of a Life": func() (context.Context, func()) {
			l := &Life{}
			l.Begin(t.Context())
			ctx, cancel := context.WithCancel(l)
			t.Cleanup(cancel)
			return ctx, func() { l.End(nil) }
		},
	}
}

// A context that ends ends the request wherever it is, and gives all back.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	hang := func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, c := range map[string]struct {
		on   func(int, net.Conn)
		dial bool
		sent bool
	}{
		"dial": {hang, true, false},
		"head": {hang, false, true},
		"half a head": {func(n int, c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200")
			hang(n, c)
		}, false, true},
		"behind a 103": {func(n int, c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 103 x\r\n\r\n")
			hang(n, c)
		}, false, true},
	} {
		for kind := range endings(t) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					v := &vault{on: c.on}
					tr, _ := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1, Dial: func(ctx context.Context, a string, s bool) (net.Conn, error) {
						if c.dial {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return v.dial(ctx, a, s)
					}}, nil)
					ctx, end := endings(t)[kind]()
					go func() { synctest.Wait(); end() }()
					_, sent, err := tr.Send(ctx, callOf("PUT", "/v1/x", "x"))
					if sent != c.sent || !errors.Is(err, context.Canceled) || !isFree(tr, 1) || idleOf(tr) != 0 {
						t.Errorf("%v %v", sent, err)
					}
					v.running.Wait() // the connection is closed
				})
			})
		}
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1}, answers(ok))
		first, _, err := tr.Send(t.Context(), callOf("GET", "/v1/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, sent, err := tr.Send(ctx, callOf("GET", "/v1/x", "")); sent || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v %v", sent, err)
		}
		if _, err := finish(first, nil); err != nil || !isFree(tr, 1) || v.dials.Load() != 1 {
			t.Errorf("%v", err)
		}
	})
}

func TestContextEndsWithinTheBody(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]string{"half": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "read, but not closed": ok} {
		for kind := range endings(t) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					tr, v := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1}, answers(say))
					ctx, end := endings(t)[kind]()
					resp, _, err := tr.Send(ctx, callOf("GET", "/v1/x", ""))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(resp.Body, make([]byte, 2)); err != nil {
						t.Fatal(err)
					}
					go func() { synctest.Wait(); end() }()
					if rest, err := io.ReadAll(resp.Body); err == nil && say != ok {
						t.Errorf("%q %v", rest, err)
					}
					<-ctx.Done()
					synctest.Wait()
					_ = resp.Body.Close()
					if !isFree(tr, 1) || idleOf(tr) != 0 {
						t.Error("the connection is kept, or the slot")
					}
					v.running.Wait() // the connection is closed
				})
			})
		}
	}
}

// A context that ends behind its request ends nothing.
func TestContextEndsLater(t *testing.T) {
	t.Parallel()
	for kind := range endings(t) {
		synctest.Test(t, func(t *testing.T) {
			tr, v := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1}, answers(ok))
			for range 3 {
				ctx, end := endings(t)[kind]()
				resp, _, err := tr.Send(ctx, callOf("PUT", "/v1/x", "x"))
				if body, err := finish(resp, err); body != "ok" || err != nil {
					t.Errorf("%s: %q %v", kind, body, err)
				}
				end()
				synctest.Wait()
			}
			if v.dials.Load() != 1 || idleOf(tr) != 1 {
				t.Errorf("%s: %d connections", kind, v.dials.Load())
			}
			ctx, end := endings(t)[kind]()
			end()
			synctest.Wait()
			if _, sent, err := tr.Send(ctx, callOf("PUT", "/v1/x", "x")); sent || !errors.Is(err, context.Canceled) || !isFree(tr, 1) {
				t.Errorf("%s, when it is over already: %v %v", kind, sent, err)
			}
		})
	}
}

// An interim answer that its reader does not like ends the call.
func TestInterim(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	synctest.Test(t, func(t *testing.T) {
		tr, v := transport(t, TransportConfig{MaxActive: 1, MaxIdle: 1}, answers("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+ok))
		var got []string
		call := callOf("GET", "/v1/x", "")
		call.Interim = func(status int, header textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(status, header))
			return nil
		}
		if body, _, err := send(tr, call); body != "ok" || err != nil || fmt.Sprint(got) != "[103 map[Link:[x]] 102 map[]]" {
			t.Errorf("%q %v %v", body, err, got)
		}
		call.Interim = func(int, textproto.MIMEHeader) error { return enough }
		if _, sent, err := send(tr, call); !sent || !errors.Is(err, enough) || !isFree(tr, 1) || idleOf(tr) != 0 {
			t.Errorf("%v %v", sent, err)
		}
		v.running.Wait()
	})
}

// Interim answers that nobody looks at come to an end.
func TestInterimWithoutEnd(t *testing.T) {
	t.Parallel()
	for n, good := range map[int]bool{maxInterim: true, maxInterim + 1: false} {
		tr, _ := transport(t, TransportConfig{MaxActive: 1}, answers(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", n)+ok))
		body, sent, err := send(tr, callOf("GET", "/v1/x", ""))
		if !sent || (body == "ok") != good || errors.Is(err, errInterim) == good || !isFree(tr, 1) {
			t.Errorf("%d: %q %v %v", n, body, sent, err)
		}
	}
}

// There are never more requests under way than may be, and all slots come back, however
// requests end.
func TestSlots(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.Int64Range(1, 4).Draw(rt, "slots")
		ends := rapid.SliceOfN(rapid.SampledFrom([]string{"read", "unread", "twice", "close", "broken", "cut", "dial", "value", "context"}), 1, 20).Draw(rt, "ends")
		synctest.Test(t, func(t *testing.T) { slotsComeBack(t, slots, ends) })
	})
}

func slotsComeBack(t *testing.T, slots int64, ends []string) {
	var under atomic.Int64
	tr, _ := transport(t, TransportConfig{MaxActive: int(slots), MaxIdle: 2, Dial: nil}, func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			say := ok
			switch req.RequestURI {
			case "/close":
				say = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
			case "/broken":
				say = "nonsense\r\n\r\n"
			case "/cut":
				return
			case "/context":
				_, _ = io.Copy(io.Discard, c)
				return
			}
			if _, err := io.WriteString(c, say); err != nil {
				return
			}
		}
	})
	dial := tr.cfg.Dial
	tr.cfg.Dial = func(ctx context.Context, a string, s bool) (net.Conn, error) {
		if ctx.Value(dialFails{}) != nil {
			return nil, errors.New("broken")
		}
		return dial(ctx, a, s)
	}
	var all sync.WaitGroup
	for _, end := range ends {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if end == "dial" {
				ctx = context.WithValue(ctx, dialFails{}, true)
			}
			call := callOf("GET", "/"+end, "")
			if end == "value" {
				call.Request.Header.Set("X", "a\nb")
			}
			resp, _, err := tr.Send(ctx, call)
			if err != nil {
				return
			}
			if n := under.Add(1); n > slots {
				t.Errorf("%d requests are under way, of %d", n, slots)
			}
			if end != "unread" {
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			under.Add(-1)
			_ = resp.Body.Close()
			if end == "twice" {
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
	if !isFree(tr, slots) {
		t.Errorf("slots are missing, or too many, behind %v", ends)
	}
}

type dialFails struct{}

func BenchmarkTransport(b *testing.B) {
	const document = `{"data":{"data":{"password":"hunter2"}}}`
	raw := &endless{n: math.MaxInt, message: fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/json\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(document), document)}
	tr := NewTransport(TransportConfig{MaxActive: 1, MaxIdle: 1, IdleTimeout: time.Hour, MaxHeader: 10_000, Dial: func(context.Context, string, bool) (net.Conn, error) { return raw, nil }})
	defer tr.Close()
	call := callOf("GET", "/v1/secret/data/app", "")
	call.Request.Header = http.Header{"User-Agent": {"Go-http-client/1.1"}, "X-Vault-Request": {"true"}, "X-Vault-Token": {"hvs.xxxxxxxxxxxxxxxxxxxxxxxx"}, "Accept-Encoding": {"gzip"}}
	buf := make([]byte, 64)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		resp, _, err := tr.Send(ctx, call)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.ReadFull(resp.Body, buf[:len(document)]); n != len(document) || err != nil {
			b.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
