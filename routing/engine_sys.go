package routing

import "slices"

func sys() []row {
	return slices.Concat(sysOwner(), sysNearest(), sysPrimary(), sysOperator())
}

func sysPrimary() []row {
	return slices.Concat(
		replicated(
			"activation-flags/*", "audit/*", "auth/*", "config/auditing/*", "config/control-group", "config/cors",
			"config/group-policy-application", "config/ui/*", "managed-keys/*", "mfa/method/*", "mounts/*", "namespaces/*",
			"plugins/catalog/*", "plugins/pins/*", "plugins/runtimes/catalog/*", "policies/*", "policy/*", "quotas/*",
			"rotate/config", "sync/*",
		),
		[]row{
			{path: "remount", verbs: Update, class: Primary, why: "mounts are replicated"},
			{path: "remount/status/+", verbs: Read, class: Primary, effect: Repeatable, why: "the state of a remount lives on the primary"},
			{path: "mfa/method/totp/+/generate", verbs: Read, class: Primary, why: "this read stores a secret in the entity"},
			{path: "rotate", verbs: Update, class: Primary, direct: true, why: "a secondary refuses instead of forwarding"},
		},
	)
}

func sysOwner() []row {
	const lease = "only the cluster that issued a lease knows it"
	const token = "only the cluster that issued a token knows it"
	const wrap = "a wrapping token lives on the cluster that made it"
	return []row{
		{path: "leases/renew/*", verbs: Update, class: Owner, subject: BodyLease, effect: Repeatable, why: lease},
		{path: "leases/revoke/*", verbs: Update, class: Owner, subject: BodyLease, why: lease},
		{path: "leases/lookup", verbs: Update, class: Owner, subject: BodyLease, effect: Repeatable, why: lease},
		{path: "renew/*", verbs: Update, class: Owner, subject: BodyLease, effect: Repeatable, why: lease},
		{path: "revoke/*", verbs: Update, class: Owner, subject: BodyLease, why: lease},
		{path: "wrapping/lookup", verbs: Read | Update, class: Owner, subject: WrappingToken, effect: Repeatable, why: wrap},
		{path: "wrapping/unwrap", verbs: Update, class: Owner, subject: WrappingToken, learns: true, why: wrap},
		{path: "wrapping/rewrap", verbs: Update, class: Owner, subject: WrappingToken, learns: true, why: wrap},
		{path: "capabilities", verbs: Update, class: Owner, subject: BodyToken, effect: Repeatable, why: token},
		{path: "capabilities-accessor", verbs: Update, class: Owner, subject: BodyAccessor, effect: Repeatable, why: token},
		{path: "mfa/validate", verbs: Update, class: Owner, subject: MFARequest, learns: true, why: "a pending login lives in the memory of one cluster"},
		{path: "control-group/*", verbs: Update, class: Owner, subject: BodyAccessor, why: "a control group request lives on one cluster"},
	}
}

func sysNearest() []row {
	const pure = "computed by the cluster that answers, nothing is written"
	return []row{
		{path: "capabilities-self", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "wrapping/wrap", verbs: Update, class: Nearest, learns: true, why: "a wrapping token is made by the cluster that answers"},
		{path: "tools/*", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "audit-hash/*", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "decode-token", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "managed-keys/+/+/test/sign", verbs: Update, class: Nearest, why: "signs with the key and writes nothing"},
		{path: "internal/ui/*", verbs: reads, class: Nearest, effect: Repeatable, why: query},
		{path: "key-status", verbs: Read, class: Nearest, effect: Repeatable, why: query},
		{path: "well-known/*", verbs: reads, class: Nearest, effect: Repeatable, why: query},
		{path: "internal/specs/openapi", verbs: Read | Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "events/subscribe/*", verbs: Read, class: Primary, effect: Repeatable, why: "Vault publishes events on the primary cluster only"},
	}
}

func sysOperator() []row {
	const one = "about one cluster or node"
	const leases = "the lease table of one cluster"
	paths := []string{
		"health", "seal", "seal-status", "seal-backend-status", "unseal", "step-down", "init", "leader", "ha-status",
		"host-info", "in-flight-req", "metrics", "monitor", "pprof/*", "experiments", "version-history",
		"config/reload/*", "config/state/*", "generate-root/*", "generate-recovery-token/*", "loggers/*", "replication/*",
		"internal/counters/*", "internal/inspect/*", "license/status", "locked-users/*", "plugins/reload/*",
		"raw/*", "rekey/*", "rekey-recovery-key/*", "reporting/scan", "sealwrap/*",
		"storage/*", "utilization-report",
	}
	rows := []row{
		{path: "leases", verbs: Read, class: Operator, why: leases},
		{path: "leases/count", verbs: Read, class: Operator, why: leases},
		{path: "leases/lookup/*", verbs: List, class: Operator, why: leases},
		{path: "leases/tidy", verbs: Update, class: Operator, why: leases},
		{path: "leases/revoke-prefix/*", verbs: Update, class: Operator, why: leases},
		{path: "leases/revoke-force/*", verbs: Update, class: Operator, why: leases},
		{path: "revoke-prefix/*", verbs: Update, class: Operator, why: leases},
		{path: "revoke-force/*", verbs: Update, class: Operator, why: leases},
	}
	for _, p := range paths {
		rows = append(rows, row{path: p, verbs: all &^ Help, class: Operator, why: one})
	}
	return rows
}
