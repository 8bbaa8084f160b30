package lab_test

import (
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	l := start(t)
	tests := []struct{ name, path, body string }{
		{"userpass", "auth/userpass/login/demo", `{"password":"demo"}`},
		{"approle", "auth/approle/login", `{"role_id":"demo","secret_id":"demo"}`},
	}
	for _, tt := range tests {
		for _, name := range []string{"us-east", "eu-west"} {
			t.Run(tt.name+" at "+name, func(t *testing.T) {
				t.Parallel()
				k := newClient(t, l.Cluster(name), "")
				a := k.want(200, "POST", tt.path, tt.body)
				k.token = a.text("auth", "client_token")
				if !strings.HasPrefix(k.token, "hvs.") || a.at("auth", "lease_duration") != float64(2764800) {
					t.Errorf("auth block %v", a.at("auth"))
				}
				self := k.want(200, "GET", "auth/token/lookup-self", "")
				if self.text("data", "id") != k.token || self.text("data", "entity_id") != a.text("auth", "entity_id") {
					t.Errorf("lookup-self %v", self.body)
				}
			})
		}
	}
}

func TestTokenIsLocal(t *testing.T) {
	t.Parallel()
	l := start(t)
	k := login(t, l.Cluster("eu-west"))
	k.want(200, "GET", "secret/data/hello", "")
	k.want(200, "GET", "secret/data/hello", "", "X-Vault-Token", "", "Authorization", "Bearer "+k.token)

	other := newClient(t, l.Cluster("us-east"), k.token)
	a := other.want(403, "GET", "secret/data/hello", "")
	if a.errors() != "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n" {
		t.Errorf("errors %q", a.errors())
	}
	newClient(t, l.Cluster("us-east"), "").want(403, "GET", "secret/data/hello", "")

	r := root(t, l.Cluster("us-east"))
	r.want(204, "POST", "auth/token/revoke", `{"token":"`+k.token+`"}`)
	if a := r.want(403, "POST", "auth/token/lookup", `{"token":"`+k.token+`"}`); a.errors() != "bad token" {
		t.Errorf("lookup of a foreign token: %q", a.errors())
	}
	k.want(200, "GET", "auth/token/lookup-self", "")

	l.Cluster("eu-west").RevokeToken(k.token)
	k.want(403, "GET", "auth/token/lookup-self", "")
}

func TestTokenTree(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("eu-west"))
	parent := r.want(200, "POST", "auth/token/create", `{"policies":["demo"],"ttl":"1h","meta":{"a":"b"}}`)
	k := newClient(t, l.Cluster("eu-west"), parent.text("auth", "client_token"))
	child := k.want(200, "POST", "auth/token/create", `{}`)
	lease := k.want(200, "GET", "database/creds/readonly", "").text("lease_id")
	orphan := r.want(200, "POST", "auth/token/create-orphan", `{"policies":["demo"]}`)

	renewed := k.want(200, "POST", "auth/token/renew-self", `{"increment":"30m"}`)
	if d := renewed.at("auth", "lease_duration"); d != float64(1800) {
		t.Errorf("renewed for %v", d)
	}
	accessor := parent.text("auth", "accessor")
	r.want(200, "POST", "auth/token/lookup-accessor", `{"accessor":"`+accessor+`"}`)
	r.want(204, "POST", "auth/token/revoke-accessor", `{"accessor":"`+accessor+`"}`)
	r.want(200, "POST", "auth/token/revoke-accessor", `{"accessor":"`+accessor+`"}`) // with a warning
	if a := r.want(400, "POST", "auth/token/lookup-accessor", `{"accessor":"`+accessor+`"}`); !strings.Contains(a.errors(), "invalid accessor") {
		t.Errorf("errors %q", a.errors())
	}
	r.want(400, "POST", "sys/leases/lookup", `{"lease_id":"`+lease+`"}`)
	k.token = child.text("auth", "client_token")
	k.want(403, "GET", "auth/token/lookup-self", "")
	k.token = orphan.text("auth", "client_token")
	k.want(200, "GET", "auth/token/lookup-self", "")
	k.want(204, "POST", "auth/token/revoke-self", "")
	k.want(403, "GET", "auth/token/lookup-self", "")
}

func TestTokenUsesAndExpiry(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("us-east"))
	limited := r.want(200, "POST", "auth/token/create", `{"policies":["demo"],"num_uses":2}`)
	k := newClient(t, l.Cluster("us-east"), limited.text("auth", "client_token"))
	k.want(200, "GET", "secret/data/hello", "")
	k.want(200, "GET", "secret/data/hello", "")
	k.want(403, "GET", "secret/data/hello", "")

	short := r.want(200, "POST", "auth/token/create", `{"policies":["demo"],"ttl":"0.05"}`)
	k.token = short.text("auth", "client_token")
	eventually(t, "the token expires", func() bool { return k.try("GET", "auth/token/lookup-self", "").status == 403 })
}

func TestBatchTokens(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("eu-west"))
	orphan := r.want(200, "POST", "auth/token/create-orphan", `{"type":"batch","policies":["demo"],"ttl":"1h"}`).text("auth", "client_token")
	child := r.want(200, "POST", "auth/token/create", `{"type":"batch","policies":["demo"],"ttl":"1h"}`)
	if child.text("auth", "accessor") != "" || child.at("auth", "renewable") != false {
		t.Errorf("batch token %v", child.at("auth"))
	}
	newClient(t, l.Cluster("us-east"), orphan).want(200, "GET", "secret/data/hello", "")
	newClient(t, l.Cluster("us-east"), orphan+"x").want(403, "GET", "secret/data/hello", "")
	newClient(t, l.Cluster("eu-west"), child.text("auth", "client_token")).want(200, "GET", "secret/data/hello", "")

	service := login(t, l.Cluster("eu-west"))
	below := service.want(200, "POST", "auth/token/create", `{"type":"batch","ttl":"1h"}`).text("auth", "client_token")
	newClient(t, l.Cluster("us-east"), below).want(403, "GET", "secret/data/hello", "")
	newClient(t, l.Cluster("eu-west"), below).want(200, "GET", "secret/data/hello", "")
}

func TestLimitedSecretID(t *testing.T) {
	t.Parallel()
	l := start(t)
	primary := root(t, l.Cluster("us-east"))
	id := primary.want(200, "POST", "auth/approle/role/demo/secret-id", `{"num_uses":2}`).text("data", "secret_id")
	eu := newClient(t, l.Cluster("eu-west"), "")
	body := `{"role_id":"demo","secret_id":"` + id + `"}`
	var first answer
	eventually(t, "the secret id is replicated", func() bool {
		first = eu.try("POST", "auth/approle/login", body)
		return first.status == 200
	})
	// The use is taken at the primary, the token is one of the secondary.
	newClient(t, l.Cluster("eu-west"), first.text("auth", "client_token")).want(200, "GET", "secret/data/hello", "")
	newClient(t, l.Cluster("us-east"), first.text("auth", "client_token")).want(403, "GET", "secret/data/hello", "")
	newClient(t, l.Cluster("us-east"), "").want(200, "POST", "auth/approle/login", body)
	if a := newClient(t, l.Cluster("us-east"), "").want(400, "POST", "auth/approle/login", body); a.errors() != "invalid role or secret ID" {
		t.Errorf("errors %q", a.errors())
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("us-east"))
	r.want(204, "PUT", "sys/policies/acl/narrow", `{"policy":"path \"secret/data/app/*\" { capabilities = [\"read\", \"create\"] }\npath \"secret/data/app/private\" { capabilities = [\"deny\"] }\n# comment\npath \"kv/+/name\" { capabilities = [\"read\"] }"}`)
	r.want(400, "PUT", "sys/policies/acl/broken", `{"policy":"path \"x\" { capabilities = "}`)
	token := r.want(200, "POST", "auth/token/create", `{"policies":["narrow"]}`).text("auth", "client_token")
	k := newClient(t, l.Cluster("us-east"), token)
	tests := []struct {
		method, path, body string
		status             int
	}{
		{"POST", "secret/data/app/one", `{"data":{"a":1}}`, 200},
		{"POST", "secret/data/app/one", `{"data":{"a":2}}`, 403}, // create is not update
		{"GET", "secret/data/app/one", "", 200},
		{"GET", "secret/data/app/private", "", 403},
		{"GET", "secret/data/other", "", 403},
		{"DELETE", "secret/data/app/one", "", 403},
		{"LIST", "secret/metadata/app", "", 403},
		{"GET", "kv/team/name", "", 404},
		{"GET", "kv/team/other", "", 403},
		{"GET", "nowhere/x", "", 403},
		{"GET", "sys/mounts", "", 403},
		{"GET", "sys/internal/ui/mounts/secret/app", "", 200},
		{"GET", "sys/internal/ui/mounts/transit/app", "", 403},
		{"POST", "sys/capabilities-self", `{"paths":["secret/data/app/x"]}`, 200},
	}
	for _, tt := range tests {
		k.want(tt.status, tt.method, tt.path, tt.body)
	}
	if a := k.want(403, "GET", "secret/data/other", ""); a.errors() != "1 error occurred:\n\t* permission denied\n\n" {
		t.Errorf("errors %q", a.errors())
	}
	mounts := k.want(200, "GET", "sys/internal/ui/mounts", "")
	if mounts.at("data", "secret", "secret/") == nil || mounts.at("data", "secret", "transit/") != nil {
		t.Errorf("mounts %v", mounts.at("data", "secret"))
	}
	public := newClient(t, l.Cluster("us-east"), "").want(200, "GET", "sys/internal/ui/mounts", "")
	if m, _ := public.at("data", "secret").(map[string]any); len(m) != 0 {
		t.Errorf("without a token: %v", m)
	}
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("us-east"))
	r.want(200, "POST", "sys/namespaces/team", "")
	r.want(204, "POST", "team/sys/mounts/secret", `{"type":"kv-v2"}`)
	r.want(200, "POST", "team/secret/data/x", `{"data":{"in":"team"}}`)
	r.want(204, "POST", "sys/policies/acl/reader", `{"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}`, "X-Vault-Namespace", "team")
	token := r.want(200, "POST", "team/auth/token/create", `{"policies":["reader"]}`).text("auth", "client_token")
	k := newClient(t, l.Cluster("us-east"), token)
	if a := k.want(200, "GET", "secret/data/x", "", "X-Vault-Namespace", "team/"); a.text("data", "data", "in") != "team" {
		t.Errorf("answer %v", a.body)
	}
	k.want(200, "GET", "team/secret/data/x", "")
	k.want(403, "GET", "secret/data/hello", "")
	if a := r.want(200, "LIST", "sys/namespaces", ""); a.at("data", "key_info", "team/") == nil {
		t.Errorf("namespaces %v", a.body)
	}
	if n := l.Cluster("us-east").Applied("team/secret/data/x"); n != 1 {
		t.Errorf("applied %d times", n)
	}
}
