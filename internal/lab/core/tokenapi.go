package core

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// tokenEngine is auth/token.
func (c *Core) tokenEngine() *engine.Engine {
	update := func(h engine.Handler) map[engine.Operation]engine.Handler {
		return map[engine.Operation]engine.Handler{engine.Update: h}
	}
	return &engine.Engine{Type: "token", Routes: []engine.Route{
		{Pattern: "create", Pure: true, Ops: update(c.tokenCreate)},
		{Pattern: "create-orphan", Pure: true, Ops: update(c.tokenCreateOrphan)},
		{Pattern: "create/:role", Pure: true, Ops: update(c.tokenCreateRole)},
		{Pattern: "roles", Ops: map[engine.Operation]engine.Handler{engine.List: listTokenRoles}},
		{Pattern: "roles/:role", Ops: tokenRoleOps()},
		{Pattern: "lookup-self", Pure: true, Ops: map[engine.Operation]engine.Handler{
			engine.Read: c.lookupSelf, engine.Update: c.lookupSelf}},
		{Pattern: "lookup", Pure: true, Ops: map[engine.Operation]engine.Handler{
			engine.Read: c.tokenLookup, engine.Update: c.tokenLookup}},
		{Pattern: "lookup-accessor", Pure: true, Ops: update(c.lookupAccessor)},
		{Pattern: "accessors", Ops: map[engine.Operation]engine.Handler{engine.List: listAccessors}},
		{Pattern: "renew-self", Pure: true, Ops: update(c.renewSelf)},
		{Pattern: "renew", Pure: true, Ops: update(c.tokenRenew)},
		{Pattern: "renew-accessor", Pure: true, Ops: update(c.renewAccessor)},
		{Pattern: "revoke-self", Pure: true, Ops: update(c.revokeSelf)},
		{Pattern: "revoke", Pure: true, Ops: update(c.tokenRevoke)},
		{Pattern: "revoke-accessor", Pure: true, Ops: update(c.revokeAccessor)},
		{Pattern: "revoke-orphan", Pure: true, Ops: update(c.revokeOrphan)},
		{Pattern: "tidy", Pure: true, Ops: update(func(*engine.Request) (*engine.Response, error) {
			return &engine.Response{Status: http.StatusAccepted, Warnings: []string{"Tidy operation successfully started."}}, nil
		})},
	}}
}

func (c *Core) tokenCreate(r *engine.Request) (*engine.Response, error) {
	return c.makeToken(r, tokenRole{Orphan: r.Bool("no_parent")}, "auth/token/create")
}

func (c *Core) tokenCreateOrphan(r *engine.Request) (*engine.Response, error) {
	return c.makeToken(r, tokenRole{Orphan: true}, "auth/token/create-orphan")
}

func (c *Core) tokenCreateRole(r *engine.Request) (*engine.Response, error) {
	var role tokenRole
	if !r.Storage.Get("roles/"+r.Param("role"), &role) {
		return nil, engine.BadRequest("unknown role %s", r.Param("role"))
	}
	return c.makeToken(r, role, "auth/token/create/"+role.Name)
}

// makeToken makes a child of the calling token, or an orphan.
func (c *Core) makeToken(r *engine.Request, role tokenRole, path string) (*engine.Response, error) {
	if r.Token.Type == "batch" {
		return nil, engine.BadRequest("batch tokens cannot create more tokens")
	}
	if r.Token.NumUses != 0 {
		return nil, engine.BadRequest("restricted use token cannot generate child tokens")
	}
	t, err := c.wishedToken(r, role)
	if err != nil {
		return nil, err
	}
	t.Path, t.Role = path, role.Name
	if !role.Orphan {
		t.Parent = r.Token.ID
	}
	if t.Type == "batch" {
		t.Renewable, t.NumUses = false, 0
	}
	if c.isRoot(t) && r.Duration("ttl") == 0 {
		t.Expires, t.TTL, t.Renewable = time.Time{}, 0, false
	}
	if err := c.issue(r.Tx, t); err != nil {
		return nil, err
	}
	return &engine.Response{Auth: &engine.Auth{Token: t, Made: true}}, nil
}

func (c *Core) isRoot(t *engine.Token) bool { return slices.Contains(t.Policies, "root") }

// wishedToken reads the body of a token creation.
func (c *Core) wishedToken(r *engine.Request, role tokenRole) (*engine.Token, error) {
	policies := r.Strings("policies")
	if len(policies) == 0 {
		policies = role.Policies
	}
	if len(policies) == 0 {
		policies = r.Token.Policies
	}
	if err := c.mayGrant(r, policies, role); err != nil {
		return nil, err
	}
	for _, name := range []string{"ttl", "period", "explicit_max_ttl"} {
		if _, err := engine.ParseDuration(r.String(name)); err != nil {
			return nil, engine.BadRequest("%v", err)
		}
	}
	t := &engine.Token{
		Policies: policiesWithDefault(policies, r.Bool("no_default_policy")), Meta: r.Meta("meta"),
		DisplayName: displayName(r.String("display_name")), NumUses: r.Int("num_uses"), Period: r.Duration("period"),
		ExplicitMax: r.Duration("explicit_max_ttl"), Renewable: !r.Has("renewable") || r.Bool("renewable"),
		Type: r.String("type"), Namespace: r.Namespace, EntityID: r.Token.EntityID,
	}
	if t.Type == "" {
		t.Type = role.Type
	}
	if t.Type != "batch" {
		t.Type = "service"
	}
	if c.aclOf(r.Token).root {
		t.ID = r.String("id")
	}
	c.life(t, r.Duration("ttl"), role.MaxTTL)
	return t, nil
}

func displayName(s string) string {
	if s == "" {
		return "token"
	}
	return "token-" + s
}

// mayGrant refuses policies that the parent does not have.
func (c *Core) mayGrant(r *engine.Request, policies []string, role tokenRole) error {
	if c.aclOf(r.Token).root || role.Name != "" {
		return nil
	}
	if r.Has("id") {
		return engine.BadRequest("root or sudo privileges required to specify token id")
	}
	for _, p := range policies {
		if p != "default" && !slices.Contains(r.Token.Policies, p) {
			return engine.BadRequest("child policies must be subset of parent")
		}
	}
	return nil
}

// named returns the token in the body, or the caller's.
func (c *Core) named(r *engine.Request) *engine.Token {
	if id := r.String("token"); id != "" {
		return c.lookup(id)
	}
	return r.Token
}

func (c *Core) lookupSelf(r *engine.Request) (*engine.Response, error) {
	return engine.OK(c.describe(r.Token, true))
}

func (c *Core) tokenLookup(r *engine.Request) (*engine.Response, error) {
	t := c.named(r)
	if t == nil {
		return nil, engine.Errorf(http.StatusForbidden, "bad token")
	}
	return engine.OK(c.describe(t, true))
}

func (c *Core) lookupAccessor(r *engine.Request) (*engine.Response, error) {
	t, err := c.ofAccessor(r)
	if err != nil {
		return nil, err
	}
	return engine.OK(c.describe(t, false))
}

// ofAccessor returns the token of the accessor in the body.
func (c *Core) ofAccessor(r *engine.Request) (*engine.Token, error) {
	accessor := r.String("accessor")
	if accessor == "" {
		return nil, engine.Wrapped("missing accessor")
	}
	if t := c.byAccessor(accessor); t != nil {
		return t, nil
	}
	return nil, engine.Wrapped("invalid accessor")
}

func listAccessors(r *engine.Request) (*engine.Response, error) {
	return engine.Listed(r.Tx.Local(accessorsBucket).Keys(""))
}

// describe is the answer of a token lookup.
func (c *Core) describe(t *engine.Token, withID bool) map[string]any {
	d := map[string]any{
		"id": "", "accessor": t.Accessor, "policies": t.Policies, "path": t.Path, "meta": t.Meta,
		"display_name": t.DisplayName, "num_uses": t.NumUses, "orphan": t.Parent == "",
		"creation_time": t.Created.Unix(), "creation_ttl": int64(t.TTL.Seconds()), "expire_time": nil,
		"ttl": 0, "explicit_max_ttl": int64(t.ExplicitMax.Seconds()), "entity_id": t.EntityID, "type": t.Type,
	}
	if withID {
		d["id"] = t.ID
	}
	if t.Role != "" {
		d["role"] = t.Role
	}
	if t.Period > 0 {
		d["period"] = int64(t.Period.Seconds())
	}
	if t.Namespace != "" {
		d["namespace_path"] = t.Namespace
	}
	c.describeTimes(t, d)
	return d
}

func (c *Core) describeTimes(t *engine.Token, d map[string]any) {
	d["issue_time"], d["renewable"] = t.Created, t.Renewable
	if t.Expires.IsZero() {
		return
	}
	d["expire_time"] = t.Expires
	d["ttl"] = int64(t.Expires.Sub(c.cfg.Now()).Round(time.Second).Seconds())
	if !t.LastRenewal.IsZero() {
		d["last_renewal"], d["last_renewal_time"] = t.LastRenewal, t.LastRenewal.Unix()
	}
}

func (c *Core) renewSelf(r *engine.Request) (*engine.Response, error) { return c.renew(r, r.Token) }

func (c *Core) tokenRenew(r *engine.Request) (*engine.Response, error) {
	t := c.named(r)
	if t == nil {
		return nil, engine.BadRequest("token not found")
	}
	return c.renew(r, t)
}

func (c *Core) renewAccessor(r *engine.Request) (*engine.Response, error) {
	t, err := c.ofAccessor(r)
	if err != nil {
		return nil, err
	}
	resp, err := c.renew(r, t)
	if err != nil {
		return nil, err
	}
	resp.Auth.Hidden = true
	return resp, nil
}

// renew extends a token up to its maximum.
func (c *Core) renew(r *engine.Request, t *engine.Token) (*engine.Response, error) {
	if t.Type == "batch" {
		return nil, engine.BadRequest("batch tokens cannot be renewed")
	}
	if t.Expires.IsZero() {
		return nil, engine.BadRequest("invalid lease ID")
	}
	if !t.Renewable {
		return nil, engine.BadRequest("lease is not renewable")
	}
	want := r.Duration("increment")
	if want <= 0 || t.Period > 0 {
		want = t.TTL
	}
	t.LastRenewal = c.cfg.Now()
	t.Expires = t.LastRenewal.Add(want)
	if t.Period == 0 {
		t.Expires = earlier(t.Expires, t.Created.Add(t.MaxTTL))
	}
	if err := r.Tx.Local(tokensBucket).Put(t.ID, t); err != nil {
		return nil, err
	}
	return &engine.Response{Auth: &engine.Auth{Token: t, Made: true}}, nil
}

func (c *Core) revokeSelf(r *engine.Request) (*engine.Response, error) {
	if r.Token.Type == "batch" {
		return nil, engine.BadRequest("batch tokens cannot be revoked")
	}
	c.revokeTree(r.Tx, r.Token.ID)
	return nil, nil
}

func (c *Core) tokenRevoke(r *engine.Request) (*engine.Response, error) {
	id := r.String("token")
	if id == "" {
		return nil, engine.BadRequest("missing token ID")
	}
	if strings.HasPrefix(id, "hvb.") {
		return nil, engine.BadRequest("batch tokens cannot be revoked")
	}
	c.revokeTree(r.Tx, id)
	return nil, nil
}

func (c *Core) revokeOrphan(r *engine.Request) (*engine.Response, error) {
	t := c.lookup(r.String("token"))
	if t == nil {
		return nil, engine.BadRequest("token to revoke not found")
	}
	c.orphanChildren(r.Tx, t.ID)
	c.revokeOne(r.Tx, t.ID)
	return nil, nil
}

func (c *Core) revokeAccessor(r *engine.Request) (*engine.Response, error) {
	if r.String("accessor") == "" {
		return nil, engine.Wrapped("missing accessor")
	}
	t := c.byAccessor(r.String("accessor"))
	if t == nil {
		return &engine.Response{Warnings: []string{"No token found with this accessor"}}, nil
	}
	c.revokeTree(r.Tx, t.ID)
	return nil, nil
}

// tokenRole is what auth/token/roles/:role holds.
type tokenRole struct {
	Name     string        `json:"name"`
	Policies []string      `json:"allowed_policies"`
	Orphan   bool          `json:"orphan"`
	Type     string        `json:"token_type"`
	MaxTTL   time.Duration `json:"token_explicit_max_ttl"`
}

func listTokenRoles(r *engine.Request) (*engine.Response, error) {
	return engine.Listed(r.Storage.List("roles/"))
}

func tokenRoleOps() map[engine.Operation]engine.Handler {
	return map[engine.Operation]engine.Handler{
		engine.Read: func(r *engine.Request) (*engine.Response, error) {
			data := map[string]any{}
			if !r.Storage.Get("roles/"+r.Param("role"), &data) {
				return nil, nil
			}
			return engine.OK(data)
		},
		engine.Update: func(r *engine.Request) (*engine.Response, error) {
			role := tokenRole{r.Param("role"), r.Strings("allowed_policies"), r.Bool("orphan"), r.String("token_type"), r.Duration("token_explicit_max_ttl")}
			return engine.Done(r.Storage.Put("roles/"+role.Name, role))
		},
		engine.Delete: func(r *engine.Request) (*engine.Response, error) {
			return engine.Done(r.Storage.Delete("roles/" + r.Param("role")))
		},
	}
}
