package proxy

import (
	"net/http"
	"strings"
)

// verdict is what the outcome of one attempt means.
type verdict uint8

const (
	done    verdict = iota // an answer for the client, whatever it says
	next                   // nothing happened there: try the next candidate
	relogin                // the token is invalid there: get another one, once
	confirm                // token or policy? one lookup-self tells
	lagging                // the cluster has not replicated far enough yet: wait a little
	absent                 // nothing is mounted there: it may be at the primary (paths filter, local mount)
	foreign                // the token is not known there: it may be on another cluster
	moved                  // a standby names the active node of its cluster: ask that one
	unknown                // sent, and no answer: must not be sent again
)

// outcome is what is known after one attempt.
type outcome struct {
	// Without an answer:
	failed bool // the connection failed or timed out
	sent   bool // a byte of the request may have reached Vault

	// With an answer:
	status int
	json   bool   // it has a JSON body, so Vault itself answered
	text   string // the beginning of an error body

	repeatable bool // sending the request again does no harm
}

// judge is the one table of what Vault's answers mean. Only what provably had no
// effect, or may be repeated, goes to the next candidate. Policy denials, quotas,
// namespace locks and missing paths are answers: taking them to another cluster
// would evade an administrator's decision.
func judge(o outcome) verdict {
	switch {
	case o.failed && (!o.sent || o.repeatable):
		return next
	case o.failed:
		return unknown
	case o.status < 400 || o.status == http.StatusTooManyRequests:
		return done
	case !o.json:
		return judgeForeign(o)
	case noRoute(o):
		return absent
	case o.status == http.StatusForbidden:
		return judgeForbidden(o.text)
	case o.status == http.StatusPreconditionFailed && strings.Contains(o.text, "required index state not present"):
		return lagging
	case refusedUntouched(o):
		return next
	}
	return done
}

// noRoute reports whether Vault has nothing mounted where the path leads.
func noRoute(o outcome) bool {
	return o.status == http.StatusNotFound && strings.Contains(o.text, "no handler for route")
}

// judgeForeign: no JSON, so something between here and Vault answered (a load
// balancer without a backend), and nobody knows what it did before.
func judgeForeign(o outcome) verdict {
	gateway := o.status == http.StatusBadGateway || o.status == http.StatusServiceUnavailable || o.status == http.StatusGatewayTimeout
	if gateway && o.repeatable {
		return next
	}
	return done
}

// judgeForbidden: since 1.17 Vault says "invalid token" where the token is the
// reason, and "1 error occurred" introduces a denial by policy. Older versions and
// OpenBao say the bare "permission denied" for both.
func judgeForbidden(text string) verdict {
	switch {
	case strings.Contains(text, "invalid token"), strings.Contains(text, "bad token"):
		return relogin
	case strings.Contains(text, "1 error occurred"):
		return done
	case strings.Contains(text, "permission denied"):
		return confirm
	}
	return done
}

// refusedUntouched lists the answers by which Vault says that it did nothing and
// that another node or cluster may: sealed, standby without leader, DR secondary,
// a secondary that cannot write.
func refusedUntouched(o outcome) bool {
	signs := []string{}
	switch o.status {
	case http.StatusServiceUnavailable:
		signs = []string{"Vault is sealed", "no active Vault instance found", "active cluster node not found", "not initialized"}
	case http.StatusInternalServerError:
		// The first is gRPC's word for a forward that never got a connection.
		signs = []string{"rror while dialing", "active cluster node not found", "cannot write to readonly storage", "read-only storage", "Vault is sealed"}
	case http.StatusBadRequest:
		signs = []string{"path disabled in replication DR secondary mode"}
	case http.StatusMethodNotAllowed:
		signs = []string{"cannot write to readonly storage"}
	}
	for _, s := range signs {
		if strings.Contains(o.text, s) {
			return true
		}
	}
	return false
}
