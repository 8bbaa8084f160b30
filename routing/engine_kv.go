package routing

// Sources: Vault 1.21.4, plugin vault-plugin-secrets-kv (path_data.go,
// path_metadata.go, path_destroy.go, passthrough.go).

func kvV1() []row {
	return []row{
		{path: "*", verbs: reads, class: Nearest, effect: Repeatable, why: "kv read"},
		{path: "*", verbs: writes, class: Primary, why: "kv write"},
	}
}

func kvV2() []row {
	const write, read = "kv write", "kv read"
	return []row{
		{path: "data/*", verbs: reads, class: Nearest, effect: Repeatable, why: read},
		{path: "data/*", verbs: writes, class: Primary, why: write},
		{path: "metadata/*", verbs: reads, class: Nearest, effect: Repeatable, why: read},
		{path: "metadata/*", verbs: writes, class: Primary, why: write},
		{path: "delete/*", verbs: Update, class: Primary, why: write},
		{path: "undelete/*", verbs: Update, class: Primary, why: write},
		{path: "destroy/*", verbs: writes, class: Primary, why: write},
		{path: "config", verbs: reads, class: Nearest, effect: Repeatable, why: read},
		{path: "config", verbs: writes, class: Primary, why: write},
		{path: "subkeys/*", verbs: reads, class: Nearest, effect: Repeatable, why: read},
		{path: "*", verbs: all, class: Nearest, effect: Repeatable, why: "not a kv version 2 path: answered 404 everywhere"},
	}
}
