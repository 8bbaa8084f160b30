package core

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// defaultTTL is Vault's default for tokens and leases, and its maximum.
const defaultTTL = 768 * time.Hour

const (
	tokensBucket    = "core/tokens"
	accessorsBucket = "core/accessors"
	childrenBucket  = "core/children" // keys parent/child
)

// lookup returns a valid token, or nil.
func (c *Core) lookup(id string) *engine.Token {
	if strings.HasPrefix(id, "hvb.") {
		return c.lookupBatch(id)
	}
	t := &engine.Token{}
	if !c.tx().Local(tokensBucket).Get(id, t) || t.NumUses < 0 {
		return nil
	}
	if t.Expires.IsZero() || c.cfg.Now().Before(t.Expires) {
		return t
	}
	c.revokeTree(c.tx(), id)
	return nil
}

func (c *Core) lookupBatch(id string) *engine.Token {
	payload, sum, ok := strings.Cut(strings.TrimPrefix(id, "hvb."), "-")
	if !ok || !hmac.Equal([]byte(sum), []byte(c.sign(payload))) {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(payload, "~", "-"))
	t := &engine.Token{}
	if err != nil || json.Unmarshal(raw, t) != nil || c.cfg.Now().After(t.Expires) {
		return nil
	}
	if t.Parent != "" && c.lookup(t.Parent) == nil {
		return nil
	}
	t.ID = id
	return t
}

// sign authenticates what every cluster of the set has to recognise.
func (c *Core) sign(s string) string {
	h := hmac.New(sha256.New, c.Key())
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}

// issue gives the token its id and stores it, or seals it when it is a batch token.
func (c *Core) issue(tx *store.Tx, t *engine.Token) error {
	if t.Type == "batch" {
		raw, err := json.Marshal(t)
		if err != nil {
			return err
		}
		// The separator before the signature must not occur in the payload.
		payload := strings.ReplaceAll(base64.RawURLEncoding.EncodeToString(raw), "-", "~")
		t.ID = "hvb." + payload + "-" + c.sign(payload)
		return nil
	}
	if t.ID == "" {
		t.ID = "hvs." + engine.Random(90) + suffix(t.Namespace)
	}
	t.Accessor = engine.Random(24) + suffix(t.Namespace)
	if err := tx.Local(tokensBucket).Put(t.ID, t); err != nil {
		return err
	}
	if t.Parent != "" {
		if err := tx.Local(childrenBucket).Put(t.Parent+"/"+t.ID, true); err != nil {
			return err
		}
	}
	return tx.Local(accessorsBucket).Put(t.Accessor, t.ID)
}

// suffix is what ids of a namespace end with.
func suffix(ns string) string {
	if ns == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(ns))
	return "." + hex.EncodeToString(sum[:])[:5]
}

// takeUse takes one use from a limited token. The last use marks the token,
// so that it serves no other request before it is revoked.
func (c *Core) takeUse(id string) (last, ok bool) {
	c.tokens.Lock()
	defer c.tokens.Unlock()
	v := c.tx().Local(tokensBucket)
	t := &engine.Token{}
	if !v.Get(id, t) || t.NumUses < 0 {
		return false, false
	}
	if t.NumUses--; t.NumUses == 0 {
		t.NumUses, last = -1, true
	}
	return last, v.Put(id, t) == nil
}

// byAccessor returns the token of an accessor, or nil.
func (c *Core) byAccessor(accessor string) *engine.Token {
	var id string
	if !c.tx().Local(accessorsBucket).Get(accessor, &id) {
		return nil
	}
	return c.lookup(id)
}

// revokeTree removes a token, its children and all their leases.
func (c *Core) revokeTree(tx *store.Tx, id string) {
	for _, k := range tx.Local(childrenBucket).Keys(id + "/") {
		c.revokeTree(tx, strings.TrimPrefix(k, id+"/"))
		_ = tx.Local(childrenBucket).Delete(k) // local storage is always writable
	}
	c.revokeOne(tx, id)
}

// revokeOne removes a token with its leases and its cubbyhole.
func (c *Core) revokeOne(tx *store.Tx, id string) {
	t := &engine.Token{}
	if !tx.Local(tokensBucket).Get(id, t) {
		return
	}
	for _, k := range tx.Local(tokenLeasesBucket).Keys(id + "|") {
		c.revokeLease(tx, strings.TrimPrefix(k, id+"|"))
	}
	cubby := tx.Local(cubbyBucket)
	for _, k := range cubby.Keys(id + "/") {
		_ = cubby.Delete(k)
	}
	_ = tx.Local(accessorsBucket).Delete(t.Accessor)
	if t.Parent != "" {
		_ = tx.Local(childrenBucket).Delete(t.Parent + "/" + id)
	}
	_ = tx.Local(tokensBucket).Delete(id)
}

// orphanChildren cuts the children of a token off, so that they outlive it.
func (c *Core) orphanChildren(tx *store.Tx, id string) {
	v := tx.Local(tokensBucket)
	for _, k := range tx.Local(childrenBucket).Keys(id + "/") {
		child := &engine.Token{}
		if v.Get(strings.TrimPrefix(k, id+"/"), child) {
			child.Parent = ""
			_ = v.Put(child.ID, child)
		}
		_ = tx.Local(childrenBucket).Delete(k)
	}
}

// Forget drops a token without anything that depends on it.
func (c *Core) Forget(id string) { c.revokeTree(c.tx(), id) }

// Sweep revokes what has expired.
func (c *Core) Sweep(now time.Time) {
	tx := c.tx()
	for _, id := range tx.Local(tokensBucket).Keys("") {
		t := &engine.Token{}
		if tx.Local(tokensBucket).Get(id, t) && !t.Expires.IsZero() && now.After(t.Expires) {
			c.revokeTree(tx, id)
		}
	}
	for _, id := range tx.Local(leasesBucket).Keys("") {
		l := &leaseEntry{}
		if tx.Local(leasesBucket).Get(id, l) && now.After(l.Expires) {
			c.revokeLease(tx, id)
		}
	}
}

// policiesWithDefault sorts, removes repetitions and adds the default policy.
func policiesWithDefault(policies []string, without bool) []string {
	out := slices.Clone(policies)
	if !without && !slices.Contains(out, "root") {
		out = append(out, "default")
	}
	for i := range out {
		out[i] = strings.ToLower(strings.TrimSpace(out[i]))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// life sets how long a token lives, from the wishes and the limits.
func (c *Core) life(t *engine.Token, ttl, maxTTL time.Duration) {
	if maxTTL <= 0 || maxTTL > defaultTTL {
		maxTTL = defaultTTL
	}
	if t.ExplicitMax > 0 && t.ExplicitMax < maxTTL {
		maxTTL = t.ExplicitMax
	}
	if t.Period > 0 {
		ttl = t.Period
	}
	if ttl <= 0 || ttl > maxTTL && t.Period == 0 {
		ttl = maxTTL
	}
	t.TTL, t.MaxTTL = ttl, maxTTL
	t.Created = c.cfg.Now()
	t.Expires = t.Created.Add(ttl)
}
