package core

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// login makes the token of a successful login on this cluster.
func (c *Core) login(j *job, a *engine.Auth) error {
	t := &engine.Token{
		Policies: policiesWithDefault(a.Policies, false), Path: j.full, Meta: a.Meta, NumUses: a.NumUses,
		DisplayName: a.DisplayName, Period: a.Period, ExplicitMax: a.ExplicitMax, Type: a.Type, Renewable: true,
		Namespace: j.Namespace, EntityID: entityID(j.Accessor, a.Alias),
	}
	if t.Type == "" || t.Type == "default" || t.Type == "default-service" {
		t.Type = "service"
	}
	if t.Type == "batch" {
		t.Renewable, t.NumUses = false, 0
	}
	ttl := a.TTL
	if ttl == 0 && j.mount != nil {
		ttl = time.Duration(j.mount.Config.DefaultTTL) * time.Second
	}
	c.life(t, ttl, a.MaxTTL)
	a.Token = t
	return c.issue(j.Tx, t)
}

// entityID is the same on every cluster of the set, because it is made of the
// alias. Vault makes it once, at the primary; the laboratory has no need to.
func entityID(accessor, alias string) string {
	if alias == "" {
		return ""
	}
	h := sha256.Sum256([]byte(accessor + "/" + alias))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
