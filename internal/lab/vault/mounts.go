package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// mount is one entry of a Vault's mount tables.
type mount struct {
	path   string // with its slash, auth/ included
	engine string
	local  bool
}

func (m mount) auth() bool { return strings.HasPrefix(m.path, "auth/") }

// mounts are all mounts of one Vault.
type mounts []mount

// find returns the mount of a path and the path below it.
func (t mounts) find(path string) (m mount, below string, ok bool) {
	for _, c := range t {
		if rest, in := strings.CutPrefix(path, c.path); in && len(c.path) > len(m.path) {
			m, below, ok = c, rest, true
		}
	}
	return m, below, ok
}

// learnMounts reads the tables.
func (s *Server) learnMounts(ctx context.Context) (mounts, error) {
	var all mounts
	for _, t := range []struct{ path, prefix string }{{"sys/mounts", ""}, {"sys/auth", "auth/"}} {
		var answer struct {
			Data map[string]struct {
				Type  string `json:"type"`
				Local bool   `json:"local"`
			} `json:"data"`
		}
		if err := s.call(ctx, s.cfg.RootToken, http.MethodGet, t.path, "", &answer); err != nil {
			return nil, fmt.Errorf("learning mounts: %w", err)
		}
		for path, m := range answer.Data {
			all = append(all, mount{t.prefix + path, m.Type, m.Local})
		}
	}
	return all, nil
}

// changesMounts reports whether a write at this path changes the mount tables.
func changesMounts(path string) bool {
	return strings.HasPrefix(path, "sys/mounts/") || strings.HasPrefix(path, "sys/auth/") || strings.HasPrefix(path, "sys/remount")
}

// makesLocal reports whether a write below sys/ makes a mount that is not
// replicated.
func makesLocal(below string, body []byte) bool {
	if !changesMounts("sys/" + below) {
		return false
	}
	var b struct {
		Local bool `json:"local"`
	}
	_ = json.Unmarshal(body, &b) // Vault will refuse what is no JSON
	return b.Local
}
