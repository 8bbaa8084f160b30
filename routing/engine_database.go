package routing

// Source: Vault 1.21.4, builtin/logical/database (path_creds_create.go,
// path_roles.go, path_config_connection.go, path_rotate_credentials.go).
func database() []row {
	return []row{
		{path: "creds/+", verbs: Read, class: Nearest, learns: true, why: "dynamic credentials: user and lease are made by the cluster that answers"},
		{path: "static-creds/+", verbs: Read, class: Nearest, effect: Repeatable, why: "reads the replicated password"},
		{path: "reset/+", verbs: Update, class: Nearest, why: "reopens the plugin of the cluster that answers"},
		{path: "reload/+", verbs: Update, class: Nearest, why: "reopens the plugin of the cluster that answers"},
		{path: "rotate-root/+", verbs: Update, class: Primary, why: "rotation changes replicated storage"},
		{path: "rotate-role/+", verbs: Update, class: Primary, why: "rotation changes replicated storage"},
		{path: "static-roles/*", verbs: writes, class: Primary, why: "acts on the database before the replicated write"},
		{path: "config/*", verbs: writes, class: Primary, why: "configuration is replicated"},
		{path: "roles/*", verbs: writes, class: Primary, why: "roles are replicated"},
	}
}
