package routing

// Source: Vault 1.21.4, builtin/logical/transit.
func transit() []row {
	const crypto = "cryptography with a replicated key, nothing is written"
	return []row{
		// Encrypting with a key that does not exist creates it; the secondary then
		// forwards by itself, so nearest is right in both cases.
		{path: "encrypt/+", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "decrypt/+", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "rewrap/+", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "sign/*", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "verify/*", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "hmac/*", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "hash/*", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "random/*", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "datakey/+/+", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "keys/+/csr", verbs: Update, class: Nearest, effect: Repeatable, why: crypto},
		{path: "keys/*", verbs: writes, class: Primary, why: "key management is replicated"},
		{path: "backup/+", verbs: Read, class: Primary, why: "this read stores backup information in the key"},
		{path: "wrapping_key", verbs: Read, class: Primary, why: "the first read creates the wrapping key"},
		{path: "restore/*", verbs: writes, class: Primary, why: "key management is replicated"},
		{path: "config/*", verbs: writes, class: Primary, why: "configuration is replicated"},
		{path: "cache-config", verbs: writes, class: Primary, why: "configuration is replicated"},
	}
}
