package proxy

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// replayBody hands a login's body to the session, to be repeated elsewhere; nil when it
// can't or must not be.
func (x *exchange) replayBody(uses int) []byte {
	if !x.body.whole || !x.mayReplay(uses) {
		return nil
	}
	return append([]byte{}, x.body.kept...)
}

// mayReplay: a token with limited uses would get more of them with every login; codes
// of a second factor are good once; and what is proven by a header (Kerberos) is not
// kept.
func (x *exchange) mayReplay(uses int) bool {
	h := x.r.Header
	switch {
	case uses > 0, h.Get("X-Vault-MFA") != "", h.Get("Authorization") != "" && !x.token.bearer:
		return false
	case x.p.cfg.NoReplay == nil:
	case x.decision.Engine == "": // which method it is, is not known
		return false
	case slices.Contains(x.p.cfg.NoReplay, strings.TrimPrefix(x.decision.Engine, "auth/")):
		return false
	}
	return !x.hasOneTimeCode()
}

// hasOneTimeCode finds what is good once in a login's body: Okta's TOTP and number
// challenge. The nonce of AWS is another thing, and stays the same.
func (x *exchange) hasOneTimeCode() bool {
	var members struct {
		TOTP  string `json:"totp"`
		Nonce string `json:"nonce"`
	}
	_ = json.Unmarshal(x.body.kept, &members) // what is no JSON has none
	return members.TOTP != "" || members.Nonce != "" && x.decision.Engine == "auth/okta"
}

// shorten makes an answer about a token show no longer life than the client's token
// has: the one on another cluster may be younger.
func shorten(raw []byte, life time.Duration) []byte {
	var whole map[string]json.RawMessage
	if json.Unmarshal(raw, &whole) != nil {
		return raw
	}
	seconds := max(0, int64(math.Ceil(life.Seconds())))
	changed := false
	for part, key := range map[string]string{"data": "ttl", "auth": "lease_duration"} {
		var members map[string]json.RawMessage
		if json.Unmarshal(whole[part], &members) != nil || members == nil {
			continue
		}
		var shown int64
		if json.Unmarshal(members[key], &shown) != nil || shown <= seconds && shown != 0 {
			continue
		}
		members[key], _ = json.Marshal(seconds)
		if _, ok := members["expire_time"]; ok {
			members["expire_time"], _ = json.Marshal(time.Now().Add(life).UTC())
		}
		whole[part], _ = json.Marshal(members)
		changed = true
	}
	if !changed {
		return raw
	}
	out, err := json.Marshal(whole)
	if err != nil {
		return raw
	}
	return out
}
