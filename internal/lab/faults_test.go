package lab_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

func TestForwardedWrite(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu := login(t, l.Cluster("eu-west"))
	a := eu.want(200, "POST", "secret/data/f", `{"data":{"a":"b"}}`)
	if a.header.Get("X-Vault-Index") == "" {
		t.Error("no X-Vault-Index")
	}
	if p, s := l.Cluster("us-east").Applied("secret/data/f"), l.Cluster("eu-west").Applied("secret/data/f"); p != 1 || s != 0 {
		t.Errorf("applied %d times at the primary, %d at the secondary", p, s)
	}
	served := l.Cluster("us-east").Served()
	if last := served[len(served)-1]; !last.Forwarded || last.Path != "secret/data/f" || last.Method != "POST" {
		t.Errorf("served %+v", last)
	}
	for _, c := range []string{"eu-west", "us-west"} {
		k := login(t, l.Cluster(c))
		eventually(t, "the write is at "+c, func() bool { return k.try("GET", "secret/data/f", "").status == 200 })
	}
	for _, action := range []string{"kill", "restart", "partition", "heal", "stall", "resume", "seal"} {
		do(t, l, "us-east", action)
		switch action {
		case "restart", "heal", "resume":
			eu.want(200, "POST", "secret/data/f", `{"data":{"a":"b"}}`)
		default:
			if a := eu.want(500, "POST", "secret/data/f", `{"data":{}}`); !strings.Contains(a.errors(), "rpc error: code = Unavailable") {
				t.Errorf("after %s: %q", action, a.errors())
			}
			eu.want(200, "GET", "secret/data/hello", "")
		}
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	l := start(t)
	us, eu := login(t, l.Cluster("us-east")), login(t, l.Cluster("eu-west"))
	do(t, l, "eu-west", "partition")
	index := us.want(200, "POST", "secret/data/i", `{"data":{}}`).header.Get("X-Vault-Index")
	us.want(200, "GET", "secret/data/i", "", "X-Vault-Index", index)
	if a := eu.want(412, "GET", "secret/data/i", "", "X-Vault-Index", index); a.errors() != "required index state not present" {
		t.Errorf("errors %q", a.errors())
	}
	eu.want(404, "GET", "secret/data/i", "")
	do(t, l, "eu-west", "heal")
	eventually(t, "the state arrives", func() bool {
		return eu.try("GET", "secret/data/i", "", "X-Vault-Index", index).status == 200
	})

	off := labtest.Start(t, lab.Config{NoIndex: true})
	if h := login(t, off.Cluster("us-east")).want(200, "POST", "secret/data/i", `{"data":{}}`).header; h.Get("X-Vault-Index") != "" {
		t.Error("X-Vault-Index although it is off")
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	l := start(t)
	c := l.Cluster("eu-west")
	k, address := login(t, c), c.Address()
	do(t, l, "eu-west", "kill")
	if a := k.try("GET", "secret/data/hello", ""); a.err == nil || c.State() != "killed" {
		t.Errorf("killed cluster answers %v, state %s", a, c.State())
	}
	root(t, l.Cluster("us-east")).want(200, "POST", "secret/data/later", `{"data":{}}`)
	do(t, l, "eu-west", "restart")
	if c.Address() != address || c.State() != "running" {
		t.Errorf("restarted at %s, state %s", c.Address(), c.State())
	}
	eventually(t, "it catches up", func() bool { return k.try("GET", "secret/data/later", "").status == 200 })
}

func TestStallAndBlackhole(t *testing.T) {
	t.Parallel()
	tests := []struct{ fault, end, state string }{
		{"stall", "resume", "stalled"},
		{"blackhole", "heal", "blackholed"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			l := start(t)
			c := l.Cluster("eu-west")
			k := login(t, c)
			do(t, l, "eu-west", tt.fault)
			if c.State() != tt.state {
				t.Errorf("state %s", c.State())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if a := k.do(ctx, "GET", "sys/health", ""); a.err == nil {
				t.Errorf("answer %v", a)
			}
			pending := make(chan answer, 1)
			go func() { pending <- k.do(t.Context(), "GET", "secret/data/hello", "") }()
			eventually(t, "nothing is answered", func() bool { return len(pending) == 0 })
			do(t, l, "eu-west", tt.end)
			if a := <-pending; tt.fault == "stall" && a.status != 200 {
				t.Errorf("after the stall: %v", a)
			}
			k.want(200, "GET", "secret/data/hello", "")
		})
	}
}

func TestResets(t *testing.T) {
	t.Parallel()
	l := start(t)
	c := l.Cluster("us-east")
	k := login(t, c)
	k.http.Transport.(*http.Transport).DisableKeepAlives = true // no retries by net/http
	c.ResetBefore(1)
	if a := k.try("POST", "secret/data/r", `{"data":{}}`); a.err == nil {
		t.Errorf("answer %v", a)
	}
	if n := c.Applied("secret/data/r"); n != 0 {
		t.Errorf("applied %d times before the reset", n)
	}
	c.ResetAfter(1)
	if a := k.try("POST", "secret/data/r", `{"data":{}}`); a.err == nil {
		t.Errorf("answer %v", a)
	}
	if n := c.Applied("secret/data/r"); n != 1 {
		t.Errorf("applied %d times before the reset", n)
	}
	k.want(200, "POST", "secret/data/r", `{"data":{}}`)
	k.want(200, "GET", "sys/health", "")
}

func TestPromoteDR(t *testing.T) {
	t.Parallel()
	l := start(t)
	us, eu := login(t, l.Cluster("us-east")), login(t, l.Cluster("eu-west"))
	lease := us.want(200, "GET", "database/creds/readonly", "").text("lease_id")
	dr := newClient(t, l.Cluster("us-east-dr"), us.token)
	dr.want(400, "GET", "secret/data/hello", "")
	eventually(t, "the dr has all", func() bool {
		h := dr.try("GET", "sys/health", "")
		return h.at("last_wal") == us.try("GET", "sys/health", "").at("last_wal")
	})
	do(t, l, "us-east", "kill")
	do(t, l, "us-east-dr", "promote")
	if r := l.Cluster("us-east-dr").Role(); r != "primary" {
		t.Fatalf("role %s", r)
	}
	dr.want(200, "GET", "auth/token/lookup-self", "")
	dr.want(200, "PUT", "sys/leases/renew", `{"lease_id":"`+lease+`"}`)
	eu.want(200, "POST", "secret/data/after", `{"data":{}}`)
	eventually(t, "the secondary follows the new primary", func() bool { return eu.try("GET", "secret/data/after", "").status == 200 })

	do(t, l, "us-east", "restart") // split brain
	for _, name := range []string{"us-east", "us-east-dr"} {
		if h := root(t, l.Cluster(name)).want(200, "GET", "sys/health", ""); h.text("replication_performance_mode") != "primary" {
			t.Errorf("%s: %v", name, h.body)
		}
	}
	do(t, l, "us-east", "demote")
	old := root(t, l.Cluster("us-east"))
	eventually(t, "the old primary follows", func() bool { return old.try("GET", "secret/data/after", "").status == 200 })
}

func TestPromoteSecondary(t *testing.T) {
	t.Parallel()
	l := start(t)
	do(t, l, "us-east", "demote")
	eu := login(t, l.Cluster("eu-west"))
	eu.want(500, "POST", "secret/data/x", `{"data":{}}`)
	do(t, l, "eu-west", "promote")
	eu.want(200, "POST", "secret/data/x", `{"data":{}}`)
	us := login(t, l.Cluster("us-west"))
	eventually(t, "others follow", func() bool { return us.try("GET", "secret/data/x", "").status == 200 })
	if err := l.Do("eu-west", "promote"); err == nil {
		t.Error("promoting a primary is no error")
	}
	if err := l.Do("eu-west", "explode"); err == nil || !strings.Contains(err.Error(), "kill, restart") {
		t.Errorf("unknown action: %v", err)
	}
	if err := l.Do("mars", "kill"); err == nil {
		t.Error("unknown cluster is no error")
	}
}

func TestHealthCodes(t *testing.T) {
	t.Parallel()
	l := start(t)
	tests := []struct {
		name, cluster string
		set           func(*lab.Cluster)
		query         string
		status        int
	}{
		{"primary", "us-east", nil, "", 200},
		{"secondary", "eu-west", nil, "", 200},
		{"dr", "us-east-dr", nil, "", 472},
		{"dr by query", "us-east-dr", nil, "?drsecondarycode=299", 299},
		{"active by query", "us-east", nil, "?activecode=204", 204},
		{"bad query", "us-east", nil, "?activecode=x", 400},
		{"standby", "us-west", func(c *lab.Cluster) { c.Pose("standby") }, "", 429},
		{"standby ok", "us-west", nil, "?standbyok=true", 200},
		{"standby by query", "us-west", nil, "?standbycode=222", 222},
		{"performance standby", "us-west", func(c *lab.Cluster) { c.Pose("performance-standby") }, "?standbyok=true", 473},
		{"performance standby ok", "us-west", nil, "?perfstandbyok=true", 200},
		{"not initialised", "us-west", func(c *lab.Cluster) { c.Pose("uninitialized") }, "", 501},
		{"sealed", "us-west", func(c *lab.Cluster) { c.Pose(""); c.Seal() }, "", 503},
		{"sealed by query", "us-west", nil, "?sealedcode=298", 298},
		{"unsealed", "us-west", (*lab.Cluster).Unseal, "", 200},
	}
	for _, tt := range tests {
		if tt.set != nil {
			tt.set(l.Cluster(tt.cluster))
		}
		k := newClient(t, l.Cluster(tt.cluster), "")
		if a := k.try("GET", "sys/health"+tt.query, ""); a.status != tt.status {
			t.Errorf("%s: status %d, want %d: %v", tt.name, a.status, tt.status, a.body)
		}
		if a := k.try("HEAD", "sys/health"+tt.query, ""); a.status != tt.status {
			t.Errorf("%s: HEAD status %d, want %d", tt.name, a.status, tt.status)
		}
	}
}

func TestSealThroughAPI(t *testing.T) {
	t.Parallel()
	k := root(t, start(t).Cluster("eu-west"))
	k.want(204, "PUT", "sys/seal", "")
	if a := k.want(503, "GET", "secret/data/hello", ""); a.errors() != "Vault is sealed" {
		t.Errorf("errors %q", a.errors())
	}
	k.want(200, "GET", "sys/seal-status", "")
	k.want(503, "GET", "sys/leader", "")
	k.want(200, "PUT", "sys/unseal", `{"key":"x"}`)
	k.want(200, "GET", "secret/data/hello", "")
}

func TestReplicationStatus(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu := newClient(t, l.Cluster("eu-west"), "")
	state := func() string { return eu.try("GET", "sys/replication/performance/status", "").text("data", "state") }
	if s := state(); s != "stream-wals" {
		t.Errorf("state %q", s)
	}
	do(t, l, "us-east", "partition")
	if s := state(); s != "idle" {
		t.Errorf("partitioned, state %q", s)
	}
	eventually(t, "the canary ages", func() bool {
		age, _ := eu.try("GET", "sys/health", "").at("replication_primary_canary_age_ms").(float64)
		return age > 50
	})
	do(t, l, "us-east", "heal")
	if s := state(); s != "stream-wals" {
		t.Errorf("healed, state %q", s)
	}
}

func TestMonitorStreams(t *testing.T) {
	t.Parallel()
	c := start(t).Cluster("us-east")
	login(t, c).want(403, "GET", "sys/monitor", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Address()+"/v1/sys/monitor", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	resp, err := root(t, c).http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), "[INFO]") {
			return
		}
	}
	t.Error("no line")
}

func TestLatency(t *testing.T) {
	t.Parallel()
	l := labtest.Start(t, lab.Config{Region: "eu-west", Latency: true})
	k := newClient(t, l.Cluster("us-east"), "")
	begin := time.Now()
	k.want(200, "GET", "sys/health", "")
	if d := time.Since(begin); d < 76*time.Millisecond {
		t.Errorf("a round trip of %s over the ocean", d)
	}
	if d := l.Cluster("eu-west").RTT(); d != time.Millisecond {
		t.Errorf("round trip in the region %s", d)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		clusters []lab.ClusterConfig
	}{
		{"no name", []lab.ClusterConfig{{Role: "primary"}}},
		{"name twice", []lab.ClusterConfig{{Name: "a", Role: "primary"}, {Name: "a", Role: "primary"}}},
		{"bad role", []lab.ClusterConfig{{Name: "a", Role: "boss"}}},
		{"dr of nothing", []lab.ClusterConfig{{Name: "a", Role: "dr"}}},
		{"bad type", []lab.ClusterConfig{{Name: "a", Role: "primary", Type: "x"}}},
	}
	for _, tt := range tests {
		if _, err := lab.New(lab.Config{Clusters: tt.clusters}); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

func TestConcurrentCheckAndSet(t *testing.T) {
	t.Parallel()
	l := start(t)
	clients := []*client{login(t, l.Cluster("us-east")), login(t, l.Cluster("eu-west")), login(t, l.Cluster("us-west"))}
	results := make(chan answer)
	const tries = 30
	for i := range tries {
		go func() {
			results <- clients[i%3].do(t.Context(), "POST", "secret/data/cas", `{"options":{"cas":0},"data":{}}`)
		}()
	}
	won := 0
	for range tries {
		switch a := <-results; {
		case a.status == 200:
			won++
		case a.status != 400:
			t.Errorf("answer %v", a)
		}
	}
	if n := l.Cluster("us-east").Applied("secret/data/cas"); won != 1 || n != 1 {
		t.Errorf("%d writers won, %d writes applied", won, n)
	}
}

// TestStopWhileHeld leaves requests hanging; the lab has to end all the same.
func TestStopWhileHeld(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := lab.New(lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	answers := make(chan answer, 2)
	for name, fault := range map[string]string{"us-east": "stall", "eu-west": "blackhole"} {
		k := login(t, l.Cluster(name))
		do(t, l, name, fault)
		go func() { answers <- k.do(t.Context(), "POST", "secret/data/held", `{"data":{}}`) }()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range 2 {
		if a := <-answers; a.err == nil {
			t.Errorf("answer %v", a)
		}
	}
	if n := l.Cluster("us-east").Applied("secret/data/held"); n != 0 {
		t.Errorf("applied %d times", n)
	}
}

// A restarted cluster waits for its port, which somebody has taken meanwhile.
func TestRestartWaitsForThePort(t *testing.T) {
	t.Parallel()
	l := start(t)
	c := l.Cluster("eu-west")
	c.Kill()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.TrimPrefix(c.Address(), "http://"))
	if err != nil {
		t.Skip("somebody else was faster:", err)
	}
	restarted := make(chan error, 1)
	go func() { restarted <- c.Restart() }()
	select {
	case err := <-restarted:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	newClient(t, c, lab.RootToken).want(200, "GET", "secret/data/hello", "")
}
