package conformance

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
