package observe

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/vrproxy/vrproxy/proxy"
)

// collecting is an OTLP collector.
type collecting struct {
	mu    sync.Mutex
	spans []*otlp.Span
	about map[string]string
}

func (c *collecting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		in, _ = gzip.NewReader(r.Body)
	}
	raw, err := io.ReadAll(in)
	var req collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &req) != nil {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			c.about[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

const (
	trace1 = "0af7651916cd43dd8448eb211c80319c"
	span1  = "b7ad6b7169203331"
)

// TestSpans: one of the request below the client's, one of each attempt below that, and
// Vault is told of the attempt.
func TestSpans(t *testing.T) {
	c := &collecting{about: map[string]string{}}
	server := httptest.NewServer(c)
	defer server.Close()
	traces, err := NewTraces(t.Context(), TraceConfig{Endpoint: server.URL, Sample: 0, Region: "eu-west", Version: "v1", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	o := New(nil, traces)
	req := httptest.NewRequest("GET", "/v1/secret/data/hidden", nil)
	req.Header.Set("Traceparent", "00-"+trace1+"-"+span1+"-01") // sampled by the client, so traced
	req.Header.Set("Tracestate", "vendor=1")
	ctx := o.Begin(req)
	var told []string
	for _, cluster := range []string{"eu-west", "us-east"} {
		h := req.Header.Clone()
		end := o.Attempt(ctx, cluster, "https://10.0.0.1:8200", h)
		told = append(told, h.Get("Traceparent"))
		if h.Get("Tracestate") != "vendor=1" {
			t.Errorf("tracestate %q", h.Get("Tracestate"))
		}
		end(proxy.Tried{Cluster: cluster, Verdict: map[string]string{"eu-west": "next", "us-east": "done"}[cluster], Status: 200})
	}
	o.Done(ctx, numbered(1))
	if err := traces.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(c.spans) != 3 || c.about["service.name"] != "vrproxy" || c.about["cloud.region"] != "eu-west" {
		t.Fatalf("%d spans, %v", len(c.spans), c.about)
	}
	first, second, whole := c.spans[0], c.spans[1], c.spans[2]
	if hex(whole.GetParentSpanId()) != span1 || whole.GetName() != "GET kv-v2" || whole.GetKind() != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("the request: %v", whole)
	}
	for i, s := range []*otlp.Span{first, second} {
		if hex(s.GetParentSpanId()) != hex(whole.GetSpanId()) || told[i] != "00-"+trace1+"-"+hex(s.GetSpanId())+"-01" {
			t.Errorf("attempt %d: %v; Vault was told %s", i, s, told[i])
		}
	}
	if first.GetStatus().GetCode() != otlp.Status_STATUS_CODE_ERROR || second.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("status: %v, %v", first.GetStatus(), second.GetStatus())
	}
	if strings.Contains(whole.String(), "hidden") {
		t.Errorf("a path in a span: %v", whole)
	}
}

func TestUnsampledIsNotSent(t *testing.T) {
	c := &collecting{about: map[string]string{}}
	server := httptest.NewServer(c)
	defer server.Close()
	traces, err := NewTraces(t.Context(), TraceConfig{Endpoint: server.URL + "/", Sample: 1, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	o := New(nil, traces)
	for _, parent := range []string{"", "00-" + trace1 + "-" + span1 + "-00"} { // the client wants no trace
		req := httptest.NewRequest("GET", "/v1/x", nil)
		req.Header.Set("Traceparent", parent)
		o.Done(o.Begin(req), numbered(1))
	}
	_ = traces.Close(context.Background())
	if len(c.spans) != 1 {
		t.Errorf("%d spans, want one of a client that did not decide", len(c.spans))
	}
}

func hex(id []byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range id {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
