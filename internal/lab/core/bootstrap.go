package core

import (
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// Bootstrap fills the replicated half of an empty store with what every Vault
// has: the mounts of the root namespace and the default policy.
func (c *Core) Bootstrap() error {
	if err := bootstrapNamespace(c.tx(), ""); err != nil {
		return fmt.Errorf("bootstrapping %s: %w", c.cfg.Name, err)
	}
	return nil
}

func bootstrapNamespace(tx *store.Tx, ns string) error {
	if err := makeNamespace(tx, ns); err != nil {
		return err
	}
	return tx.Shared(policiesBucket).Put(ns+"|default", defaultPolicy)
}

// AddRoot makes a root token with a given id on this cluster only. It looks as
// one made by auth/token/create, which is how Vault takes an id.
func (c *Core) AddRoot(id string) error {
	return c.issue(c.tx(), &engine.Token{
		ID: id, Policies: []string{"root"}, Path: "auth/token/create", DisplayName: "token",
		Type: "service", Created: time.Now(),
	})
}
