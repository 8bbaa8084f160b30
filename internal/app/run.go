package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/admin"
)

// stopWithin bounds a stop beyond the configured drain times.
const stopWithin = 15 * time.Second

// fileFlags are the flags of every command that reads a configuration.
type fileFlags struct {
	file, region, level string
}

func (f *fileFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (or VRPROXY_CONFIG)")
	cmd.Flags().StringVar(&f.region, "region", "", "where this proxy runs; overrides region and VRPROXY_REGION")
	cmd.Flags().StringVar(&f.level, "log-level", "", "debug, info, warn or error; overrides log.level and VRPROXY_LOG_LEVEL")
}

// load reads the file and prints what is wrong with it.
func (f *fileFlags) load(p Process) (*configs.Config, error) {
	cfg, err := f.read(p)
	var problems *configs.Problems
	if errors.As(err, &problems) {
		_, _ = fmt.Fprintln(p.Stderr, problems)
		return nil, &exitError{code: exitUsage}
	}
	return cfg, err
}

// name is the file named by flag or environment.
func (f *fileFlags) name(p Process) string {
	if f.file != "" {
		return f.file
	}
	return p.Getenv("VRPROXY_CONFIG")
}

func (f *fileFlags) hasFile(p Process) bool { return f.name(p) != "" }

// read reads the file; flags override the environment, which overrides the file.
func (f *fileFlags) read(p Process) (*configs.Config, error) {
	file := f.name(p)
	if file == "" {
		return nil, &exitError{exitUsage, errors.New("no configuration: give a file with -c FILE or VRPROXY_CONFIG, or try \"vrproxy dev\", which needs none")}
	}
	env := func(name string) string {
		switch {
		case name == "VRPROXY_REGION" && f.region != "":
			return f.region
		case name == "VRPROXY_LOG_LEVEL" && f.level != "":
			return f.level
		}
		return p.Getenv(name)
	}
	return configs.Load(file, env)
}

func runCommand(p Process) *cobra.Command {
	var flags fileFlags
	var watch bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy until SIGTERM or SIGINT; SIGHUP reloads the file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load(p)
			if err != nil {
				return err
			}
			level := zap.NewAtomicLevel()
			reload := func() (*configs.Config, error) { return flags.read(p) }
			d := daemonRun{p: p, reload: reload, quit: make(chan struct{}, 1)}
			if watch {
				changes, stop, err := watchFile(cfg.File())
				if err != nil {
					return runtimeFailure(err)
				}
				defer stop()
				d.changes = changes
			}
			return d.run(cmd.Context(), Options{Config: cfg, Logger: newLogger(p.Stderr, cfg.Log, level), Level: level, Files: p.Files})
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "reload when the configuration file changes")
	return cmd
}

// daemonRun is the life of the process around an App.
type daemonRun struct {
	p       Process
	reload  func() (*configs.Config, error) // nil: nothing to reload
	changes <-chan struct{}                 // the file changed; may be nil
	quit    chan struct{}
	lab     admin.Lab
	started func(*App) // called when ready; may be nil
}

// run builds, starts and supervises an App until a signal.
func (d *daemonRun) run(ctx context.Context, o Options) error {
	o.Lab = d.lab
	o.OnQuit = func() {
		select {
		case d.quit <- struct{}{}:
		default:
		}
	}
	if err := checkFiles(o.Config, true, d.p.Stderr); err != nil {
		return err
	}
	keepMemory()
	boundMemory(o.Logger)
	a, err := New(ctx, o)
	if err != nil {
		return runtimeFailure(err)
	}
	if err := d.start(ctx, a); err != nil {
		return errors.Join(err, d.stop(ctx, a))
	}
	notify(daemon.SdNotifyReady)
	if d.started != nil {
		d.started(a)
	}
	d.supervise(ctx, a)
	notify(daemon.SdNotifyStopping)
	if err := d.stop(ctx, a); err != nil {
		return runtimeFailure(err)
	}
	return nil
}

// start waits until the App is ready, or a signal ends the wait.
func (d *daemonRun) start(ctx context.Context, a *App) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Start(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				return runtimeFailure(err)
			}
			return nil
		case s := <-d.p.Signals:
			if s == syscall.SIGHUP || slices.Contains(dumpSignals(), s) {
				continue // the file was read a moment ago, and nothing was decided yet
			}
			cancel()
			<-done //nolint:errcheck // it is the cancelled context
			return &exitError{code: signalCode(s)}
		}
	}
}

func signalCode(s os.Signal) int {
	if s == syscall.SIGINT {
		return exitInterrupt
	}
	return exitTerminated
}

func (d *daemonRun) supervise(ctx context.Context, a *App) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.quit:
			return
		case <-d.changes:
			d.reloadInto(ctx, a)
		case s := <-d.p.Signals:
			switch {
			case slices.Contains(dumpSignals(), s):
				a.DumpDecisions()
			case s == syscall.SIGHUP:
				d.reloadInto(ctx, a)
			default:
				return
			}
		}
	}
}

func (d *daemonRun) reloadInto(ctx context.Context, a *App) {
	if d.reload == nil {
		return
	}
	notify(daemon.SdNotifyReloading)
	defer notify(daemon.SdNotifyReady)
	cfg, err := d.reload()
	if err == nil {
		err = a.Reload(ctx, cfg)
	} else {
		a.reloads.WithLabelValues("error").Inc()
	}
	if err != nil {
		a.opts.Logger.Error("reload failed; the old configuration stays in use", zap.Error(err))
	}
}

// stop runs also when ctx has ended: that is one of the reasons to stop.
func (d *daemonRun) stop(ctx context.Context, a *App) error {
	cfg := a.opts.Config.Shutdown
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainDelay+cfg.DrainTimeout+stopWithin)
	defer cancel()
	return a.Stop(ctx)
}

// notify tells systemd, where there is one.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
