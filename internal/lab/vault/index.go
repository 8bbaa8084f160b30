package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The index is X-Vault-Index as Vault Enterprise gives it. Here the position in
// the log of statements stands for both of its numbers.

func (e *Engine) sign(state string) string {
	h := hmac.New(sha256.New, e.cfg.Key)
	h.Write([]byte(state))
	return hex.EncodeToString(h.Sum(nil))
}

func (e *Engine) index(local, replicated uint64) string {
	s := fmt.Sprintf("v1:%s:%d:%d", e.cfg.ID, local, replicated)
	return base64.StdEncoding.EncodeToString([]byte(s + ":" + e.sign(s)))
}

// present reports whether a state that a client requires has arrived here.
func (e *Engine) present(required string) (bool, error) {
	raw, err := base64.StdEncoding.DecodeString(required)
	if err != nil {
		return false, fmt.Errorf("decoding: %w", err)
	}
	parts := strings.Split(string(raw), ":")
	if len(parts) != 5 || e.sign(strings.Join(parts[:4], ":")) != parts[4] {
		return false, fmt.Errorf("invalid state %q", raw)
	}
	replicated, err := strconv.ParseUint(parts[3], 10, 64)
	return replicated <= e.log.len(), err
}
