package lab_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
)

func TestKVVersions(t *testing.T) {
	t.Parallel()
	k := login(t, start(t).Cluster("us-east"))
	k.want(200, "POST", "secret/data/a", `{"options":{"cas":0},"data":{"n":1}}`)
	if a := k.want(400, "POST", "secret/data/a", `{"options":{"cas":0},"data":{"n":9}}`); a.errors() != "check-and-set parameter did not match the current version" {
		t.Errorf("errors %q", a.errors())
	}
	k.want(200, "POST", "secret/data/a", `{"options":{"cas":1},"data":{"n":2,"keep":"me"}}`)
	k.want(200, "PATCH", "secret/data/a", `{"data":{"n":3}}`, "Content-Type", "application/merge-patch+json")
	k.want(415, "PATCH", "secret/data/a", `{"data":{"n":3}}`)
	if a := k.want(200, "GET", "secret/data/a", ""); a.text("data", "data", "keep") != "me" || a.at("data", "metadata", "version") != float64(3) {
		t.Errorf("patched %v", a.body)
	}
	if a := k.want(200, "GET", "secret/data/a?version=1", ""); a.at("data", "data", "n") != float64(1) {
		t.Errorf("version 1 %v", a.body)
	}
	k.want(204, "DELETE", "secret/data/a", "")
	if a := k.want(404, "GET", "secret/data/a", ""); a.text("data", "metadata", "deletion_time") == "" {
		t.Errorf("deleted %v", a.body)
	}
	k.want(204, "POST", "secret/undelete/a", `{"versions":[3]}`)
	k.want(200, "GET", "secret/data/a", "")
	k.want(204, "PUT", "secret/destroy/a", `{"versions":[1]}`)
	if a := k.want(404, "GET", "secret/data/a?version=1", ""); a.at("data", "metadata", "destroyed") != true {
		t.Errorf("destroyed %v", a.body)
	}
	k.want(200, "GET", "secret/metadata/a", "")
	k.want(204, "DELETE", "secret/metadata/a", "")
	k.want(404, "GET", "secret/data/a", "")
	for range 12 {
		k.want(200, "POST", "secret/data/many", `{"data":{}}`)
	}
	if a := k.want(200, "GET", "secret/metadata/many", ""); a.at("data", "oldest_version") != float64(3) {
		t.Errorf("metadata %v", a.body)
	}
}

func TestHTTPShape(t *testing.T) {
	t.Parallel()
	k := root(t, start(t).Cluster("us-east"))
	tests := []struct {
		method, path, body string
		status             int
		errors             string
	}{
		{"GET", "kv/none", "", 404, ""},
		{"LIST", "kv", "", 404, ""},
		{"GET", "nowhere/x", "", 404, `no handler for route "nowhere/x". route entry not found.`},
		{"HEAD", "secret/data/hello", "", 405, ""},
		{"SCAN", "secret/data/hello", "", 405, ""},
		{"PATCH", "kv/x", "{}", 415, "PATCH requires Content-Type of application/merge-patch+json, provided "},
		{"POST", "sys/internal/ui/mounts", "{}", 405, "unsupported operation"},
		{"POST", "kv/x", "{", 500, "malformed JSON, unclosed containers"},
		{"POST", "kv/x/", `{"a":1}`, 400, "cannot write to a path ending in '/'"},
		{"GET", "secret/metadata?list=nope", "", 400, ""},
		{"GET", "secret/metadata?list=1", "", 200, ""},
		{"POST", "kv%2Fenc%2Foded", `{"a":1}`, 204, ""},
		{"GET", "kv/enc/oded", "", 200, ""},
		{"GET", "kv/%2e%2e/x", "", 400, "1 error occurred:\n\t* read failed: relative paths not supported\n\n"},
		{"GET", "kv//x", "", 307, ""},
		{"POST", "secret/../kv/x", "{}", 307, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			k := *k
			k.t = t
			if a := k.want(tt.status, tt.method, tt.path, tt.body); a.errors() != tt.errors {
				t.Errorf("errors %q", a.errors())
			}
		})
	}
}

func TestTransit(t *testing.T) {
	t.Parallel()
	l := start(t)
	primary, eu := login(t, l.Cluster("us-east")), login(t, l.Cluster("eu-west"))
	plain := base64.StdEncoding.EncodeToString([]byte("hello"))
	sealed := eu.want(200, "POST", "transit/encrypt/demo", `{"plaintext":"`+plain+`"}`).text("data", "ciphertext")
	if a := primary.want(200, "POST", "transit/decrypt/demo", `{"ciphertext":"`+sealed+`"}`); a.text("data", "plaintext") != plain {
		t.Errorf("decrypted %v", a.body)
	}
	if n := l.Cluster("us-east").Applied("transit/encrypt/demo"); n != 0 {
		t.Errorf("encrypt with a known key went to the primary")
	}
	eu.want(200, "POST", "transit/encrypt/fresh", `{"plaintext":"`+plain+`"}`)
	if n := l.Cluster("us-east").Applied("transit/encrypt/fresh"); n != 1 {
		t.Errorf("encrypt with a new key was applied %d times at the primary", n)
	}
	primary.want(200, "POST", "transit/keys/signer", `{"type":"ed25519"}`)
	sig := primary.want(200, "POST", "transit/sign/signer", `{"input":"`+plain+`"}`).text("data", "signature")
	if a := primary.want(200, "POST", "transit/verify/signer", `{"input":"`+plain+`","signature":"`+sig+`"}`); a.at("data", "valid") != true {
		t.Errorf("verify %v", a.body)
	}
	primary.want(200, "POST", "transit/keys/demo/rotate", "")
	if a := primary.want(200, "POST", "transit/rewrap/demo", `{"ciphertext":"`+sealed+`"}`); a.at("data", "key_version") != float64(2) {
		t.Errorf("rewrap %v", a.body)
	}
	primary.want(200, "POST", "transit/datakey/plaintext/demo", "")
	primary.want(200, "POST", "transit/hmac/demo", `{"input":"`+plain+`"}`)
}

func TestPKI(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu := login(t, l.Cluster("eu-west"))
	a := eu.want(200, "POST", "pki/issue/demo", `{"common_name":"app.example.com","ttl":"1h"}`)
	block, _ := pem.Decode([]byte(a.text("data", "certificate")))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(a.text("data", "issuing_ca")))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "app.example.com"}); err != nil {
		t.Errorf("verifying: %v", err)
	}
	serial := a.text("data", "serial_number")
	eu.want(200, "GET", "pki/cert/"+serial, "")
	login(t, l.Cluster("us-east")).want(404, "GET", "pki/cert/"+serial, "")
	root(t, l.Cluster("us-east")).want(400, "POST", "pki/revoke", `{"serial_number":"`+serial+`"}`)
	root(t, l.Cluster("eu-west")).want(200, "POST", "pki/revoke", `{"serial_number":"`+serial+`"}`)
}

func TestLeasesAreLocal(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu, us := login(t, l.Cluster("eu-west")), login(t, l.Cluster("us-east"))
	lease := eu.want(200, "GET", "database/creds/readonly", "").text("lease_id")
	body := `{"lease_id":"` + lease + `"}`
	us.want(204, "PUT", "sys/leases/revoke", body)
	if a := us.want(400, "PUT", "sys/leases/renew", body); a.errors() != "lease not found" {
		t.Errorf("errors %q", a.errors())
	}
	if a := us.want(400, "PUT", "sys/leases/lookup", body); a.errors() != "invalid lease" {
		t.Errorf("errors %q", a.errors())
	}
	eu.want(200, "PUT", "sys/leases/lookup", body)
	if a := eu.want(200, "PUT", "sys/leases/renew", `{"lease_id":"`+lease+`","increment":60}`); a.text("lease_id") != lease || a.at("lease_duration") != float64(60) {
		t.Errorf("renewed %v", a.body)
	}
	eu.want(200, "LIST", "sys/leases/lookup/database/creds/readonly", "")
	eu.want(204, "PUT", "sys/leases/revoke/"+lease, "")
	eu.want(400, "PUT", "sys/leases/lookup", body)
}

func TestWrapping(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu, us := login(t, l.Cluster("eu-west")), login(t, l.Cluster("us-east"))
	wrap := func() string {
		return eu.want(200, "GET", "secret/data/hello", "", "X-Vault-Wrap-TTL", "60s").text("wrap_info", "token")
	}
	token := wrap()
	if a := us.want(400, "POST", "sys/wrapping/unwrap", `{"token":"`+token+`"}`); a.errors() != "wrapping token is not valid or does not exist" {
		t.Errorf("errors %q", a.errors())
	}
	eu.want(200, "POST", "sys/wrapping/lookup", `{"token":"`+token+`"}`)
	if a := eu.want(200, "POST", "sys/wrapping/unwrap", `{"token":"`+token+`"}`); a.text("data", "data", "greeting") == "" {
		t.Errorf("unwrapped %v", a.body)
	}
	eu.want(400, "POST", "sys/wrapping/unwrap", `{"token":"`+token+`"}`)

	own := newClient(t, l.Cluster("eu-west"), wrap())
	own.want(403, "GET", "secret/data/hello", "") // takes its one use
	own.token = wrap()
	own.want(200, "POST", "sys/wrapping/unwrap", "")
	own.want(400, "POST", "sys/wrapping/unwrap", "")

	again := eu.want(200, "POST", "sys/wrapping/wrap", `{"a":"b"}`, "X-Vault-Wrap-TTL", "1m").text("wrap_info", "token")
	own.token = root(t, l.Cluster("eu-west")).want(200, "POST", "sys/wrapping/rewrap", `{"token":"`+again+`"}`).text("wrap_info", "token")
	if a := own.want(200, "POST", "sys/wrapping/unwrap", ""); a.text("data", "a") != "b" {
		t.Errorf("unwrapped %v", a.body)
	}
	// A forwarded write is wrapped by the cluster that answers.
	written := eu.want(200, "POST", "secret/data/w", `{"data":{}}`, "X-Vault-Wrap-TTL", "1m").text("wrap_info", "token")
	eu.want(200, "POST", "sys/wrapping/unwrap", `{"token":"`+written+`"}`)
}

func TestCubbyhole(t *testing.T) {
	t.Parallel()
	k := login(t, start(t).Cluster("eu-west"))
	k.want(204, "POST", "cubbyhole/mine", `{"a":"b"}`)
	if a := k.want(200, "GET", "cubbyhole/mine", ""); a.text("data", "a") != "b" {
		t.Errorf("cubbyhole %v", a.body)
	}
	login(t, k.c).want(404, "GET", "cubbyhole/mine", "")
}

func TestLocalMount(t *testing.T) {
	t.Parallel()
	l := start(t)
	eu := root(t, l.Cluster("eu-west"))
	eu.want(204, "POST", "sys/mounts/here", `{"type":"kv","local":true}`)
	eu.want(204, "POST", "here/x", `{"a":1}`)
	eu.want(200, "GET", "here/x", "")
	if n := l.Cluster("us-east").Applied("here/x"); n != 0 {
		t.Errorf("a local write reached the primary")
	}
	root(t, l.Cluster("us-east")).want(404, "GET", "here/x", "")
}
