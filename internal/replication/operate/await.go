package operate

import (
	"context"
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// awaitMode waits until a cluster has a mode and serves again.
func (o *Operator) awaitMode(ctx context.Context, k replication.Kind, name, mode string) error {
	return o.await(ctx, name, func(f replication.Facts) (bool, string) {
		now := f.Mode(k).Mode
		switch {
		case f.Unreachable != "":
			return false, "not reachable: " + f.Unreachable
		case f.Health.Sealed:
			return false, "sealed"
		case !f.Serving():
			return false, "no active node"
		}
		return now == mode, "mode " + now
	})
}

// awaitJoined waits until a secondary streams.
func (o *Operator) awaitJoined(ctx context.Context, k replication.Kind, name, primary string) error {
	o.say("Waiting until %s streams from %s.", name, primary)
	return o.await(ctx, name, func(f replication.Facts) (bool, string) { return replication.Joined(k, f) })
}

// await looks at a cluster until it is as wanted.
func (o *Operator) await(ctx context.Context, name string, reached func(replication.Facts) (bool, string)) error {
	began := time.Now()
	tick := time.NewTicker(o.cfg.Poll)
	defer tick.Stop()
	for {
		f, err := o.one(ctx, name)
		if err != nil {
			return err
		}
		done, how := reached(f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o.cfg.Out.Progress(fmt.Sprintf("%s: %s, %s", name, how, time.Since(began).Round(time.Second)))
		if done {
			return nil
		}
		if time.Since(began) > o.cfg.Within {
			return &replication.Refusal{What: fmt.Sprintf("%s did not get ready within %s: %s", name, o.cfg.Within, how), State: "It may still do so.", Next: "vrproxy replication status, then the same command to go on waiting"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (o *Operator) one(ctx context.Context, name string) (replication.Facts, error) {
	for _, c := range o.cfg.Clusters {
		if c.Name == name {
			return o.ask(ctx, c), nil
		}
	}
	return find(nil, name)
}
