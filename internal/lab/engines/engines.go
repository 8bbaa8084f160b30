// Package engines has the secrets engines and auth methods of the laboratory.
package engines

import (
	"net/http"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

type ops = map[engine.Operation]engine.Handler

// All returns the engines by mount type; version 2 of kv is "kv2".
func All() map[string]*engine.Engine {
	return map[string]*engine.Engine{
		"kv":         KV1(),
		"kv2":        KV2(),
		"userpass":   Userpass(),
		"approle":    AppRole(),
		"jwt":        JWT("jwt"),
		"kubernetes": JWT("kubernetes"),
		"database":   Database(),
		"transit":    Transit(),
		"pki":        PKI(),
		"ssh":        SSH(),
	}
}

func hasField(r *engine.Request, name string) error {
	if r.String(name) == "" {
		return engine.BadRequest("missing %s", name)
	}
	return nil
}

// record makes the operations of a stored object: what was written is read
// back, with defaults for what was not.
func record(folder, param string, view func(*engine.Request) store.View, fields func(*engine.Request, map[string]any)) ops {
	key := func(r *engine.Request) string { return folder + r.Param(param) }
	return ops{
		engine.Read: func(r *engine.Request) (*engine.Response, error) {
			data := map[string]any{}
			if !view(r).Get(key(r), &data) {
				return nil, nil
			}
			return engine.OK(data)
		},
		engine.Update: func(r *engine.Request) (*engine.Response, error) {
			data := map[string]any{}
			view(r).Get(key(r), &data)
			fields(r, data)
			return engine.Done(view(r).Put(key(r), data))
		},
		engine.Delete: func(r *engine.Request) (*engine.Response, error) {
			return engine.Done(view(r).Delete(key(r)))
		},
	}
}

func shared(r *engine.Request) store.View { return r.Storage }

// list answers the names in a folder of the replicated storage.
func list(folder string) ops {
	return ops{engine.List: func(r *engine.Request) (*engine.Response, error) {
		return engine.Listed(r.Storage.List(folder))
	}}
}

// copyFields takes over the fields of the body that are given.
func copyFields(r *engine.Request, data map[string]any, names ...string) {
	for _, n := range names {
		if v, ok := r.Data[n]; ok {
			data[n] = v
		}
	}
}

func notFound(data map[string]any) error {
	return &engine.Error{Status: http.StatusNotFound, Data: data}
}
