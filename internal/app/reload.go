package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
)

// Reload puts a new configuration to use without dropping a connection: clusters,
// routing, health, dns, connections, listeners, drain times and log level change at once;
// everything else keeps its old value until a restart, and a log line says so. All of
// it is built aside first: an error leaves the old in use.
func (a *App) Reload(ctx context.Context, cfg *configs.Config) error {
	next, err := newCore(cfg, a.shared)
	if err != nil {
		a.reloads.WithLabelValues("error").Inc()
		return err
	}
	fronts, err := a.planListeners(ctx, cfg)
	if err != nil {
		next.pool.Close()
		a.reloads.WithLabelValues("error").Inc()
		return err
	}
	oldDNS, err := a.reloadDNS(cfg.DNS)
	if err != nil {
		next.pool.Close()
		err = errors.Join(err, fronts.giveUp())
		a.reloads.WithLabelValues("error").Inc()
		return err
	}
	next.inherit(a.cores.p.Load())
	next.start(ctx)
	old := a.cores.p.Swap(next)
	select {
	case a.swapped <- struct{}{}:
	default:
	}
	if err := errors.Join(old.stop(ctx), oldDNS.stop(ctx)); err != nil {
		a.opts.Logger.Warn("stopping the old configuration", zap.Error(err))
	}
	a.changeListeners(fronts, cfg)
	setLevel(a.opts.Level, cfg.Log.Level)
	a.sayWhatWaits(cfg)
	a.reloads.WithLabelValues("ok").Inc()
	a.opts.Logger.Info("configuration reloaded")
	return nil
}

// sayWhatWaits names what the new file says and the process does not do yet.
func (a *App) sayWhatWaits(cfg *configs.Config) {
	if kept := needRestart(a.opts.Config, cfg); len(kept) > 0 {
		a.opts.Logger.Warn("changed keys that take effect at the next restart only", zap.Strings("keys", kept))
	}
}

// listenerPlan is what becomes of the listeners.
type listenerPlan struct {
	kept  map[*listener]*terms
	fresh []*listener
	gone  []*listener
	all   []*listener // in the order of the file
}

// planListeners binds what is new and reads what has changed; nothing is served
// otherwise yet. A listener is known by its address.
func (a *App) planListeners(ctx context.Context, cfg *configs.Config) (*listenerPlan, error) {
	p := &listenerPlan{kept: make(map[*listener]*terms)}
	for i := range cfg.Listeners {
		if err := a.planListener(ctx, cfg, i, p); err != nil {
			return nil, errors.Join(err, p.giveUp())
		}
	}
	for _, l := range a.listeners() {
		if _, ok := p.kept[l]; !ok {
			p.gone = append(p.gone, l)
		}
	}
	return p, nil
}

// giveUp closes what was bound for nothing.
func (p *listenerPlan) giveUp() error {
	var errs []error
	for _, l := range p.fresh {
		errs = append(errs, closed(l.net))
	}
	return errors.Join(errs...)
}

func (a *App) planListener(ctx context.Context, cfg *configs.Config, i int, p *listenerPlan) error {
	l := cfg.Listeners[i]
	listeners := a.listeners()
	n := slices.IndexFunc(listeners, func(old *listener) bool { return old.address == l.Address })
	if n < 0 {
		if name, ok := l.Passed(); ok {
			return fmt.Errorf("listening on %s: no socket named %s was passed when the process started; restart it", l.Address, name)
		}
		fresh, err := a.front.listen(ctx, cfg, i, nil)
		if err != nil {
			return err
		}
		p.fresh, p.all = append(p.fresh, fresh), append(p.all, fresh)
		return nil
	}
	old := listeners[n]
	t, err := newTerms(cfg, i)
	if err != nil {
		return err
	}
	if err := t.permit(old.net); err != nil {
		return err
	}
	if (t.tls == nil) != (old.now.Load().tls == nil) {
		return fmt.Errorf("listening on %s: TLS can't be switched on or off under the same address; restart the process", l.Address)
	}
	p.kept[old], p.all = t, append(p.all, old)
	return nil
}

// changeListeners lets clients of what is gone finish as at a stop.
func (a *App) changeListeners(p *listenerPlan, cfg *configs.Config) {
	a.front.metrics.flight.limit.Store(int64(cfg.Limits.InFlight))
	for l, t := range p.kept {
		if err := l.change(t, cfg.Limits); err != nil {
			a.opts.Logger.Warn("the socket's file keeps its owner and mode", zap.String("address", l.address), zap.Error(err))
		}
	}
	for _, l := range p.fresh {
		a.runner.run(l.serve)
	}
	timeout := cfg.Shutdown.DrainTimeout
	for _, l := range p.gone {
		a.runner.run(func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			a.opts.Logger.Info("listener closed", zap.String("address", l.address), zap.Int64("requests_cut", l.drain(ctx)))
			return nil
		})
	}
	a.bound.Store(&p.all)
	a.opts.Config.Shutdown = cfg.Shutdown
}

// needRestart names the changed parts that a reload does not replace.
func needRestart(old, now *configs.Config) []string {
	parts := []struct {
		key      string
		old, now any
	}{
		{"identity", old.Identity, now.Identity},
		{"sessions", old.Sessions, now.Sessions},
		{"admin", old.Admin, now.Admin},
		{"tracing", old.Tracing, now.Tracing},
		{"limits.header_bytes", old.Limits.HeaderBytes, now.Limits.HeaderBytes},
		{"limits.header_timeout", old.Limits.HeaderTimeout, now.Limits.HeaderTimeout},
		{"limits.idle_timeout", old.Limits.IdleTimeout, now.Limits.IdleTimeout},
		{"log.format", old.Log.Format, now.Log.Format},
	}
	var out []string
	for _, p := range parts {
		if !reflect.DeepEqual(p.old, p.now) {
			out = append(out, p.key)
		}
	}
	return out
}
