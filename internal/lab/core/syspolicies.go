package core

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

func (c *Core) policyRoutes() []engine.Route {
	var routes []engine.Route
	for _, base := range []string{"policies/acl", "policy"} {
		old := base == "policy"
		routes = append(routes,
			engine.Route{Pattern: base, Ops: ops{engine.List: listPolicies(old), engine.Read: listPolicies(old)}},
			engine.Route{Pattern: base + "/:name", Ops: ops{
				engine.Read: readPolicy(old), engine.Update: c.writePolicy, engine.Delete: deletePolicy}},
		)
	}
	return routes
}

func listPolicies(old bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		names := r.Tx.Shared(policiesBucket).Keys(r.Namespace + "|")
		for i := range names {
			names[i] = strings.TrimPrefix(names[i], r.Namespace+"|")
		}
		if r.Namespace == "" {
			names = append(names, "root")
		}
		slices.Sort(names)
		data := map[string]any{"keys": names}
		if old {
			data["policies"] = names
		}
		return engine.OK(data)
	}
}

func policyKey(r *engine.Request) string {
	return r.Namespace + "|" + strings.ToLower(r.Param("name"))
}

func readPolicy(old bool) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		var text string
		name := strings.ToLower(r.Param("name"))
		if name != "root" && !r.Tx.Shared(policiesBucket).Get(policyKey(r), &text) {
			return nil, nil
		}
		if old {
			return engine.OK(map[string]any{"name": name, "rules": text})
		}
		return engine.OK(map[string]any{"name": name, "policy": text})
	}
}

func (c *Core) writePolicy(r *engine.Request) (*engine.Response, error) {
	text := r.String("policy")
	if text == "" {
		text = r.String("rules")
	}
	if text == "" {
		return nil, engine.BadRequest("'policy' parameter not supplied or empty")
	}
	if r.Param("name") == "root" {
		return nil, engine.BadRequest("cannot update \"root\" policy")
	}
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		text = string(raw)
	}
	if _, err := parsePolicy(text); err != nil {
		return nil, engine.BadRequest("%v", err)
	}
	return engine.Done(r.Tx.Shared(policiesBucket).Put(policyKey(r), text))
}

func deletePolicy(r *engine.Request) (*engine.Response, error) {
	if name := r.Param("name"); name == "root" || name == "default" {
		return nil, engine.BadRequest("cannot delete %s policy", map[string]string{"root": `"root"`, "default": "default"}[name])
	}
	return engine.Done(r.Tx.Shared(policiesBucket).Delete(policyKey(r)))
}

func (c *Core) leaseRoutes() []engine.Route {
	var routes []engine.Route
	for _, base := range []string{"leases/", ""} {
		routes = append(routes,
			engine.Route{Pattern: base + "renew", Pure: true, Ops: ops{engine.Update: c.leaseRenew}},
			engine.Route{Pattern: base + "renew/*id", Pure: true, Ops: ops{engine.Update: c.leaseRenew}},
			engine.Route{Pattern: base + "revoke", Pure: true, Ops: ops{engine.Update: c.leaseRevoke}},
			engine.Route{Pattern: base + "revoke/*id", Pure: true, Ops: ops{engine.Update: c.leaseRevoke}},
			engine.Route{Pattern: base + "revoke-prefix/*prefix", Pure: true, Ops: ops{engine.Update: c.leaseRevokePrefix}},
			engine.Route{Pattern: base + "revoke-force/*prefix", Pure: true, Ops: ops{engine.Update: c.leaseRevokePrefix}},
		)
	}
	return append(routes,
		engine.Route{Pattern: "leases/lookup", Pure: true, Ops: ops{engine.Update: c.leaseLookup, engine.List: listLeases}},
		engine.Route{Pattern: "leases/lookup/*prefix", Pure: true, Ops: ops{engine.List: listLeases, engine.Update: c.leaseLookup}},
	)
}

// leaseID is in the body or in the path.
func leaseID(r *engine.Request) string {
	if id := r.String("lease_id"); id != "" {
		return id
	}
	if id := r.String("url_lease_id"); id != "" {
		return id
	}
	return r.Param("id")
}

func (c *Core) leaseRenew(r *engine.Request) (*engine.Response, error) {
	id := leaseID(r)
	if id == "" {
		return nil, engine.BadRequest("lease_id must be specified")
	}
	return c.renewLease(r, id, r.Duration("increment"))
}

func (c *Core) leaseRevoke(r *engine.Request) (*engine.Response, error) {
	id := leaseID(r)
	if id == "" {
		return nil, engine.BadRequest("lease_id must be specified")
	}
	c.revokeLease(r.Tx, id)
	return nil, nil
}

func (c *Core) leaseRevokePrefix(r *engine.Request) (*engine.Response, error) {
	c.revokePrefix(r.Tx, r.Param("prefix")+"/")
	return nil, nil
}

func listLeases(r *engine.Request) (*engine.Response, error) {
	prefix := r.Param("prefix")
	if prefix != "" {
		prefix += "/"
	}
	return engine.Listed(r.Tx.Local(leasesBucket).List(prefix))
}

func (c *Core) leaseLookup(r *engine.Request) (*engine.Response, error) {
	id := leaseID(r)
	if id == "" {
		id = r.Param("prefix")
	}
	if id == "" {
		return nil, engine.BadRequest("lease_id must be specified")
	}
	e := c.lease(r.Tx, id)
	if e == nil {
		return nil, engine.BadRequest("invalid lease")
	}
	data := map[string]any{
		"id": id, "issue_time": e.Issued, "expire_time": e.Expires, "last_renewal": nil,
		"ttl": int64(e.Expires.Sub(c.cfg.Now()).Round(time.Second).Seconds()), "renewable": e.Renewable,
	}
	if !e.LastRenewal.IsZero() {
		data["last_renewal"] = e.LastRenewal
	}
	return engine.OK(data)
}
