package lab_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

// bare is a lab whose clusters do not replicate yet.
func bare(t *testing.T) *lab.Lab {
	t.Helper()
	return labtest.Start(t, lab.Config{Region: "eu-west", Bare: true, SyncTime: 50 * time.Millisecond, Pause: 20 * time.Millisecond, UniqueIDs: true})
}

// ready waits until the cluster serves again after a change of its role.
func (k *client) ready() {
	k.t.Helper()
	eventually(k.t, k.c.Name()+" serves", func() bool {
		return k.try("GET", "sys/health", "").status != 429 && !strings.Contains(k.try("GET", "secret/data/hello", "").errors(), "local node not active")
	})
}

// joins makes a cluster a secondary and waits until it has copied its primary.
func joins(t *testing.T, l *lab.Lab, kind, primary, secondary string) (token string) {
	t.Helper()
	p, s := root(t, l.Cluster(primary)), root(t, l.Cluster(secondary))
	p.want(200, "POST", "sys/replication/"+kind+"/primary/enable", "")
	p.ready()
	a := p.want(200, "POST", "sys/replication/"+kind+"/primary/secondary-token", `{"id":"`+secondary+`"}`)
	token = a.text("wrap_info", "token")
	s.want(200, "POST", "sys/replication/"+kind+"/secondary/enable", `{"token":"`+token+`"}`)
	eventually(t, secondary+" streams", func() bool {
		return s.try("GET", "sys/replication/status", "").text("data", kind, "state") == "stream-wals"
	})
	return token
}

func TestBareClustersAreApart(t *testing.T) {
	t.Parallel()
	l := bare(t)
	for _, c := range l.Clusters() {
		r := root(t, c)
		if a := r.want(200, "GET", "sys/replication/status", ""); a.text("data", "performance", "mode") != "disabled" || a.text("data", "dr", "mode") != "disabled" {
			t.Errorf("%s: %v", c.Name(), a.body)
		}
		r.want(204, "POST", "sys/mounts/own", `{"type":"kv"}`)
		do(t, l, c.Name(), "seal")
		r.want(400, "PUT", "sys/unseal", `{"key":"wrong"}`)
		r.want(200, "PUT", "sys/unseal", `{"key":"`+c.UnsealKey()+`"}`)
	}
	if l.Cluster("us-east").UnsealKey() == l.Cluster("eu-west").UnsealKey() {
		t.Error("one key for two clusters")
	}
}

func TestJoiningReplacesEverything(t *testing.T) {
	t.Parallel()
	l := bare(t)
	west := root(t, l.Cluster("us-west"))
	west.want(200, "GET", "team-a/data/old", "")
	old := l.Cluster("us-west").UnsealKey()
	token := joins(t, l, "performance", "us-east", "us-west")
	west.want(403, "GET", "secret/data/hello", "")
	k := login(t, l.Cluster("us-west"))
	k.want(200, "GET", "secret/data/hello", "")
	k.want(200, "POST", "secret/data/later", `{"data":{}}`)
	if n := l.Cluster("us-east").Applied("secret/data/later"); n != 1 {
		t.Errorf("the write was applied %d times at the primary", n)
	}
	do(t, l, "us-west", "seal")
	k.want(400, "PUT", "sys/unseal", `{"key":"`+old+`"}`)
	k.want(200, "PUT", "sys/unseal", `{"key":"`+l.Cluster("us-east").UnsealKey()+`"}`)
	eu := root(t, l.Cluster("eu-west"))
	if a := eu.want(500, "POST", "sys/replication/performance/secondary/enable", `{"token":"`+token+`"}`); !strings.Contains(a.errors(), "error response unwrapping secondary token; status code is 400") {
		t.Errorf("a used token: %s", a.errors())
	}
	eu.want(204, "POST", "sys/mounts/still", `{"type":"kv"}`)
	p := root(t, l.Cluster("us-east")).want(200, "GET", "sys/replication/performance/status", "")
	s := k.want(200, "GET", "sys/replication/performance/status", "")
	if known, _ := p.at("data", "known_secondaries").([]any); !slices.Contains(known, any("us-west")) || p.text("data", "cluster_id") != s.text("data", "cluster_id") {
		t.Errorf("%v\n%v", p.body, s.body)
	}
}

func TestReplicationInTheWrongOrder(t *testing.T) {
	t.Parallel()
	l := bare(t)
	us, eu := root(t, l.Cluster("us-east")), root(t, l.Cluster("eu-west"))
	us.want(400, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"x"}`)
	us.want(400, "POST", "sys/replication/performance/secondary/enable", `{"token":"x"}`)
	us.want(400, "POST", "sys/replication/performance/primary/demote", "")
	us.want(404, "POST", "sys/replication/strange/primary/enable", "")
	us.want(404, "POST", "sys/replication/dr/primary/strange", "")
	newClient(t, l.Cluster("us-east"), "").want(403, "POST", "sys/replication/performance/primary/enable", "")
	us.want(200, "POST", "sys/replication/performance/primary/enable", "")
	us.ready()
	us.want(400, "POST", "sys/replication/performance/primary/enable", "")
	us.want(400, "POST", "sys/replication/performance/primary/secondary-token", `{}`)
	login(t, l.Cluster("us-east")).want(403, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"x"}`)
	token := us.want(200, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"x"}`).text("wrap_info", "token")
	us.want(400, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"x"}`)
	us.want(204, "POST", "sys/replication/performance/primary/revoke-secondary", `{"id":"x"}`)
	us.want(200, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"x","ttl":"1m"}`)
	do(t, l, "us-east", "partition")
	if a := eu.want(500, "POST", "sys/replication/performance/secondary/enable", `{"token":"`+token+`"}`); !strings.Contains(a.errors(), "error unwrapping secondary token: Post") {
		t.Errorf("an unreachable primary: %s", a.errors())
	}
	eu.want(200, "GET", "sys/mounts", "")
}

func TestMovingThePrimary(t *testing.T) {
	t.Parallel()
	l := bare(t)
	joins(t, l, "performance", "us-east", "us-west")
	us, west := root(t, l.Cluster("us-east")), newClient(t, l.Cluster("us-west"), "")
	west.token = west.want(200, "POST", "auth/approle/login", `{"role_id":"operator","secret_id":"operator"}`).text("auth", "client_token")
	us.want(200, "POST", "sys/replication/performance/primary/demote", "")
	west.want(200, "POST", "sys/replication/performance/secondary/promote", "{}")
	west.ready()
	us.ready()
	a := west.want(200, "POST", "sys/replication/performance/primary/secondary-token", `{"id":"us-east"}`)
	us.want(200, "POST", "sys/replication/performance/secondary/update-primary", `{"token":"`+a.text("wrap_info", "token")+`"}`)
	us.ready()
	k := login(t, l.Cluster("us-east"))
	k.want(200, "GET", "secret/data/hello", "")
	k.want(200, "POST", "secret/data/moved", `{"data":{}}`)
	if n := l.Cluster("us-west").Applied("secret/data/moved"); n != 1 {
		t.Errorf("applied %d times at the new primary", n)
	}
	eventually(t, "the write comes back", func() bool { return k.try("GET", "secret/data/moved", "").status == 200 })
	west.want(204, "POST", "sys/replication/performance/primary/disable", "")
	us.want(204, "POST", "sys/replication/performance/secondary/disable", "")
	us.ready()
	us.want(200, "GET", "secret/data/moved", "") // what was replicated stays
}

func TestDRThroughTheAPI(t *testing.T) {
	t.Parallel()
	l := bare(t)
	us, dr := login(t, l.Cluster("us-east")), newClient(t, l.Cluster("us-east-dr"), "")
	joins(t, l, "dr", "us-east", "us-east-dr")
	dr.want(400, "GET", "secret/data/hello", "")
	const base = "sys/replication/dr/secondary/"
	dr.want(403, "POST", base+"promote", `{"dr_operation_token":"guess"}`)
	dr.want(200, "PUT", base+"generate-operation-token/attempt", "{}")
	dr.want(400, "PUT", base+"generate-operation-token/attempt", "{}")
	dr.want(400, "PUT", base+"generate-operation-token/update", `{"nonce":"other","key":"k"}`)
	dr.want(204, "DELETE", base+"generate-operation-token/attempt", "")
	dr.want(400, "PUT", base+"generate-operation-token/update", `{"nonce":"x","key":"k"}`)
	a := dr.want(200, "PUT", base+"generate-operation-token/attempt", "{}")
	done := dr.want(200, "PUT", base+"generate-operation-token/update", `{"nonce":"`+a.text("nonce")+`","key":"`+l.Cluster("us-east").UnsealKey()+`"}`)
	raw, err := base64.RawStdEncoding.DecodeString(done.text("encoded_token"))
	if err != nil || len(raw) != len(a.text("otp")) {
		t.Fatalf("%v: %v", err, done.body)
	}
	for i := range raw {
		raw[i] ^= a.text("otp")[i]
	}
	dr.want(200, "POST", base+"promote", `{"dr_operation_token":"`+string(raw)+`"}`)
	dr.ready()
	dr.token = us.token
	dr.want(200, "GET", "secret/data/hello", "") // its tokens are the primary's
}
