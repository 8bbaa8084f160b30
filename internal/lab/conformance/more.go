package conformance

import (
	"maps"
	"slices"
)

// poor is a token that may do little.
const poor = "{poor}"

// more are the steps beyond the everyday ones, with mounts and users of their own.
func more() []Step {
	return slices.Concat(
		setupSteps(), loginSteps(), tokenSteps(), tokenTreeSteps(), kv1Steps(), kv2Steps(), kv2VersionSteps(), policySteps(),
		leaseSteps(), wrappingSteps(), mountSteps(), uiSteps(), capabilitySteps(), cubbyholeSteps(), transitSteps(),
		toolSteps(), statusSteps(), requestSteps(), pathSteps(),
	)
}

// do is a step with the root token.
func do(want int, name, method, path, body string) Step {
	return Step{Name: name, Method: method, Path: path, Token: root, Body: body, Status: want}
}

// by sends another token, or none when it is "".
func (s Step) by(token string) Step {
	s.Token = token
	return s
}

// with adds a header.
func (s Step) with(name, value string) Step {
	s.Header = [2]string{name, value}
	return s
}

// keep keeps a value of the answer for later steps.
func (s Step) keep(name, place string) Step {
	s.Keep = maps.Clone(s.Keep)
	if s.Keep == nil {
		s.Keep = map[string]string{}
	}
	s.Keep[name] = place
	return s
}

// poorPolicy allows little, so that there is something to deny.
const poorPolicy = `path \"conf-kv2/data/open/*\" { capabilities = [\"create\", \"read\", \"update\"] }\n` +
	`path \"conf-kv1/open\" { capabilities = [\"read\"] }\n` +
	`path \"conf-kv1/open/*\" { capabilities = [\"read\", \"list\"] }\n` +
	`path \"auth/token/create\" { capabilities = [\"update\"] }\n` +
	`path \"conf-kv2/data/closed/*\" { capabilities = [\"deny\"] }\n`

func setupSteps() []Step {
	prepare := func(path, body string) Step { return do(204, "setup "+path, "POST", path, body) }
	return []Step{
		prepare("sys/mounts/conf-kv1", `{"type":"kv","options":{"version":"1"},"description":"version one"}`),
		prepare("sys/mounts/conf-kv2", `{"type":"kv","options":{"version":"2"}}`),
		prepare("sys/mounts/conf-transit", `{"type":"transit"}`),
		prepare("sys/auth/conf-userpass", `{"type":"userpass"}`),
		prepare("sys/auth/conf-approle", `{"type":"approle"}`),
		prepare("sys/policies/acl/conf-poor", `{"policy":"`+poorPolicy+`"}`),
		prepare("auth/conf-userpass/users/ann", `{"password":"right","token_policies":"conf-poor","token_ttl":"1h"}`),
		prepare("auth/conf-approle/role/app", `{"token_policies":"conf-poor","token_ttl":"1h","token_num_uses":0}`),
		do(200, "setup role id", "GET", "auth/conf-approle/role/app/role-id", "").keep("role_id", "data.role_id"),
		do(200, "setup secret id", "POST", "auth/conf-approle/role/app/secret-id", "{}").keep("secret_id", "data.secret_id"),
		do(200, "setup limited secret id", "POST", "auth/conf-approle/role/app/secret-id", `{"num_uses":2}`).keep("limited_id", "data.secret_id"),
		do(200, "setup kv2", "POST", "conf-kv2/data/open/first", `{"data":{"a":"1"}}`),
	}
}
