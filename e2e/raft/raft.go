// Package raft runs one Vault cluster of several nodes with integrated storage, for
// tests of elections.
package raft

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	upWithin  = 30 * time.Second
	pollEvery = 20 * time.Millisecond
	askWithin = 400 * time.Millisecond // of a node that may be stopped
)

// Cluster is some nodes that elect one of them.
type Cluster struct {
	Nodes []*Node
	Token string // of root

	dir  string
	key  string // the only unseal key
	http *http.Client
}

// Start makes a cluster of that many nodes, unsealed, with an active node to which
// the others are connected.
func Start(ctx context.Context, bin string, nodes int) (*Cluster, error) {
	c := &Cluster{http: &http.Client{Transport: &http.Transport{}}}
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	if err := c.start(ctx, bin, nodes); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, bin string, nodes int) error {
	var err error
	if c.dir, err = os.MkdirTemp("", "vrproxy-e2e-raft-"); err != nil {
		return fmt.Errorf("making a directory for raft: %w", err)
	}
	ports, err := freePorts(ctx, 2*nodes)
	if err != nil {
		return err
	}
	for i := range nodes {
		n := &Node{ID: fmt.Sprintf("node%d", i), Address: "http://" + ports[2*i], bin: bin, dir: filepath.Join(c.dir, fmt.Sprint(i))}
		if err := n.configure(ports[2*i], ports[2*i+1]); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
		if err := n.run(); err != nil {
			return err
		}
	}
	if err := c.found(ctx); err != nil {
		return err
	}
	for _, n := range c.Nodes[1:] {
		if err := c.join(ctx, n); err != nil {
			return err
		}
	}
	return c.settled(ctx, nodes)
}

// freePorts finds addresses for listeners, all different.
func freePorts(ctx context.Context, n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // only its number was wanted, and that nobody gets it twice
		out[i] = l.Addr().String()
	}
	return out, nil
}

// found makes the first node a cluster of its own.
func (c *Cluster) found(ctx context.Context) error {
	var made struct {
		Keys []string `json:"keys_base64"`
		Root string   `json:"root_token"`
	}
	if err := c.until(ctx, "the first node initialises", func() error {
		return c.ask(ctx, c.Nodes[0], http.MethodPut, "sys/init", `{"secret_shares":1,"secret_threshold":1}`, &made)
	}); err != nil {
		return err
	}
	if len(made.Keys) != 1 {
		return fmt.Errorf("initialising: %d keys", len(made.Keys))
	}
	c.key, c.Token = made.Keys[0], made.Root
	if err := c.unseal(ctx, c.Nodes[0]); err != nil {
		return err
	}
	// A node that joins gets its vote only after having been stable for so long, ten
	// seconds if nobody says otherwise.
	return c.until(ctx, "the first node leads", func() error {
		return c.ask(ctx, c.Nodes[0], http.MethodPut, "sys/storage/raft/autopilot/configuration", `{"server_stabilization_time":"500ms"}`, nil)
	})
}

func (c *Cluster) join(ctx context.Context, n *Node) error {
	body := fmt.Sprintf(`{"leader_api_addr":%q}`, c.Nodes[0].Address)
	if err := c.until(ctx, n.ID+" joins", func() error {
		return c.ask(ctx, n, http.MethodPut, "sys/storage/raft/join", body, nil)
	}); err != nil {
		return err
	}
	return c.unseal(ctx, n)
}

// unseal gives the key and waits until it is used. It is given once: a node that joins
// uses it when its storage has caught up, and a second one would make it run twice over.
func (c *Cluster) unseal(ctx context.Context, n *Node) error {
	if err := c.until(ctx, n.ID+" takes the key", func() error {
		return c.ask(ctx, n, http.MethodPut, "sys/unseal", fmt.Sprintf(`{"key":%q}`, c.key), nil)
	}); err != nil {
		return err
	}
	return c.until(ctx, n.ID+" unseals", func() error {
		if s, err := c.health(ctx, n); err != nil || s.Sealed {
			return errors.Join(errors.New("it is sealed"), err)
		}
		return nil
	})
}

// settled waits until every node has a vote and the standbys are connected.
func (c *Cluster) settled(ctx context.Context, nodes int) error {
	return c.until(ctx, "the cluster is complete", func() error {
		if got := c.voters(ctx); got != nodes {
			return fmt.Errorf("%d voters", got)
		}
		if len(c.Actives(ctx)) != 1 || len(c.Standbys(ctx)) != nodes-1 {
			return errors.New("no active node with connected standbys")
		}
		return nil
	})
}

func (c *Cluster) voters(ctx context.Context) int {
	var said struct {
		Data struct {
			Config struct {
				Servers []struct {
					Voter bool `json:"voter"`
				} `json:"servers"`
			} `json:"config"`
		} `json:"data"`
	}
	if c.ask(ctx, c.Nodes[0], http.MethodGet, "sys/storage/raft/configuration", "", &said) != nil {
		return 0
	}
	n := 0
	for _, s := range said.Data.Config.Servers {
		if s.Voter {
			n++
		}
	}
	return n
}

// Actives are the nodes that call themselves active: one, or for a moment two, when
// the old one has not heard of the new one.
func (c *Cluster) Actives(ctx context.Context) []*Node {
	return c.those(ctx, func(s state) bool { return !s.Standby })
}

// Standbys are the nodes with a healthy connection to an active one.
func (c *Cluster) Standbys(ctx context.Context) []*Node {
	return c.those(ctx, func(s state) bool { return s.Standby && s.Connected })
}

// those are the unsealed nodes of which f holds. All are asked at once, because one
// that is stopped takes its time.
func (c *Cluster) those(ctx context.Context, f func(state) bool) []*Node {
	found := make([]*Node, len(c.Nodes))
	var asked sync.WaitGroup
	for i, n := range c.Nodes {
		asked.Go(func() {
			if s, err := c.health(ctx, n); err == nil && !s.Sealed && f(s) {
				found[i] = n
			}
		})
	}
	asked.Wait()
	return slices.DeleteFunc(found, func(n *Node) bool { return n == nil })
}

// Stop ends all nodes and removes what they stored.
func (c *Cluster) Stop() error {
	c.http.CloseIdleConnections()
	for _, n := range c.Nodes {
		n.Kill()
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("removing what raft stored: %w", err)
	}
	return nil
}
