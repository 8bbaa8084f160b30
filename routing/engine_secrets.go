package routing

// secretsTables are the tables of the bundled secrets engines. Sources are those of
// Vault 1.21.4 and of the plugin modules it ships.
func secretsTables() map[string]engineTable {
	return map[string]engineTable{
		"kv-v1":        {"vault-plugin-secrets-kv passthrough.go", kvV1()},
		"kv-v2":        {"vault-plugin-secrets-kv path_*.go", kvV2()},
		"database":     {"builtin/logical/database", database()},
		"transit":      {"builtin/logical/transit", transit()},
		"pki":          {"builtin/logical/pki", pki()},
		"ssh":          {"builtin/logical/ssh", ssh()},
		"totp":         {"builtin/logical/totp", totp()},
		"aws":          {"builtin/logical/aws", aws()},
		"consul":       {"builtin/logical/consul", consul()},
		"nomad":        {"builtin/logical/nomad", nomad()},
		"rabbitmq":     {"builtin/logical/rabbitmq", rabbitMQ()},
		"ad":           {"vault-plugin-secrets-ad", activeDirectory()},
		"alicloud":     {"vault-plugin-secrets-alicloud", aliCloud()},
		"azure":        {"vault-plugin-secrets-azure", azure()},
		"gcp":          {"vault-plugin-secrets-gcp", gcp()},
		"gcpkms":       {"vault-plugin-secrets-gcpkms", gcpKMS()},
		"kubernetes":   {"vault-plugin-secrets-kubernetes", kubernetes()},
		"mongodbatlas": {"vault-plugin-secrets-mongodbatlas", mongoDBAtlas()},
		"openldap":     {"vault-plugin-secrets-openldap", openLDAP()},
		"ldap":         {"vault-plugin-secrets-openldap, its name since 1.12", openLDAP()},
		"terraform":    {"vault-plugin-secrets-terraform", terraform()},
	}
}
