package routing

import "slices"

func ssh() []row {
	const signs = "signs with the replicated CA key, nothing is written"
	return slices.Concat(
		replicated("config/*", "roles/*", "tidy/dynamic-keys"),
		credentials(Update, "creds/+"), // one-time passwords
		[]row{
			{path: "sign/+", verbs: Update, class: Nearest, effect: Repeatable, why: signs},
			{path: "issue/+", verbs: Update, class: Nearest, effect: Repeatable, why: signs},
			{path: "lookup", verbs: Update, class: Nearest, effect: Repeatable, why: query},
			{path: "public_key", verbs: Read, class: Nearest, effect: Repeatable, why: query},
			{path: "verify", verbs: Update, class: Owner, subject: OneTimePassword, why: "a one-time password is known only to the cluster that made it"},
		},
	)
}

func totp() []row {
	return slices.Concat(
		replicated("keys/*"),
		[]row{
			{path: "code/+", verbs: Read, class: Nearest, effect: Repeatable, why: "computed from the replicated key"},
			// Once: a code is good once, so a repeat would be told that it is not valid.
			{path: "code/+", verbs: Update, class: Nearest, why: "used codes are remembered by the node that answers"},
		},
	)
}
