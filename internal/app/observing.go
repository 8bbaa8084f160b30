package app

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
	"github.com/vrproxy/vrproxy/internal/observe"
	"github.com/vrproxy/vrproxy/routing"
)

// buildObserver makes what watches the requests; the numbers of a process begin where
// those of another are not likely to be.
func (a *App) buildObserver(ctx context.Context) error {
	a.shared.numbers.Store(rand.Uint64() >> 1) //nolint:gosec // a name, not a secret
	if t := a.opts.Config.Tracing; t != nil {
		trust, err := clientTLS(t.TLS)
		if err != nil {
			return fmt.Errorf("tracing: %w", err)
		}
		a.traces, err = observe.NewTraces(ctx, observe.TraceConfig{
			Endpoint: t.Endpoint, TLS: trust, Sample: t.Sample, Region: a.opts.Config.Region, Version: version, Logger: a.opts.Logger,
		})
		if err != nil {
			return err
		}
		a.stack.push("tracing", a.traces.Close)
	}
	a.observer = observe.New(a.opts.Logger, a.traces)
	a.shared.observer = a.observer
	return nil
}

// DumpDecisions writes what the flight recorder has to a file in the temporary
// directory, and says where, as a warning, because somebody waits for it.
func (a *App) DumpDecisions() {
	name := fmt.Sprintf("vrproxy-decisions-%d-%s-*.jsonl", os.Getpid(), time.Now().UTC().Format("20060102T150405"))
	file, err := os.CreateTemp("", name) // readable for the owner only
	if err == nil {
		err = a.observer.Flight().Dump(file, 0)
		if closed := file.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		a.opts.Logger.Error("decisions not written; GET /debug/decisions on the admin listener has them, too", zap.Error(err))
		return
	}
	a.opts.Logger.Warn("decisions written", zap.String("file", file.Name()))
}

func (a *App) decisions(w io.Writer, n int) error { return a.observer.Flight().Dump(w, n) }

// follow tells people of each new picture.
func (a *App) follow(t *health.Topology) { a.events.Follow(t, a.cores.p.Load().serving(t)) }

// serving says where requests would go now.
func (c *current) serving() admin.Serving {
	now := c.p.Load()
	return now.serving(now.checker.Topology())
}

func (c *core) serving(t *health.Topology) admin.Serving {
	return admin.Serving{Reads: c.reads(t), Writes: c.writes(t)}
}

// reads is the cluster that a read is sent to first.
func (c *core) reads(t *health.Topology) admin.Target {
	order := c.planner.Nearest(t)
	if len(order) == 0 || !order[0].Usable() {
		return admin.Target{Reason: "no cluster can serve: " + passed(t.Nearest(preference(c.cfg)), "", nil)}
	}
	first, why := order[0], "it has the shortest round trip of those that can serve"
	switch {
	case first.Region == t.Region:
		why = "it is in the proxy's own region"
	case slices.Contains(c.cfg.Routing.Failover, first.Region):
		why = "its region is the next in routing.failover"
	}
	if before := passed(t.Nearest(preference(c.cfg)), first.Name, c.planner.Stale(t)); before != "" {
		why += "; " + before
	}
	return admin.Target{Cluster: first.Name, Reason: why}
}

// passed says why the clusters that come before one are not used.
func passed(order []*health.Cluster, until string, stale []string) string {
	var out []string
	for _, cl := range order {
		if cl.Name == until {
			break
		}
		why := cl.Name + " is " + string(cl.State)
		if slices.Contains(stale, cl.Name) {
			why = cl.Name + " lags too far"
		}
		if cl.Reason != "" {
			why += " (" + cl.Reason + ")"
		}
		out = append(out, why)
	}
	return strings.Join(out, "; ")
}

// writes is the cluster that a write is sent to first.
func (c *core) writes(t *health.Topology) admin.Target {
	plan, err := c.planner.Plan(t, routing.Decision{Class: routing.Primary}, routing.Constraint{})
	if err != nil {
		return admin.Target{Reason: err.Error()}
	}
	first := plan.Candidates[0]
	why := "it is the primary"
	switch {
	case first.WayRound && c.cfg.Routing.Writes == configs.WritesNearest:
		why = "routing.writes is nearest: it forwards to the primary, " + t.Primary
	case first.WayRound:
		why = "it forwards to the primary, " + t.Primary + ", which can't be reached from here"
	}
	return admin.Target{Cluster: first.Name, Reason: why}
}

// mountsShown are the mounts that were learned, with their classes.
func (a *App) mountsShown() []admin.Mount {
	table, router := a.shared.mounts.Table(), a.cores.p.Load().router
	out := []admin.Mount{}
	for _, namespace := range table.Namespaces() {
		known := table.Mounts(namespace)
		slices.SortFunc(known, func(x, y routing.Mount) int { return strings.Compare(x.Path, y.Path) })
		for _, m := range known {
			reads, writes := router.Classes(m)
			out = append(out, admin.Mount{Namespace: namespace, Path: m.Path, Type: m.Type, Local: m.Local, Reads: words(reads), Writes: words(writes)})
		}
	}
	return out
}

func words(classes []routing.Class) []string {
	out := make([]string, len(classes))
	for i, c := range classes {
		out[i] = string(c)
	}
	return out
}
