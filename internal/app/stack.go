package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// stack tears down what was built, last in first out. Everything is pushed the
// moment it exists, so that a failed start rolls back with the same stack.
type stack struct {
	steps []step
}

type step struct {
	name string
	stop func(context.Context) error
}

func (s *stack) push(name string, stop func(context.Context) error) {
	s.steps = append(s.steps, step{name, stop})
}

// unwind runs every step, also after one failed, and names those that did.
func (s *stack) unwind(ctx context.Context) error {
	var errs []error
	for _, st := range slices.Backward(s.steps) {
		if err := st.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", st.name, err))
		}
	}
	s.steps = nil
	return errors.Join(errs...)
}

// runner runs Run functions in the background; stop ends and awaits them.
type runner struct {
	ctx    context.Context //nolint:containedctx // it is the lifetime that stop ends
	cancel context.CancelFunc
	done   []chan error
}

func newRunner() *runner {
	ctx, cancel := context.WithCancel(context.Background())
	return &runner{ctx: ctx, cancel: cancel}
}

func (r *runner) run(f func(context.Context) error) {
	done := make(chan error, 1)
	r.done = append(r.done, done)
	go func() { done <- f(r.ctx) }()
}

func (r *runner) stop(ctx context.Context) error {
	r.cancel()
	var errs []error
	for _, done := range r.done {
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				errs = append(errs, err)
			}
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return errors.Join(errs...)
}
