package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File    string
	Line    int // from 1
	Message string
}

// String returns p as FILE:LINE: message.
func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

// Problems is everything wrong with a file, sorted by line. It is the error
// that [Load] and [Parse] return.
type Problems struct{ List []Problem }

// Error returns one line per problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// report collects problems and knows the line of every key.
type report struct {
	file     string
	lines    map[string]int  // by key path
	failed   map[string]bool // key paths that hold no usable value
	problems []Problem
}

func newReport(file string) *report {
	return &report{file: file, lines: map[string]int{}, failed: map[string]bool{}}
}

// at adds a problem that belongs to a line rather than to a key.
func (r *report) at(line int, format string, args ...any) {
	message := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	r.problems = append(r.problems, Problem{File: r.file, Line: max(line, 1), Message: message})
}

// fail adds a problem with a value that can't be used at all, so that what is
// said about that key later is only a consequence.
func (r *report) fail(key string, format string, args ...any) {
	r.add(key, format, args...)
	r.failed[key] = true
}

// add adds a problem with a key, unless the key is known to be unusable.
func (r *report) add(key string, format string, args ...any) {
	for k := key; k != ""; k = parent(k) {
		if r.failed[k] {
			return
		}
	}
	r.at(lineOf(r.lines, key), "%s: %s", key, fmt.Sprintf(format, args...))
}

// failedBelow reports whether the key or anything in it is unusable.
func (r *report) failedBelow(key string) bool {
	for failed := range r.failed {
		if strings.HasPrefix(failed, key) {
			return true
		}
	}
	return false
}

// err returns the problems as an error; nil if there are none.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return &Problems{List: slices.Compact(r.problems)}
}

// lineOf returns the line of a key, or of the nearest key around it.
func lineOf(lines map[string]int, key string) int {
	for {
		if line, ok := lines[key]; ok {
			return line
		}
		if key == "" {
			return 1
		}
		key = parent(key)
	}
}

// parent returns the key around key: a.b[1] is in a.b, which is in a.
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// join returns the path of a key in the mapping at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
