package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// notes is an observer that keeps what it is shown.
type notes struct {
	blind
	mu      sync.Mutex
	tried   []Tried
	records chan Record
}

func (n *notes) Attempt(_ context.Context, _, _ string, h http.Header) func(Tried) {
	h.Set("X-Added", "yes")
	return func(t Tried) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.tried = append(n.tried, t)
	}
}

func (n *notes) Done(_ context.Context, r *Record) { n.records <- *r }

// watched is a pair with an observer.
func watched(t *testing.T) (*pair, *notes) {
	p, n := newPair(t), &notes{records: make(chan Record, 1)}
	p.proxy.cfg.Observer = n
	return p, n
}

func TestEachRequestIsShownOnce(t *testing.T) {
	t.Parallel()
	p, n := watched(t)
	p.say("/v1/pki/ca", 503, `{"errors":["Vault is sealed"]}`)
	var r Record
	for range 3 {
		p.send("GET", "/v1/pki/cert/ca", "")
		r = <-n.records
	}
	if r.Method != "GET" || r.Mount != "pki/" || r.Engine != "pki" || r.Class != "nearest" || r.Cluster != "one" || r.Status != 204 ||
		r.Attempts != 1 || r.Tried[0].Verdict != "done" || r.Tried[0].Cluster != "one" || r.Code != "" {
		t.Errorf("%+v", r)
	}
	p.send("GET", "/v1/pki/ca", "") // sealed everywhere
	if r = <-n.records; r.Code != "no-healthy-cluster" || r.Cluster != "" || r.Status != 503 || r.Attempts < 2 || r.Tried[0].Verdict != "next" || r.Why == "" {
		t.Errorf("refused: %+v", r)
	}
	if len(n.records) != 0 {
		t.Error("more records than requests")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.tried) < 3+r.Attempts {
		t.Errorf("%d attempts were watched", len(n.tried))
	}
	if strings.Contains(r.Why+r.Reason, "/ca") {
		t.Errorf("a path: %+v", r)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	p, n := watched(t)
	for _, c := range []struct{ id, token, want string }{
		{"", "", ""}, {"req-1:a/b", "", "req-1:a/b"}, {"two words", "", ""}, {strings.Repeat("x", 129), "", ""}, {"line\"", "", ""},
		{"hvs.CAESIJ", "", ""}, {"s.12345", "", ""}, {"odd-root-token", "odd-root-token", ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.front.URL+"/outside", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.id != "" {
			req.Header.Set("X-Request-Id", c.id)
		}
		req.Header.Set("X-Vault-Token", c.token)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		r, told := <-n.records, resp.Header.Get(HeaderRequestID)
		if r.ClientID != c.want || told != r.ID() || c.want == "" && len(told) != 16 {
			t.Errorf("%q: noted as %q, told %q", c.id, r.ClientID, told)
		}
	}
}

// TestTraceContextIsTheClients: without an observer that traces, Vault sees what the
// client sent.
func TestTraceContextIsTheClients(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	vault := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(vault.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front(t, vault.URL).URL+"/v1/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]string{"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate": "a=1,b=2", "Baggage": "k=v"}
	for name, value := range sent {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	got := <-seen
	for name, value := range sent {
		if len(got[name]) != 1 || got[name][0] != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}
}
