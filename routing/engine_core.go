package routing

// Sources: Vault 1.21.4, vault/token_store.go, vault/logical_cubbyhole.go,
// vault/identity_store*.go and the login paths of the bundled auth methods.

func cubbyhole() []row {
	return []row{{path: "*", verbs: all, class: Owner, subject: CallerToken, effect: Once, why: "a cubbyhole lives where its token lives"}}
}

func identity() []row {
	const query = "a query, nothing is written"
	return []row{
		{path: "lookup/entity", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "lookup/group", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/introspect", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/provider/+/token", verbs: Update, class: Owner, subject: UnknownToBeKept, why: "the code lives in the memory of one cluster"},
		{path: "oidc/provider/+/authorize", verbs: Read | Update, class: Nearest, why: "puts a code in the memory of the cluster that answers"},
		{path: "oidc/provider/+/userinfo", verbs: Read | Update, class: Nearest, effect: Repeatable, why: query},
	}
}

func authToken() []row {
	const local = "tokens are made by the cluster that answers"
	const store = "only the cluster that issued a token knows it"
	return []row{
		{path: "create/*", verbs: Update, class: Nearest, learns: true, why: local},
		{path: "create-orphan", verbs: Update, class: Nearest, learns: true, why: local},
		{path: "lookup-self", verbs: Read | Update, class: Owner, subject: CallerToken, effect: Repeatable, why: store},
		{path: "renew-self", verbs: Update, class: Owner, subject: CallerToken, effect: Repeatable, why: store},
		{path: "revoke-self", verbs: Update, class: Owner, subject: CallerToken, why: store},
		{path: "lookup", verbs: Read | Update, class: Owner, subject: BodyToken, effect: Repeatable, why: store},
		{path: "renew", verbs: Update, class: Owner, subject: BodyToken, effect: Repeatable, why: store},
		{path: "revoke", verbs: Update, class: Owner, subject: BodyToken, why: store},
		{path: "revoke-orphan", verbs: Update, class: Owner, subject: BodyToken, why: store},
		{path: "lookup-accessor", verbs: Update, class: Owner, subject: BodyAccessor, effect: Repeatable, why: store},
		{path: "renew-accessor", verbs: Update, class: Owner, subject: BodyAccessor, effect: Repeatable, why: store},
		{path: "revoke-accessor", verbs: Update, class: Owner, subject: BodyAccessor, why: store},
		{path: "accessors/*", verbs: List, class: Operator, why: "the accessors of one cluster"},
		{path: "tidy", verbs: Update, class: Operator, why: "tidies the token store of one cluster"},
		{path: "roles/*", verbs: writes, class: Primary, why: "token roles are replicated"},
	}
}

// authMethod serves every auth method: they share the shape of their logins.
func authMethod() []row {
	const login = "a login makes a token on the cluster that answers"
	return []row{
		// Logging in twice does no harm: the token whose answer was lost expires unused.
		{path: "login/*", verbs: Update | Read, class: Nearest, effect: Repeatable, learns: true, why: login},
		{path: "oidc/auth_url", verbs: Update, class: Nearest, why: "puts a state in the memory of the cluster that answers"},
		{path: "oidc/callback", verbs: Read | Update, class: Owner, subject: UnknownToBeKept, learns: true, why: "the state lives in the memory of one cluster"},
		{path: "verify/+", verbs: Read, class: Owner, subject: UnknownToBeKept, why: "the nonce lives in the memory of one cluster"},
	}
}

// appRole adds to authMethod its lookups, which are POSTs because a secret-id must
// not stand in a path. Its login may take one of a secret-id's limited uses, so it
// is not repeated once it may have been received.
func appRole() []row {
	const query = "a query, nothing is written"
	return append(authMethod(),
		row{path: "login", verbs: Update, class: Nearest, learns: true, why: "a login makes a token on the cluster that answers"},
		row{path: "role/+/secret-id/lookup", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		row{path: "role/+/secret-id-accessor/lookup", verbs: Update, class: Nearest, effect: Repeatable, why: query},
	)
}
