package app

import (
	"context"
	"errors"
	"reflect"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
)

// Reload puts a new configuration to use without dropping a connection: clusters,
// routing, health, dns and log level change at once; everything else keeps its old value
// until a restart, and a log line says so. An error leaves the old one in use.
func (a *App) Reload(ctx context.Context, cfg *configs.Config) error {
	next, err := newCore(cfg, a.shared)
	if err != nil {
		a.reloads.WithLabelValues("error").Inc()
		return err
	}
	oldDNS, err := a.reloadDNS(cfg.DNS)
	if err != nil {
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
	setLevel(a.opts.Level, cfg.Log.Level)
	if kept := needRestart(a.opts.Config, cfg); len(kept) > 0 {
		a.opts.Logger.Warn("changed keys that take effect at the next restart only", zap.Strings("keys", kept))
	}
	a.reloads.WithLabelValues("ok").Inc()
	a.opts.Logger.Info("configuration reloaded")
	return nil
}

// needRestart names the changed parts that a reload does not replace.
func needRestart(old, now *configs.Config) []string {
	parts := []struct {
		key      string
		old, now any
	}{
		{"listeners", old.Listeners, now.Listeners},
		{"identity", old.Identity, now.Identity},
		{"sessions", old.Sessions, now.Sessions},
		{"admin", old.Admin, now.Admin},
		{"shutdown", old.Shutdown, now.Shutdown},
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
