package routing

import (
	"fmt"
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

func BenchmarkClassifyWarmKVRead(b *testing.B) {
	router, table := New(nil), busy()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := router.Classify(table, warm); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlanNearest(b *testing.B) {
	planner, topology := NewPlanner(Preferences{Preference: health.Preference{Never: []string{"ap"}}}), world()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := planner.Plan(topology, Decision{Class: Nearest}, Constraint{}); err != nil {
			b.Fatal(err)
		}
	}
}
