package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/internal/replication/operate"
)

// replicationStatus are the flags of replication status.
type replicationStatus struct {
	replicationFlags
	watch bool
	every time.Duration
}

func replicationStatusCommand(p Process) *cobra.Command {
	f := replicationStatus{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the replication of all configured clusters; exit 3 when something is wrong",
		Long:  "status asks all configured clusters for their replication, and says what is wrong with it. It\nneeds no token. Exit code 3 means that something is wrong, and the reason is printed.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), p) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.mode, "mode", "", "only performance, or only dr")
	fl.BoolVar(&f.watch, "watch", false, "show it again and again, until interrupted")
	fl.DurationVar(&f.every, "every", 2*time.Second, "with --watch: how often")
	return cmd
}

func (f *replicationStatus) run(ctx context.Context, p Process) error {
	if err := f.valid(); err != nil {
		return err
	}
	op, err := f.operator(ctx, p)
	if err != nil {
		return err
	}
	if !f.watch {
		wrong, err := f.show(ctx, p.Stdout, op)
		if err == nil && wrong {
			return &exitError{code: exitWrong}
		}
		return err
	}
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	for {
		if terminal(p.Stdout) {
			_, _ = io.WriteString(p.Stdout, "\x1b[H\x1b[2J") // the next write tells
		}
		if _, err := f.show(ctx, p.Stdout, op); err != nil {
			return err
		}
		select {
		case <-p.Signals:
			return nil
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *replicationStatus) valid() error {
	switch {
	case f.wrongOutput():
		return &exitError{exitUsage, fmt.Errorf("-o %s: want text or json", f.output)}
	case f.every <= 0:
		return &exitError{exitUsage, errors.New("--every has to be above 0")}
	case f.mode != "" && f.kind() != replication.Performance && f.kind() != replication.DR:
		return &exitError{exitUsage, fmt.Errorf("--mode %s: want performance or dr", f.mode)}
	}
	return nil
}

// show writes the picture, and tells whether something is wrong.
func (f *replicationStatus) show(ctx context.Context, out io.Writer, op *operate.Operator) (bool, error) {
	pic := replication.Look(op.Facts(ctx))
	if f.output == "json" {
		return len(pic.Problems) > 0, printJSON(out, pic)
	}
	_, err := io.WriteString(out, replicationText(pic, f.kind()))
	return len(pic.Problems) > 0, err
}

// replicationText is the picture for people. only is a kind, or empty for both.
func replicationText(pic replication.Picture, only replication.Kind) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "CLUSTER\tKIND\tMODE\tSTATE\tCONNECTION\tPRIMARY\tWAL BEHIND\tCANARY AGE\tROOTS\tSKEW\tHEARTBEAT\tSECONDARIES\tCLUSTER ADDRESSES")
	for _, v := range pic.Clusters {
		for _, cells := range rows(v, only) {
			_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
		}
	}
	_ = t.Flush() // a strings.Builder does not fail
	text := trimmed(b.String())
	if len(pic.Problems) == 0 {
		return text + "\nAll is well.\n"
	}
	text += "\n"
	for _, p := range pic.Problems {
		text += "! " + p.String() + "\n"
	}
	return text
}

// rows are the lines of one cluster: one for each kind that it takes part in.
func rows(v replication.View, only replication.Kind) [][]string {
	if !v.Reachable {
		return [][]string{append([]string{v.Name, "-", "unreachable"}, make([]string, 10)...)}
	}
	var out [][]string
	for _, k := range []replication.Kind{replication.Performance, replication.DR} {
		l := v.Performance
		if k == replication.DR {
			l = v.DR
		}
		if l.Mode != replication.ModeDisabled && (only == "" || only == k) {
			out = append(out, row(v.Name, k, l))
		}
	}
	if out == nil {
		out = [][]string{append([]string{v.Name, "-", "disabled"}, make([]string, 10)...)}
	}
	return out
}

// trimmed removes the blanks that fill up the last columns.
func trimmed(table string) string {
	lines := strings.Split(table, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func row(name string, k replication.Kind, l replication.Link) []string {
	return []string{
		name, string(k), l.Mode, dash(l.State), dash(l.Connection), dash(l.Primary),
		measure(l, l.WALDistance, ""), measure(l, l.CanaryAgeMS, " ms"), agreement(l), measure(l, l.ClockSkewMS, " ms"), dash(l.LastHeartbeat),
		secondaries(l), dash(strings.Join(l.ClusterAddresses, " ")),
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// measure is a number of a secondary; what is not known is ?.
func measure(l replication.Link, v *int64, unit string) string {
	switch {
	case l.Mode == replication.ModePrimary:
		return "-"
	case v == nil:
		return "?"
	}
	return fmt.Sprint(*v) + unit
}

func agreement(l replication.Link) string {
	switch {
	case l.Mode == replication.ModePrimary:
		return "-"
	case l.MerkleRootsAgree == nil:
		return "?"
	case *l.MerkleRootsAgree:
		return "agree"
	default:
		return "DIFFER"
	}
}

// secondaries lists those a primary knows; ! marks one that is not connected.
func secondaries(l replication.Link) string {
	if l.Mode != replication.ModePrimary {
		return "-"
	}
	var out []string
	for _, id := range l.Secondaries {
		for _, gone := range l.Missing {
			if gone == id {
				id = "!" + id
				break
			}
		}
		out = append(out, id)
	}
	return dash(strings.Join(out, " "))
}
