package conformance

import (
	"testing"

	"github.com/vrproxy/vrproxy/internal/lab"
	"github.com/vrproxy/vrproxy/internal/lab/labtest"
)

func runLab(t *testing.T, cluster string) []Answer {
	t.Helper()
	l := labtest.Start(t, lab.Config{})
	all, err := Run(t.Context(), Target{Address: l.Cluster(cluster).Address(), Token: lab.RootToken})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The laboratory answers as the script expects, and the same way twice.
func TestLaboratory(t *testing.T) {
	t.Parallel()
	first, second := runLab(t, "us-east"), runLab(t, "us-east")
	for _, p := range Problems(first) {
		t.Error(p)
	}
	differ, agree := Compare(first, second)
	for _, d := range differ {
		t.Error(d)
	}
	if agree != len(Script()) || agree < 60 {
		t.Errorf("%d of %d steps agree", agree, len(Script()))
	}
}

func TestStepsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range Script() {
		if s.Name == "" || seen[s.Name] {
			t.Errorf("the name %q is empty or taken", s.Name)
		}
		seen[s.Name] = true
	}
}

// Each exception names a step and a reason.
func TestExceptions(t *testing.T) {
	t.Parallel()
	for _, e := range exceptions() {
		used := false
		for _, s := range Script() {
			used = used || fits(e.step, s.Name)
		}
		if !used || e.why == "" {
			t.Errorf("%+v fits no step, or has no reason", e)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	answer := func(status int, v any, errors ...string) []Answer {
		return []Answer{{Step: Step{Name: "s"}, Status: status, Shape: shapeOf(v), Errors: errors}}
	}
	base := map[string]any{"a": "x", "l": []any{1.0, 2.0}, "n": nil}
	for name, c := range map[string]struct {
		other []Answer
		want  string
	}{
		"other values":   {answer(200, map[string]any{"a": "y", "l": []any{3.0}, "n": nil}), ""},
		"other status":   {answer(201, base), "status"},
		"other error":    {answer(200, base, "oops"), "error"},
		"member missing": {answer(200, map[string]any{"a": "x", "l": []any{1.0}}), "body n"},
		"other type":     {answer(200, map[string]any{"a": 1.0, "l": []any{1.0}, "n": nil}), "body a"},
		"mixed list":     {answer(200, map[string]any{"a": "x", "l": []any{1.0, "x"}, "n": nil}), "body l[]"},
	} {
		differ, agree := Compare(answer(200, base), c.other)
		switch {
		case c.want == "" && (len(differ) != 0 || agree != 1):
			t.Errorf("%s: %v", name, differ)
		case c.want != "" && (len(differ) != 1 || differ[0].Place != c.want || agree != 0):
			t.Errorf("%s: %v", name, differ)
		}
	}
}
