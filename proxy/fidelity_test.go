package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a health room whose picture never changes: one cluster, its own primary.
type fixed struct{ t *health.Topology }

func (f fixed) Topology() *health.Topology  { return f.t }
func (f fixed) Changed() <-chan struct{}    { return nil }
func (f fixed) Failed(_, _ string, _ error) {}
func (fixed) Succeeded(_, _ string)         {}

// noMounts knows no mount and never learns one.
type noMounts struct{}

func (noMounts) Table() *routing.Table                                      { return nil }
func (noMounts) Learn(context.Context, string, string, string, string) bool { return false }
func (noMounts) Forget(string)                                              {}
func (noMounts) Refresh(string, string, string)                             {}

type transport struct{ *http.Transport }

func (t transport) RoundTrip(_ string, r *http.Request, _ bool) (*http.Response, error) {
	return t.Transport.RoundTrip(r)
}

type unreachable struct{}

func (unreachable) Client(string) (*api.Client, error) { return nil, fmt.Errorf("no control plane") }

// front serves a proxy whose only cluster is at the given address.
func front(t *testing.T, address string) *httptest.Server {
	t.Helper()
	tokens, err := tokencache.New(tokencache.Config{Vault: unreachable{}})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true}
	p := New(Config{
		Health: fixed{&health.Topology{Region: "r", Primary: "one", Clusters: []health.Cluster{{
			Name: "one", Region: "r", Role: health.RolePrimary, State: health.StateHealthy,
			Nodes: []health.Node{{Address: address, State: health.StateHealthy, Serves: true, Active: true}},
		}}}},
		Mounts: noMounts{}, Upstream: transport{tr}, Router: routing.New(nil),
		Planner: routing.NewPlanner(routing.Preferences{}), Tokens: tokens, Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	s := httptest.NewServer(p.Handler(Policy{Lend: LendNever}))
	t.Cleanup(func() { s.Close(); tr.CloseIdleConnections() })
	return s
}

// recorder is a server that keeps the bytes of each request and answers 204.
type recorder struct {
	mu  sync.Mutex
	got []string
}

func record(t *testing.T) (*recorder, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return r, "http://" + l.Addr().String()
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(c, &raw))
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
	r.mu.Lock()
	r.got = append(r.got, raw.String())
	r.mu.Unlock()
	_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
}

func (r *recorder) last(t *testing.T) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("nothing arrived upstream")
	}
	return r.got[len(r.got)-1]
}

// raw sends bytes as a client would and returns the status line.
func raw(t *testing.T, s *httptest.Server, request string) string {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestRequestLineArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	up, address := record(t)
	s := front(t, address)
	for _, target := range []string{
		"GET /v1/secret/data/a%2Fb?version=2",
		"GET /v1/secret//data/../x",
		"GET /v1/secret/data/%2e%2e/x",
		"LIST /v1/secret/metadata/",
		"GET /v1/secret/data/x?a=1;b=2&c=%zz",
		"GET /v1/secret/data/x?",
		"PATCH /v1/secret/data/x",
		"SCAN /v1/secret/metadata/a+b~c",
	} {
		if got := raw(t, s, target+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); got != "HTTP/1.1 204 No Content" {
			t.Errorf("%s: %s", target, got)
			continue
		}
		if line, _, _ := strings.Cut(up.last(t), "\r\n"); line != target+" HTTP/1.1" {
			t.Errorf("sent %q, arrived %q", target, line)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	up, address := record(t)
	s := front(t, address)
	raw(t, s, "GET /v1/sys/tools/x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Vault-Wrap-TTL, X-Drop\r\nX-Drop: 1\r\n"+
		"X-Vault-Wrap-TTL: 60\r\nX-Vault-MFA: a:1\r\nX-Vault-MFA: b:2\r\nX-Vrproxy-Cluster: one\r\nX-Vrproxy-Session: app\r\n"+
		"Te: trailers\r\nUpgrade: h2c\r\nX-Other: kept\r\n\r\n")
	got := up.last(t)
	for _, want := range []string{"X-Vault-Wrap-Ttl: 60\r\n", "X-Vault-Mfa: a:1\r\n", "X-Vault-Mfa: b:2\r\n", "X-Other: kept\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, not := range []string{"X-Vrproxy", "X-Drop", "Te:", "Upgrade", "User-Agent", "Accept-Encoding", "X-Forwarded"} {
		if strings.Contains(got, not) {
			t.Errorf("%q arrived:\n%s", not, got)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	_, address := record(t)
	s := front(t, address)
	for _, request := range []string{
		"CONNECT vault:8200 HTTP/1.1\r\nHost: vault:8200\r\n\r\n",
		"GET http://elsewhere/v1/secret/data/x HTTP/1.1\r\nHost: elsewhere\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /v1/a%00b HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		if got := raw(t, s, request); got != "HTTP/1.1 400 Bad Request" {
			t.Errorf("%q: %s", request, got)
		}
	}
}

// Bodies of every size arrive whole; the small are kept for repeats, the large are
// streamed.
func TestBodies(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %d", n, err, r.ContentLength)
	}))
	t.Cleanup(up.Close)
	s := front(t, up.URL)
	for _, size := range []int{0, 1, 600, keepBody - 1, keepBody, keepBody + 1, 5 << 20} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, size))
			length := size
			if chunked {
				body, length = io.MultiReader(body), -1 // hides its length
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/sys/tools/hash", body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if chunked && size == 0 {
				length = 0 // net/http's client sends no chunked empty body
			}
			if want := fmt.Sprintf("%d <nil> %d", size, length); string(got) != want {
				t.Errorf("size %d, chunked %v: upstream saw %q, want %q", size, chunked, got, want)
			}
		}
	}
}

// An endless answer is passed on line by line, and ends upstream when the client
// goes away.
func TestStreams(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	lines := make(chan string)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		for {
			select {
			case l := <-lines:
				fmt.Fprintln(w, l)
				_ = flush.Flush()
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	s := front(t, up.URL)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/v1/sys/monitor", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(HeaderCluster, "one")
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for _, want := range []string{"first", "second"} {
		lines <- want
		if got, err := in.ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
			t.Fatalf("%q %v", got, err)
		}
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream request goes on without its client")
	}
}

func TestTrailersAndBrokenAnswers(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "broken") {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	}))
	t.Cleanup(up.Close)
	s := front(t, up.URL)
	resp, err := s.Client().Get(s.URL + "/v1/kv/x")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if got := resp.Trailer.Get("X-Sum"); got != "42" {
		t.Errorf("trailer %q", got)
	}
	resp, err = s.Client().Get(s.URL + "/v1/kv/broken")
	if err != nil {
		return // broken off before the header left the proxy's buffer: just as honest
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half an answer was taken for a whole one")
	}
}

func TestWebsocketGoesBothWays(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket(r.Header) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = buf.Flush()
		line, _ := buf.ReadString('\n')
		_, _ = buf.WriteString("echo " + line)
		_ = buf.Flush()
	}))
	t.Cleanup(up.Close)
	s := front(t, up.URL)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /v1/sys/events/subscribe/kv* HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get(HeaderCluster) != "one" {
		t.Fatalf("%v %v", resp, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if got, err := in.ReadString('\n'); err != nil || got != "echo hello\n" {
		t.Errorf("%q %v", got, err)
	}
}
