package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/internal/replication/operate"
	"github.com/vrproxy/vrproxy/internal/upstream"
	"github.com/vrproxy/vrproxy/tokencache"
)

// loginWithin bounds one login of check --connect.
const loginWithin = 10 * time.Second

func checkCommand(p Process) *cobra.Command {
	var flags fileFlags
	var connect bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration; print every problem as FILE:LINE: message",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load(p)
			if err != nil {
				return err
			}
			if err := checkFiles(cfg, connect, p.Stderr); err != nil {
				return err
			}
			if connect {
				return checkConnect(cmd.Context(), cfg, p.Stdout)
			}
			_, err = fmt.Fprintf(p.Stdout, "%s: ok\n", cfg.File())
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&connect, "connect", false, "also probe the clusters and log in")
	return cmd
}

// checkFiles reports every certificate file that cannot be used. One that is not
// there may well be where the proxy will run, so it is a warning unless the clusters
// are to be connected to from here.
func checkFiles(cfg *configs.Config, needed bool, out io.Writer) error {
	bad := false
	for _, f := range certificateFiles(cfg) {
		err := f.open()
		if err == nil {
			continue
		}
		missing := errors.Is(err, fs.ErrNotExist) && !needed
		message := err.Error()
		if missing {
			message = "warning: " + message
		}
		_, _ = fmt.Fprintln(out, cfg.Problem(f.key, message))
		bad = bad || !missing
	}
	if bad {
		return &exitError{code: exitUsage}
	}
	return nil
}

// certificateFile is one TLS block of the configuration, by its key.
type certificateFile struct {
	key  string
	open func() error
}

func certificateFiles(cfg *configs.Config) []certificateFile {
	var out []certificateFile
	for i, c := range cfg.Clusters {
		out = append(out, certificateFile{fmt.Sprintf("clusters[%d].tls", i), func() error { _, err := clientTLS(c.TLS); return err }})
	}
	server := func(key string, t *configs.ServerTLS) {
		if t != nil {
			out = append(out, certificateFile{key, func() error { _, err := serverTLS(t); return err }})
		}
	}
	for i, l := range cfg.Listeners {
		server(fmt.Sprintf("listeners[%d].tls", i), l.TLS)
	}
	server("admin.tls", cfg.Admin.TLS)
	if t := cfg.Tracing; t != nil {
		out = append(out, certificateFile{"tracing.tls", func() error { _, err := clientTLS(t.TLS); return err }})
	}
	return out
}

// checkConnect probes every cluster once and logs in where an identity is
// configured. It fails when anything did not work.
func checkConnect(ctx context.Context, cfg *configs.Config, out io.Writer) error {
	var cores current
	logger := zap.NewNop()
	tokens, err := tokencache.New(tokencache.Config{Vault: &cores, Identity: identity(cfg, cores.homes), LoginTimeout: loginWithin, Logger: logger})
	if err != nil {
		return runtimeFailure(err)
	}
	c, err := newCore(cfg, shared{logger: logger, tokens: tokens, tell: func(string, error) {}})
	if err != nil {
		return runtimeFailure(err)
	}
	cores.p.Store(c)
	c.start(ctx)
	bad := 0
	t := c.checker.Topology()
	for i := range t.Clusters {
		cl := &t.Clusters[i]
		wrapped := cfg.Identity != nil && cfg.Identity.For(cl.Name).Options.SecretIDWrapped
		if !report(ctx, out, cl, tokens.Identity(), wrapped) {
			bad++
		}
	}
	checkDrift(ctx, cfg, c.pool, out)
	if err := c.stop(ctx); err != nil {
		return runtimeFailure(err)
	}
	if bad > 0 {
		return runtimeFailure(fmt.Errorf("%d of %d clusters did not pass", bad, len(t.Clusters)))
	}
	return nil
}

// checkDrift tells where the clusters' replication is not what the configuration says. It
// is a warning: the proxy serves, and what to change is the operator's to decide.
func checkDrift(ctx context.Context, cfg *configs.Config, pool *upstream.Pool, out io.Writer) {
	clusters, err := operated(cfg, func(cluster, address string) ([]string, error) { return pool.Resolve(ctx, cluster, address) })
	if err != nil {
		return // the report says that the cluster has no nodes
	}
	op := operate.New(operate.Config{Vaults: pool, Clusters: clusters})
	for _, p := range replication.Look(op.Facts(ctx)).Problems {
		if p.Drift {
			_, _ = fmt.Fprintln(out, "warning: "+p.String())
		}
	}
}

func report(ctx context.Context, out io.Writer, c *health.Cluster, id *tokencache.Session, wrapped bool) bool {
	state := string(c.State)
	if c.Reason != "" {
		state += " (" + c.Reason + ")"
	}
	login, ok := "no identity configured", c.State == health.StateHealthy
	switch {
	case id == nil:
	case !c.Usable():
		login = "not tried"
	case wrapped:
		login = "login not tried: it would use up the wrapping token"
	default:
		login = "login ok"
		if _, err := id.Token(ctx, c.Home()); err != nil {
			login, ok = err.Error(), false
		}
	}
	_, _ = fmt.Fprintf(out, "%-16s %-12s %-10s %8s  %s; %s\n", c.Name, c.Region, c.Role, c.RTT.Round(100*time.Microsecond), state, login)
	return ok
}
