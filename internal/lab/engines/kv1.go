package engines

import (
	"errors"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// KV1 is version 1 of the key/value engine.
func KV1() *engine.Engine {
	return &engine.Engine{Type: "kv", Routes: []engine.Route{{
		Pattern: "*path",
		Exists:  func(r *engine.Request) bool { return r.Storage.Has("kv/" + r.Path) },
		Ops: ops{
			engine.Read:   kv1Read,
			engine.Update: kv1Write,
			engine.Delete: func(r *engine.Request) (*engine.Response, error) {
				if relative(r.Path) {
					return nil, engine.Wrapped("relative paths not supported")
				}
				return engine.Done(r.Storage.Delete("kv/" + r.Path))
			},
			engine.List: func(r *engine.Request) (*engine.Response, error) {
				if relative(r.Path) {
					return nil, engine.Wrapped("relative paths not supported")
				}
				return engine.Listed(r.Storage.List("kv/" + r.Path))
			},
		},
	}}}
}

// relative tells the paths that Vault's storage refuses. The answers differ
// because each operation meets the storage in another place.
func relative(path string) bool { return slices.Contains(strings.Split(path, "/"), "..") }

func kv1Read(r *engine.Request) (*engine.Response, error) {
	if relative(r.Path) {
		return nil, engine.Wrapped("read failed: relative paths not supported")
	}
	data := map[string]any{}
	if !r.Storage.Get("kv/"+r.Path, &data) {
		return nil, nil
	}
	return engine.OK(data)
}

func kv1Write(r *engine.Request) (*engine.Response, error) {
	if relative(r.Path) {
		return nil, errors.New("internal error")
	}
	if len(r.Data) == 0 {
		return nil, engine.BadRequest("missing data fields")
	}
	return engine.Done(r.Storage.Put("kv/"+r.Path, r.Data))
}
