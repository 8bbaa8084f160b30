package app

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// probeWithin is less than the patience of whoever runs a probe, so that the reason is
// told.
const probeWithin = 2 * time.Second

// probes are what can be asked for; the first by default.
func probes() []string { return []string{"readiness", "startup", "liveness"} }

func probeCommand(p Process) *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "probe [readiness|startup|liveness]",
		Short: "Ask the running proxy whether it is ready; exit 1: no, or nobody answers",
		Long: "probe asks the admin listener of the running proxy: for exec probes of Kubernetes, and\n" +
			"health checks of Nomad and of container engines. It finds the proxy as status does.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: probes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := f.find(p)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), probeWithin)
			defer cancel()
			if _, err := api.fetch(ctx, "/"+slices.Concat(args, probes())[0]); err != nil {
				return runtimeFailure(err)
			}
			return nil
		},
	}
	f.registerFind(cmd)
	return cmd
}
