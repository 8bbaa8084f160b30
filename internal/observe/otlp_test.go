package observe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

// full is a collector that answers what a test says, the last for ever, and notes when it
// was asked.
type full struct {
	answers []int
	after   string // Retry-After
	asked   []time.Duration
	began   time.Time
	header  http.Header
}

func (f *full) RoundTrip(r *http.Request) (*http.Response, error) {
	f.asked, f.header = append(f.asked, time.Since(f.began)), r.Header
	status := f.answers[min(len(f.asked), len(f.answers))-1]
	if status == 0 {
		return nil, errors.New("said the collector: nothing")
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Retry-After": {f.after}},
		Body: io.NopCloser(strings.NewReader("said the collector")), Request: r,
	}, nil
}

// upload sends a batch that has half a minute.
func (f *full) upload(t *testing.T) error {
	t.Helper()
	f.began = time.Now()
	u, err := newUploader("http://collector/v1/traces", nil)
	if err != nil {
		t.Fatal(err)
	}
	u.client.Transport = f
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return u.UploadTraces(ctx, []*otlp.ResourceSpans{{}})
}

func TestABusyCollectorIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		f       full
		times   int
		longest time.Duration // until the last
		fails   bool
	}{
		{"it takes them", full{answers: []int{200}}, 1, 0, false},
		{"it is busy twice", full{answers: []int{503, 429, 202}}, 3, 3 * time.Second, false},
		{"it says when", full{answers: []int{503, 200}, after: "20"}, 2, 20 * time.Second, false},
		{"it is always busy", full{answers: []int{504}}, 5, 15 * time.Second, true},
		{"it refuses them", full{answers: []int{400}}, 1, 0, true},
		{"it is gone", full{answers: []int{0}}, 1, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := c.f.upload(t)
				if (err != nil) != c.fails || len(c.f.asked) != c.times || c.f.asked[c.times-1] != c.longest {
					t.Errorf("%v, asked %v", err, c.f.asked)
				}
				if err != nil && !strings.Contains(err.Error(), "said the collector") {
					t.Error(err)
				}
			})
		})
	}
}

// A stop does not wait for a collector that has no room.
func TestAStopEndsTheSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		u, err := newUploader("http://collector/v1/traces", nil)
		if err != nil {
			t.Fatal(err)
		}
		u.client.Transport = &full{answers: []int{503}}
		time.AfterFunc(5*time.Second, func() { _ = u.Stop(context.Background()) })
		if err := u.UploadTraces(t.Context(), []*otlp.ResourceSpans{{}}); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestHeadersOfTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x-tenant = one ,")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=two")
	f := full{answers: []int{200}}
	if err := f.upload(t); err != nil {
		t.Fatal(err)
	}
	if got := f.header; got.Get("Authorization") != "Basic abc" || got.Get("X-Tenant") != "two" || got.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("%v", got)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=b,hvs.planted")
	if _, err := newUploader("http://collector", nil); err == nil || !strings.Contains(err.Error(), "entry 2") || strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
}
