package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/store"
	"github.com/vrproxy/vrproxy/internal/lab/vault"
)

const (
	retryApply   = 100 * time.Millisecond // before a statement is tried again
	forgetWithin = 10 * time.Second
)

// processes is a backend that runs a process, which faults have to reach too.
type processes interface {
	kill()
	start(ctx context.Context) error
	freeze(bool)
	close()
	pid() int
}

// real is the backend made of a Vault Community process.
type real struct {
	server *vault.Server
	engine *vault.Engine
	logger *zap.Logger
}

func (r *real) execute(ctx context.Context, call *core.Call, forward core.Forward) *core.Reply {
	return r.engine.Execute(ctx, call, forward)
}

func (r *real) setWritable(w bool)       { r.engine.SetWritable(w) }
func (r *real) position() store.Position { return r.engine.Position() }
func (r *real) run(ctx context.Context)  { <-ctx.Done() } // Vault revokes what has expired itself
func (r *real) kill()                    { r.server.Kill() }
func (r *real) freeze(yes bool)          { r.server.Freeze(yes) }
func (r *real) close()                   { r.server.Close() }
func (r *real) pid() int                 { return r.server.PID() }

func (r *real) forget(token string) {
	ctx, cancel := context.WithTimeout(context.Background(), forgetWithin)
	defer cancel()
	if err := r.engine.Forget(ctx, token); err != nil {
		r.logger.Warn("revoking a token", zap.Error(err))
	}
}

func (r *real) start(ctx context.Context) error {
	if err := r.server.Start(ctx); err != nil {
		return err
	}
	return r.engine.Learn(ctx)
}

// takeKeys gives a secondary the keys of the primary, as joining the set does in
// Vault Enterprise.
func (r *real) takeKeys(primary *real) error {
	if r == primary {
		return nil
	}
	return r.server.Clone(primary.server)
}

func (r *real) follow(ctx context.Context, source backend, f follow) {
	src := source.(*real).engine // clusters of one lab are of one kind
	for ctx.Err() == nil && f.live() {
		if r.step(ctx, src, f) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-f.wake:
		}
	}
}

// step repeats what the source has executed, and reports whether to go on.
func (r *real) step(ctx context.Context, src *vault.Engine, f follow) bool {
	list, err := r.engine.Missing(src)
	if err != nil {
		r.logger.Warn("following stopped", zap.Error(err))
		return false
	}
	for _, s := range list {
		if pause(ctx, time.Until(s.Made().Add(f.lag))) != nil || !f.live() {
			return false
		}
		switch err := r.engine.Apply(ctx, s); {
		case errors.Is(err, vault.ErrRefused):
			r.logger.Warn("clusters differ", zap.Error(err))
		case err != nil:
			return pause(ctx, retryApply) == nil
		}
		f.progress(r.position())
	}
	return len(list) > 0
}

// copyOnly is the backend of a DR secondary of real Vaults: a front without a
// process. A copy of tokens and leases can't be made from outside a Vault, so
// it never serves; see promote.
type copyOnly struct {
	mu sync.Mutex
	at store.Position
}

func (*copyOnly) execute(context.Context, *core.Call, core.Forward) *core.Reply { return &core.Reply{} }
func (*copyOnly) setWritable(bool)                                              {}
func (*copyOnly) forget(string)                                                 {}
func (*copyOnly) run(ctx context.Context)                                       { <-ctx.Done() }

func (c *copyOnly) position() store.Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *copyOnly) follow(ctx context.Context, source backend, f follow) {
	for ctx.Err() == nil && f.live() {
		if pause(ctx, f.lag) != nil {
			return
		}
		now := source.position()
		c.mu.Lock()
		c.at = now
		c.mu.Unlock()
		f.progress(now)
		select {
		case <-ctx.Done():
		case <-f.wake:
		}
	}
}

// newReal makes the backend of a cluster whose engine is a Vault process.
func (l *Lab) newReal(c *Cluster, key []byte) (backend, error) {
	if c.role == roleDR {
		return &copyOnly{}, nil
	}
	server, err := vault.NewServer(vault.ServerConfig{Bin: l.cfg.VaultBin, Name: c.name, RootToken: RootToken,
		APIAddr: c.Address, Gone: c.Kill}) // who kills the process kills the cluster
	if err != nil {
		return nil, err
	}
	return &real{server: server, logger: l.cfg.Logger.Named(c.name), engine: vault.New(vault.Config{
		Server: server, ID: c.id, Key: key, NoIndex: l.cfg.NoIndex, Seal: c.Seal, OnWrite: l.wakeAll,
	})}, nil
}

// fillReal starts the processes and gives the primary its content.
func (l *Lab) fillReal(first *Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	primary, ok := first.backend.(*real)
	if !ok {
		return fmt.Errorf("cluster %s has no process of its own", first.name)
	}
	if err := primary.server.Init(ctx); err != nil {
		return err
	}
	if err := l.each(func(r *real) error { return r.takeKeys(primary) }); err != nil {
		return err
	}
	if err := l.each(func(r *real) error { return r.start(ctx) }); err != nil {
		return err
	}
	for _, s := range realContent() {
		if err := primary.engine.Write(ctx, http.MethodPost, s.path, s.body); err != nil {
			return err
		}
	}
	err := l.each(func(r *real) error {
		list, err := r.engine.Missing(primary.engine)
		for i := 0; err == nil && i < len(list); i++ {
			err = r.engine.Apply(ctx, list[i])
		}
		return err
	})
	l.link(first)
	return err
}

// each does something to all processes at once.
func (l *Lab) each(do func(*real) error) error {
	var work sync.WaitGroup
	errs := make([]error, len(l.clusters))
	for i, c := range l.clusters {
		if r, ok := c.backend.(*real); ok {
			work.Go(func() { errs[i] = do(r) })
		}
	}
	work.Wait()
	return errors.Join(errs...)
}

// link makes all clusters follow the first, or the one they are a copy of.
func (l *Lab) link(first *Cluster) {
	for i, c := range l.clusters {
		switch {
		case c.role == roleDR:
			c.drOf = l.Cluster(l.cfg.Clusters[i].DROf)
			c.drOf.repl.drOn = true
		case c != first:
			c.upstream = first
		}
		c.remote = first.backend.position()
		c.backend.setWritable(c.role == rolePrimary)
	}
}

// realContent is the content without what real Vaults can't agree on, and
// without the database, which has to exist first.
func realContent() []statement {
	var out []statement
	for _, s := range content() {
		if !strings.Contains(s.path, "transit") && !strings.Contains(s.path, "pki") && !strings.Contains(s.path, "database") {
			out = append(out, s)
		}
	}
	return out
}
