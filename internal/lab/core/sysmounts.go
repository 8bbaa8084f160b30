package core

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

func (c *Core) mountRoutes() []engine.Route {
	routes := []engine.Route{
		{Pattern: "internal/ui/mounts", Pure: true, Public: true, Ops: ops{engine.Read: c.uiMounts}},
		{Pattern: "internal/ui/mounts/*path", Pure: true, Public: true, Ops: ops{engine.Read: c.uiMount}},
		{Pattern: "internal/ui/resultant-acl", Pure: true, Ops: ops{engine.Read: c.resultantACL}},
		{Pattern: "remount", Ops: ops{engine.Update: c.remount}},
	}
	for _, auth := range []bool{false, true} {
		base := "mounts"
		if auth {
			base = "auth"
		}
		routes = append(routes,
			engine.Route{Pattern: base, Ops: ops{engine.Read: c.listMounts(auth)}},
			engine.Route{Pattern: base + "/*path", Ops: ops{
				engine.Read: c.readMount(auth), engine.Update: c.createMount(auth), engine.Delete: c.deleteMount(auth)}},
		)
	}
	return routes
}

// mountPath is the path of a mount as the router sees it.
func mountPath(r *engine.Request, auth bool) (path string, tune bool) {
	path, tune = strings.CutSuffix(r.Param("path"), "/tune")
	if auth {
		path = "auth/" + path
	}
	return strings.Trim(path, "/") + "/", tune
}

func shown(m *Mount, auth bool) string {
	if auth {
		return strings.TrimPrefix(m.Path, "auth/")
	}
	return m.Path
}

func (c *Core) listMounts(auth bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		out := map[string]any{}
		for _, m := range c.mounts().list(r.Namespace, auth) {
			out[shown(m, auth)] = m.entry()
		}
		return engine.OK(out)
	}
}

// exact returns the mount at a path, or nil.
func (c *Core) exact(ns, path string) *Mount {
	if m := c.mounts().find(ns, path); m != nil && m.Path == path {
		return m
	}
	return nil
}

func (c *Core) readMount(auth bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		path, tune := mountPath(r, auth)
		m := c.exact(r.Namespace, path)
		if m == nil {
			return nil, noMount(path, auth)
		}
		if !tune {
			return engine.OK(m.entry())
		}
		config := m.info()["config"].(map[string]any)
		config["description"] = m.Description
		if len(m.Options) > 0 {
			config["options"] = m.Options
		}
		return engine.OK(config)
	}
}

func (c *Core) createMount(auth bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		path, tune := mountPath(r, auth)
		if tune {
			return c.tune(r, path)
		}
		if m := c.mounts().find(r.Namespace, path); m != nil {
			return nil, engine.BadRequest("path is already in use at %s", shown(m, auth))
		}
		m := Mount{Namespace: r.Namespace, Path: path, Type: r.String("type"), Description: r.String("description"),
			Local: r.Bool("local"), Options: r.Meta("options")}
		if m.Type == "" {
			return nil, engine.BadRequest("backend type must be specified as a string")
		}
		if m.Options == nil {
			m.Options = map[string]string{}
		}
		applyConfig(&m, r.Map("config"))
		normalise(&m)
		if c.engines[m.engineName()] == nil {
			return nil, engine.BadRequest("plugin not found in the catalog: %s", m.Type)
		}
		return engine.Done(mountAt(r.Tx, m))
	}
}

func noMount(path string, auth bool) error {
	if auth {
		return engine.BadRequest("No auth engine at %s", strings.TrimPrefix(path, "auth/"))
	}
	return engine.BadRequest("No secret engine mount at %s", path)
}

func applyConfig(m *Mount, config map[string]any) {
	ttl := func(name string, into *int64) {
		if d, err := engine.ParseDuration(engine.Text(config[name])); err == nil && config[name] != nil {
			*into = int64(d.Seconds())
		}
	}
	ttl("default_lease_ttl", &m.Config.DefaultTTL)
	ttl("max_lease_ttl", &m.Config.MaxTTL)
	if v, ok := config["listing_visibility"]; ok {
		m.Config.Visibility = engine.Text(v)
	}
}

func (c *Core) tune(r *engine.Request, path string) (*engine.Response, error) {
	found := c.exact(r.Namespace, path)
	if found == nil {
		return nil, engine.BadRequest("tune of path %q failed: no mount entry found", path)
	}
	m := *found
	applyConfig(&m, r.Data)
	if r.Has("description") {
		m.Description = r.String("description")
	}
	if o := r.Meta("options"); o != nil {
		m.Options = o
	}
	return engine.Done(mountAt(r.Tx, m))
}

func (c *Core) deleteMount(auth bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		path, _ := mountPath(r, auth)
		m := c.exact(r.Namespace, path)
		if m == nil {
			return nil, nil
		}
		bucket := r.Tx.Shared
		if m.Local {
			bucket = r.Tx.Local
		}
		if err := bucket(mountsBucket).Delete(m.key()); err != nil {
			return nil, err
		}
		c.revokePrefix(r.Tx, path)
		return nil, nil
	}
}

func (c *Core) remount(r *engine.Request) (*engine.Response, error) {
	from, to := strings.Trim(r.String("from"), "/")+"/", strings.Trim(r.String("to"), "/")+"/"
	found := c.exact(r.Namespace, from)
	if found == nil {
		return nil, engine.BadRequest("no matching mount at %q", from)
	}
	m := *found
	m.Path = to
	if err := r.Tx.Shared(mountsBucket).Delete(found.key()); err != nil {
		return nil, err
	}
	if err := mountAt(r.Tx, m); err != nil {
		return nil, err
	}
	return engine.OK(map[string]any{"migration_id": engine.UUID()})
}

// uiMounts lists what the caller may see; without a token, what the mounts
// show to everybody.
func (c *Core) uiMounts(r *engine.Request) (*engine.Response, error) {
	if r.RawToken != "" && r.Token == nil {
		return nil, invalidToken()
	}
	out := map[string]map[string]any{"secret": {}, "auth": {}}
	for _, auth := range []bool{false, true} {
		kind := map[bool]string{false: "secret", true: "auth"}[auth]
		for _, m := range c.mounts().list(r.Namespace, auth) {
			if info := c.uiInfo(r, m); info != nil {
				out[kind][shown(m, auth)] = info
			}
		}
	}
	return engine.OK(map[string]any{"secret": out["secret"], "auth": out["auth"]})
}

func (c *Core) uiInfo(r *engine.Request, m *Mount) map[string]any {
	if r.Token == nil {
		if m.Config.Visibility != "unauth" {
			return nil
		}
		return map[string]any{"type": m.Type, "description": m.Description, "options": m.options()}
	}
	if m.Config.Visibility != "unauth" && !c.maySee(r, m) {
		return nil
	}
	return m.info()
}

func (c *Core) maySee(r *engine.Request, m *Mount) bool {
	return c.aclOf(r.Token).sees(strings.TrimPrefix(m.Namespace, r.Token.Namespace) + m.Path)
}

// uiMount tells which mount serves a path.
func (c *Core) uiMount(r *engine.Request) (*engine.Response, error) {
	path := strings.Trim(r.Params["path"], "/") + "/"
	refusal := engine.Errorf(http.StatusForbidden,
		"preflight capability check returned 403, please ensure client's policies grant access to path %q", path)
	if r.RawToken == "" {
		return nil, noToken()
	}
	if r.Token == nil {
		return nil, invalidToken()
	}
	t := c.mounts()
	ns, rest := t.split(r.Namespace, path)
	m := t.find(ns, rest)
	if m == nil || !c.maySee(r, m) {
		return nil, refusal
	}
	info := m.info()
	info["path"] = shown(m, strings.HasPrefix(m.Path, "auth/"))
	if ns != r.Namespace { // then Vault names the table of the mount as well
		info["path"] = strings.TrimPrefix(ns, r.Namespace) + m.Path
	}
	return engine.OK(info)
}

func (c *Core) resultantACL(r *engine.Request) (*engine.Response, error) {
	a := c.aclOf(r.Token)
	exact, glob := map[string]any{}, map[string]any{}
	for _, rule := range a.rules {
		entry := map[string]any{"capabilities": rule.caps}
		if rule.glob {
			glob[rule.path] = entry
		} else {
			exact[rule.path] = entry
		}
	}
	return engine.OK(map[string]any{"root": a.root, "exact_paths": exact, "glob_paths": glob})
}

func listNamespaces(r *engine.Request) (*engine.Response, error) {
	info := map[string]any{}
	keys := r.Tx.Shared(namespacesBucket).List(r.Namespace)
	for _, k := range keys {
		info[k] = namespaceInfo(r, r.Namespace+k)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return engine.OK(map[string]any{"keys": keys, "key_info": info})
}

func namespaceInfo(r *engine.Request, path string) map[string]any {
	var stored map[string]any
	if !r.Tx.Shared(namespacesBucket).Get(path, &stored) {
		return nil
	}
	stored["path"], stored["custom_metadata"] = path, map[string]any{}
	return stored
}

func readNamespace(r *engine.Request) (*engine.Response, error) {
	info := namespaceInfo(r, r.Namespace+r.Param("path")+"/")
	if info == nil {
		return nil, nil
	}
	return engine.OK(info)
}

func createNamespace(r *engine.Request) (*engine.Response, error) {
	path := r.Namespace + r.Param("path") + "/"
	if strings.Contains(r.Param("path"), "/") {
		return nil, engine.BadRequest("cannot create nested namespace %q", path)
	}
	if !r.Tx.Shared(namespacesBucket).Has(path) {
		if err := bootstrapNamespace(r.Tx, path); err != nil {
			return nil, fmt.Errorf("creating namespace %s: %w", path, err)
		}
	}
	return engine.OK(namespaceInfo(r, path))
}

func deleteNamespace(r *engine.Request) (*engine.Response, error) {
	path := r.Namespace + r.Param("path") + "/"
	for _, bucket := range []string{mountsBucket, policiesBucket} {
		v := r.Tx.Shared(bucket)
		for _, k := range v.Keys(path + "|") {
			if err := v.Delete(k); err != nil {
				return nil, err
			}
		}
	}
	return engine.Done(r.Tx.Shared(namespacesBucket).Delete(path))
}
