package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/admin"
	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/internal/replication/operate"
	"github.com/vrproxy/vrproxy/internal/upstream"
)

const (
	exitWrong = 3 // replication status: something is wrong

	orderWithin = time.Minute            // the longest that Vault may take for one order
	lookEvery   = 500 * time.Millisecond // at a cluster that is waited for
)

// replicationFlags are the flags that the replication commands share.
type replicationFlags struct {
	adminFlags
	mode    string
	confirm []string
	lossy   bool
	dryRun  bool
	wait    time.Duration
	quiet   bool // stdout is for a secret
	reach   operate.Reach
}

func replicationCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replication",
		Short: "Set up and watch Vault's performance and DR replication",
		Long: "replication sets up, changes and watches the replication of Vault Enterprise between the\nconfigured clusters. It finds them in the file (-c or VRPROXY_CONFIG), else it asks the\nrunning proxy (--admin or VRPROXY_ADMIN_ADDR).\n\n" +
			"Vault tokens come from VRPROXY_TOKEN_<CLUSTER> (us-east: VRPROXY_TOKEN_US_EAST), else from\nVAULT_TOKEN, else they are asked for on a terminal. status needs none.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(replicationStatusCommand(p), enablePrimaryCommand(p), secondaryTokenCommand(p), enableSecondaryCommand(p),
		setupCommand(p), promoteCommand(p), demoteCommand(p), disableCommand(p), updatePrimaryCommand(p), operationTokenCommand(p))
	return cmd
}

// order is one command that changes something: flags are registered by what it needs.
type order struct {
	replicationFlags
	p   Process
	cmd *cobra.Command
}

// newOrder makes a command for one cluster, named by its argument.
func newOrder(p Process, name, short, long string, run func(ctx context.Context, o *order, op *operate.Operator, cluster string) error) *order {
	o := &order{p: p}
	o.cmd = &cobra.Command{
		Use: name + " CLUSTER", Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, func(ctx context.Context, op *operate.Operator) error { return run(ctx, o, op, args[0]) })
		},
	}
	o.registerOrder(o.cmd)
	return o
}

func (f *replicationFlags) registerOrder(cmd *cobra.Command) {
	f.fileFlags.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.admin, "admin", "", "address of a running proxy's admin listener, to ask for the clusters (or VRPROXY_ADMIN_ADDR)")
	fl.StringVar(&f.mode, "mode", string(replication.Performance), "performance or dr")
	fl.BoolVar(&f.dryRun, "dry-run", false, "print the plan, change nothing")
	fl.DurationVar(&f.wait, "wait", 30*time.Minute, "the longest wait for one cluster")
}

func (f *replicationFlags) registerConfirm(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.confirm, "confirm", nil, "name of the cluster, typed out; without it nothing is changed")
}

func (f *replicationFlags) registerJoin(fl *pflag.FlagSet) {
	f.registerConfirm(fl)
	fl.BoolVar(&f.lossy, "i-know-what-is-lost", false, "replace also the data of a cluster that looks more used than the primary")
	f.registerReach(fl)
}

func (f *replicationFlags) registerReach(fl *pflag.FlagSet) {
	fl.StringVar(&f.reach.APIAddr, "primary-api-addr", "", "where the secondary finds the primary's API, if not at the address in the token")
	fl.StringVar(&f.reach.CAFile, "ca-file", "", "file on the secondary's servers with the CA of the primary's API")
}

func (f *replicationFlags) registerAdvertise(fl *pflag.FlagSet) {
	fl.StringVar(&f.reach.ClusterAddr, "primary-cluster-addr", "", "cluster address that the primary gives to its secondaries")
}

func (f *replicationFlags) kind() replication.Kind { return replication.Kind(f.mode) }

func (f *replicationFlags) consent() replication.Consent {
	return replication.Consent{Confirmed: f.confirm, KnowsLoss: f.lossy}
}

// run carries out an order, and says how to go on when it is interrupted.
func (o *order) run(cmd *cobra.Command, do func(context.Context, *operate.Operator) error) error {
	if k := o.kind(); k != replication.Performance && k != replication.DR {
		return &exitError{exitUsage, fmt.Errorf("--mode %s: want performance or dr", o.mode)}
	}
	ctx, ended := untilSignal(cmd.Context(), o.p.Signals)
	op, err := o.operator(ctx, o.p)
	if err == nil {
		err = do(ctx, op)
	}
	if sig := ended(); sig != nil && err != nil {
		code := exitInterrupt
		if sig == syscall.SIGTERM {
			code = exitTerminated
		}
		return &exitError{code, fmt.Errorf("interrupted. What was ordered before goes on at the clusters; nothing else was ordered.\nState: vrproxy replication status\nNext: %s", commandLine(cmd))}
	}
	return judged(err)
}

// judged gives an error its exit code.
func judged(err error) error {
	var exit *exitError
	var refusal *replication.Refusal
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case errors.As(err, &refusal) && refusal.Usage:
		return &exitError{exitUsage, err}
	default:
		return runtimeFailure(err)
	}
}

// commandLine is the command as it was given. No flag carries a secret.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		words = append(words, "--"+f.Name+"="+value)
	})
	return strings.Join(append(words, cmd.Flags().Args()...), " ")
}

// untilSignal gives a context that ends with a signal, and a function that ends the
// listening and tells the signal.
func untilSignal(ctx context.Context, signals <-chan os.Signal) (context.Context, func() os.Signal) {
	ctx, cancel := context.WithCancel(ctx)
	got, done := make(chan os.Signal, 1), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				if s == syscall.SIGHUP {
					continue
				}
				got <- s
				cancel()
				return
			}
		}
	}()
	return ctx, func() os.Signal {
		cancel()
		<-done
		select {
		case s := <-got:
			return s
		default:
			return nil
		}
	}
}

// operator makes the one who gives the orders.
func (f *replicationFlags) operator(ctx context.Context, p Process) (*operate.Operator, error) {
	clusters, connections, err := f.clusters(ctx, p)
	if err != nil {
		return nil, err
	}
	ask := &asker{ctx: ctx, p: p, given: map[string]replication.Secret{}}
	return operate.New(operate.Config{
		Vaults:   upstream.New(upstream.Config{Clusters: connections, CallTimeout: orderWithin}),
		Clusters: clusters, Out: newProgress(p, f.quiet), DryRun: f.dryRun, Poll: lookEvery, Within: f.wait,
		Token: ask.token, OperationToken: ask.operationToken,
	}), nil
}

// clusters are those of the file, else those of the running proxy.
func (f *replicationFlags) clusters(ctx context.Context, p Process) ([]operate.Cluster, []upstream.Cluster, error) {
	if f.hasFile(p) {
		cfg, err := f.load(p)
		if err != nil {
			return nil, nil, err
		}
		connections, err := upstreamClusters(cfg)
		if err != nil {
			return nil, nil, &exitError{exitUsage, err}
		}
		clusters, err := operated(cfg, func(cluster, address string) ([]string, error) {
			return nil, &exitError{exitUsage, fmt.Errorf("cluster %s: the nodes behind %s are known to a running proxy only; leave out -c and name that one with --admin", cluster, address)}
		})
		return clusters, connections, err
	}
	api, err := f.find(p)
	if err != nil {
		return nil, nil, err
	}
	var s admin.Status
	if err := api.get(ctx, "/status", &s); err != nil {
		return nil, nil, &exitError{exitUsage, fmt.Errorf("no configuration: give a file with -c FILE or VRPROXY_CONFIG, or the address of a running proxy with --admin (%w)", err)}
	}
	var out []operate.Cluster
	var connections []upstream.Cluster
	for _, c := range s.Clusters {
		o := operate.Cluster{Name: c.Name, Region: c.Region, DROf: c.DROf}
		for _, n := range c.Nodes {
			o.Addresses = append(o.Addresses, n.Address)
		}
		out, connections = append(out, o), append(connections, upstream.Cluster{Name: c.Name})
	}
	return out, connections, nil
}

// operated translates the clusters; discover tells the nodes behind SRV records.
func operated(cfg *configs.Config, discover func(cluster, address string) ([]string, error)) ([]operate.Cluster, error) {
	var out []operate.Cluster
	for _, c := range cfg.Clusters {
		o := operate.Cluster{Name: c.Name, Region: c.Region, DROf: c.DROf}
		for _, address := range c.Addresses {
			if !strings.HasPrefix(address, "srv+") {
				o.Addresses = append(o.Addresses, address)
				continue
			}
			nodes, err := discover(c.Name, address)
			if err != nil {
				return nil, err
			}
			o.Addresses = append(o.Addresses, nodes...)
		}
		out = append(out, o)
	}
	return out, nil
}
