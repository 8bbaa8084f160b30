package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/internal/replication/operate"
)

func enablePrimaryCommand(p Process) *cobra.Command {
	o := newOrder(p, "enable-primary", "Enable replication on a cluster as primary", "The first step: CLUSTER becomes the primary. It serves nothing for a moment.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			return op.Setup(ctx, replication.Goal{Kind: o.kind(), Primary: cluster}, replication.Consent{}, o.reach)
		})
	o.registerAdvertise(o.cmd.Flags())
	return o.cmd
}

func secondaryTokenCommand(p Process) *cobra.Command {
	var id, file string
	var ttl time.Duration
	var show bool
	o := newOrder(p, "secondary-token", "Fetch an activation token for a secondary from the primary CLUSTER",
		"The second step. enable-secondary and setup fetch a token by themselves; this is for a\nsecondary that is enabled by other means. The token is a secret of one use: it is shown only\nwith --show, or written to a new file with --out.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			if id == "" {
				return &exitError{exitUsage, errors.New("--id: how will the primary call this secondary?")}
			}
			a, err := op.SecondaryToken(ctx, o.kind(), cluster, id, ttl)
			if err != nil || o.dryRun {
				return err
			}
			return handOver(p, a, file, show)
		})
	o.quiet = true
	fl := o.cmd.Flags()
	fl.StringVar(&id, "id", "", "name under which the primary will know the secondary")
	fl.DurationVar(&ttl, "ttl", 30*time.Minute, "how long the token is good")
	fl.BoolVar(&show, "show", false, "print the token, and nothing else, to stdout")
	fl.StringVar(&file, "out", "", "write the token to this file, which must not exist")
	return o.cmd
}

// handOver gives the token where it was asked for, and tells the rest.
func handOver(p Process, a operate.Activation, file string, show bool) error {
	where := "not shown (--show or --out FILE would)"
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator's choice
		if err != nil {
			return runtimeFailure(fmt.Errorf("keeping the token: %w", err))
		}
		if _, err := io.WriteString(f, a.Token.Reveal()); err != nil {
			return runtimeFailure(errors.Join(err, f.Close()))
		}
		if err := f.Close(); err != nil {
			return runtimeFailure(fmt.Errorf("keeping the token: %w", err))
		}
		where = "in " + file
	}
	if show {
		where = "on stdout"
		_, _ = fmt.Fprintln(p.Stdout, a.Token.Reveal())
	}
	_, _ = fmt.Fprintf(p.Stderr, "activation token: accessor %s, good for %s and for one use, %s\n", a.Accessor, a.TTL, where)
	return nil
}

func enableSecondaryCommand(p Process) *cobra.Command {
	var primary string
	var stdin bool
	o := newOrder(p, "enable-secondary", "Make CLUSTER a secondary; this REPLACES ALL ITS DATA",
		"The third step: CLUSTER becomes a secondary of --primary. All its data are replaced by those of\nthe primary, with its unseal and recovery keys, and all its tokens end. So its name has to be\ntyped out again with --confirm.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			if primary == "" {
				var err error
				if primary, err = op.PrimaryFor(ctx, o.kind(), cluster); err != nil {
					return err
				}
			}
			var token replication.Secret
			if stdin {
				line, err := readLine(p.Stdin)
				if err != nil {
					return &exitError{exitUsage, fmt.Errorf("reading the activation token from stdin: %w", err)}
				}
				token = replication.NewSecret(line)
			}
			return op.EnableSecondary(ctx, o.kind(), cluster, primary, token, o.consent(), o.reach)
		})
	fl := o.cmd.Flags()
	fl.StringVar(&primary, "primary", "", "the primary (default: the only one there is; for DR, that of dr_of)")
	fl.BoolVar(&stdin, "token-stdin", false, "read the activation token from stdin instead of fetching one from the primary")
	o.registerJoin(fl)
	return o.cmd
}

func setupCommand(p Process) *cobra.Command {
	o := &order{p: p}
	var g replication.Goal
	o.cmd = &cobra.Command{
		Use:   "setup",
		Short: "Do the whole flow for a primary and its secondaries; can be run again after any interruption",
		Long:  "setup enables the primary, and makes each secondary one: it fetches a token, REPLACES ALL DATA of\nthe secondary, and waits until that keeps up. What is done already it skips. Each secondary has to\nbe named again with --confirm. With --mode dr, --primary may be left out where the file has dr_of.",
		Example: "  vrproxy replication setup --primary us-east --secondary us-west --secondary eu-west --confirm us-west --confirm eu-west\n" +
			"  vrproxy replication setup --mode dr --primary us-east --secondary us-east-dr --confirm us-east-dr",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, func(ctx context.Context, op *operate.Operator) error {
				g.Kind = o.kind()
				goal, err := completed(g, op.Clusters())
				if err != nil {
					return err
				}
				return op.Setup(ctx, goal, o.consent(), o.reach)
			})
		},
	}
	o.registerOrder(o.cmd)
	fl := o.cmd.Flags()
	fl.StringVar(&g.Primary, "primary", "", "the primary")
	fl.StringSliceVar(&g.Secondaries, "secondary", nil, "a secondary; may be repeated")
	o.registerJoin(fl)
	o.registerAdvertise(fl)
	return o.cmd
}

// completed takes from dr_of what a goal for DR leaves open.
func completed(g replication.Goal, clusters []operate.Cluster) (replication.Goal, error) {
	if g.Kind == replication.DR && g.Primary == "" && len(g.Secondaries) == 1 {
		i := slices.IndexFunc(clusters, func(c operate.Cluster) bool { return c.Name == g.Secondaries[0] })
		if i >= 0 {
			g.Primary = clusters[i].DROf
		}
	}
	if g.Primary == "" || len(g.Secondaries) == 0 {
		return g, &exitError{exitUsage, errors.New("name the clusters: --primary A --secondary B [--secondary C]")}
	}
	return g, nil
}

func promoteCommand(p Process) *cobra.Command {
	var force bool
	o := newOrder(p, "promote", "Make a secondary the primary", "CLUSTER becomes the primary. The one before has to be demoted, or lost. With --mode dr a DR operation\ntoken is needed (generate-operation-token), from VRPROXY_DR_OPERATION_TOKEN or asked for.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			return op.Promote(ctx, o.kind(), cluster, o.consent(), force, o.reach)
		})
	o.registerConfirm(o.cmd.Flags())
	o.registerAdvertise(o.cmd.Flags())
	o.cmd.Flags().BoolVar(&force, "force", false, "promote also a cluster that is still catching up; what it has not received is lost")
	return o.cmd
}

func demoteCommand(p Process) *cobra.Command {
	o := newOrder(p, "demote", "Make a primary a secondary without a primary", "CLUSTER is no longer primary. It keeps its data and can follow another primary of its set (update-primary).",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			return op.Demote(ctx, o.kind(), cluster, o.consent())
		})
	o.registerConfirm(o.cmd.Flags())
	return o.cmd
}

func disableCommand(p Process) *cobra.Command {
	o := newOrder(p, "disable", "End replication at a cluster", "CLUSTER no longer replicates; its data stay. To join again replaces the data of a secondary.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			return op.Disable(ctx, o.kind(), cluster, o.consent())
		})
	o.registerConfirm(o.cmd.Flags())
	return o.cmd
}

func updatePrimaryCommand(p Process) *cobra.Command {
	var primary string
	o := newOrder(p, "update-primary", "Make a secondary follow another primary of its set", "CLUSTER follows --primary from then on, and keeps its data.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			if primary == "" {
				return &exitError{exitUsage, errors.New("--primary: which cluster should it follow?")}
			}
			return op.UpdatePrimary(ctx, o.kind(), cluster, primary, o.consent(), o.reach)
		})
	o.cmd.Flags().StringVar(&primary, "primary", "", "the new primary")
	o.registerConfirm(o.cmd.Flags())
	o.registerReach(o.cmd.Flags())
	return o.cmd
}

func operationTokenCommand(p Process) *cobra.Command {
	o := newOrder(p, "generate-operation-token", "Make a DR operation token on the DR secondary CLUSTER",
		"The token allows promote, disable and update-primary with --mode dr. It is made of the unseal or\nrecovery keys of the primary, which are asked for, or read from stdin, one a line. The token is\nprinted to stdout, and nothing else; treat it like a root token.",
		func(ctx context.Context, o *order, op *operate.Operator, cluster string) error {
			keys := &asker{ctx: ctx, p: p}
			token, err := op.GenerateOperationToken(ctx, cluster, keys.share)
			if err == nil && !token.Empty() {
				_, err = fmt.Fprintln(p.Stdout, token.Reveal())
			}
			return err
		})
	o.quiet = true
	o.mode = string(replication.DR)
	return o.cmd
}
