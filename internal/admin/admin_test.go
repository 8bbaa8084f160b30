package admin

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/health"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct {
		method, path string
		code         int
		body         string // contained
	}{
		{"GET", "/startup", 200, "ok"},
		{"GET", "/liveness", 200, "ok"},
		{"HEAD", "/readiness", 200, ""},
		{"GET", "/", 302, ""},
		{"GET", "/ui", 200, "<!doctype html>"},
		{"GET", "/ui/app.js", 200, "EventSource"},
		{"GET", "/ui/style.css", 200, "color-scheme"},
		{"GET", "/ui/other.js", 404, `{"errors":["nothing here at /ui/other.js"]}`},
		{"GET", "/ui/features", 200, `{"drain":true,"explain":true,"mounts":true,"lab":["kill","restart"]}`},
		{"GET", "/metrics", 200, `vrproxy_sessions 7`},
		{"GET", "/mounts", 200, `[{"namespace":"","path":"secret/","type":"kv-v2","local":false,"reads":["nearest"],"writes":["primary"]}]`},
		{"GET", "/debug/decisions", 200, "decisions 0\n"},
		{"GET", "/debug/decisions?n=5", 200, "decisions 5\n"},
		{"GET", "/debug/decisions?n=none", 400, "wants a number"},
		{"POST", "/debug/decisions", 405, "use GET"},
		{"GET", "/nowhere", 404, `{"errors":["nothing here at /nowhere"]}`},
		{"GET", "/explain?method=list&path=/v1/secret&namespace=n", 200, `"reason":"LIST /v1/secret n"`},
		{"GET", "/explain?path=x", 200, `"reason":"GET x "`},
		{"GET", "/explain", 400, `{"errors":["the parameter path is missing"]}`},
		{"GET", "/explain?path=bad", 400, `{"errors":["no such path"]}`},
		{"POST", "/drain?cluster=eu-west", 200, `{"cluster":"eu-west","drained":true}`},
		{"POST", "/undrain?cluster=eu-west", 200, `{"cluster":"eu-west","drained":false}`},
		{"POST", "/drain", 400, "the parameter cluster is missing"},
		{"POST", "/drain?cluster=mars", 404, "there are: us-east, eu-west, us-east-dr"},
		{"POST", "/lab/us-east/kill", 200, `{"action":"kill","cluster":"us-east"}`},
		{"POST", "/lab/mars/kill", 404, "there are: us-east, eu-west, us-east-dr"},
		{"POST", "/lab/us-east/explode", 404, "there are: kill, restart"},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"POST", "/status", 405, `{"errors":["use GET or HEAD"]}`},
		{"DELETE", "/liveness", 405, "use GET"},
		{"GET", "/drain?cluster=eu-west", 405, `{"errors":["use POST"]}`},
		{"GET", "/quit", 405, "use POST"},
		{"GET", "/lab/us-east/kill", 405, "use POST"},
		{"POST", "/events", 405, "use GET"},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			resp, body := s.do(t, tt.method, tt.path)
			if resp.StatusCode != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tt.code, tt.body)
			}
			if tt.code == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") ||
				resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers: %v", resp.Header)
			}
		})
	}
}

func TestOptionalPathsAreOff(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) {
		*c = Config{Addr: c.Addr, Topology: c.Topology}
	})
	for _, path := range []string{"/quit", "/lab/us-east/kill", "/drain?cluster=us-east", "/debug/pprof/", "/explain?path=x", "/mounts", "/debug/decisions"} {
		for _, method := range []string{"GET", "POST"} {
			if resp, body := s.do(t, method, path); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, body)
			}
		}
	}
	if resp, body := s.do(t, "GET", "/ui/features"); resp.StatusCode != 200 || body != "{\"drain\":false,\"explain\":false,\"mounts\":false,\"lab\":[]}\n" {
		t.Errorf("features: %s", body)
	}
	if resp, body := s.do(t, "GET", "/status"); resp.StatusCode != 200 || !strings.Contains(body, `"sessions":0`) {
		t.Errorf("status: %s", body)
	}
}

func TestReadinessSaysWhyNot(t *testing.T) {
	t.Parallel()
	s := start(t)
	reason := errors.New("no cluster is healthy")
	s.ready.Store(&reason)
	resp, body := s.do(t, "GET", "/readiness")
	if resp.StatusCode != http.StatusServiceUnavailable || body != "no cluster is healthy\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := s.do(t, "GET", "/liveness"); resp.StatusCode != http.StatusOK {
		t.Errorf("liveness depends on readiness: %d", resp.StatusCode)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, body := s.do(t, "GET", "/status")
	const want = `{
		"region": "eu-west", "version": "v1.2.3", "generation": 3, "primary": "us-east", "split_brain": false,
		"clusters": [
			{"name": "us-east", "region": "us-east", "role": "primary", "state": "healthy", "reason": "", "rtt_ms": 80, "lag_ms": 0,
			 "cluster_id": "id-1", "nodes": [{"address": "https://10.0.0.1:8200", "state": "healthy", "reason": "", "active": true, "rtt_ms": 80}],
			 "order": 2, "tokens": 7, "leases": 14, "requests": {"primary": 4}},
			{"name": "eu-west", "region": "eu-west", "role": "secondary", "state": "degraded", "reason": "no node is ideal",
			 "rtt_ms": 1.5, "lag_ms": null, "cluster_id": "", "nodes": [], "order": 1, "tokens": 7, "leases": 14},
			{"name": "us-east-dr", "region": "us-west", "dr_of": "us-east", "role": "dr", "state": "down", "reason": "",
			 "rtt_ms": null, "lag_ms": 1000, "cluster_id": "", "nodes": [], "order": 0, "tokens": 10, "leases": 20}
		], "sessions": 7, "consistency": {"level": "", "mechanism": "", "compares": ""}, "reads": {"cluster": "eu-west", "reason": "it is near"}, "writes": {"cluster": "us-east", "reason": "it is the primary"}
	}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(body) != compact.String() {
		t.Errorf("got  %s\nwant %s", body, compact.String())
	}
	s.topology.Store(nil)
	if _, body := s.do(t, "GET", "/status"); !strings.Contains(body, `"clusters":[]`) {
		t.Errorf("without a topology: %s", body)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(t, "POST", "/drain?cluster=eu-west")
	s.do(t, "POST", "/undrain?cluster=eu-west")
	s.do(t, "POST", "/lab/us-east/restart")
	s.do(t, "GET", "/drain?cluster=us-east")
	if got := s.journal.all(); got != "drain eu-west, undrain eu-west, restart us-east" {
		t.Errorf("done: %s", got)
	}
	if events := s.cfg.Events.Recent(); len(events) != 1 || events[0].Kind != KindLab || events[0].Cluster != "us-east" || events[0].Reason != "restart" {
		t.Errorf("events: %v", events)
	}
	s.journal.err = errors.New("already dead")
	if resp, body := s.do(t, "POST", "/lab/us-east/kill"); resp.StatusCode != http.StatusConflict || !strings.Contains(body, "already dead") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.do(t, "POST", "/drain?cluster=us-east"); resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "already dead") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := s.do(t, "POST", "/quit"); resp.StatusCode != http.StatusOK {
		t.Errorf("quit: %d", resp.StatusCode)
	}
	s.stop() // waits for the handler
	if n := s.quits.Load(); n != 1 {
		t.Errorf("quit called %d times", n)
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *Config) { c.Hosts = []string{"vrproxy.test"} })
	own := s.url("")
	tests := []struct {
		about, method, path string
		headers             []string
		code                int
	}{
		{"curl", "POST", "/drain?cluster=eu-west", nil, 200},
		{"own page", "POST", "/drain?cluster=eu-west", []string{"Origin", own, "Sec-Fetch-Site", "same-origin"}, 200},
		{"own page, old browser", "POST", "/drain?cluster=eu-west", []string{"Origin", own}, 200},
		{"foreign page", "POST", "/drain?cluster=eu-west", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"foreign page, old browser", "POST", "/quit", []string{"Origin", "https://evil.example"}, 403},
		{"sandboxed page", "POST", "/quit", []string{"Origin", "null"}, 403},
		{"other port", "POST", "/lab/us-east/kill", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 403},
		{"other port, old browser", "POST", "/undrain?cluster=eu-west", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"foreign link", "GET", "/status", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"rebound name", "POST", "/drain?cluster=eu-west", []string{"Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"}, 403},
		{"rebound name, reading", "GET", "/status", []string{"Host", "evil.example:8210"}, 403},
		{"rebound name, probing", "GET", "/liveness", []string{"Host", "pod.example"}, 200},
		{"localhost", "GET", "/status", []string{"Host", "LOCALHOST:8210"}, 200},
		{"localhost with a dot", "GET", "/status", []string{"Host", "localhost."}, 200},
		{"like localhost", "GET", "/status", []string{"Host", "localhost.evil.example"}, 403},
		{"IPv6", "GET", "/status", []string{"Host", "[::1]:8210"}, 200},
		{"listed", "POST", "/drain?cluster=eu-west", []string{"Host", "vrproxy.test:8210"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			if resp, body := s.do(t, tt.method, tt.path, tt.headers...); resp.StatusCode != tt.code {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.code)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	helper := httptest.NewUnstartedServer(nil) // for its certificate
	helper.StartTLS()
	defer helper.Close()
	s := start(t, func(c *Config) {
		c.TLS = &tls.Config{Certificates: helper.TLS.Certificates, MinVersion: tls.VersionTLS12}
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.Addr().String()+"/liveness", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := helper.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	s := start(t)
	for about, cfg := range map[string]Config{
		"no topology":    {Addr: "127.0.0.1:0"},
		"address in use": {Addr: s.Addr().String(), Topology: func() *health.Topology { return nil }},
		"no address":     {Addr: "nonsense", Topology: func() *health.Topology { return nil }},
	} {
		if s, err := New(cfg); err == nil {
			_ = s.Close()
			t.Errorf("%s: accepted", about)
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Addr: "127.0.0.1:0", Topology: func() *health.Topology { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPageIsSelfContained keeps everything out that the policy would block or that
// would have to come from elsewhere.
func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`https?://|//cdn|@import|url\(|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|<style|<script>|\son\w+=|\sstyle=`)
	for _, name := range []string{"index.html", "app.js", "map.js", "words.js", "style.css"} {
		content, err := pageFiles.ReadFile("ui/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if found := forbidden.Find(content); found != nil {
			t.Errorf("%s holds %q", name, found)
		}
	}
}

// TestPageKnowsAllKinds: an event of a kind that the page does not listen for
// would be invisible.
func TestPageKnowsAllKinds(t *testing.T) {
	t.Parallel()
	script, err := pageFiles.ReadFile("ui/app.js")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`const kinds = .*`).Find(script)
	for _, kind := range []string{KindTopology, KindFailover, KindLab} {
		if !bytes.Contains(line, []byte(`"`+kind+`"`)) {
			t.Errorf("%s is missing in %s", kind, line)
		}
	}
}
