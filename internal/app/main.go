// Package app assembles vrproxy: it translates the configuration into each room's
// own Config, starts and stops the rooms in order, and holds the commands. It is
// the only room that knows all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/spf13/cobra"
)

// Set by the linker (see Makefile).
var (
	version = "dev"
	commit  = "unknown"
)

// Process is what the commands use of the operating system; tests hand in their
// own.
type Process struct {
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal // SIGINT, SIGTERM, SIGHUP, SIGUSR1
	Files          []*os.File       // sockets that whoever started the process made for it
}

// PassedFiles are the sockets of LISTEN_FDS, which systemd passes.
func PassedFiles() []*os.File { return activation.Files(true) }

// OSSignals delivers the signals the commands react to, for the life of the
// process.
func OSSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 4) // Notify does not block, so a slow reader would lose some
	signal.Notify(signals, append(dumpSignals(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)...)
	return signals
}

// The exit codes of the contract.
const (
	exitDone       = 0
	exitRuntime    = 1
	exitUsage      = 2
	exitInterrupt  = 130 // SIGINT before ready
	exitTerminated = 143 // SIGTERM before ready
)

// exitError carries an exit code up to Main.
type exitError struct {
	code int
	err  error // nil: everything was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func runtimeFailure(err error) error { return &exitError{exitRuntime, err} }

// Main runs one command and returns the exit code.
func Main(args []string, p Process) int {
	root := commands(p)
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitUsage, fmt.Errorf("%w\nrun \"vrproxy --help\" for the commands and flags", err)}
	}
	if text := exit.Error(); text != "" {
		_, _ = fmt.Fprintln(p.Stderr, "vrproxy: "+text)
	}
	return exit.code
}

func commands(p Process) *cobra.Command {
	root := &cobra.Command{
		Use:           "vrproxy",
		Short:         "A region-aware routing proxy for HashiCorp Vault",
		Long:          "vrproxy makes many Vault clusters look like one that is always near and always up:\nreads, logins and dynamic secrets go to the nearest healthy cluster, writes to the primary.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(runCommand(p), devCommand(p), checkCommand(p), explainCommand(p), statusCommand(p), probeCommand(p), replicationCommand(p), versionCommand(p))
	return root
}

func versionCommand(p Process) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.Stdout, "vrproxy %s (commit %s, %s)\n", version, commit, runtime.Version())
			return err
		},
	}
}
