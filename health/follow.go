package health

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// follow watches the nodes behind a configured address. They come and go with what its
// name resolves to.
func (c *Checker) follow(ctx context.Context, cluster, address string) {
	var watches sync.WaitGroup
	defer watches.Wait()
	stops := make(map[string]context.CancelFunc)
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for ctx.Err() == nil {
		now := c.settle(cluster, address, c.behind(ctx, cluster, address))
		for node, stop := range stops {
			if !slices.Contains(now, node) {
				stop()
				delete(stops, node)
			}
		}
		for _, node := range now {
			if stops[node] == nil {
				own, stop := context.WithCancel(ctx)
				stops[node] = stop
				watches.Go(func() { c.watch(own, cluster, node) })
			}
		}
		c.untilResolved(ctx, cluster, address)
	}
}

// behind asks which nodes stand behind an address now; none: nobody can tell.
func (c *Checker) behind(ctx context.Context, cluster, address string) []string {
	if c.cfg.Resolve == nil {
		return []string{address}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	nodes, err := c.cfg.Resolve(ctx, cluster, address)
	if err != nil {
		return nil // a node by the name stays, and its probes tell what is wrong
	}
	return nodes
}

// untilResolved waits until an address is to be resolved again.
func (c *Checker) untilResolved(ctx context.Context, cluster, address string) {
	var due <-chan time.Time
	if c.cfg.Resolve != nil {
		wait := resolveEvery
		if !c.anyUp(cluster, address) {
			wait = min(wait, c.cfg.Interval)
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	}
}

func (c *Checker) anyUp(cluster, address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.nodes[cluster], func(n nodeState) bool { return n.origin == address && n.up })
}

// settle makes the nodes behind an address those that were found, and gives those that
// are to be watched for it. What is known of nodes that stay is kept. A node that stands
// behind another address as well is that one's.
func (c *Checker) settle(cluster, address string, found []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	isOwn := func(n nodeState) bool { return n.origin == address }
	nodes := c.nodes[cluster]
	at := max(0, slices.IndexFunc(nodes, isOwn)) // the order of the configuration is kept
	others := slices.DeleteFunc(slices.Clone(nodes), isOwn)
	own := slices.DeleteFunc(slices.Clone(nodes), func(n nodeState) bool { return !isOwn(n) })
	next := own
	if len(found) > 0 {
		next = replaced(own, others, address, found)
	}
	if !slices.EqualFunc(next, own, func(a, b nodeState) bool { return a.address == b.address }) {
		c.nodes[cluster] = slices.Concat(others[:at], next, others[at:])
		c.cfg.Logger.Info("nodes changed", zap.String("cluster", cluster), zap.String("address", address), zap.Strings("nodes", addresses(next)))
		c.publishLocked()
	}
	return addresses(next)
}

func replaced(own, others []nodeState, origin string, found []string) []nodeState {
	var next []nodeState
	for _, address := range found {
		is := func(n nodeState) bool { return n.address == address }
		if i := slices.IndexFunc(own, is); i >= 0 {
			next = append(next, own[i])
		} else if !slices.ContainsFunc(others, is) {
			next = append(next, newNode(address, origin))
		}
	}
	return next
}

func addresses(nodes []nodeState) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.address
	}
	return out
}
