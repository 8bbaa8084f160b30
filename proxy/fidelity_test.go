package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/http1"
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

func (t transport) Send(ctx context.Context, _ string, call *http1.Call, _ bool) (resp *http.Response, sent bool, err error) {
	resp, err = t.RoundTrip(wholeRequest(ctx, call))
	return resp, true, err
}

// wholeRequest is a call as net/http has it.
func wholeRequest(ctx context.Context, call *http1.Call) *http.Request {
	r := call.Request.WithContext(ctx)
	switch {
	case r.Body == nil && len(call.Body) == 0:
		r.Body, r.ContentLength = http.NoBody, 0
	case r.Body == nil:
		r.Body = io.NopCloser(bytes.NewReader(call.Body))
	}
	return r
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

// A token is found where Vault finds it, and another one put in its place and nowhere
// else.
func TestTheTokensPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		header    http.Header
		found     string
		exchanged http.Header
	}{
		{"none", http.Header{}, "", nil},
		{"header", http.Header{"X-Vault-Token": {"a"}}, "a", http.Header{"X-Vault-Token": {"new"}}},
		{"bearer", http.Header{"Authorization": {"Bearer a"}}, "a", http.Header{"Authorization": {"Bearer new"}}},
		{"header before bearer", http.Header{"X-Vault-Token": {"a"}, "Authorization": {"Bearer b"}}, "a", http.Header{"X-Vault-Token": {"new"}, "Authorization": {"Bearer b"}}},
		{"behind another scheme", http.Header{"Authorization": {"Basic x", "bearer a"}}, "a", http.Header{"Authorization": {"Basic x", "Bearer new"}}},
		{"another scheme", http.Header{"Authorization": {"Negotiate x"}}, "", nil},
	} {
		got := tokenOf(c.header)
		if got.value != c.found {
			t.Errorf("%s: found %q", c.name, got.value)
		}
		if c.exchanged == nil {
			continue
		}
		sent := c.header.Clone()
		for name, values := range c.header { // as they are in a request: the client's own
			sent[name] = values
		}
		if (&exchange{token: got}).put(sent, "new"); !reflect.DeepEqual(sent, c.exchanged) {
			t.Errorf("%s: %v", c.name, sent)
		}
		if again := tokenOf(c.header); again != got {
			t.Errorf("%s: the client's own became %v", c.name, again)
		}
	}
	h := http.Header{"Authorization": {"Basic x", "Bearer a"}}
	if dropBearer(h); !reflect.DeepEqual(h["Authorization"], []string{"Basic x"}) {
		t.Errorf("%v", h)
	}
}
