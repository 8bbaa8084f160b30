package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/explain"
	"github.com/vrproxy/vrproxy/routing"
)

// explain says where a request would go now. It knows no client.
func (a *App) explain(method, path, namespace string) (any, error) {
	now := a.cores.p.Load()
	e := explain.Explainer{
		Router: now.router, Table: a.shared.mounts.Table(), Planner: now.planner, Topology: now.checker.Topology(),
		Token: a.tokenKind,
	}
	req := explain.Request(method, path)
	req.Namespace = namespace
	return e.Explain(req, "")
}

// tokenKind says which token a request would carry at a home: by its kind, and by the
// first characters of the accessor where the proxy may lend its own.
func (a *App) tokenKind(home string, _ routing.Decision) string {
	const client = "the client's session token for this cluster"
	id := a.shared.tokens.Identity()
	if id == nil {
		return client
	}
	own := "the proxy's own (" + string(a.opts.Config.Identity.Method) + ", not logged in here yet)"
	if accessor := id.Accessor(home); accessor != "" {
		own = fmt.Sprintf("the proxy's own (%s, accessor %s...)", a.opts.Config.Identity.Method, accessor[:min(len(accessor), 6)])
	}
	switch a.opts.Config.Identity.Use {
	case configs.UseForce:
		return own
	case configs.UseNever:
		return client
	}
	return client + "; without one, " + own
}

// explainFlags are the flags of explain.
type explainFlags struct {
	adminFlags
	namespace, mounts, auditLog string
	logRegion, primaryRegion    string
	clients                     []string
	batch, offline              bool
}

func explainCommand(p Process) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [METHOD PATH]",
		Short: "Say where a request would go, and why",
		Long: "explain says where a request would go, and why. Nothing is sent to Vault.\n\n" +
			"It asks the running proxy (--admin, VRPROXY_ADMIN_ADDR, or that of the file), which\nknows the mounts, roles and round trips. Where none answers, a configuration is enough\nfor the class and the order by region.",
		Example: "  vrproxy explain GET /v1/secret/data/app\n" +
			"  vrproxy explain -c vrproxy.yaml --offline POST /v1/transit/encrypt/key\n" +
			"  vault read -format=json sys/internal/ui/mounts > mounts.json\n" +
			"  printf 'GET\\t/v1/secret/data/app\\n' | vrproxy explain --mounts mounts.json --batch\n" +
			"  vrproxy explain --audit-log audit.json --log-region us-east --clients 10.2.0.0/16=eu-west",
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), p, args) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.namespace, "namespace", "", "as X-Vault-Namespace would say")
	fl.BoolVar(&f.offline, "offline", false, "ask no running proxy")
	fl.StringVar(&f.mounts, "mounts", "", "file with the data of sys/internal/ui/mounts; implies --offline")
	fl.BoolVar(&f.batch, "batch", false, "read METHOD<TAB>/v1/PATH[<TAB>Header: value]... lines from stdin, offline")
	fl.StringVar(&f.auditLog, "audit-log", "", "count the requests of a Vault JSON audit log, offline (-: stdin)")
	fl.StringVar(&f.logRegion, "log-region", "", "with --audit-log: region of the cluster that wrote the log")
	fl.StringVar(&f.primaryRegion, "primary-region", "", "with --audit-log: region of the primary (default: --log-region)")
	fl.StringSliceVar(&f.clients, "clients", nil, "with --audit-log: where clients are, CIDR=REGION; may be repeated")
	return cmd
}

func (f *explainFlags) run(ctx context.Context, p Process, args []string) error {
	if err := f.check(args); err != nil {
		return &exitError{exitUsage, err}
	}
	switch {
	case f.batch:
		return f.runBatch(p)
	case f.auditLog != "":
		return f.runAudit(p)
	}
	method, path := strings.ToUpper(args[0]), args[1]
	if !strings.HasPrefix(path, "/") { // as the vault command writes paths
		path = "/v1/" + path
	}
	answer, err := f.answer(ctx, p, method, path)
	if err != nil {
		return err
	}
	if f.output == "json" {
		return printJSON(p.Stdout, answer)
	}
	return answer.Text(p.Stdout, method, path)
}

// check finds flags that do not go together.
func (f *explainFlags) check(args []string) error {
	lists := f.batch || f.auditLog != ""
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{f.wrongOutput(), "-o " + f.output + ": want text or json"},
		{f.batch && f.auditLog != "", "--batch and --audit-log are two ways to give requests; use one"},
		{lists && len(args) > 0, "a request beside --batch or --audit-log; use one"},
		{!lists && len(args) != 2, "want METHOD and PATH, as in: vrproxy explain GET /v1/secret/data/app (or --batch, or --audit-log FILE)"},
		{f.auditLog == "" && f.logRegion+f.primaryRegion+strings.Join(f.clients, "") != "", "--log-region, --primary-region and --clients go with --audit-log"},
		{len(f.clients) > 0 && f.logRegion == "", "--clients needs --log-region: without it nobody knows what crosses regions"},
	} {
		if c.wrong {
			return errors.New(c.text)
		}
	}
	return nil
}

// answer asks the running proxy where there is one, else the file.
func (f *explainFlags) answer(ctx context.Context, p Process, method, path string) (explain.Answer, error) {
	if f.offline || f.mounts != "" {
		return f.ownAnswer(p, method, path)
	}
	api, err := f.find(p)
	if err != nil {
		return explain.Answer{}, err
	}
	query := url.Values{"method": {method}, "path": {path}, "namespace": {f.namespace}}
	var answer explain.Answer
	err = api.get(ctx, "/explain?"+query.Encode(), &answer)
	var refused *adminError
	switch {
	case errors.As(err, &refused):
		return answer, &exitError{exitUsage, err}
	case err != nil && api.named:
		return answer, runtimeFailure(err)
	case err != nil && f.hasFile(p):
		return f.ownAnswer(p, method, path)
	case err != nil:
		return answer, runtimeFailure(fmt.Errorf("%w\nstart it, name it with --admin, or give a configuration with -c for an answer without it", err))
	}
	return answer, nil
}

func (f *explainFlags) ownAnswer(p Process, method, path string) (explain.Answer, error) {
	e, err := f.offlineExplainer(p)
	if err != nil {
		return explain.Answer{}, err
	}
	req := explain.Request(method, path)
	req.Namespace = f.namespace
	answer, err := e.Explain(req, "")
	if err != nil {
		return answer, &exitError{exitUsage, err}
	}
	return answer, nil
}

// offlineExplainer is made of what files say: rules and clusters of the
// configuration, if there is one, and mounts, if they are given.
func (f *explainFlags) offlineExplainer(p Process) (explain.Explainer, error) {
	e := explain.Explainer{Router: routing.New(nil), Table: &routing.Table{}, Offline: true}
	if f.hasFile(p) {
		cfg, err := f.load(p)
		if err != nil {
			return e, err
		}
		e.Router, e.Planner, e.Topology = routing.New(rules(cfg)), routing.NewPlanner(preferences(cfg)), paperTopology(cfg)
	}
	if f.mounts == "" {
		return e, nil
	}
	raw, err := os.ReadFile(f.mounts)
	if err != nil {
		return e, &exitError{exitUsage, fmt.Errorf("reading mounts: %w", err)}
	}
	if e.Table, err = explain.Mounts(raw); err != nil {
		return e, &exitError{exitUsage, fmt.Errorf("%s: %w", f.mounts, err)}
	}
	return e, nil
}

// paperTopology is what a configuration says of the clusters: everything usable, and
// roles only where they are pinned.
func paperTopology(cfg *configs.Config) *health.Topology {
	t := &health.Topology{Region: cfg.Region}
	for i, c := range cfg.Clusters {
		cluster := health.Cluster{Name: c.Name, Region: c.Region, DROf: c.DROf, Order: i, State: health.StateHealthy, Role: health.Role(c.Role), Lag: -1}
		switch {
		case c.DROf != "" && c.Role == "":
			cluster.Role = health.RoleDR
		case c.Role == "":
			cluster.Role = health.RoleUnknown
		case cluster.Role == health.RolePrimary:
			t.Primary = c.Name
		}
		t.Clusters = append(t.Clusters, cluster)
	}
	return t
}

func (f *explainFlags) runBatch(p Process) error {
	e, err := f.offlineExplainer(p)
	if err != nil {
		return err
	}
	switch err := e.Batch(p.Stdin, p.Stdout); {
	case errors.Is(err, explain.ErrMalformed):
		return &exitError{exitUsage, err}
	case err != nil:
		return runtimeFailure(err)
	}
	return nil
}

func (f *explainFlags) runAudit(p Process) error {
	e, err := f.offlineExplainer(p)
	if err != nil {
		return err
	}
	cfg := explain.AuditConfig{LogRegion: f.logRegion, Primary: f.primaryRegion}
	if cfg.Networks, err = networks(f.clients); err != nil {
		return &exitError{exitUsage, err}
	}
	in := p.Stdin
	if f.auditLog != "-" {
		file, err := os.Open(f.auditLog)
		if err != nil {
			return &exitError{exitUsage, fmt.Errorf("reading the audit log: %w", err)}
		}
		defer file.Close()
		in = file
	}
	totals, err := e.Audit(in, cfg)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("%s: %w", f.auditLog, err)}
	}
	if f.output == "json" {
		return printJSON(p.Stdout, totals)
	}
	return totals.Text(p.Stdout)
}

// networks reads CIDR=REGION; the most specific come first.
func networks(flags []string) ([]explain.Network, error) {
	var out []explain.Network
	for _, flag := range flags {
		cidr, region, ok := strings.Cut(flag, "=")
		prefix, err := netip.ParsePrefix(cidr)
		if !ok || region == "" || err != nil {
			return nil, fmt.Errorf("--clients %s: want CIDR=REGION, as in 10.2.0.0/16=eu-west", flag)
		}
		out = append(out, explain.Network{Prefix: prefix, Region: region})
	}
	slices.SortStableFunc(out, func(a, b explain.Network) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return out, nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
