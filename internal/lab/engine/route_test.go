package engine

import (
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pattern, path string
		ok            bool
		param, value  string
	}{
		{"config", "config", true, "", ""},
		{"roles", "roles/", true, "", ""},
		{"roles", "roles/x", false, "", ""},
		{"roles/:name", "roles/x", true, "name", "x"},
		{"roles/:name", "roles/", false, "", ""},
		{"roles/:name", "roles/x/y", false, "", ""},
		{"keys/:name/rotate", "keys/k/rotate", true, "name", "k"},
		{"data/*path", "data/a/b", true, "path", "a/b"},
		{"data/*path", "data", true, "path", ""},
		{"data/*path", "database", false, "", ""},
		{"*path", "any/thing", true, "path", "any/thing"},
	}
	for _, tt := range tests {
		params, ok := matchPattern(tt.pattern, tt.path)
		if ok != tt.ok || params[tt.param] != tt.value {
			t.Errorf("%s on %s: %v %v", tt.pattern, tt.path, params, ok)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"": 0, "60": time.Minute, "1h": time.Hour, "2d": 48 * time.Hour, "0.5": time.Second / 2} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if _, err := ParseDuration("soon"); err == nil {
		t.Error("no error")
	}
}
