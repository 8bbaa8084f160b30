package conformance

func leaseSteps() []Step {
	return []Step{
		do(400, "renew an unknown lease", "PUT", "sys/leases/renew", `{"lease_id":"conf-kv1/creds/x/unknown"}`),
		do(400, "renew an unknown lease the old way", "PUT", "sys/renew", `{"lease_id":"conf-kv1/creds/x/unknown"}`),
		do(400, "renew an unknown lease in the path", "PUT", "sys/leases/renew/conf-kv1/creds/x/unknown", `{}`),
		do(400, "renew no lease", "PUT", "sys/leases/renew", `{}`),
		do(204, "revoke an unknown lease", "PUT", "sys/leases/revoke", `{"lease_id":"conf-kv1/creds/x/unknown"}`),
		do(204, "revoke an unknown lease the old way", "PUT", "sys/revoke/conf-kv1/creds/x/unknown", `{}`),
		do(400, "revoke no lease", "PUT", "sys/leases/revoke", `{}`),
		do(204, "revoke a prefix without leases", "PUT", "sys/leases/revoke-prefix/conf-kv1/creds", `{}`),
		do(400, "look an unknown lease up", "PUT", "sys/leases/lookup", `{"lease_id":"conf-kv1/creds/x/unknown"}`),
		do(400, "look no lease up", "PUT", "sys/leases/lookup", `{}`),
		do(404, "list no leases", "LIST", "sys/leases/lookup/conf-kv1/creds/", ""),
		do(403, "list leases as a poor token", "LIST", "sys/leases/lookup/conf-kv1/", "").by(poor),
		do(400, "renew an unknown lease as a poor token", "PUT", "sys/leases/renew", `{"lease_id":"conf-kv1/creds/x/unknown"}`).by(poor),
		do(403, "revoke a lease as a poor token", "PUT", "sys/leases/revoke", `{"lease_id":"conf-kv1/creds/x/unknown"}`).by(poor),
	}
}

func wrappingSteps() []Step {
	return []Step{
		do(200, "wrap data", "POST", "sys/wrapping/wrap", `{"a":"1"}`).with("X-Vault-Wrap-TTL", "60s").keep("wrap", "wrap_info.token"),
		do(200, "look a wrapping up", "POST", "sys/wrapping/lookup", `{"token":"{wrap}"}`),
		do(200, "look a wrapping up without a token", "POST", "sys/wrapping/lookup", `{"token":"{wrap}"}`).by(""),
		do(200, "unwrap, more", "POST", "sys/wrapping/unwrap", `{"token":"{wrap}"}`),
		do(400, "unwrap again", "POST", "sys/wrapping/unwrap", `{"token":"{wrap}"}`),
		do(400, "look a used wrapping up", "POST", "sys/wrapping/lookup", `{"token":"{wrap}"}`),
		do(400, "unwrap garbage", "POST", "sys/wrapping/unwrap", `{"token":"garbage"}`),
		do(400, "unwrap a normal token", "POST", "sys/wrapping/unwrap", `{"token":"{poor}"}`),
		do(400, "wrap without a ttl", "POST", "sys/wrapping/wrap", `{"a":"1"}`),
		do(400, "wrap with a wrong ttl", "POST", "sys/wrapping/wrap", `{"a":"1"}`).with("X-Vault-Wrap-TTL", "soon"),
		do(200, "wrapped kv2 read", "GET", "conf-kv2/data/open/first", "").with("X-Vault-Wrap-TTL", "2m").keep("wrap_kv", "wrap_info.token"),
		do(200, "unwrap with the wrapping token itself", "POST", "sys/wrapping/unwrap", ``).by("{wrap_kv}"),
		do(400, "unwrap with a used wrapping token", "POST", "sys/wrapping/unwrap", ``).by("{wrap_kv}"),
		do(200, "wrapped login, more", "POST", "auth/conf-userpass/login/ann", `{"password":"right"}`).by("").with("X-Vault-Wrap-TTL", "2m").keep("wrap_login", "wrap_info.token"),
		do(200, "rewrap, more", "POST", "sys/wrapping/rewrap", `{"token":"{wrap_login}"}`).keep("rewrapped", "wrap_info.token"),
		do(400, "unwrap what was rewrapped", "POST", "sys/wrapping/unwrap", `{"token":"{wrap_login}"}`),
		do(200, "unwrap the new wrapping", "POST", "sys/wrapping/unwrap", `{"token":"{rewrapped}"}`),
		do(404, "wrapped read of nothing", "GET", "conf-kv2/data/none", "").with("X-Vault-Wrap-TTL", "2m"),
		do(204, "wrapped write without an answer", "POST", "conf-kv1/wrapped", `{"a":"1"}`).with("X-Vault-Wrap-TTL", "2m"),
	}
}

func mountSteps() []Step {
	return []Step{
		do(403, "list mounts as a poor token", "GET", "sys/mounts", "").by(poor),
		do(204, "enable a mount", "POST", "sys/mounts/conf-new", `{"type":"kv","description":"new"}`),
		do(200, "read a mount", "GET", "sys/mounts/conf-new", ""),
		do(200, "read how a mount is tuned", "GET", "sys/mounts/conf-new/tune", ""),
		do(204, "tune a mount", "POST", "sys/mounts/conf-new/tune", `{"default_lease_ttl":"1h","description":"tuned"}`),
		do(200, "read a tuned mount", "GET", "sys/mounts/conf-new/tune", ""),
		do(400, "enable a mount twice", "POST", "sys/mounts/conf-new", `{"type":"kv"}`),
		do(400, "enable a mount below another", "POST", "sys/mounts/conf-new/below", `{"type":"kv"}`),
		do(400, "enable a mount of an unknown type", "POST", "sys/mounts/conf-odd", `{"type":"odd"}`),
		do(400, "enable a mount without a type", "POST", "sys/mounts/conf-odd", `{}`),
		do(204, "disable a mount", "DELETE", "sys/mounts/conf-new", ""),
		do(204, "disable a missing mount", "DELETE", "sys/mounts/conf-new", ""),
		do(400, "read a missing mount", "GET", "sys/mounts/conf-new", ""),
		do(404, "use a disabled mount", "GET", "conf-new/x", ""),
		do(204, "enable an auth method", "POST", "sys/auth/conf-new", `{"type":"userpass"}`),
		do(400, "enable an auth method twice", "POST", "sys/auth/conf-new", `{"type":"userpass"}`),
		do(200, "read an auth method", "GET", "sys/auth/conf-new", ""),
		do(204, "disable an auth method", "DELETE", "sys/auth/conf-new", ""),
		do(400, "read a missing auth method", "GET", "sys/auth/conf-new", ""),
		do(403, "enable a mount as a poor token", "POST", "sys/mounts/conf-new", `{"type":"kv"}`).by(poor),
	}
}

func uiSteps() []Step {
	return []Step{
		do(200, "mounts as a poor token sees them", "GET", "sys/internal/ui/mounts", "").by(poor),
		do(200, "mounts as nobody sees them", "GET", "sys/internal/ui/mounts", "").by(""),
		do(403, "mounts as a garbage token sees them", "GET", "sys/internal/ui/mounts", "").by("garbage"),
		do(200, "mount of a path", "GET", "sys/internal/ui/mounts/conf-kv2/open/a", ""),
		do(200, "mount of a path as a poor token", "GET", "sys/internal/ui/mounts/conf-kv2/open/a", "").by(poor),
		do(200, "mount of an auth path", "GET", "sys/internal/ui/mounts/auth/conf-userpass/login/ann", ""),
		do(403, "mount of a path that is hidden", "GET", "sys/internal/ui/mounts/conf-transit/keys", "").by(poor),
		do(403, "mount of a path without one", "GET", "sys/internal/ui/mounts/conf-none/x", ""),
		do(403, "mount of a path as a garbage token", "GET", "sys/internal/ui/mounts/conf-kv2/open/a", "").by("garbage"),
		do(403, "mount of a path without a token", "GET", "sys/internal/ui/mounts/conf-kv2/open/a", "").by(""),
	}
}

func toolSteps() []Step {
	return []Step{
		do(200, "random bytes", "POST", "sys/tools/random/16", `{}`),
		do(200, "random bytes in hex", "POST", "sys/tools/random", `{"bytes":8,"format":"hex"}`),
		do(400, "no random bytes", "POST", "sys/tools/random/0", `{}`),
		do(400, "too many random bytes", "POST", "sys/tools/random/200000", `{}`),
		do(400, "random bytes in an unknown format", "POST", "sys/tools/random/8", `{"format":"odd"}`),
		do(200, "hash, more", "POST", "sys/tools/hash", `{"input":"aGVsbG8="}`),
		do(200, "hash with an algorithm", "POST", "sys/tools/hash/sha2-512", `{"input":"aGVsbG8=","format":"base64"}`),
		do(400, "hash of what is not base64", "POST", "sys/tools/hash", `{"input":"!"}`),
		do(400, "hash with an unknown algorithm", "POST", "sys/tools/hash/odd", `{"input":"aGVsbG8="}`),
	}
}

func statusSteps() []Step {
	return []Step{
		do(200, "health", "GET", "sys/health", "").by(""),
		do(200, "health by HEAD, more", "HEAD", "sys/health", "").by(""),
		do(200, "health with standbyok", "GET", "sys/health?standbyok=true&perfstandbyok=true", "").by(""),
		do(299, "health with a code of one's own", "GET", "sys/health?activecode=299", "").by(""),
		do(400, "health with a code that is none", "GET", "sys/health?activecode=x", "").by(""),
		do(405, "health by DELETE", "DELETE", "sys/health", "").by(""),
		do(200, "seal status without a token", "GET", "sys/seal-status", "").by(""),
		do(200, "leader", "GET", "sys/leader", "").by(""),
		do(200, "init status, more", "GET", "sys/init", "").by(""),
	}
}

// requestSteps are requests that are wrong before anything looks at their meaning.
func requestSteps() []Step {
	return []Step{
		do(404, "unknown mount", "GET", "conf-none/x", ""),
		do(403, "unknown mount as a poor token", "GET", "conf-none/x", "").by(poor),
		do(403, "unknown mount without a token", "GET", "conf-none/x", "").by(""),
		do(404, "write to an unknown mount", "POST", "conf-none/x", `{"a":"1"}`),
		do(404, "unknown path of sys", "GET", "sys/conf-none", ""),
		do(404, "unknown path of a token mount", "GET", "auth/token/conf-none", ""),
		do(405, "operation that a path has not", "DELETE", "auth/token/lookup-self", ""),
		do(405, "read what can only be written", "GET", "auth/token/create", ""),
		do(405, "unknown method", "TRACE", "conf-kv1/open", ""),
		do(405, "options", "OPTIONS", "conf-kv1/open", ""),
		do(500, "malformed JSON, more", "POST", "conf-kv1/x", `{"a":`),
		do(500, "malformed JSON without a token", "POST", "conf-kv1/x", `{"a":`).by(""),
		do(400, "JSON without a colon", "POST", "conf-kv1/x", `{"a" "b"}`),
		do(400, "JSON that is no object, more", "POST", "conf-kv1/x", `["a"]`),
		do(400, "text instead of JSON", "POST", "conf-kv1/x", `hello`),
		do(500, "malformed login", "POST", "auth/conf-userpass/login/ann", `{"password":`).by(""),
		do(200, "JSON under another content type", "POST", "conf-kv2/data/open/form", `{"data":{"a":"1"}}`).with("Content-Type", "text/plain"),
		do(400, "list parameter that is no boolean", "GET", "conf-kv1/?list=maybe", ""),
		do(404, "list parameter that is false", "GET", "conf-kv1/none?list=false", ""),
		do(405, "head", "HEAD", "conf-kv1/none", ""),
		do(405, "head of what exists", "HEAD", "conf-kv1/ttl", ""),
	}
}

func pathSteps() []Step {
	return []Step{
		do(307, "two slashes", "GET", "conf-kv1//ttl", ""),
		do(307, "two slashes with a query", "GET", "/conf-kv1/ttl?a=b", ""),
		do(307, "write with two slashes", "POST", "conf-kv1//ttl", `{"a":"1"}`),
		do(307, "dots, more", "GET", "conf-kv2/../conf-kv1/ttl", ""),
		do(307, "one dot", "GET", "conf-kv1/./ttl", ""),
		do(200, "escaped letter", "GET", "conf-kv1/tt%6c", ""),
		do(204, "write to a path with a space", "POST", "conf-kv1/a%20b", `{"a":"1"}`),
		do(200, "read of a path with a space", "GET", "conf-kv1/a%20b", ""),
		do(204, "write to a path with an escaped slash", "POST", "conf-kv1/c%2Fd", `{"a":"1"}`),
		do(200, "read of a path with an escaped slash", "GET", "conf-kv1/c%2Fd", ""),
		do(200, "an escaped slash is a slash", "GET", "conf-kv1/c/d", ""),
		do(204, "write to a path with an umlaut", "POST", "conf-kv1/%C3%BC", `{"a":"1"}`),
		do(200, "list of odd paths", "LIST", "conf-kv1/", ""),
		do(400, "escaped dots, more", "GET", "conf-kv1/%2e%2e/conf-kv1/ttl", ""),
		do(404, "escaped dots of kv2", "GET", "conf-kv2/data/%2e%2e/x", ""),
		do(500, "write to escaped dots", "POST", "conf-kv1/%2e%2e/x", `{"a":"1"}`),
		do(400, "delete at escaped dots", "DELETE", "conf-kv1/%2e%2e/x", ""),
		do(400, "list at escaped dots", "LIST", "conf-kv1/%2e%2e/x", ""),
		do(404, "escaped dots of sys", "GET", "sys/%2e%2e/x", ""),
		do(403, "escaped dots as a poor token", "GET", "conf-kv1/%2e%2e/x", "").by(poor),
		do(404, "read with a trailing slash", "GET", "conf-kv1/ttl/", ""),
		do(400, "write with a trailing slash", "POST", "conf-kv1/new/", `{"a":"1"}`),
		do(404, "mount without a slash", "GET", "conf-kv1", ""),
		do(404, "root of the API", "GET", "", ""),
		do(204, "delete with a trailing slash", "DELETE", "conf-kv1/ttl/", ""),
		do(200, "list with a trailing slash in the parameter", "GET", "conf-kv1?list=true", ""),
	}
}
