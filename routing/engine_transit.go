package routing

import "slices"

func transit() []row {
	return slices.Concat(
		replicated("keys/*", "config/*", "cache-config", "restore/*"),
		// Encrypting with a key that does not exist creates it; the secondary then
		// forwards by itself, so nearest is right in both cases.
		each(row{verbs: Update, class: Nearest, effect: Repeatable, why: "cryptography with a replicated key, nothing is written"},
			"encrypt/+", "decrypt/+", "rewrap/+", "sign/*", "verify/*", "hmac/*", "hash/*", "random/*", "datakey/+/+", "keys/+/csr"),
		each(row{verbs: Read, class: Nearest, effect: Repeatable, why: "reads a replicated key"}, "export/*", "byok-export/*"),
		[]row{
			{path: "backup/+", verbs: Read, class: Primary, why: "this read stores backup information in the key"},
			{path: "wrapping_key", verbs: Read, class: Primary, why: "the first read creates the wrapping key"},
		},
	)
}
