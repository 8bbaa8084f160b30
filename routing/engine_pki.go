package routing

import "slices"

// pki keeps certificates (certs/) and all ACME state (acme/) in cluster-local
// storage; keys and issuers are replicated.
func pki() []row {
	return slices.Concat(authorities(), certificates(), acme())
}

func authorities() []row {
	const cluster = "the certificates of the cluster that answers"
	return slices.Concat(
		replicated(
			"config/*", "issuer/+", "issuers/*", "key/*", "keys/*", "roles/*", "root", "root/generate/*", "root/rotate/*", "root/replace",
			"intermediate/*", "ca/*", "ca_chain", "cert/ca_chain", "unified-crl/*", "certs/unified-revoked",
		),
		each(row{verbs: Update, class: Primary, why: replicatedWrite}, "issuer/+/revoke", "bundle"),
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: replicatedRead}, "issuer/+/json", "issuer/+/der", "issuer/+/pem", "issuer/+/unified-crl/*"),
		each(row{verbs: Read, class: Nearest, effect: Repeatable, subject: Serial, why: cluster}, "cert/+", "cert/+/raw", "cert/+/raw/pem"),
		each(row{verbs: reads, class: Nearest, effect: Repeatable, why: cluster}, "cert/crl", "cert/delta-crl", "cert/*", "certs/*", "crl/*", "issuer/+/crl/*", "tidy-status", "eab/*"),
	)
}

func certificates() []row {
	const issues = "certificates are stored by the cluster that issues them"
	const local = "about the certificates of the cluster that answers"
	const pure = "signs and returns, nothing is written"
	return []row{
		{path: "issue/+", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "sign/+", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "sign-verbatim/*", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "root/sign-intermediate", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "root/sign-self-issued", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/issue/+", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/sign/+", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/sign-verbatim/*", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/sign-intermediate", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/sign-self-issued", verbs: Update, class: Nearest, learns: true, why: issues},
		{path: "issuer/+/sign-revocation-list", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "issuer/+/resign-crls", verbs: Update, class: Nearest, effect: Repeatable, why: pure},
		{path: "ocsp/*", verbs: Update | reads, class: Nearest, effect: Repeatable, why: "a query"},
		{path: "unified-ocsp/*", verbs: Update | reads, class: Nearest, effect: Repeatable, why: "a query"},
		{path: "revoke", verbs: Update, class: Nearest, subject: Serial, why: local},
		{path: "revoke-with-key", verbs: Update, class: Nearest, subject: Serial, why: local},
		{path: "tidy", verbs: Update, class: Nearest, why: local},
		{path: "tidy-cancel", verbs: Update, class: Nearest, why: local},
		{path: "config/cluster", verbs: writes, class: Nearest, why: "a setting of each cluster of its own"},
		{path: "crl/rotate", verbs: Read, class: Nearest, effect: Repeatable, why: local},
		{path: "crl/rotate-delta", verbs: Read, class: Nearest, effect: Repeatable, why: local},
		{path: "eab/+", verbs: Delete, class: Owner, subject: EABKey, why: "an EAB key lives on the cluster that made it"},
	}
}

// acme is the ACME server below each of its four directories.
func acme() []row {
	const start = "start of an ACME flow"
	const local = "kept by the cluster that answers"
	rows := []row{
		{path: "acme/mgmt/*", verbs: reads, class: Nearest, effect: Repeatable, why: "about the ACME accounts of the cluster that answers"},
		{path: "acme/mgmt/*", verbs: Update, class: Nearest, why: "about the ACME accounts of the cluster that answers"},
	}
	for _, directory := range []string{"acme/", "roles/+/acme/", "issuer/+/acme/", "issuer/+/roles/+/acme/"} {
		rows = append(rows,
			row{path: directory + "directory", verbs: Read, class: Nearest, effect: Repeatable, why: start},
			row{path: directory + "new-nonce", verbs: Read | Header, class: Nearest, effect: Repeatable, why: start},
			row{path: directory + "new-account", verbs: Update, class: Nearest, subject: ACMEAccount, learns: true, why: "an ACME account is " + local},
			row{path: directory + "new-eab", verbs: Update, class: Nearest, learns: true, why: "an EAB key is " + local},
			row{path: directory + "*", verbs: Update, class: Owner, subject: ACMEAccount, why: "ACME state lives on one cluster"},
		)
	}
	return rows
}
