package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheBudgetOfRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		spendAll := func() int {
			n := 0
			for b.spend() {
				n++
			}
			return n
		}
		if n := spendAll(); n != 100 {
			t.Errorf("%d repeats at the start, want ten seconds' worth", n)
		}
		<-time.After(time.Second)
		if n := spendAll(); n != 10 {
			t.Errorf("%d repeats a second, want 10", n)
		}
		for range 1000 {
			b.Earn(extraShare)
		}
		if n := spendAll(); n != 200 && n != 199 {
			t.Errorf("%d repeats for 1000 requests, want a fifth", n)
		}
		for range 1000 {
			b.Earn(extraShare)
		}
		<-time.After(time.Hour)
		if n := spendAll(); n != 100 {
			t.Errorf("%d repeats after a quiet hour: what is not used is kept for ten seconds", n)
		}
	})
}

// Logins are paid from the same budget, and leave something for repeats.
func TestLoginsShareTheBudgetOfRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget()
		logins := func(within time.Duration) int {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			n := 0
			for b.Login(ctx) == nil {
				n++
			}
			return n
		}
		if n := logins(time.Millisecond); n != saving-leftByLogins {
			t.Errorf("%d logins at the start", n)
		}
		if n := logins(10 * time.Second); n != 100 && n != 99 {
			t.Errorf("%d logins in ten seconds, want 10 a second", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Spare(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("there is nothing to spare for a login ahead of need: %v", err)
		}
		n := 0
		for b.spend() {
			n++
		}
		if n < leftByLogins {
			t.Errorf("%d repeats are left, want a quarter of the budget", n)
		}
		if n := logins(time.Second); n != 0 {
			t.Errorf("%d logins with nothing saved", n)
		}
		if err := b.Spare(t.Context()); err != nil { // and it takes nothing
			t.Fatal(err)
		}
		if missing := b.take(0, leftByPrewarm); missing > 0 {
			t.Errorf("%v are missing", missing)
		}
	})
}
