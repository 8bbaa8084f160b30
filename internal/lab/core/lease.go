package core

import (
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

const (
	leasesBucket      = "core/leases"
	tokenLeasesBucket = "core/token-leases" // keys token|lease
)

type leaseEntry struct {
	ID          string            `json:"id"`
	Token       string            `json:"token"`
	Namespace   string            `json:"namespace"`
	Mount       string            `json:"mount"` // uuid
	Type        string            `json:"type"`  // engine
	Issued      time.Time         `json:"issued"`
	LastRenewal time.Time         `json:"last_renewal"`
	Expires     time.Time         `json:"expires"`
	TTL         time.Duration     `json:"ttl"`
	MaxTTL      time.Duration     `json:"max_ttl"`
	Renewable   bool              `json:"renewable"`
	Internal    map[string]string `json:"internal"`
}

// register stores the lease of an answer under a new id.
func (c *Core) register(j *job, l *engine.Lease) error {
	if l.TTL <= 0 {
		l.TTL = defaultTTL
	}
	if l.MaxTTL <= 0 {
		l.MaxTTL = defaultTTL
	}
	l.TTL = min(l.TTL, l.MaxTTL)
	l.ID = j.full + "/" + engine.Random(24) + suffix(j.Namespace)
	e := leaseEntry{
		ID: l.ID, Token: j.Token.ID, Namespace: j.Namespace, Mount: j.mount.UUID, Type: j.mount.engineName(),
		Issued: c.cfg.Now(), TTL: l.TTL, MaxTTL: l.MaxTTL, Renewable: l.Renewable, Internal: l.Internal,
	}
	e.Expires = e.Issued.Add(l.TTL)
	if j.Token.Type == "batch" && e.Expires.After(j.Token.Expires) {
		e.Expires = j.Token.Expires
	}
	if err := j.Tx.Local(tokenLeasesBucket).Put(j.Token.ID+"|"+l.ID, true); err != nil {
		return err
	}
	return j.Tx.Local(leasesBucket).Put(l.ID, e)
}

// lease returns a live lease, or nil.
func (c *Core) lease(tx *store.Tx, id string) *leaseEntry {
	e := &leaseEntry{}
	if !tx.Local(leasesBucket).Get(id, e) {
		return nil
	}
	if c.cfg.Now().After(e.Expires) {
		c.revokeLease(tx, id)
		return nil
	}
	return e
}

// revokeLease undoes a lease; an unknown one is no error.
func (c *Core) revokeLease(tx *store.Tx, id string) {
	e := &leaseEntry{}
	if !tx.Local(leasesBucket).Get(id, e) {
		return
	}
	if eng := c.engines[e.Type]; eng != nil && eng.Revoke != nil {
		r := &engine.Request{Tx: tx, Local: tx.Local("m/" + e.Mount), Storage: tx.Shared("m/" + e.Mount)}
		_ = eng.Revoke(r, e.Internal) // the lease goes anyway
	}
	_ = tx.Local(tokenLeasesBucket).Delete(e.Token + "|" + id)
	_ = tx.Local(leasesBucket).Delete(id)
}

// renewLease extends a lease up to its maximum.
func (c *Core) renewLease(r *engine.Request, id string, increment time.Duration) (*engine.Response, error) {
	e := c.lease(r.Tx, id)
	if e == nil {
		return nil, engine.BadRequest("lease not found")
	}
	if !e.Renewable {
		return nil, engine.BadRequest("lease is not renewable")
	}
	if increment <= 0 {
		increment = e.TTL
	}
	now := c.cfg.Now()
	e.Expires = earlier(now.Add(increment), e.Issued.Add(e.MaxTTL))
	e.LastRenewal = now
	if err := r.Tx.Local(leasesBucket).Put(id, e); err != nil {
		return nil, err
	}
	left := e.Expires.Sub(c.cfg.Now()).Round(time.Second)
	return &engine.Response{Lease: &engine.Lease{ID: id, TTL: left, Renewable: true}}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// revokePrefix undoes all leases and tokens below a path.
func (c *Core) revokePrefix(tx *store.Tx, prefix string) {
	for _, id := range tx.Local(leasesBucket).Keys(prefix) {
		c.revokeLease(tx, id)
	}
	if !strings.HasPrefix(prefix, "auth/") {
		return
	}
	for _, id := range tx.Local(tokensBucket).Keys("") {
		t := &engine.Token{}
		if tx.Local(tokensBucket).Get(id, t) && strings.HasPrefix(t.Path, prefix) {
			c.revokeTree(tx, id)
		}
	}
}
