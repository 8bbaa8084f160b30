package routing

import "slices"

// The engines that every namespace has and nobody can move.

func cubbyhole() []row {
	return []row{{path: "*", verbs: all, class: Owner, subject: CallerToken, effect: Once, why: "a cubbyhole lives where its token lives"}}
}

func identity() []row {
	return slices.Concat(identityStored(), []row{
		{path: "lookup/entity", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "lookup/group", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/introspect", verbs: Update, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/provider/+/token", verbs: Update, class: Owner, subject: OIDCCode, why: "the code lives in the memory of one cluster"},
		{path: "oidc/provider/+/authorize", verbs: Read | Update, class: Nearest, learns: true, why: "puts a code in the memory of the cluster that answers"},
		{path: "oidc/provider/+/userinfo", verbs: Read | Update, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/token/+", verbs: Read, class: Nearest, effect: Repeatable, why: "signs with a replicated key, nothing is written"},
		{path: "oidc/.well-known/*", verbs: Read, class: Nearest, effect: Repeatable, why: query},
		{path: "oidc/+/.well-known/*", verbs: Read, class: Nearest, effect: Repeatable, why: query},
	})
}

func identityStored() []row {
	return replicated(
		"alias/*", "entity/*", "entity-alias/*", "group/*", "group-alias/*", "persona/*", "mfa/*",
		"oidc/assignment/*", "oidc/client/*", "oidc/config", "oidc/key/*", "oidc/provider/*", "oidc/role/*", "oidc/scope/*",
	)
}

func authToken() []row {
	const local = "tokens are made by the cluster that answers"
	const store = "only the cluster that issued a token knows it"
	return slices.Concat(replicated("roles/*"), []row{
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
	})
}
