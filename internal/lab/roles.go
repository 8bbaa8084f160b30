package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// promote makes a DR secondary take the place of the cluster it copies, or a
// performance secondary the primary. The cluster that had the place before
// stays what it was.
func (l *Lab) promote(c *Cluster) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.Role() {
	case rolePrimary:
		return fmt.Errorf("cluster %s is primary already", c.name)
	case roleDR:
		if l.cfg.VaultBin != "" {
			return fmt.Errorf("cluster %s can't be promoted: between Vault Community processes no copy of tokens and leases can be made; use simulated clusters", c.name)
		}
		old := c.drSource()
		if old == nil {
			return fmt.Errorf("cluster %s is the copy of no cluster", c.name)
		}
		role, upstream, set := old.serving()
		c.set(func() { c.role, c.upstream, c.drOf, c.perfSet, c.repl.drOn = role, upstream, nil, set, true })
	default:
		c.set(func() { c.role, c.upstream = rolePrimary, nil })
	}
	c.backend.setWritable(c.owns())
	if c.Role() == rolePrimary {
		l.followNew(c)
	}
	return nil
}

// demote makes a primary the secondary of whoever else is primary.
func (l *Lab) demote(c *Cluster) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Role() != rolePrimary {
		return fmt.Errorf("cluster %s is not primary", c.name)
	}
	c.backend.setWritable(false)
	other := l.primary(c)
	c.set(func() { c.role, c.upstream = roleSecondary, other })
	if other != nil {
		l.followNew(other)
	}
	return nil
}

// primary returns a primary other than c, nil when there is none.
func (l *Lab) primary(c *Cluster) *Cluster {
	for _, o := range l.clusters {
		if o != c && o.Role() == rolePrimary {
			return o
		}
	}
	return nil
}

// followNew turns all performance secondaries to a primary.
func (l *Lab) followNew(p *Cluster) {
	for _, c := range l.clusters {
		if c != p && c.Role() == roleSecondary {
			c.set(func() { c.upstream, c.perfSet = p, p.perfSet })
		}
	}
}

func (c *Cluster) drSource() *Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drOf
}

func (c *Cluster) follows() *Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.upstream
}

// parent is the cluster that this one copies, nil for a primary, and for a
// secondary without one.
func (c *Cluster) parent() *Cluster {
	switch c.Role() {
	case roleDR:
		if src := c.drSource(); src != nil && src.leads(roleDR) {
			return src
		}
	case roleSecondary:
		if up := c.follows(); up != nil && up.Role() == rolePrimary {
			return up
		}
	}
	return nil
}

// source is the parent, when it can be reached from here.
func (c *Cluster) source() *Cluster {
	p := c.parent()
	if p == nil || !p.reachable() || !c.reachable() {
		return nil
	}
	return p
}

// followLoop keeps the cluster's storage up with that of its source.
func (c *Cluster) followLoop(ctx context.Context) {
	for ctx.Err() == nil {
		src := c.source()
		if src == nil {
			select {
			case <-ctx.Done():
			case <-c.wake:
			}
			continue
		}
		c.backend.follow(ctx, src.backend, follow{
			local:    c.Role() == roleDR,
			lag:      c.lab.cfg.Lag,
			wake:     c.wake,
			live:     func() bool { return c.source() == src },
			progress: func(p store.Position) { c.progress(src, p) },
		})
	}
}

// progress notes how far the cluster has come in its source.
func (c *Cluster) progress(src *Cluster, p store.Position) {
	all := p.Local >= src.backend.position().Local
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remote = p
	now := time.Now()
	if !all { // while more is written all the time, it has what is as old as the lag
		now = now.Add(-c.lab.cfg.Lag)
	}
	if now.After(c.caughtUp) {
		c.caughtUp = now
	}
	c.repl.fetched = true
}

// touch renews the time when the cluster last had everything; to be called
// before the links change.
func (c *Cluster) touch() {
	if src := c.source(); src != nil {
		c.mu.Lock()
		remote := c.remote
		c.mu.Unlock()
		c.progress(src, remote)
	}
}
