package observe

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/vrproxy/vrproxy/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func numbered(n uint64) *proxy.Record {
	r := &proxy.Record{
		Number: n, Method: "GET", Mount: "secret/", Engine: "kv-v2", Class: "nearest", Reason: "a read", Cluster: "us-east",
		Status: 200, Attempts: 2, Why: "connection refused", Took: 1500 * time.Microsecond,
	}
	r.Tried[0] = proxy.Tried{Cluster: "eu-west", Verdict: "next"}
	r.Tried[1] = proxy.Tried{Cluster: "us-east", Verdict: "done", Status: 200}
	return r
}

func dumped(t *testing.T, f *Flight, n int) []decision {
	t.Helper()
	var b bytes.Buffer
	if err := f.Dump(&b, n); err != nil {
		t.Fatal(err)
	}
	var out []decision
	for dec := json.NewDecoder(&b); dec.More(); {
		var d decision
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func TestFlightRemembersTheLast(t *testing.T) {
	t.Parallel()
	f := NewFlight(10)
	if got := dumped(t, f, 0); len(got) != 0 {
		t.Errorf("before any request: %v", got)
	}
	for n := range uint64(25) {
		f.add(numbered(n))
	}
	got := dumped(t, f, 0)
	if len(got) != 10 || got[0].ID != "000000000000000f" || got[9].ID != "0000000000000018" {
		t.Errorf("all: %v", got)
	}
	if d := got[0]; len(d.Tried) != 2 || d.Tried[0] != (attempt{Cluster: "eu-west", Verdict: "next"}) || d.Why != "connection refused" || d.TookMs != 1.5 {
		t.Errorf("one: %+v", d)
	}
	if got = dumped(t, f, 3); len(got) != 3 || got[2].ID != "0000000000000018" {
		t.Errorf("three: %v", got)
	}
}

func TestFlightIsDumpedWhileRequestsCome(t *testing.T) {
	t.Parallel()
	f := NewFlight(64)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := range 500 {
				f.add(numbered(uint64(w*1000 + n)))
			}
		})
	}
	for range 20 {
		if got := dumped(t, f, 0); len(got) > 64 {
			t.Errorf("%d of 64", len(got))
		}
	}
	writers.Wait()
	if got := dumped(t, f, 0); len(got) != 64 {
		t.Errorf("at the end %d", len(got))
	}
}

// TestObservingAllocatesNothing while debug lines and tracing are off.
func TestObservingAllocatesNothing(t *testing.T) {
	o := New(zap.New(zap.NewNop().Core()), nil)
	r, req := numbered(1), &http.Request{}
	h := http.Header{}
	n := testing.AllocsPerRun(20_000, func() {
		ctx := o.Begin(req)
		if o.Attempt(ctx, "eu-west", "https://a", h) != nil {
			t.Fatal("an attempt is watched")
		}
		o.Done(ctx, r)
	})
	if n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.DebugLevel)
	o := New(zap.New(core), nil)
	o.Done(t.Context(), numbered(7))
	one := lines.TakeAll()
	if len(one) != 1 || one[0].Message != "request" {
		t.Fatalf("%v", one)
	}
	m := one[0].ContextMap()
	if m["request_id"] != "0000000000000007" || m["mount"] != "secret/" || m["cluster"] != "us-east" || len(m["tried"].([]any)) != 2 {
		t.Errorf("%v", m)
	}
	if _, ok := m["trace_id"]; ok {
		t.Error("a trace without tracing")
	}
}

func TestRefusalsAreToldOnceASecond(t *testing.T) {
	t.Parallel()
	core, lines := observer.New(zap.InfoLevel)
	o := New(zap.New(core), nil)
	r := numbered(1)
	for _, code := range []string{"no-primary", "split-brain"} {
		r.Code = code
		for range 50 {
			o.Done(t.Context(), r)
		}
	}
	if got := lines.FilterMessage("request refused").Len(); got != 2 {
		t.Errorf("%d lines of two kinds", got)
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	var q Quiet
	now := time.Now()
	for i, want := range []struct {
		after time.Duration
		kind  string
		due   bool
		left  int
	}{{0, "a", true, 0}, {0, "b", true, 0}, {1, "a", false, 0}, {999 * time.Millisecond, "a", false, 0}, {time.Second, "a", true, 2}, {2 * time.Second, "a", true, 0}} {
		if due, left := q.Due(want.kind, now.Add(want.after)); due != want.due || left != want.left {
			t.Errorf("%d: %v, %d", i, due, left)
		}
	}
	for i := range 3 * quietKeys {
		q.Due(strconv.Itoa(i), now)
	}
	if len(q.kinds) > quietKeys {
		t.Errorf("%d kinds are kept", len(q.kinds))
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	f := NewFlight(1)
	f.add(numbered(1))
	if err := f.Dump(&b, 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"token", "path", "body", "header", "query"} {
		if strings.Contains(b.String(), `"`+name) {
			t.Errorf("a decision has a member %s: %s", name, &b)
		}
	}
}

// TestFlightIsBounded: its memory is taken once, however long it runs.
func TestFlightIsBounded(t *testing.T) {
	t.Parallel()
	size := Decisions * reflect.TypeFor[slot]().Size()
	t.Logf("%d decisions take %.1f MB", Decisions, float64(size)/1e6)
	if size > 8<<20 {
		t.Errorf("%d bytes for %d decisions", size, Decisions)
	}
}
