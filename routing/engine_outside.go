package routing

import "slices"

// The secrets engines that make credentials of outside systems. Most keep a lease
// where they answered; some are forwarded by every secondary, reads included.

const (
	forwarded    = "every secondary forwards this, so the primary saves a hop"
	outsideFirst = "acts on the outside system before the replicated write: through a secondary it would do so twice"
)

func aws() []row {
	return slices.Concat(
		replicated("config/*", "roles/*", "static-roles/*"),
		credentials(Read|Update, "creds/+", "sts/+"),
		[]row{{path: "static-creds/+", verbs: Read, class: Nearest, effect: Repeatable, why: "reads the replicated key"}},
	)
}

func azure() []row {
	return slices.Concat(
		replicated("config", "roles/*"),
		[]row{
			{path: "creds/+", verbs: Read, class: Primary, learns: true, why: forwarded},
			{path: "roles/+", verbs: Update, class: Primary, direct: true, why: outsideFirst},
			{path: "rotate-root", verbs: Update, class: Primary, why: forwarded},
		},
	)
}

func gcp() []row {
	const account = "an access token of Google's: nothing is kept"
	tokens := []string{"token/+", "roleset/+/token", "static-account/+/token", "impersonated-account/+/token"}
	return slices.Concat(
		replicated("config/*", "roleset/*", "rolesets", "static-account/*", "static-accounts", "impersonated-account/*", "impersonated-accounts"),
		credentials(Read|Update, "key/+", "roleset/+/key", "static-account/+/key"),
		each(row{verbs: Read | Update, class: Nearest, effect: Repeatable, learns: true, why: account}, tokens...),
	)
}

func gcpKMS() []row {
	const crypto = "cryptography at Google, nothing is written"
	const google = "changes the key at Google only"
	return slices.Concat(
		replicated("config", "keys/*"),
		each(row{verbs: Update, class: Nearest, effect: Repeatable, why: crypto}, "encrypt/+", "decrypt/+", "reencrypt/+", "sign/+", "verify/+"),
		[]row{
			{path: "keys/rotate/+", verbs: Update, class: Nearest, why: google},
			{path: "keys/trim/+", verbs: Update | Delete, class: Nearest, why: google},
			{path: "pubkey/+", verbs: Read, class: Nearest, effect: Repeatable, why: query},
		},
	)
}

func kubernetes() []row {
	return slices.Concat(
		replicated("config", "roles/*"),
		[]row{
			{path: "check", verbs: Read, class: Nearest, effect: Repeatable, why: query},
			{path: "creds/+", verbs: Update, class: Primary, learns: true, why: forwarded},
		},
	)
}

func aliCloud() []row {
	return slices.Concat(replicated("config", "role/*"), credentials(Read, "creds/+"))
}

func mongoDBAtlas() []row {
	return slices.Concat(replicated("config", "roles/*"), credentials(Read|Update, "creds/+"))
}

func rabbitMQ() []row {
	return slices.Concat(replicated("config/*", "roles/*"), credentials(Read, "creds/+"))
}

func terraform() []row {
	return slices.Concat(
		replicated("config", "role/*"),
		credentials(Read|Update, "creds/+"),
		[]row{{path: "rotate-role/+", verbs: Update, class: Primary, why: forwarded}},
	)
}

func consul() []row {
	return slices.Concat(
		[]row{{path: "config/access", verbs: Update, class: Primary, direct: true, why: outsideFirst}},
		replicated("config/access", "roles/*"),
		credentials(Read, "creds/+"),
	)
}

func nomad() []row {
	return slices.Concat(
		[]row{{path: "config/access", verbs: Update, class: Primary, direct: true, why: outsideFirst}},
		replicated("config/access", "config/lease", "role/*"),
		credentials(Read, "creds/+"),
	)
}

func activeDirectory() []row {
	return slices.Concat(
		replicated("config", "roles/*"),
		library(),
		[]row{
			{path: "creds/+", verbs: Read, class: Primary, why: "this read may rotate the password"},
			{path: "rotate-root", verbs: Read | Update, class: Primary, why: "rotates the password, whatever the method"},
			{path: "rotate-role/+", verbs: Update, class: Primary, why: forwarded},
		},
	)
}

// openLDAP has names of several segments, so what follows a name can't be told from
// the name; it makes no difference to the class.
func openLDAP() []row {
	return slices.Concat(
		replicated("config", "role/*", "static-role/*"),
		credentials(Read, "creds/*"),
		library(),
		each(row{verbs: Update, class: Primary, why: forwarded}, "rotate-root", "rotate-role/*"),
		[]row{{path: "static-cred/*", verbs: Read, class: Nearest, effect: Repeatable, why: "reads the replicated password"}},
	)
}

// library is a table of accounts to check out, for a lease.
func library() []row {
	return []row{
		{path: "library/*", verbs: reads, class: Nearest, effect: Repeatable, why: replicatedRead},
		{path: "library/*", verbs: Update, class: Primary, learns: true, why: "the table of check-outs is replicated"},
		{path: "library/*", verbs: Patch | Delete, class: Primary, why: replicatedWrite},
	}
}
