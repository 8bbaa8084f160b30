package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/lab"
)

// devFlags are the flags of dev.
type devFlags struct {
	listen, admin, dns, region string
	labPort                    int
	latency                    bool
	vaultBin                   string
	bare                       bool
	seed                       uint64
	logLevel                   string
}

func devCommand(p Process) *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a multi-region Vault laboratory with the proxy in front",
		Long:  "dev runs simulated Vault Enterprise clusters in three regions and a DR copy, and the proxy in front of them, in one process.\nNothing else is needed: no configuration, no network, no Vault. It is a demo and a test bed, never a secrets store.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runDev(cmd.Context(), p, f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8200", "address for applications")
	fl.StringVar(&f.admin, "admin", "127.0.0.1:8210", "address of the admin listener")
	fl.StringVar(&f.dns, "dns", "127.0.0.1:8253", "address of the DNS server; empty: none")
	fl.StringVar(&f.region, "region", "eu-west", "region the proxy runs in")
	fl.IntVar(&f.labPort, "lab-port", 8301, "first of the clusters' ports; 0: any free ports")
	fl.BoolVar(&f.latency, "latency", true, "simulate the round trips between regions")
	fl.StringVar(&f.vaultBin, "vault-bin", "", "run real Vault processes of this binary behind the laboratory's replication")
	fl.BoolVar(&f.bare, "bare", false, "clusters that do not replicate yet, to try vrproxy replication on")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of everything random in the laboratory")
	fl.StringVar(&f.logLevel, "log-level", "warn", "debug, info, warn or error")
	return cmd
}

func runDev(ctx context.Context, p Process, f devFlags) error {
	level := zap.NewAtomicLevel()
	logger := newLogger(p.Stderr, configs.Log{Level: configs.LogLevel(f.logLevel), Format: configs.LogConsole}, level)
	l, err := lab.New(lab.Config{Clusters: lab.DefaultClusters(), Region: f.region, Latency: f.latency, BasePort: f.labPort, Seed: f.seed, Logger: logger, VaultBin: f.vaultBin, Bare: f.bare})
	if err != nil {
		return runtimeFailure(fmt.Errorf("starting the laboratory: %w", err))
	}
	clusters := newRunner()
	clusters.run(l.Run)
	cfg, err := devConfig(f, l)
	if err != nil {
		return stopLab(ctx, err, clusters)
	}
	d := daemonRun{p: p, quit: make(chan struct{}, 1), lab: l, started: func(a *App) { screen(p.Stdout, f, l, a) }}
	return stopLab(ctx, d.run(ctx, Options{Config: cfg, Logger: logger, Level: level}), clusters)
}

// stopLab ends the laboratory; the first error keeps its exit code.
func stopLab(ctx context.Context, err error, clusters *runner) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if stopped := clusters.stop(ctx); err == nil && stopped != nil {
		return runtimeFailure(stopped)
	}
	return err
}

// devConfig writes the configuration a user would write for these clusters, and
// reads it the way a user's file is read.
func devConfig(f devFlags, l *lab.Lab) (*configs.Config, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "region: %s\nlisteners: [{address: %q}]\nadmin: {address: %q}\n", f.region, f.listen, f.admin)
	fmt.Fprintf(&b, "log: {level: %s, format: console}\nhealth: {interval: 1s, timeout: 500ms}\nshutdown: {drain_timeout: 2s}\n", f.logLevel)
	if f.dns != "" {
		fmt.Fprintf(&b, "dns: {address: %q, zone: vault.internal.}\n", f.dns)
	}
	b.WriteString("clusters:\n")
	for _, c := range lab.DefaultClusters() {
		fmt.Fprintf(&b, "  - {name: %s, region: %s, addresses: [%q]", c.Name, c.Region, l.Cluster(c.Name).Address())
		if c.DROf != "" {
			fmt.Fprintf(&b, ", dr_of: %s", c.DROf)
		}
		b.WriteString("}\n")
	}
	cfg, err := configs.Parse("dev", []byte(b.String()), func(string) string { return "" })
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("these flags make no valid configuration:\n%w", err)}
	}
	return cfg, nil
}

// screen is the one screen that tells a person what runs and what to type next.
func screen(w io.Writer, f devFlags, l *lab.Lab, a *App) {
	var b strings.Builder
	b.WriteString("\nvrproxy dev: a Vault laboratory in this process. A demo and a test bed, never a secrets store.\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  CLUSTER\tREGION\tROLE\tADDRESS\tROUND TRIP")
	for _, c := range l.Clusters() {
		rtt := "-"
		if f.latency {
			rtt = c.RTT().Round(time.Millisecond).String()
		}
		here := ""
		if c.Region() == f.region {
			here = "  <- this proxy's region"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s%s\n", c.Name(), c.Region(), c.Role(), c.Address(), rtt, here)
	}
	_ = t.Flush() // a strings.Builder does not fail
	address, adminURL := "http://"+a.Addresses()[0], "http://"+a.AdminAddress()
	fmt.Fprintf(&b, "\n  export VAULT_ADDR=%s\n  export VAULT_TOKEN=%s          # or userpass demo/demo, AppRole demo/demo\n", address, lab.RootToken)
	if f.bare {
		bareScreen(&b, address, adminURL, l)
		_, _ = io.WriteString(w, b.String())
		return
	}
	fmt.Fprintf(&b, "\nTry:\n  curl -si -H \"X-Vault-Token: $VAULT_TOKEN\" $VAULT_ADDR/v1/secret/data/hello | grep -i -e x-vrproxy -e greeting\n")
	try := "vault read database/creds/readonly"
	if f.vaultBin != "" {
		try = "vault kv get secret/hello" // real Vaults have no imaginary database
	}
	fmt.Fprintf(&b, "  vault login -method=userpass username=demo password=demo && %s\n", try)
	fmt.Fprintf(&b, "  curl -X POST %s/lab/%s/kill      # then read again: same command, same token\n", adminURL, nearestName(a))
	fmt.Fprintf(&b, "\nWatch:  %s/ui\n", adminURL)
	if dns := a.DNSAddress(); dns != "" {
		host, port, _ := net.SplitHostPort(dns)
		fmt.Fprintf(&b, "DNS:    dig @%s -p %s vault.internal\n", host, port)
	}
	b.WriteString("Stop:   Ctrl-C\n\n")
	_, _ = io.WriteString(w, b.String())
}

// bareScreen tells how to make the clusters replicate.
func bareScreen(b *strings.Builder, address, adminURL string, l *lab.Lab) {
	fmt.Fprintf(b, "  export VRPROXY_ADMIN_ADDR=%s     # where vrproxy replication finds the clusters\n", adminURL)
	b.WriteString("\nThese clusters do not replicate yet. See, plan, and do it:\n" +
		"  vrproxy replication status\n" +
		"  vrproxy replication setup --primary us-east --secondary us-west --secondary eu-west --dry-run\n" +
		"  vrproxy replication setup --primary us-east --secondary us-west --secondary eu-west --confirm us-west --confirm eu-west\n" +
		"  vrproxy replication setup --mode dr --primary us-east --secondary us-east-dr --confirm us-east-dr\n" +
		"  vrproxy replication status --watch\n")
	fmt.Fprintf(b, "\nThen use them through the proxy:\n  VAULT_ADDR=%s vault login -method=userpass username=demo password=demo\n", address)
	b.WriteString("\nUnseal keys (a secondary takes its primary's):\n")
	for _, c := range l.Clusters() {
		fmt.Fprintf(b, "  %-12s %s\n", c.Name(), c.UnsealKey())
	}
	fmt.Fprintf(b, "\nWatch:  %s/ui\nStop:   Ctrl-C\n\n", adminURL)
}

// nearestName is the cluster that serves reads now.
func nearestName(a *App) string {
	now := a.cores.p.Load()
	for _, c := range now.planner.Nearest(now.checker.Topology()) {
		return c.Name
	}
	return "CLUSTER"
}
