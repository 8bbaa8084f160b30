package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Shape is which members a JSON value has, and of what type each is:
// "data.keys[]" → "string".
type Shape map[string]string

func shapeOf(v any) Shape {
	s := Shape{}
	s.add("", v)
	return s
}

func (s Shape) add(place string, v any) {
	switch v := v.(type) {
	case map[string]any:
		s.note(place, "object")
		for name, member := range v {
			s.add(strings.TrimPrefix(place+"."+name, "."), member)
		}
	case []any:
		s.note(place, "list")
		for _, element := range v {
			s.add(place+"[]", element)
		}
	case string:
		s.note(place, "string")
	case float64:
		s.note(place, "number")
	case bool:
		s.note(place, "bool")
	default:
		s.note(place, "null")
	}
}

// note adds a type; elements of a list may have several.
func (s Shape) note(place, kind string) {
	if had := s[place]; had != "" && had != kind {
		kind = had + " or " + kind
	}
	s[place] = kind
}

// Difference is one point in which two targets do not agree about a step.
type Difference struct {
	Step  string
	Place string // "status", "error", "Location", or a place in the JSON
	A, B  string // what each said; "" for nothing
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: %q and %q", d.Step, d.Place, d.A, d.B)
}

// Compare returns the differences between the answers of two runs that are not
// allowed, and how many steps agree.
func Compare(a, b []Answer) (differ []Difference, agree int) {
	for i := range min(len(a), len(b)) {
		var found []Difference
		for _, d := range compareOne(a[i], b[i]) {
			if !allowed(d) {
				found = append(found, d)
			}
		}
		if len(found) == 0 {
			agree++
		}
		differ = append(differ, found...)
	}
	return differ, agree
}

func compareOne(a, b Answer) []Difference {
	var out []Difference
	note := func(place, x, y string) {
		if x != y {
			out = append(out, Difference{a.Step.Name, place, x, y})
		}
	}
	note("status", fmt.Sprint(a.Status), fmt.Sprint(b.Status))
	note("error", strings.Join(a.Errors, "; "), strings.Join(b.Errors, "; "))
	for _, name := range []string{"Location", "Content-Type", "Allow", "Cache-Control", "Retry-After", "Strict-Transport-Security", "Www-Authenticate"} {
		note(name, a.Header.Get(name), b.Header.Get(name))
	}
	places := maps.Clone(a.Shape)
	maps.Copy(places, b.Shape)
	for _, place := range slices.Sorted(maps.Keys(places)) {
		note("body "+place, a.Shape[place], b.Shape[place])
	}
	return out
}

// Problems are the points in which answers are not what the script expects.
func Problems(all []Answer) []string {
	var out []string
	for _, a := range all {
		if a.Status != a.Step.Status {
			out = append(out, fmt.Sprintf("%s: status %d, want %d: %s", a.Step.Name, a.Status, a.Step.Status, a.Body))
		}
		if said := strings.Join(a.Errors, "; "); !strings.Contains(said, a.Step.Error) {
			out = append(out, fmt.Sprintf("%s: errors %q, want %q in them", a.Step.Name, said, a.Step.Error))
		}
	}
	return out
}
