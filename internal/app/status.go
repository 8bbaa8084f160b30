package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
	"github.com/vrproxy/vrproxy/internal/explain"
)

// statusFlags are the flags of status.
type statusFlags struct {
	adminFlags
	watch bool
	every time.Duration
}

func statusCommand(p Process) *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the running proxy's picture of the clusters",
		Long: "status shows what the running proxy knows of the clusters. It finds the proxy by --admin,\n" +
			"VRPROXY_ADMIN_ADDR, or the admin address of the file; else at " + defaultAdmin + ".",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), p) },
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.watch, "watch", false, "show it again and again, until interrupted")
	fl.DurationVar(&f.every, "every", 2*time.Second, "with --watch: how often")
	return cmd
}

func (f *statusFlags) run(ctx context.Context, p Process) error {
	switch {
	case f.wrongOutput():
		return &exitError{exitUsage, fmt.Errorf("-o %s: want text or json", f.output)}
	case f.every <= 0:
		return &exitError{exitUsage, errors.New("--every has to be above 0")}
	}
	api, err := f.find(p)
	if err != nil {
		return err
	}
	if !f.watch {
		return f.show(ctx, p.Stdout, api)
	}
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	for {
		if terminal(p.Stdout) {
			_, _ = io.WriteString(p.Stdout, "\x1b[H\x1b[2J") // the next write tells
		}
		if err := f.show(ctx, p.Stdout, api); err != nil {
			_, _ = fmt.Fprintln(p.Stderr, "vrproxy: "+err.Error()) // it may come back
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

func (f *statusFlags) show(ctx context.Context, out io.Writer, api *adminAPI) error {
	var s admin.Status
	if err := api.get(ctx, "/status", &s); err != nil {
		return runtimeFailure(err)
	}
	if f.output == "json" {
		return printJSON(out, s)
	}
	_, err := io.WriteString(out, statusText(s, terminal(out)))
	return err
}

// statusText is the picture for people, for 80 columns.
func statusText(s admin.Status, colour bool) string {
	var b strings.Builder
	primary := s.Primary
	switch {
	case s.SplitBrain:
		primary = "SPLIT BRAIN of " + strings.Join(s.Claimants, " and ")
	case primary == "":
		primary = "none"
	}
	fmt.Fprintf(&b, "region %s   primary %s   sessions %d   vrproxy %s\n\n", s.Region, primary, s.Sessions, s.Version)
	b.WriteString(statusTable(s.Clusters) + "\n")
	b.WriteString(goesTo("reads to", s.Reads) + goesTo("writes to", s.Writes))
	if e := s.LastFailover; e != nil {
		b.WriteString(explain.Wrapped("last failover ", fmt.Sprintf("%s: %s to %s, %s", clock(e.Time), e.From, e.To, e.Reason), explain.Columns))
	}
	for _, c := range s.Clusters {
		if c.Reason != "" {
			b.WriteString("\n" + explain.Wrapped(c.Name+": ", c.Reason, explain.Columns))
		}
		for _, n := range c.Nodes {
			if len(c.Nodes) > 1 && n.Reason != "" {
				b.WriteString(explain.Wrapped("  "+n.Address+": ", n.Reason, explain.Columns))
			}
		}
	}
	return paint(b.String(), colour)
}

// statusTable is cut to what a terminal has room for: first the regions, which names
// mostly tell, then the names.
func statusTable(clusters []admin.ClusterStatus) string {
	text := statusRows(clusters, explain.Columns, true)
	for most := explain.Columns; !explain.Fits(text) && most > 2; most-- {
		text = statusRows(clusters, most, false)
	}
	return text
}

func statusRows(clusters []admin.ClusterStatus, most int, regions bool) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(place, name, region, role, state, rtt, lag, tokens, leases string) {
		cells := []string{place, explain.Cut(name, most), region, role, state, rtt, lag, tokens, leases}
		if !regions {
			cells = slices.Delete(cells, 2, 3)
		}
		_, _ = fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	row("#", "CLUSTER", "REGION", "ROLE", "STATE", "RTT", "LAG", "TOKENS", "LEASES")
	for _, c := range clusters {
		row(place(c.Order), c.Name, c.Region, string(c.Role), string(c.State), shown(c.RTTms), shown(c.LagMs), strconv.Itoa(c.Tokens), strconv.Itoa(c.Leases))
	}
	_ = t.Flush() // a strings.Builder does not fail
	return b.String()
}

// goesTo says where one kind of requests goes, since when, and why.
func goesTo(what string, t admin.Target) string {
	to := cmp.Or(t.Cluster, "nowhere")
	if !t.Since.IsZero() {
		to += " since " + clock(t.Since)
	}
	return explain.Wrapped(fmt.Sprintf("%-9s ", what), to+": "+t.Reason, explain.Columns)
}

// clock tells the day only where it is not today.
func clock(t time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) == time.Now().Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// place is the order for reads; a DR copy or a forbidden region has none.
func place(order int) string {
	if order == 0 {
		return "-"
	}
	return fmt.Sprint(order)
}

func shown(ms *float64) string {
	if ms == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f ms", *ms)
}

// paint colours the states, on a terminal only.
func paint(text string, colour bool) string {
	if !colour {
		return text
	}
	for state, code := range map[health.State]string{health.StateHealthy: "32", health.StateDegraded: "33", health.StateDown: "31", health.StateDrained: "36"} {
		text = strings.ReplaceAll(text, "  "+string(state)+" ", "  \x1b["+code+"m"+string(state)+"\x1b[0m ")
	}
	return strings.ReplaceAll(text, "SPLIT BRAIN", "\x1b[1;31mSPLIT BRAIN\x1b[0m")
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(f.Fd())
}
