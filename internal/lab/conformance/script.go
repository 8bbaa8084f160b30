package conformance

import "slices"

// Tokens of steps: what earlier steps kept.
const (
	root = "{root}"
	user = "{user}"
)

const userPolicy = `path \"conf2/*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\"] }\npath \"conf1/open/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }\npath \"conftransit/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }\npath \"auth/token/create\" { capabilities = [\"create\", \"update\"] }\npath \"auth/token/lookup\" { capabilities = [\"update\"] }\npath \"auth/token/lookup-accessor\" { capabilities = [\"update\"] }`

// Script is the whole script, in the order in which it has to run.
func Script() []Step {
	return slices.Concat(preparation(), logins(), kv1(), kv2(), kv2Versions(), refusals(), tokens(), leases(), wrapping(), appRole(), transit(), system(), odd(), more(), endings())
}

func preparation() []Step {
	return []Step{
		{Name: "mount kv 1", Method: "POST", Path: "sys/mounts/conf1", Token: root, Body: `{"type":"kv","options":{"version":"1"}}`, Status: 204},
		{Name: "mount kv 2", Method: "POST", Path: "sys/mounts/conf2", Token: root, Body: `{"type":"kv","options":{"version":"2"}}`, Status: 204},
		{Name: "mount transit", Method: "POST", Path: "sys/mounts/conftransit", Token: root, Body: `{"type":"transit"}`, Status: 204},
		{Name: "mount twice", Method: "POST", Path: "sys/mounts/conf1", Token: root, Body: `{"type":"kv"}`, Status: 400, Error: "path is already in use at conf1/"},
		{Name: "mount of no type", Method: "POST", Path: "sys/mounts/confx", Token: root, Body: `{"type":"nosuch"}`, Status: 400, Error: "plugin not found in the catalog: nosuch"},
		{Name: "enable userpass", Method: "POST", Path: "sys/auth/confuser", Token: root, Body: `{"type":"userpass"}`, Status: 204},
		{Name: "enable approle", Method: "POST", Path: "sys/auth/confrole", Token: root, Body: `{"type":"approle"}`, Status: 204},
		{Name: "policy", Method: "PUT", Path: "sys/policies/acl/conf", Token: root, Body: `{"policy":"` + userPolicy + `"}`, Status: 204},
		{Name: "policy read", Method: "GET", Path: "sys/policies/acl/conf", Token: root, Status: 200},
		{Name: "policy list", Method: "LIST", Path: "sys/policies/acl", Token: root, Status: 200},
		{Name: "policy of none", Method: "GET", Path: "sys/policies/acl/nosuch", Token: root, Status: 404},
		{Name: "user", Method: "POST", Path: "auth/confuser/users/u", Token: root, Body: `{"password":"p","token_policies":["conf"],"token_ttl":"1h"}`, Status: 204},
		{Name: "user read", Method: "GET", Path: "auth/confuser/users/u", Token: root, Status: 200},
		{Name: "user list", Method: "LIST", Path: "auth/confuser/users", Token: root, Status: 200},
	}
}

func logins() []Step {
	return []Step{
		{Name: "login", Method: "POST", Path: "auth/confuser/login/u", Body: `{"password":"p"}`, Status: 200, Keep: map[string]string{"user": "auth.client_token", "accessor": "auth.accessor"}},
		{Name: "login by PUT", Method: "PUT", Path: "auth/confuser/login/u", Body: `{"password":"p"}`, Status: 200, Keep: map[string]string{"second": "auth.client_token"}},
		{Name: "login with a wrong password", Method: "POST", Path: "auth/confuser/login/u", Body: `{"password":"x"}`, Status: 400, Error: "invalid username or password"},
		{Name: "login of nobody", Method: "POST", Path: "auth/confuser/login/nobody", Body: `{"password":"x"}`, Status: 400, Error: "invalid username or password"},
		{Name: "login without a password", Method: "POST", Path: "auth/confuser/login/u", Body: `{}`, Status: 400},
		{Name: "login at no mount", Method: "POST", Path: "auth/nosuch/login/u", Body: `{"password":"p"}`, Status: 403, Error: "permission denied"},
		{Name: "login read", Method: "GET", Path: "auth/confuser/login/u", Status: 405},
	}
}

func kv1() []Step {
	return []Step{
		{Name: "kv1 list of nothing", Method: "LIST", Path: "conf1/open", Token: root, Status: 404},
		{Name: "kv1 write", Method: "POST", Path: "conf1/open/a", Token: user, Body: `{"k":"v","n":1}`, Status: 204},
		{Name: "kv1 overwrite", Method: "PUT", Path: "conf1/open/a", Token: user, Body: `{"k":"w"}`, Status: 204},
		{Name: "kv1 read", Method: "GET", Path: "conf1/open/a", Token: user, Status: 200},
		{Name: "kv1 read of nothing", Method: "GET", Path: "conf1/open/none", Token: user, Status: 404},
		{Name: "kv1 list", Method: "LIST", Path: "conf1/open", Token: user, Status: 200},
		{Name: "kv1 list by query", Method: "GET", Path: "conf1/open?list=true", Token: user, Status: 200},
		{Name: "kv1 write of nothing", Method: "POST", Path: "conf1/open/empty", Token: user, Status: 400, Error: "missing data fields"},
		{Name: "kv1 delete", Method: "DELETE", Path: "conf1/open/a", Token: user, Status: 204},
		{Name: "kv1 delete again", Method: "DELETE", Path: "conf1/open/a", Token: user, Status: 204},
		{Name: "kv1 denied", Method: "GET", Path: "conf1/closed/a", Token: user, Status: 403, Error: "permission denied"},
		{Name: "kv1 write to a folder", Method: "POST", Path: "conf1/open/folder/", Token: user, Body: `{"k":"v"}`, Status: 400, Error: "cannot write to a path ending in '/'"},
		{Name: "kv1 patch", Method: "PATCH", Path: "conf1/open/a", Token: root, Body: `{"k":"v"}`, Header: [2]string{"Content-Type", "application/merge-patch+json"}, Status: 405},
	}
}

func kv2() []Step {
	return []Step{
		{Name: "kv2 write", Method: "POST", Path: "conf2/data/a", Token: user, Body: `{"data":{"k":"v"}}`, Status: 200},
		{Name: "kv2 write with cas", Method: "POST", Path: "conf2/data/a", Token: user, Body: `{"data":{"k":"w"},"options":{"cas":1}}`, Status: 200},
		{Name: "kv2 write with a wrong cas", Method: "POST", Path: "conf2/data/a", Token: user, Body: `{"data":{"k":"x"},"options":{"cas":1}}`, Status: 400, Error: "check-and-set parameter did not match the current version"},
		{Name: "kv2 write without data", Method: "POST", Path: "conf2/data/a", Token: user, Body: `{"k":"v"}`, Status: 400, Error: "no data provided"},
		{Name: "kv2 read", Method: "GET", Path: "conf2/data/a", Token: user, Status: 200},
		{Name: "kv2 read of a version", Method: "GET", Path: "conf2/data/a?version=1", Token: user, Status: 200},
		{Name: "kv2 read of no version", Method: "GET", Path: "conf2/data/a?version=9", Token: user, Status: 404},
		{Name: "kv2 read of nothing", Method: "GET", Path: "conf2/data/none", Token: user, Status: 404},
		{Name: "kv2 list", Method: "LIST", Path: "conf2/metadata", Token: user, Status: 200},
		{Name: "kv2 list with a slash", Method: "LIST", Path: "conf2/metadata/", Token: user, Status: 200},
		{Name: "kv2 list of nothing", Method: "LIST", Path: "conf2/metadata/none", Token: user, Status: 404},
		{Name: "kv2 metadata", Method: "GET", Path: "conf2/metadata/a", Token: user, Status: 200},
		{Name: "kv2 metadata of nothing", Method: "GET", Path: "conf2/metadata/none", Token: user, Status: 404},
		{Name: "kv2 patch", Method: "PATCH", Path: "conf2/data/a", Token: user, Body: `{"data":{"more":"1"}}`, Header: [2]string{"Content-Type", "application/merge-patch+json"}, Status: 200},
		{Name: "kv2 patch of nothing", Method: "PATCH", Path: "conf2/data/none", Token: user, Body: `{"data":{"more":"1"}}`, Header: [2]string{"Content-Type", "application/merge-patch+json"}, Status: 404},
		{Name: "kv2 patch with a wrong type", Method: "PATCH", Path: "conf2/data/a", Token: user, Body: `{"data":{"more":"1"}}`, Header: [2]string{"Content-Type", "application/json"}, Status: 415},
		{Name: "kv2 without data in the path", Method: "GET", Path: "conf2/a", Token: user, Status: 404},
		{Name: "kv2 config", Method: "GET", Path: "conf2/config", Token: user, Status: 200},
		{Name: "kv2 subkeys", Method: "GET", Path: "conf2/subkeys/a", Token: user, Status: 200},
	}
}

func kv2Versions() []Step {
	return []Step{
		{Name: "kv2 custom metadata", Method: "POST", Path: "conf2/metadata/a", Token: user, Body: `{"custom_metadata":{"owner":"me"},"max_versions":5}`, Status: 204},
		{Name: "kv2 metadata with custom", Method: "GET", Path: "conf2/metadata/a", Token: user, Status: 200},
		{Name: "kv2 delete", Method: "DELETE", Path: "conf2/data/a", Token: user, Status: 204},
		{Name: "kv2 read of a deleted version", Method: "GET", Path: "conf2/data/a", Token: user, Status: 404},
		{Name: "kv2 undelete", Method: "POST", Path: "conf2/undelete/a", Token: user, Body: `{"versions":[3]}`, Status: 204},
		{Name: "kv2 read of an undeleted version", Method: "GET", Path: "conf2/data/a", Token: user, Status: 200},
		{Name: "kv2 delete of versions", Method: "POST", Path: "conf2/delete/a", Token: user, Body: `{"versions":[1]}`, Status: 204},
		{Name: "kv2 delete of no versions", Method: "POST", Path: "conf2/delete/a", Token: user, Body: `{}`, Status: 400, Error: "o version number provided"},
		{Name: "kv2 destroy", Method: "PUT", Path: "conf2/destroy/a", Token: user, Body: `{"versions":[2]}`, Status: 204},
		{Name: "kv2 read of a destroyed version", Method: "GET", Path: "conf2/data/a?version=2", Token: user, Status: 404},
		{Name: "kv2 metadata delete", Method: "DELETE", Path: "conf2/metadata/a", Token: user, Status: 204},
		{Name: "kv2 read after all", Method: "GET", Path: "conf2/data/a", Token: user, Status: 404},
	}
}

func refusals() []Step {
	return []Step{
		{Name: "no token", Method: "GET", Path: "conf2/data/a", Status: 403, Error: "permission denied"},
		{Name: "wrong token", Method: "GET", Path: "conf2/data/a", Token: "hvs.wrong", Status: 403, Error: "invalid token"},
		{Name: "wrong token in a write", Method: "POST", Path: "conf2/data/a", Token: "hvs.wrong", Body: `{"data":{}}`, Status: 403, Error: "invalid token"},
		{Name: "policy denied", Method: "GET", Path: "sys/policies/acl/conf", Token: user, Status: 403, Error: "permission denied"},
		{Name: "no mount", Method: "GET", Path: "nosuch/a", Token: root, Status: 404, Error: "no handler for route"},
		{Name: "no mount, denied", Method: "GET", Path: "nosuch/a", Token: user, Status: 403, Error: "permission denied"},
		{Name: "no such path in sys", Method: "GET", Path: "sys/nosuch", Token: root, Status: 404},
		{Name: "unsupported operation", Method: "DELETE", Path: "conf2/config", Token: root, Status: 405, Error: "unsupported operation"},
		{Name: "malformed JSON", Method: "POST", Path: "conf2/data/a", Token: root, Body: `{"data":`, Status: 500, Error: "malformed JSON"},
		{Name: "JSON that is no object", Method: "POST", Path: "conf2/data/a", Token: root, Body: `[1]`, Status: 400},
	}
}

func tokens() []Step {
	return []Step{
		{Name: "lookup-self", Method: "GET", Path: "auth/token/lookup-self", Token: user, Status: 200},
		{Name: "lookup-self with a wrong token", Method: "GET", Path: "auth/token/lookup-self", Token: "hvs.wrong", Status: 403, Error: "invalid token"},
		{Name: "renew-self", Method: "POST", Path: "auth/token/renew-self", Token: user, Body: `{"increment":"30m"}`, Status: 200},
		{Name: "token create", Method: "POST", Path: "auth/token/create", Token: user, Body: `{"ttl":"10m"}`, Status: 200, Keep: map[string]string{"child": "auth.client_token", "childaccessor": "auth.accessor"}},
		{Name: "token create with a foreign policy", Method: "POST", Path: "auth/token/create", Token: user, Body: `{"policies":["root"]}`, Status: 400},
		{Name: "batch token", Method: "POST", Path: "auth/token/create", Token: root, Body: `{"type":"batch","policies":["conf"],"ttl":"10m","no_parent":true}`, Status: 200, Keep: map[string]string{"batch": "auth.client_token"}},
		{Name: "batch lookup-self", Method: "GET", Path: "auth/token/lookup-self", Token: "{batch}", Status: 200},
		{Name: "batch renew-self", Method: "POST", Path: "auth/token/renew-self", Token: "{batch}", Status: 400, Error: "batch tokens cannot be renewed"},
		{Name: "token lookup", Method: "POST", Path: "auth/token/lookup", Token: user, Body: `{"token":"{child}"}`, Status: 200},
		{Name: "token lookup of none", Method: "POST", Path: "auth/token/lookup", Token: root, Body: `{"token":"hvs.none"}`, Status: 403, Error: "bad token"},
		{Name: "accessor lookup", Method: "POST", Path: "auth/token/lookup-accessor", Token: user, Body: `{"accessor":"{childaccessor}"}`, Status: 200},
		{Name: "accessor lookup of none", Method: "POST", Path: "auth/token/lookup-accessor", Token: user, Body: `{"accessor":"none"}`, Status: 400, Error: "invalid accessor"},
		{Name: "token renew", Method: "POST", Path: "auth/token/renew", Token: root, Body: `{"token":"{child}"}`, Status: 200},
		{Name: "token revoke", Method: "POST", Path: "auth/token/revoke", Token: root, Body: `{"token":"{child}"}`, Status: 204},
		{Name: "token revoke of none", Method: "POST", Path: "auth/token/revoke", Token: root, Body: `{"token":"hvs.none"}`, Status: 204},
		{Name: "revoked token", Method: "GET", Path: "auth/token/lookup-self", Token: "{child}", Status: 403, Error: "invalid token"},
		{Name: "token with one use", Method: "POST", Path: "auth/token/create", Token: root, Body: `{"num_uses":1,"policies":["conf"]}`, Status: 200, Keep: map[string]string{"once": "auth.client_token"}},
		{Name: "the one use", Method: "GET", Path: "auth/token/lookup-self", Token: "{once}", Status: 200},
		{Name: "after the one use", Method: "GET", Path: "auth/token/lookup-self", Token: "{once}", Status: 403},
	}
}

func leases() []Step {
	return []Step{
		{Name: "renew of an unknown lease", Method: "PUT", Path: "sys/leases/renew", Token: root, Body: `{"lease_id":"conf/none/1"}`, Status: 400, Error: "lease not found"},
		{Name: "renew without a lease", Method: "PUT", Path: "sys/leases/renew", Token: root, Body: `{}`, Status: 400},
		{Name: "lookup of an unknown lease", Method: "PUT", Path: "sys/leases/lookup", Token: root, Body: `{"lease_id":"conf/none/1"}`, Status: 400, Error: "invalid lease"},
		{Name: "revoke of an unknown lease", Method: "PUT", Path: "sys/leases/revoke", Token: root, Body: `{"lease_id":"conf/none/1"}`, Status: 204},
		{Name: "revoke of an unknown prefix", Method: "PUT", Path: "sys/leases/revoke-prefix/conf/none", Token: root, Status: 204},
		{Name: "leases of nothing", Method: "LIST", Path: "sys/leases/lookup/conf/none", Token: root, Status: 404},
	}
}

func wrapping() []Step {
	return []Step{
		{Name: "wrapped read", Method: "GET", Path: "auth/token/lookup-self", Token: user, Header: [2]string{"X-Vault-Wrap-TTL", "60s"}, Status: 200, Keep: map[string]string{"wrap": "wrap_info.token"}},
		{Name: "wrapping lookup", Method: "POST", Path: "sys/wrapping/lookup", Token: user, Body: `{"token":"{wrap}"}`, Status: 200},
		{Name: "unwrap", Method: "POST", Path: "sys/wrapping/unwrap", Token: "{wrap}", Status: 200},
		{Name: "second unwrap", Method: "POST", Path: "sys/wrapping/unwrap", Token: "{wrap}", Status: 400, Error: "wrapping token is not valid or does not exist"},
		{Name: "unwrap of nothing", Method: "POST", Path: "sys/wrapping/unwrap", Token: user, Body: `{"token":"hvs.none"}`, Status: 400, Error: "wrapping token is not valid or does not exist"},
		{Name: "wrap", Method: "POST", Path: "sys/wrapping/wrap", Token: user, Body: `{"a":"b"}`, Header: [2]string{"X-Vault-Wrap-TTL", "60s"}, Status: 200, Keep: map[string]string{"wrap2": "wrap_info.token"}},
		{Name: "unwrap by body", Method: "POST", Path: "sys/wrapping/unwrap", Token: user, Body: `{"token":"{wrap2}"}`, Status: 200},
		{Name: "wrapped login", Method: "POST", Path: "auth/confuser/login/u", Body: `{"password":"p"}`, Header: [2]string{"X-Vault-Wrap-TTL", "60s"}, Status: 200, Keep: map[string]string{"wrap3": "wrap_info.token"}},
		{Name: "rewrap", Method: "POST", Path: "sys/wrapping/rewrap", Token: root, Body: `{"token":"{wrap3}"}`, Status: 200, Keep: map[string]string{"wrap4": "wrap_info.token"}},
		{Name: "unwrap of the rewrapped", Method: "POST", Path: "sys/wrapping/unwrap", Token: "{wrap4}", Status: 200},
		{Name: "cubbyhole write", Method: "POST", Path: "cubbyhole/a", Token: user, Body: `{"k":"v"}`, Status: 204},
		{Name: "cubbyhole read", Method: "GET", Path: "cubbyhole/a", Token: user, Status: 200},
		{Name: "cubbyhole of another token", Method: "GET", Path: "cubbyhole/a", Token: "{second}", Status: 404},
		{Name: "cubbyhole list", Method: "LIST", Path: "cubbyhole", Token: user, Status: 200},
		{Name: "cubbyhole delete", Method: "DELETE", Path: "cubbyhole/a", Token: user, Status: 204},
	}
}

func appRole() []Step {
	return []Step{
		{Name: "role", Method: "POST", Path: "auth/confrole/role/r", Token: root, Body: `{"token_policies":["conf"],"secret_id_num_uses":2}`, Status: 204},
		{Name: "role read", Method: "GET", Path: "auth/confrole/role/r", Token: root, Status: 200},
		{Name: "role list", Method: "LIST", Path: "auth/confrole/role", Token: root, Status: 200},
		{Name: "role id", Method: "GET", Path: "auth/confrole/role/r/role-id", Token: root, Status: 200, Keep: map[string]string{"roleid": "data.role_id"}},
		{Name: "role id of no role", Method: "GET", Path: "auth/confrole/role/none/role-id", Token: root, Status: 404},
		{Name: "secret id", Method: "POST", Path: "auth/confrole/role/r/secret-id", Token: root, Body: `{}`, Status: 200, Keep: map[string]string{"secretid": "data.secret_id"}},
		{Name: "secret id lookup", Method: "POST", Path: "auth/confrole/role/r/secret-id/lookup", Token: root, Body: `{"secret_id":"{secretid}"}`, Status: 200},
		{Name: "approle login", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"{roleid}","secret_id":"{secretid}"}`, Status: 200},
		{Name: "approle login, last use", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"{roleid}","secret_id":"{secretid}"}`, Status: 200},
		{Name: "approle login, used up", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"{roleid}","secret_id":"{secretid}"}`, Status: 400, Error: "invalid role or secret ID"},
		{Name: "approle login with a wrong secret id", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"{roleid}","secret_id":"wrong"}`, Status: 400, Error: "invalid role or secret ID"},
		{Name: "approle login with a wrong role id", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"wrong","secret_id":"wrong"}`, Status: 400, Error: "invalid role or secret ID"},
		{Name: "approle login without a secret id", Method: "POST", Path: "auth/confrole/login", Body: `{"role_id":"{roleid}"}`, Status: 400, Error: "missing secret_id"},
	}
}

func transit() []Step {
	return []Step{
		{Name: "transit key", Method: "POST", Path: "conftransit/keys/k", Token: root, Body: `{}`, Status: 200},
		{Name: "transit key read", Method: "GET", Path: "conftransit/keys/k", Token: user, Status: 200},
		{Name: "transit key list", Method: "LIST", Path: "conftransit/keys", Token: user, Status: 200},
		{Name: "encrypt", Method: "POST", Path: "conftransit/encrypt/k", Token: user, Body: `{"plaintext":"aGVsbG8="}`, Status: 200, Keep: map[string]string{"ciphertext": "data.ciphertext"}},
		{Name: "decrypt", Method: "POST", Path: "conftransit/decrypt/k", Token: user, Body: `{"ciphertext":"{ciphertext}"}`, Status: 200},
		{Name: "decrypt of nonsense", Method: "POST", Path: "conftransit/decrypt/k", Token: user, Body: `{"ciphertext":"nonsense"}`, Status: 400, Error: "invalid ciphertext"},
		{Name: "encrypt of no base64", Method: "POST", Path: "conftransit/encrypt/k", Token: user, Body: `{"plaintext":"%"}`, Status: 400},
		{Name: "transit key of none", Method: "GET", Path: "conftransit/keys/none", Token: user, Status: 404},
		{Name: "rotate", Method: "POST", Path: "conftransit/keys/k/rotate", Token: user, Status: 200},
		{Name: "hmac", Method: "POST", Path: "conftransit/hmac/k", Token: user, Body: `{"input":"aGVsbG8="}`, Status: 200},
	}
}

func system() []Step {
	return []Step{
		{Name: "capabilities-self", Method: "POST", Path: "sys/capabilities-self", Token: user, Body: `{"paths":["conf2/data/a","sys/mounts"]}`, Status: 200},
		{Name: "capabilities", Method: "POST", Path: "sys/capabilities", Token: root, Body: `{"token":"{user}","paths":["conf2/data/a"]}`, Status: 200},
		{Name: "mount seen by a user", Method: "GET", Path: "sys/internal/ui/mounts/conf2/data/a", Token: user, Status: 200},
		{Name: "mount not seen by a user", Method: "GET", Path: "sys/internal/ui/mounts/confhidden", Token: "{second}", Status: 403},
		{Name: "mounts denied", Method: "GET", Path: "sys/mounts", Token: user, Status: 403, Error: "permission denied"},
		{Name: "mount tune", Method: "GET", Path: "sys/mounts/conf2/tune", Token: root, Status: 200},
		{Name: "hash", Method: "POST", Path: "sys/tools/hash", Token: root, Body: `{"input":"aGVsbG8="}`, Status: 200},
		{Name: "random", Method: "POST", Path: "sys/tools/random/16", Token: root, Body: `{}`, Status: 200},
		{Name: "seal status", Method: "GET", Path: "sys/seal-status", Status: 200},
		{Name: "init status", Method: "GET", Path: "sys/init", Status: 200},
		{Name: "health by HEAD", Method: "HEAD", Path: "sys/health", Status: 200},
		{Name: "health with an own code", Method: "HEAD", Path: "sys/health?activecode=299", Status: 299},
	}
}

func odd() []Step {
	return []Step{
		{Name: "double slash", Method: "GET", Path: "conf2//data/a", Token: root, Status: 307},
		{Name: "dots", Method: "GET", Path: "conf2/x/../data/a", Token: root, Status: 307},
		{Name: "escaped dots", Method: "GET", Path: "conf1/%2e%2e/a", Token: root, Status: 400, Error: "relative paths not supported"},
		{Name: "escaped slash", Method: "GET", Path: "conf2/data/a%2Fb", Token: root, Status: 404},
		{Name: "trailing slash of a read", Method: "GET", Path: "conf2/data/a/", Token: root, Status: 404},
		{Name: "list query of nonsense", Method: "GET", Path: "conf1/open?list=maybe", Token: root, Status: 400},
		{Name: "HEAD of a secret", Method: "HEAD", Path: "conf2/data/a", Token: root, Status: 405},
		{Name: "OPTIONS", Method: "OPTIONS", Path: "conf2/data/a", Token: root, Status: 405},
		{Name: "bearer token", Method: "GET", Path: "auth/token/lookup-self", Header: [2]string{"Authorization", "Bearer {root}"}, Status: 200},
	}
}

func endings() []Step {
	return []Step{
		{Name: "revoke-self", Method: "POST", Path: "auth/token/revoke-self", Token: user, Status: 204},
		{Name: "after revoke-self", Method: "GET", Path: "auth/token/lookup-self", Token: user, Status: 403, Error: "invalid token"},
		{Name: "user delete", Method: "DELETE", Path: "auth/confuser/users/u", Token: root, Status: 204},
		{Name: "login of a deleted user", Method: "POST", Path: "auth/confuser/login/u", Body: `{"password":"p"}`, Status: 400, Error: "invalid username or password"},
		{Name: "unmount", Method: "DELETE", Path: "sys/mounts/conf1", Token: root, Status: 204},
		{Name: "after the unmount", Method: "GET", Path: "conf1/open/a", Token: root, Status: 404, Error: "no handler for route"},
		{Name: "unmount again", Method: "DELETE", Path: "sys/mounts/conf1", Token: root, Status: 204},
		{Name: "disable userpass", Method: "DELETE", Path: "sys/auth/confuser", Token: root, Status: 204},
		{Name: "policy delete", Method: "DELETE", Path: "sys/policies/acl/conf", Token: root, Status: 204},
	}
}
