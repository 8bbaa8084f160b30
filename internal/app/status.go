package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
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
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "#\tCLUSTER\tREGION\tROLE\tSTATE\tRTT\tLAG\tTOKENS\tLEASES")
	for _, c := range s.Clusters {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", place(c.Order), c.Name, c.Region, c.Role, c.State, shown(c.RTTms), shown(c.LagMs), c.Tokens, c.Leases)
	}
	_ = t.Flush() // a strings.Builder does not fail
	for _, c := range s.Clusters {
		if c.Reason != "" {
			fmt.Fprintf(&b, "\n%s: %s", c.Name, c.Reason)
		}
		for _, n := range c.Nodes {
			if len(c.Nodes) > 1 && n.Reason != "" {
				fmt.Fprintf(&b, "\n  %s: %s", n.Address, n.Reason)
			}
		}
	}
	return paint(strings.TrimRight(b.String(), "\n")+"\n", colour)
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
