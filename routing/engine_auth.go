package routing

import "slices"

// authTables are the tables of the bundled auth methods; "auth" is for all others,
// of which at least the shape of the login is known. Sources are those of Vault
// 1.21.4 and of the plugin modules it ships.
func authTables() map[string]engineTable {
	jwt := engineTable{"vault-plugin-auth-jwt", authJWT()}
	cf := engineTable{"vault-plugin-auth-cf", method("config", "roles/*")}
	return map[string]engineTable{
		"auth":            {"the shape that all methods share", logins()},
		"auth/approle":    {"builtin/credential/approle", authAppRole()},
		"auth/aws":        {"builtin/credential/aws", authAWS()},
		"auth/cert":       {"builtin/credential/cert", method("certs/*", "config", "crls/*")},
		"auth/github":     {"builtin/credential/github", method("config", "map/*")},
		"auth/ldap":       {"builtin/credential/ldap", method("config/*", "groups/*", "users/*")},
		"auth/okta":       {"builtin/credential/okta", authOkta()},
		"auth/radius":     {"builtin/credential/radius", method("config", "users/*")},
		"auth/userpass":   {"builtin/credential/userpass", method("users/*")},
		"auth/alicloud":   {"vault-plugin-auth-alicloud", method("role/*", "roles")},
		"auth/azure":      {"vault-plugin-auth-azure", method("config", "role/*", "rotate-root")},
		"auth/cf":         cf,
		"auth/pcf":        cf, // its name before 1.2
		"auth/gcp":        {"vault-plugin-auth-gcp", method("config/*", "role/*", "roles")},
		"auth/jwt":        jwt,
		"auth/oidc":       jwt, // the same plugin under another name
		"auth/kerberos":   {"vault-plugin-auth-kerberos", authKerberos()},
		"auth/kubernetes": {"vault-plugin-auth-kubernetes", method("config", "role/*")},
		"auth/oci":        {"vault-plugin-auth-oci", method("config", "role/*")},
	}
}

const login = "a login makes a token on the cluster that answers"

// logins is the one thing that all auth methods share. Logging in twice does no
// harm: the token whose answer was lost expires unused.
func logins() []row {
	return []row{{path: "login/*", verbs: Update, class: Nearest, effect: Repeatable, learns: true, why: login}}
}

// method is an auth method that has logins and these replicated paths.
func method(stored ...string) []row { return append(logins(), replicated(stored...)...) }

// authAppRole has lookups that are POSTs because a secret-id must not stand in a
// path. Its login may take one of a secret-id's limited uses, so it is not repeated
// once it may have been received.
func authAppRole() []row {
	return append(replicated("role/*"),
		row{path: "login", verbs: Update, class: Nearest, learns: true, why: login},
		row{path: "role/+/secret-id/lookup", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		row{path: "role/+/secret-id-accessor/lookup", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		row{path: "tidy/secret-id", verbs: Update, class: Primary, direct: true, why: tidyLies},
	)
}

const tidyLies = "a secondary says yes, then fails in the background"

// authAWS has its lists under their names of before 1.7, too.
func authAWS() []row {
	const local = "which instances logged in is kept by each cluster"
	return slices.Concat(
		method("config/*", "role/*", "roles", "roletag-denylist/*", "roletag-blacklist/*"),
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: local}, "identity-accesslist/*", "identity-whitelist/*"),
		each(row{verbs: Delete, class: Nearest, why: local}, "identity-accesslist/*", "identity-whitelist/*"),
		each(row{verbs: Update, class: Nearest, why: local}, "tidy/identity-accesslist", "tidy/identity-whitelist"),
		each(row{verbs: Update, class: Primary, direct: true, why: tidyLies}, "tidy/roletag-denylist", "tidy/roletag-blacklist"),
		[]row{
			{path: "config/rotate-root", verbs: Update, class: Primary, direct: true, why: outsideFirst},
			{path: "role/+/tag", verbs: Update, class: Nearest, effect: Repeatable, why: "signs and returns, nothing is written"},
		},
	)
}

// authJWT: an OIDC login begins with auth_url, goes through the browser, and ends
// with callback, or with poll (OpenBao).
func authJWT() []row {
	const state = "the state lives in the memory of one cluster"
	return append(method("config", "role/*"),
		row{path: "ui", verbs: Read, class: Nearest, effect: Repeatable, why: query},
		row{path: "oidc/auth_url", verbs: Update, class: Nearest, learns: true, why: "puts a state in the memory of the cluster that answers"},
		row{path: "oidc/callback", verbs: Read | Update, class: Owner, subject: OIDCState, learns: true, why: state},
		row{path: "oidc/poll", verbs: Update, class: Owner, subject: OIDCState, learns: true, why: state},
	)
}

// authKerberos takes a GET for a login: the ticket is in the Authorization header.
func authKerberos() []row {
	return append(method("config/*", "groups/*"),
		row{path: "login", verbs: Read, class: Nearest, effect: Repeatable, learns: true, why: login},
	)
}

func authOkta() []row {
	return append(method("config", "groups/*", "users/*"),
		row{path: "verify/+", verbs: Read, class: Owner, subject: Flow, why: "the answer waits in the memory of the node that runs the login"},
	)
}
