package routing

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/health"
)

// busy is a table of 50 mounts in 10 namespaces.
func busy() *Table {
	t := (&Table{}).With("", []Mount{{Path: "secret/", Type: "kv-v2"}})
	for n := range 10 {
		var mounts []Mount
		for m := range 5 {
			mounts = append(mounts, Mount{Path: fmt.Sprintf("mount-%d/", m), Type: "kv-v2"})
		}
		t = t.With(fmt.Sprintf("team-%d/", n), mounts)
	}
	return t
}

var warm = Request{Method: "GET", Path: "/v1/mount-3/data/app/database", Namespace: "team-7"} //nolint:gochecknoglobals // a constant

// TestAWarmReadAllocatesNothing: routing is on the way of every request.
func TestAWarmReadAllocatesNothing(t *testing.T) {
	router, table, planner, topology := New(nil), busy(), NewPlanner(Preferences{}), world()
	for _, req := range []Request{warm, {Method: "GET", Path: "/v1/team-7/mount-3/data/app"}, {Method: "GET", Path: "/v1/secret/data/app"}} {
		n := testing.AllocsPerRun(100, func() {
			d, err := router.Classify(table, req)
			if err != nil || d.Engine != "kv-v2" {
				t.Fatalf("%+v, %v", d, err)
			}
			if plan, err := planner.Plan(topology, d, Constraint{}); err != nil || plan.Candidates[0].Name != "eu-2" {
				t.Fatalf("%v, %v", order(plan), err)
			}
		})
		if n != 0 {
			t.Errorf("%s in %q: %v allocations, want none", req.Path, req.Namespace, n)
		}
	}
}

// TestLongPathsCostNoMoreThanLongMounts: a client chooses the length of its path.
func TestLongPathsCostNoMoreThanLongMounts(t *testing.T) {
	t.Parallel()
	long := make([]byte, 0, 1<<20)
	for len(long) < 1<<20 {
		long = append(long, "a/"...)
	}
	d, err := New(nil).Classify(busy(), Request{Method: "GET", Path: "/v1/" + string(long)}) // minutes, when every prefix is hashed
	if err != nil || !d.Guess {
		t.Errorf("%v, %v", d.Guess, err)
	}
}

// BenchmarkRoute is the whole decision: classify, then plan.
func BenchmarkRoute(b *testing.B) {
	b.Run("mounts=50/namespaces=10", func(b *testing.B) { route(b, busy(), warm) })
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("mounts=%d", n), func(b *testing.B) {
			route(b, crowd(n), Request{Method: "GET", Path: "/v1/" + fmt.Sprintf("mount-%05d", n-1) + "/data/app/database"})
		})
	}
	for _, depth := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			route(b, crowd(1_000), Request{Method: "GET", Path: "/v1/mount-00007/data" + strings.Repeat("/segment", depth)})
		})
	}
}

// crowd is one namespace of n mounts.
func crowd(n int) *Table {
	var mounts []Mount
	for i := range n {
		mounts = append(mounts, Mount{Path: fmt.Sprintf("mount-%05d/", i), Type: "kv-v2"})
	}
	return (&Table{}).With("", mounts)
}

func route(b *testing.B, table *Table, req Request) {
	b.Helper()
	router, topology := New(nil), world()
	planner := NewPlanner(Preferences{Preference: health.Preference{Never: []string{"ap"}}})
	b.ReportAllocs()
	for b.Loop() {
		d, err := router.Classify(table, req)
		if err != nil || d.Guess {
			b.Fatal(d, err)
		}
		if _, err := planner.Plan(topology, d, Constraint{}); err != nil {
			b.Fatal(err)
		}
	}
}
