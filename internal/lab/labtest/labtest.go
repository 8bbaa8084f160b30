// Package labtest starts laboratories for tests.
package labtest

import (
	"context"
	"testing"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// Start makes a lab on free ports, serves it, and stops it when the test ends.
func Start(tb testing.TB, cfg lab.Config) *lab.Lab {
	tb.Helper()
	cfg.BasePort = 0
	l, err := lab.New(cfg)
	if err != nil {
		tb.Fatalf("starting lab: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("running lab: %v", err)
		}
	})
	return l
}
