package lab_test

import "testing"

// step is one request and what has to come of it.
type step struct {
	method, path, body string
	status             int
}

func (k *client) steps(steps []step) {
	k.t.Helper()
	for _, s := range steps {
		k.want(s.status, s.method, s.path, s.body)
	}
}

func TestMountsAndPolicies(t *testing.T) {
	t.Parallel()
	r := root(t, start(t).Cluster("us-east"))
	r.steps([]step{
		{"POST", "sys/mounts/more", `{"type":"kv","options":{"version":"2"}}`, 204},
		{"POST", "sys/mounts/more", `{"type":"kv"}`, 400},
		{"POST", "sys/mounts/strange", `{"type":"nothing"}`, 400},
		{"POST", "sys/mounts/more/tune", `{"default_lease_ttl":"1h","description":"d"}`, 204},
		{"GET", "sys/mounts/more/tune", "", 200},
		{"GET", "sys/mounts/more", "", 200},
		{"GET", "sys/mounts/none", "", 400},
		{"GET", "sys/auth/none", "", 400},
		{"GET", "sys/auth", "", 200},
		{"POST", "more/data/x", `{"data":{}}`, 200},
		{"POST", "sys/remount", `{"from":"more","to":"moved"}`, 200},
		{"GET", "moved/data/x", "", 200},
		{"GET", "more/data/x", "", 404},
		{"DELETE", "sys/mounts/moved", "", 204},
		{"GET", "moved/data/x", "", 404},
		{"PUT", "sys/policy/p", `{"rules":"path \"a\" { capabilities = [\"read\"] }"}`, 204},
		{"GET", "sys/policy/p", "", 200},
		{"LIST", "sys/policies/acl", "", 200},
		{"DELETE", "sys/policies/acl/default", "", 400},
		{"DELETE", "sys/policies/acl/p", "", 204},
		{"GET", "sys/policies/acl/p", "", 404},
		{"POST", "sys/namespaces/n", "", 200},
		{"GET", "sys/namespaces/n", "", 200},
		{"DELETE", "sys/namespaces/n", "", 204},
		{"GET", "sys/namespaces/n", "", 404},
		{"POST", "sys/tools/random/16", `{"format":"hex"}`, 200},
		{"POST", "sys/tools/random", `{"bytes":0}`, 400},
		{"POST", "sys/tools/hash/sha2-512", `{"input":"aGk="}`, 200},
		{"POST", "sys/tools/hash", `{"input":"%"}`, 400},
		{"POST", "sys/capabilities", `{"token":"root","paths":["x"]}`, 200},
		{"POST", "sys/capabilities", `{"token":"none","paths":["x"]}`, 400},
		{"GET", "sys/internal/ui/resultant-acl", "", 200},
	})
}

func TestAuthMethods(t *testing.T) {
	t.Parallel()
	l := start(t)
	r := root(t, l.Cluster("us-east"))
	r.steps([]step{
		{"POST", "auth/userpass/users/eve", `{"password":"x","policies":"demo","token_ttl":"10m"}`, 204},
		{"POST", "auth/userpass/users/nopass", `{}`, 400},
		{"GET", "auth/userpass/users/eve", "", 200},
		{"LIST", "auth/userpass/users", "", 200},
		{"POST", "auth/userpass/login/eve", `{"password":"wrong"}`, 400},
		{"POST", "auth/userpass/users/eve/password", `{"password":"y"}`, 204},
		{"POST", "auth/userpass/login/EVE", `{"password":"y"}`, 200},
		{"DELETE", "auth/userpass/users/eve", "", 204},
		{"POST", "auth/userpass/login/eve", `{"password":"y"}`, 400},
		{"POST", "auth/approle/role/app", `{"token_policies":["demo"],"local_secret_ids":true}`, 204},
		{"GET", "auth/approle/role/app", "", 200},
		{"GET", "auth/approle/role/app/role-id", "", 200},
		{"POST", "auth/approle/role/app/secret-id", `{"ttl":"1h"}`, 200},
		{"LIST", "auth/approle/role/app/secret-id", "", 200},
		{"POST", "auth/approle/role/none/secret-id", "", 404},
		{"DELETE", "auth/approle/role/app", "", 204},
		{"GET", "auth/approle/role/app", "", 404},
		{"POST", "sys/auth/kubernetes", `{"type":"kubernetes"}`, 204},
		{"POST", "auth/kubernetes/config", `{"accepted_jwt":"good"}`, 204},
		{"POST", "auth/kubernetes/role/app", `{"token_policies":["demo"],"token_type":"batch"}`, 204},
		{"POST", "auth/kubernetes/login", `{"role":"app","jwt":"good"}`, 200},
		{"POST", "auth/kubernetes/login", `{"role":"app","jwt":"bad"}`, 403},
		{"POST", "auth/kubernetes/login", `{"role":"none","jwt":"good"}`, 400},
		{"POST", "auth/token/roles/r", `{"allowed_policies":["demo"],"orphan":true}`, 204},
		{"POST", "auth/token/create/r", `{}`, 200},
		{"POST", "auth/token/create/none", `{}`, 400},
		{"LIST", "auth/token/roles", "", 200},
		{"LIST", "auth/token/accessors", "", 200},
		{"POST", "auth/token/renew", `{"token":"none"}`, 400},
		{"POST", "auth/token/renew-self", "", 400}, // root has no lease
	})
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	c := start(t).Cluster("us-east")
	r, k := root(t, c), login(t, c)
	lease := k.want(200, "GET", "database/creds/readonly", "").text("lease_id")
	r.want(204, "PUT", "sys/leases/revoke-prefix/database/creds", "")
	k.want(400, "PUT", "sys/leases/lookup", `{"lease_id":"`+lease+`"}`)
	child := k.want(200, "POST", "auth/token/create", "").text("auth", "client_token")
	r.want(204, "POST", "auth/token/revoke-orphan", `{"token":"`+k.token+`"}`)
	k.want(403, "GET", "auth/token/lookup-self", "")
	k.token = child
	if a := k.want(200, "GET", "auth/token/lookup-self", ""); a.at("data", "orphan") != true {
		t.Errorf("child %v", a.body)
	}
	user := login(t, c)
	r.want(204, "PUT", "sys/leases/revoke-prefix/auth/userpass", "")
	user.want(403, "GET", "auth/token/lookup-self", "")
}

func TestEnginesConfig(t *testing.T) {
	t.Parallel()
	r := root(t, start(t).Cluster("us-east"))
	r.steps([]step{
		{"POST", "secret/config", `{"cas_required":true,"max_versions":2}`, 204},
		{"GET", "secret/config", "", 200},
		{"POST", "secret/data/x", `{"data":{}}`, 400},
		{"POST", "secret/data/x", `{"options":{"cas":0},"data":{"a":{"b":1}}}`, 200},
		{"GET", "secret/subkeys/x", "", 200},
		{"POST", "secret/metadata/x", `{"custom_metadata":{"a":"b"},"max_versions":1}`, 204},
		{"POST", "secret/delete/x", `{"versions":[1]}`, 204},
		{"GET", "secret/data/x", "", 404},
		{"GET", "secret/x", "", 404},
		{"POST", "database/static-roles/s", `{"username":"u","db_name":"demo","rotation_period":60}`, 204},
		{"GET", "database/static-creds/s", "", 200},
		{"POST", "database/rotate-role/s", "", 204},
		{"GET", "database/roles/readonly", "", 200},
		{"GET", "database/creds/none", "", 400},
		{"POST", "sys/mounts/ssh", `{"type":"ssh"}`, 204},
		{"POST", "ssh/roles/otp", `{"key_type":"otp","default_user":"u"}`, 204},
		{"POST", "ssh/creds/otp", `{"ip":"1.2.3.4"}`, 200},
		{"POST", "ssh/verify", `{"otp":"none"}`, 400},
		{"DELETE", "transit/keys/demo", "", 400},
		{"POST", "transit/keys/demo/config", `{"deletion_allowed":true}`, 200},
		{"DELETE", "transit/keys/demo", "", 204},
		{"POST", "transit/decrypt/demo", `{"ciphertext":"vault:v1:x"}`, 400},
		{"GET", "pki/cert/ca", "", 200},
		{"GET", "pki/ca/pem", "", 200},
		{"GET", "pki/crl", "", 200},
		{"POST", "pki/issue/none", `{"common_name":"x"}`, 400},
	})
}
