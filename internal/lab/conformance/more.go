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

func loginSteps() []Step {
	userpass := func(want int, name, user, body string) Step {
		return do(want, name, "POST", "auth/conf-userpass/login/"+user, body).by("")
	}
	approle := func(want int, name, body string) Step {
		return do(want, name, "POST", "auth/conf-approle/login", body).by("")
	}
	return []Step{
		userpass(200, "userpass login", "ann", `{"password":"right"}`).keep("poor", "auth.client_token").keep("poor_accessor", "auth.accessor"),
		do(200, "userpass login with PUT", "PUT", "auth/conf-userpass/login/ann", `{"password":"right"}`).by(""),
		userpass(400, "userpass login with a wrong password", "ann", `{"password":"wrong"}`),
		userpass(400, "userpass login of nobody", "nobody", `{"password":"right"}`),
		userpass(400, "userpass login without a password", "ann", `{}`),
		userpass(200, "userpass login with a garbage token", "ann", `{"password":"right"}`).by("garbage"),
		userpass(200, "userpass login in capitals", "ANN", `{"password":"right"}`),
		do(405, "userpass login with GET", "GET", "auth/conf-userpass/login/ann", "").by(""),
		do(200, "userpass user", "GET", "auth/conf-userpass/users/ann", ""),
		do(404, "userpass missing user", "GET", "auth/conf-userpass/users/nobody", ""),
		do(200, "userpass users", "LIST", "auth/conf-userpass/users", ""),
		do(400, "userpass user without a password", "POST", "auth/conf-userpass/users/bob", `{}`),
		approle(200, "approle login, more", `{"role_id":"{role_id}","secret_id":"{secret_id}"}`),
		approle(200, "approle login again", `{"role_id":"{role_id}","secret_id":"{secret_id}"}`),
		approle(400, "approle login with a wrong secret id, more", `{"role_id":"{role_id}","secret_id":"wrong"}`),
		approle(400, "approle login with a wrong role id, more", `{"role_id":"wrong","secret_id":"{secret_id}"}`),
		approle(400, "approle login without a secret id, more", `{"role_id":"{role_id}"}`),
		approle(500, "approle login without anything", `{}`),
		approle(200, "approle login, limited, first", `{"role_id":"{role_id}","secret_id":"{limited_id}"}`),
		approle(200, "approle login, limited, last", `{"role_id":"{role_id}","secret_id":"{limited_id}"}`),
		approle(400, "approle login, limited, one too many", `{"role_id":"{role_id}","secret_id":"{limited_id}"}`),
		do(200, "approle role", "GET", "auth/conf-approle/role/app", ""),
		do(404, "approle missing role", "GET", "auth/conf-approle/role/none", ""),
		do(200, "approle new secret id", "POST", "auth/conf-approle/role/app/secret-id", "{}"),
		do(404, "approle secret id of a missing role", "POST", "auth/conf-approle/role/none/secret-id", "{}"),
		do(200, "approle look up a secret id", "POST", "auth/conf-approle/role/app/secret-id/lookup", `{"secret_id":"{secret_id}"}`),
		do(204, "approle look up a missing secret id", "POST", "auth/conf-approle/role/app/secret-id/lookup", `{"secret_id":"wrong"}`),
	}
}

func tokenSteps() []Step {
	return []Step{
		do(200, "look up oneself", "GET", "auth/token/lookup-self", "").by(poor),
		do(200, "look up oneself as root", "GET", "auth/token/lookup-self", ""),
		do(403, "look up oneself with POST", "POST", "auth/token/lookup-self", "").by(poor),
		do(403, "no token, more", "GET", "auth/token/lookup-self", "").by(""),
		do(403, "garbage token", "GET", "auth/token/lookup-self", "").by("garbage"),
		do(403, "unknown service token", "GET", "auth/token/lookup-self", "").by("hvs.CAESIJ1234567890abcdefghijklmnopqrstuvwxyz"),
		do(403, "unknown batch token", "GET", "auth/token/lookup-self", "").by("hvb.AAAAAQJ1234567890abcdefghijklmnopqrstuvwxyz"),
		do(200, "bearer token of a user", "GET", "auth/token/lookup-self", "").by("").with("Authorization", "Bearer {poor}"),
		do(403, "authorization that is no bearer", "GET", "auth/token/lookup-self", "").by("").with("Authorization", "Basic {poor}"),
		do(200, "look up a token", "POST", "auth/token/lookup", `{"token":"{poor}"}`),
		do(403, "look up an unknown token", "POST", "auth/token/lookup", `{"token":"hvs.unknown"}`),
		do(403, "look up a token without the right", "POST", "auth/token/lookup", `{"token":"{root}"}`).by(poor),
		do(200, "look up an accessor", "POST", "auth/token/lookup-accessor", `{"accessor":"{poor_accessor}"}`),
		do(400, "look up an unknown accessor", "POST", "auth/token/lookup-accessor", `{"accessor":"unknown"}`),
		do(400, "look up no accessor", "POST", "auth/token/lookup-accessor", `{}`),
		do(200, "renew oneself", "POST", "auth/token/renew-self", `{}`).by(poor),
		do(200, "renew oneself with an increment", "PUT", "auth/token/renew-self", `{"increment":"30m"}`).by(poor),
		do(200, "renew a token", "POST", "auth/token/renew", `{"token":"{poor}"}`),
		do(400, "renew an unknown token", "POST", "auth/token/renew", `{"token":"hvs.unknown"}`),
		do(200, "renew by accessor", "POST", "auth/token/renew-accessor", `{"accessor":"{poor_accessor}"}`),
		do(200, "batch token, more", "POST", "auth/token/create", `{"type":"batch","policies":["conf-poor"],"ttl":"1h"}`).keep("batch", "auth.client_token"),
		do(200, "batch token looks itself up", "GET", "auth/token/lookup-self", "").by("{batch}"),
		do(400, "batch token renews itself", "POST", "auth/token/renew-self", `{}`).by("{batch}"),
		do(400, "batch token makes a token", "POST", "auth/token/create", `{}`).by("{batch}"),
		do(400, "batch token revokes itself", "POST", "auth/token/revoke-self", `{}`).by("{batch}"),
		do(200, "orphan batch token", "POST", "auth/token/create-orphan", `{"type":"batch","policies":["conf-poor"],"ttl":"1h"}`),
		do(200, "token of two uses", "POST", "auth/token/create", `{"num_uses":2,"policies":["conf-poor"]}`).keep("twice", "auth.client_token"),
		do(200, "token of two uses, first", "GET", "auth/token/lookup-self", "").by("{twice}"),
		do(200, "token of two uses, second", "GET", "auth/token/lookup-self", "").by("{twice}"),
		do(403, "token of two uses, third", "GET", "auth/token/lookup-self", "").by("{twice}"),
	}
}

func tokenTreeSteps() []Step {
	return []Step{
		do(200, "child of root", "POST", "auth/token/create", `{"policies":["conf-poor"],"ttl":"1h","meta":{"who":"parent"},"display_name":"parent"}`).keep("parent", "auth.client_token"),
		do(200, "grandchild", "POST", "auth/token/create", `{"ttl":"1h"}`).by("{parent}").keep("child", "auth.client_token").keep("child_accessor", "auth.accessor"),
		do(200, "grandchild looks itself up", "GET", "auth/token/lookup-self", "").by("{child}"),
		do(400, "grandchild with more rights", "POST", "auth/token/create", `{"policies":["other"]}`).by("{parent}"),
		do(403, "orphan by a poor token", "POST", "auth/token/create-orphan", `{}`).by("{parent}"),
		do(200, "orphan", "POST", "auth/token/create-orphan", `{"policies":["conf-poor"],"period":"1h"}`).keep("orphan", "auth.client_token").keep("orphan_accessor", "auth.accessor"),
		do(200, "orphan looks itself up", "GET", "auth/token/lookup-self", "").by("{orphan}"),
		do(200, "token with an explicit maximum", "POST", "auth/token/create", `{"policies":["conf-poor"],"ttl":"1h","explicit_max_ttl":"2h","renewable":false}`).keep("fixed", "auth.client_token"),
		do(400, "token that is not renewable renews itself", "POST", "auth/token/renew-self", `{}`).by("{fixed}"),
		do(200, "root token by root", "POST", "auth/token/create", `{}`).keep("root2", "auth.client_token"),
		do(200, "root token looks itself up", "GET", "auth/token/lookup-self", "").by("{root2}"),
		do(400, "token with a wrong ttl", "POST", "auth/token/create", `{"ttl":"soon"}`),
		do(204, "parent revokes itself", "POST", "auth/token/revoke-self", ``).by("{parent}"),
		do(403, "revoked parent", "GET", "auth/token/lookup-self", "").by("{parent}"),
		do(403, "child died with its parent", "GET", "auth/token/lookup-self", "").by("{child}"),
		do(400, "accessor died with its token", "POST", "auth/token/lookup-accessor", `{"accessor":"{child_accessor}"}`),
		do(204, "revoke an accessor", "POST", "auth/token/revoke-accessor", `{"accessor":"{orphan_accessor}"}`),
		do(403, "token died with its accessor", "GET", "auth/token/lookup-self", "").by("{orphan}"),
		do(200, "revoke an unknown accessor", "POST", "auth/token/revoke-accessor", `{"accessor":"unknown"}`),
		do(400, "revoke no accessor", "POST", "auth/token/revoke-accessor", `{}`),
		do(400, "renew by an unknown accessor", "POST", "auth/token/renew-accessor", `{"accessor":"unknown"}`),
		do(204, "revoke a token", "POST", "auth/token/revoke", `{"token":"{fixed}"}`),
		do(204, "revoke an unknown token", "POST", "auth/token/revoke", `{"token":"hvs.unknown"}`),
		do(400, "revoke no token", "POST", "auth/token/revoke", `{}`),
		do(400, "revoke an unknown token as orphan", "POST", "auth/token/revoke-orphan", `{"token":"hvs.unknown"}`),
		do(400, "token of an unknown role", "POST", "auth/token/create/conf-none", `{}`),
		do(204, "token role", "POST", "auth/token/roles/conf-role", `{"allowed_policies":["conf-poor"],"orphan":true}`),
		do(200, "token of a role", "POST", "auth/token/create/conf-role", `{"policies":["conf-poor"]}`).keep("by_role", "auth.client_token"),
		do(200, "token of a role looks itself up", "GET", "auth/token/lookup-self", "").by("{by_role}"),
	}
}

func capabilitySteps() []Step {
	return []Step{
		do(200, "own capabilities", "POST", "sys/capabilities-self", `{"paths":["conf-kv2/data/open/x","conf-kv2/data/closed/x","conf-none"]}`).by(poor),
		do(200, "own capabilities on one path", "POST", "sys/capabilities-self", `{"paths":["conf-kv1/open"]}`).by(poor),
		do(200, "own capabilities as root", "POST", "sys/capabilities-self", `{"path":"conf-kv1/open"}`),
		do(400, "own capabilities on nothing", "POST", "sys/capabilities-self", `{}`).by(poor),
		do(200, "capabilities of a token", "POST", "sys/capabilities", `{"token":"{poor}","paths":["conf-kv1/open"]}`),
		do(200, "capabilities of an accessor", "POST", "sys/capabilities-accessor", `{"accessor":"{poor_accessor}","paths":["conf-kv1/open"]}`),
		do(400, "capabilities of an unknown accessor", "POST", "sys/capabilities-accessor", `{"accessor":"unknown","paths":["conf-kv1/open"]}`),
		do(400, "capabilities of an unknown token", "POST", "sys/capabilities", `{"token":"hvs.unknown","paths":["conf-kv1/open"]}`),
	}
}

func policySteps() []Step {
	return []Step{
		do(204, "write a policy", "PUT", "sys/policies/acl/conf-extra", `{"policy":"path \"conf-none\" { capabilities = [\"read\"] }"}`),
		do(200, "read a policy", "GET", "sys/policies/acl/conf-extra", ""),
		do(200, "read a policy the old way", "GET", "sys/policy/conf-extra", ""),
		do(200, "read the root policy", "GET", "sys/policies/acl/root", ""),
		do(200, "list policies", "LIST", "sys/policies/acl", ""),
		do(200, "list policies the old way", "GET", "sys/policy", ""),
		do(400, "write a broken policy", "PUT", "sys/policies/acl/conf-broken", `{"policy":"path \"conf-none\" {"}`),
		do(400, "write a policy with an unknown capability", "PUT", "sys/policies/acl/conf-broken", `{"policy":"path \"conf-none\" { capabilities = [\"fly\"] }"}`),
		do(400, "write a policy broken on its third line", "PUT", "sys/policies/acl/conf-broken", `{"policy":"path \"conf-none\" {\n  capabilities = [\"read\"]\n  "}`),
		do(400, "write an empty policy", "PUT", "sys/policies/acl/conf-broken", `{}`),
		do(400, "write the root policy", "PUT", "sys/policies/acl/root", `{"policy":"path \"conf-none\" { capabilities = [\"read\"] }"}`),
		do(204, "delete a policy", "DELETE", "sys/policies/acl/conf-extra", ""),
		do(204, "delete a missing policy", "DELETE", "sys/policies/acl/conf-extra", ""),
		do(400, "delete the default policy", "DELETE", "sys/policies/acl/default", ""),
		do(400, "delete the root policy", "DELETE", "sys/policies/acl/root", ""),
		do(404, "read a missing policy", "GET", "sys/policies/acl/conf-extra", ""),
		do(403, "policies of a poor token", "LIST", "sys/policies/acl", "").by(poor),
	}
}

func cubbyholeSteps() []Step {
	return []Step{
		do(404, "empty cubbyhole", "GET", "cubbyhole/note", "").by(poor),
		do(204, "write the cubbyhole", "POST", "cubbyhole/note", `{"text":"mine"}`).by(poor),
		do(200, "read the cubbyhole", "GET", "cubbyhole/note", "").by(poor),
		do(200, "list the cubbyhole", "LIST", "cubbyhole/", "").by(poor),
		do(404, "cubbyhole of another token, more", "GET", "cubbyhole/note", ""),
		do(500, "write nothing to the cubbyhole", "POST", "cubbyhole/note", `{}`).by(poor),
		do(204, "delete in the cubbyhole", "DELETE", "cubbyhole/note", "").by(poor),
		do(404, "cubbyhole after deleting", "GET", "cubbyhole/note", "").by(poor),
	}
}

// mergePatch is the content type of PATCH.
const mergePatch = "application/merge-patch+json"

func kv1Steps() []Step {
	return []Step{
		do(404, "kv1 read nothing", "GET", "conf-kv1/none", ""),
		do(404, "kv1 list nothing", "LIST", "conf-kv1/", ""),
		do(204, "kv1 write, more", "POST", "conf-kv1/open", `{"a":"1","n":2}`),
		do(204, "kv1 write with PUT", "PUT", "conf-kv1/open/x/y", `{"a":"1"}`),
		do(200, "kv1 read, more", "GET", "conf-kv1/open", ""),
		do(200, "kv1 read as a poor token", "GET", "conf-kv1/open", "").by(poor),
		do(200, "kv1 list, more", "LIST", "conf-kv1/", ""),
		do(200, "kv1 list without a slash", "LIST", "conf-kv1/open", ""),
		do(200, "kv1 list by GET", "GET", "conf-kv1/?list=true", ""),
		do(403, "kv1 list under an exact rule", "LIST", "conf-kv1/open/", "").by(poor),
		do(200, "kv1 list as a poor token", "LIST", "conf-kv1/open/x/", "").by(poor),
		do(200, "kv1 list as a poor token without a slash", "LIST", "conf-kv1/open/x", "").by(poor),
		do(403, "kv1 list denied", "LIST", "conf-kv1/", "").by(poor),
		do(403, "kv1 write denied", "POST", "conf-kv1/open", `{"a":"1"}`).by(poor),
		do(403, "kv1 read denied", "GET", "conf-kv1/secret", "").by(poor),
		do(400, "kv1 write nothing", "POST", "conf-kv1/none", `{}`),
		do(400, "kv1 write without a body", "POST", "conf-kv1/none", ``),
		do(405, "kv1 patch, more", "PATCH", "conf-kv1/open", `{"a":"2"}`).with("Content-Type", mergePatch),
		do(204, "kv1 write a ttl", "POST", "conf-kv1/ttl", `{"ttl":"60s"}`),
		do(200, "kv1 read a ttl", "GET", "conf-kv1/ttl", ""),
		do(204, "kv1 delete, more", "DELETE", "conf-kv1/open", ""),
		do(204, "kv1 delete again, more", "DELETE", "conf-kv1/open", ""),
		do(404, "kv1 read after deleting", "GET", "conf-kv1/open", ""),
	}
}

func kv2Steps() []Step {
	return []Step{
		do(404, "kv2 read nothing", "GET", "conf-kv2/data/none", ""),
		do(404, "kv2 metadata of nothing, more", "GET", "conf-kv2/metadata/none", ""),
		do(404, "kv2 list nothing", "LIST", "conf-kv2/metadata/none/", ""),
		do(200, "kv2 write, more", "POST", "conf-kv2/data/open/a", `{"data":{"a":"1","deep":{"b":[1,2]}}}`),
		do(200, "kv2 write with PUT", "PUT", "conf-kv2/data/open/a", `{"data":{"a":"2"}}`),
		do(200, "kv2 read, more", "GET", "conf-kv2/data/open/a", ""),
		do(200, "kv2 read as a poor token", "GET", "conf-kv2/data/open/a", "").by(poor),
		do(200, "kv2 write as a poor token", "POST", "conf-kv2/data/open/poor", `{"data":{"a":"1"}}`).by(poor),
		do(403, "kv2 read denied", "GET", "conf-kv2/data/closed/a", "").by(poor),
		do(403, "kv2 delete denied", "DELETE", "conf-kv2/data/open/a", "").by(poor),
		do(403, "kv2 list denied", "LIST", "conf-kv2/metadata/", "").by(poor),
		do(403, "kv2 patch denied", "PATCH", "conf-kv2/data/open/a", `{"data":{"b":"2"}}`).by(poor).with("Content-Type", mergePatch),
		do(200, "kv2 read a version", "GET", "conf-kv2/data/open/a?version=1", ""),
		do(404, "kv2 read a version that is not there", "GET", "conf-kv2/data/open/a?version=9", ""),
		do(400, "kv2 read a version that is no number", "GET", "conf-kv2/data/open/a?version=x", ""),
		do(400, "kv2 write with a wrong cas, more", "POST", "conf-kv2/data/open/a", `{"data":{"a":"3"},"options":{"cas":1}}`),
		do(200, "kv2 write with the right cas", "POST", "conf-kv2/data/open/a", `{"data":{"a":"3"},"options":{"cas":2}}`),
		do(400, "kv2 write with cas 0 on what exists", "POST", "conf-kv2/data/open/a", `{"data":{"a":"4"},"options":{"cas":0}}`),
		do(200, "kv2 write with cas 0 on nothing", "POST", "conf-kv2/data/open/b", `{"data":{"a":"1"},"options":{"cas":0}}`),
		do(400, "kv2 write with a cas that is no number", "POST", "conf-kv2/data/open/b", `{"data":{"a":"1"},"options":{"cas":"x"}}`),
		do(400, "kv2 write without data, more", "POST", "conf-kv2/data/open/b", `{"a":"1"}`),
		do(400, "kv2 write without a body", "POST", "conf-kv2/data/open/b", ``),
		do(200, "kv2 patch, more", "PATCH", "conf-kv2/data/open/a", `{"data":{"b":"2"}}`).with("Content-Type", mergePatch),
		do(200, "kv2 read after patching", "GET", "conf-kv2/data/open/a", ""),
		do(404, "kv2 patch nothing", "PATCH", "conf-kv2/data/none", `{"data":{"b":"2"}}`).with("Content-Type", mergePatch),
		do(415, "kv2 patch as plain JSON", "PATCH", "conf-kv2/data/open/a", `{"data":{"b":"2"}}`).with("Content-Type", "application/json"),
		do(200, "kv2 subkeys, more", "GET", "conf-kv2/subkeys/open/a", ""),
		do(200, "kv2 list, more", "LIST", "conf-kv2/metadata/", ""),
		do(200, "kv2 list below", "LIST", "conf-kv2/metadata/open", ""),
		do(200, "kv2 list by GET", "GET", "conf-kv2/metadata/open?list=true", ""),
		do(404, "kv2 read as version 1", "GET", "conf-kv2/open/a", ""),
		do(404, "kv2 write as version 1", "POST", "conf-kv2/open/a", `{"a":"1"}`),
		do(404, "kv2 list as version 1", "LIST", "conf-kv2/open", ""),
		do(404, "kv2 delete as version 1", "DELETE", "conf-kv2/open/a", ""),
		do(200, "kv2 config, more", "GET", "conf-kv2/config", ""),
	}
}

func kv2VersionSteps() []Step {
	return []Step{
		do(200, "kv2 metadata, more", "GET", "conf-kv2/metadata/open/a", ""),
		do(204, "kv2 write metadata", "POST", "conf-kv2/metadata/open/a", `{"max_versions":5,"custom_metadata":{"owner":"ann"}}`),
		do(200, "kv2 metadata with custom fields", "GET", "conf-kv2/metadata/open/a", ""),
		do(200, "kv2 read with custom metadata", "GET", "conf-kv2/data/open/a", ""),
		do(204, "kv2 delete the latest", "DELETE", "conf-kv2/data/open/a", ""),
		do(404, "kv2 read what was deleted", "GET", "conf-kv2/data/open/a", ""),
		do(404, "kv2 patch what was deleted", "PATCH", "conf-kv2/data/open/a", `{"data":{"b":"2"}}`).with("Content-Type", mergePatch),
		do(200, "kv2 older version of what was deleted", "GET", "conf-kv2/data/open/a?version=3", ""),
		do(204, "kv2 undelete, more", "POST", "conf-kv2/undelete/open/a", `{"versions":[4]}`),
		do(200, "kv2 read what was undeleted", "GET", "conf-kv2/data/open/a", ""),
		do(204, "kv2 delete versions", "POST", "conf-kv2/delete/open/a", `{"versions":[1,2]}`),
		do(404, "kv2 read a deleted version", "GET", "conf-kv2/data/open/a?version=2", ""),
		do(400, "kv2 delete no versions", "POST", "conf-kv2/delete/open/a", `{}`),
		do(400, "kv2 undelete no versions", "POST", "conf-kv2/undelete/open/a", `{}`),
		do(400, "kv2 destroy no versions", "POST", "conf-kv2/destroy/open/a", `{}`),
		do(204, "kv2 destroy, more", "PUT", "conf-kv2/destroy/open/a", `{"versions":[3]}`),
		do(404, "kv2 read a destroyed version", "GET", "conf-kv2/data/open/a?version=3", ""),
		do(200, "kv2 metadata of all that", "GET", "conf-kv2/metadata/open/a", ""),
		do(200, "kv2 metadata of another token's key", "GET", "conf-kv2/metadata/open/poor", ""),
		do(204, "kv2 require cas", "POST", "conf-kv2/metadata/open/b", `{"cas_required":true}`),
		do(400, "kv2 write without the required cas", "POST", "conf-kv2/data/open/b", `{"data":{"a":"1"}}`),
		do(204, "kv2 delete metadata", "DELETE", "conf-kv2/metadata/open/a", ""),
		do(404, "kv2 read after deleting metadata", "GET", "conf-kv2/data/open/a", ""),
		do(204, "kv2 delete nothing", "DELETE", "conf-kv2/data/none", ""),
		do(204, "kv2 delete metadata of nothing", "DELETE", "conf-kv2/metadata/none", ""),
		do(204, "kv2 undelete nothing", "POST", "conf-kv2/undelete/none", `{"versions":[1]}`),
		do(204, "kv2 destroy nothing", "POST", "conf-kv2/destroy/none", `{"versions":[1]}`),
	}
}

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

func transitSteps() []Step {
	return []Step{
		do(200, "transit create a key", "POST", "conf-transit/keys/k", `{}`),
		do(200, "transit create a signing key", "POST", "conf-transit/keys/s", `{"type":"ed25519"}`),
		do(400, "transit create a key of an unknown type", "POST", "conf-transit/keys/odd", `{"type":"odd"}`),
		do(200, "transit read a key", "GET", "conf-transit/keys/k", ""),
		do(200, "transit read a signing key", "GET", "conf-transit/keys/s", ""),
		do(404, "transit read a missing key", "GET", "conf-transit/keys/none", ""),
		do(200, "transit list keys", "LIST", "conf-transit/keys", ""),
		do(200, "transit encrypt", "POST", "conf-transit/encrypt/k", `{"plaintext":"aGVsbG8="}`).keep("cipher", "data.ciphertext"),
		do(200, "transit encrypt many", "POST", "conf-transit/encrypt/k", `{"batch_input":[{"plaintext":"aGVsbG8="},{"plaintext":"aGVsbG8="}]}`),
		do(400, "transit encrypt what is not base64", "POST", "conf-transit/encrypt/k", `{"plaintext":"!"}`),
		do(400, "transit encrypt nothing", "POST", "conf-transit/encrypt/k", `{}`),
		do(200, "transit decrypt", "POST", "conf-transit/decrypt/k", `{"ciphertext":"{cipher}"}`),
		do(400, "transit decrypt garbage", "POST", "conf-transit/decrypt/k", `{"ciphertext":"garbage"}`),
		do(400, "transit decrypt broken base64", "POST", "conf-transit/decrypt/k", `{"ciphertext":"vault:v1:!"}`),
		do(400, "transit decrypt what was changed", "POST", "conf-transit/decrypt/k", `{"ciphertext":"vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`),
		do(400, "transit decrypt a version to come", "POST", "conf-transit/decrypt/k", `{"ciphertext":"vault:v9:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`),
		do(400, "transit decrypt nothing", "POST", "conf-transit/decrypt/k", `{}`),
		do(400, "transit decrypt with a missing key", "POST", "conf-transit/decrypt/none", `{"ciphertext":"{cipher}"}`),
		do(200, "transit rotate", "POST", "conf-transit/keys/k/rotate", `{}`),
		do(200, "transit rewrap", "POST", "conf-transit/rewrap/k", `{"ciphertext":"{cipher}"}`),
		do(200, "transit sign", "POST", "conf-transit/sign/s", `{"input":"aGVsbG8="}`).keep("signature", "data.signature"),
		do(200, "transit verify", "POST", "conf-transit/verify/s", `{"input":"aGVsbG8=","signature":"{signature}"}`),
		do(200, "transit verify another input", "POST", "conf-transit/verify/s", `{"input":"aGVsbA==","signature":"{signature}"}`),
		do(400, "transit sign with a key that can't", "POST", "conf-transit/sign/k", `{"input":"aGVsbG8="}`),
		do(400, "transit sign what is not base64", "POST", "conf-transit/sign/s", `{"input":"!"}`),
		do(400, "transit verify what is not base64", "POST", "conf-transit/verify/s", `{"input":"!","signature":"{signature}"}`),
		do(400, "transit verify a changed signature", "POST", "conf-transit/verify/s", `{"input":"aGVsbG8=","signature":"vault:v1:!"}`),
		do(400, "transit verify nothing", "POST", "conf-transit/verify/s", `{"input":"aGVsbG8="}`),
		do(400, "transit verify a version to come", "POST", "conf-transit/verify/s", `{"input":"aGVsbG8=","signature":"vault:v9:AAAA"}`),
		do(400, "transit verify a garbage hmac", "POST", "conf-transit/verify/k", `{"input":"aGVsbG8=","hmac":"garbage"}`),
		do(400, "transit hmac of what is not base64", "POST", "conf-transit/hmac/k", `{"input":"!"}`),
		do(400, "transit verify with a missing key", "POST", "conf-transit/verify/none", `{"input":"aGVsbG8=","signature":"{signature}"}`),
		do(400, "transit verify garbage", "POST", "conf-transit/verify/s", `{"input":"aGVsbG8=","signature":"garbage"}`),
		do(400, "transit encrypt many with one wrong", "POST", "conf-transit/encrypt/k", `{"batch_input":[{"plaintext":"!"},{"plaintext":"aGVsbG8="}]}`),
		do(200, "transit decrypt many", "POST", "conf-transit/decrypt/k", `{"batch_input":[{"ciphertext":"{cipher}"}]}`),
		do(400, "transit hmac with a missing key", "POST", "conf-transit/hmac/none", `{"input":"aGVsbG8="}`),
		do(200, "transit random", "POST", "conf-transit/random/16", `{}`),
		do(200, "transit hash", "POST", "conf-transit/hash", `{"input":"aGVsbG8="}`),
		do(400, "transit sign with a missing key", "POST", "conf-transit/sign/none", `{"input":"aGVsbG8="}`),
		do(200, "transit hmac", "POST", "conf-transit/hmac/k", `{"input":"aGVsbG8="}`).keep("mac", "data.hmac"),
		do(200, "transit verify an hmac", "POST", "conf-transit/verify/k", `{"input":"aGVsbG8=","hmac":"{mac}"}`),
		do(200, "transit data key", "POST", "conf-transit/datakey/plaintext/k", `{}`),
		do(200, "transit wrapped data key", "POST", "conf-transit/datakey/wrapped/k", `{}`),
		do(400, "transit data key of an unknown kind", "POST", "conf-transit/datakey/odd/k", `{}`),
		do(400, "transit delete a protected key", "DELETE", "conf-transit/keys/k", ""),
		do(200, "transit allow deletion", "POST", "conf-transit/keys/k/config", `{"deletion_allowed":true}`),
		do(204, "transit delete a key", "DELETE", "conf-transit/keys/k", ""),
		do(400, "transit rotate a missing key", "POST", "conf-transit/keys/none/rotate", `{}`),
		do(200, "transit encrypt makes a key", "POST", "conf-transit/encrypt/fresh", `{"plaintext":"aGVsbG8="}`),
		do(403, "transit as a poor token", "POST", "conf-transit/encrypt/k", `{"plaintext":"aGVsbG8="}`).by(poor),
		do(404, "transit unknown path", "GET", "conf-transit/odd", ""),
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
