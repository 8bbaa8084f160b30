package consistency

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// state is one value of X-Vault-Index: v1:CLUSTER:LOCAL:REPLICATED:HMAC in base64
// (vault/api, ParseReplicationState). Nobody but Vault can make one, so they are kept as
// they came.
type state struct {
	index             string
	cluster           string // empty for a form that is not known
	local, replicated uint64
	at                time.Time
}

// maxStates is how many are kept of all clusters.
const maxStates = 8

// parse reads an index; ok is false for one in a form that is not known.
func parse(index string, now time.Time) (s state, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(index)
	parts := strings.Split(string(raw), ":")
	if err != nil || len(parts) != 5 || parts[0] != "v1" || parts[1] == "" {
		return state{}, false
	}
	s = state{index: index, cluster: parts[1], at: now}
	if s.local, err = strconv.ParseUint(parts[2], 10, 64); err != nil {
		return state{}, false
	}
	if s.replicated, err = strconv.ParseUint(parts[3], 10, 64); err != nil {
		return state{}, false
	}
	return s, true
}

// merge adds an index to the newest states, of which one cluster has one, or two that
// can't be compared: one is ahead locally and the other in what is replicated.
func merge(states []state, index string, now time.Time) []state {
	next, ok := parse(index, now)
	if !ok {
		return states
	}
	kept := make([]state, 0, len(states)+1)
	for _, s := range states {
		switch {
		case s.cluster != next.cluster:
			kept = append(kept, s)
		case s.local >= next.local && s.replicated >= next.replicated:
			return states // it says all that the new one does
		case s.local <= next.local && s.replicated <= next.replicated:
		default:
			kept = append(kept, s)
		}
	}
	kept = append(kept, next)
	return kept[max(0, len(kept)-maxStates):]
}
