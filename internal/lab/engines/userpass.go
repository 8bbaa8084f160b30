package engines

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// tokenFields are what every auth method's role says about its tokens.
type tokenFields struct {
	Policies    []string      `json:"token_policies"`
	TTL         time.Duration `json:"token_ttl"`
	MaxTTL      time.Duration `json:"token_max_ttl"`
	Period      time.Duration `json:"token_period"`
	ExplicitMax time.Duration `json:"token_explicit_max_ttl"`
	NumUses     int           `json:"token_num_uses"`
	Type        string        `json:"token_type"`
}

// apply takes over the fields that the body has, under their old names too.
func (t *tokenFields) apply(r *engine.Request) {
	for _, name := range []string{"policies", "token_policies"} {
		if r.Has(name) {
			t.Policies = r.Strings(name)
		}
	}
	durations := map[string]*time.Duration{"ttl": &t.TTL, "token_ttl": &t.TTL, "max_ttl": &t.MaxTTL, "token_max_ttl": &t.MaxTTL,
		"period": &t.Period, "token_period": &t.Period, "token_explicit_max_ttl": &t.ExplicitMax}
	for name, into := range durations {
		if r.Has(name) {
			*into = r.Duration(name)
		}
	}
	if r.Has("token_num_uses") {
		t.NumUses = r.Int("token_num_uses")
	}
	if r.Has("token_type") {
		t.Type = r.String("token_type")
	}
}

func (t *tokenFields) show() map[string]any {
	kind := t.Type
	if kind == "" {
		kind = "default"
	}
	policies := t.Policies
	if policies == nil {
		policies = []string{}
	}
	return map[string]any{
		"token_policies": policies, "token_ttl": seconds(t.TTL), "token_max_ttl": seconds(t.MaxTTL),
		"token_period": seconds(t.Period), "token_explicit_max_ttl": seconds(t.ExplicitMax),
		"token_num_uses": t.NumUses, "token_type": kind, "token_bound_cidrs": []string{}, "token_no_default_policy": false,
	}
}

// auth is a login with these fields.
func (t *tokenFields) auth(display, alias string, meta map[string]string) *engine.Response {
	return &engine.Response{Auth: &engine.Auth{
		DisplayName: display, Alias: alias, Meta: meta, Policies: t.Policies, TTL: t.TTL, MaxTTL: t.MaxTTL,
		Period: t.Period, ExplicitMax: t.ExplicitMax, NumUses: t.NumUses, Type: t.Type,
	}}
}

func seconds(d time.Duration) int64 { return int64(d.Seconds()) }

// display is the display name of a login at a mount.
func display(r *engine.Request, name string) string {
	return strings.TrimSuffix(strings.ReplaceAll(strings.TrimPrefix(r.Mount, "auth/"), "/", "-"), "-") + "-" + name
}

type user struct {
	Hash string `json:"hash"`
	tokenFields
}

// Userpass is the auth method with names and passwords.
func Userpass() *engine.Engine {
	return &engine.Engine{Type: "userpass", Routes: []engine.Route{
		{Pattern: "users", Ops: list("users/")},
		{Pattern: "users/:name", Exists: userExists, Ops: ops{engine.Read: userRead, engine.Update: userWrite, engine.Delete: userDelete}},
		{Pattern: "users/:name/password", Ops: ops{engine.Update: userChange}},
		{Pattern: "users/:name/policies", Ops: ops{engine.Update: userChange}},
		{Pattern: "login/:name", Public: true, Pure: true, Ops: ops{engine.Update: userLogin}},
	}}
}

func userKey(r *engine.Request) string { return "users/" + strings.ToLower(r.Param("name")) }

func userExists(r *engine.Request) bool { return r.Storage.Has(userKey(r)) }

func userRead(r *engine.Request) (*engine.Response, error) {
	var u user
	if !r.Storage.Get(userKey(r), &u) {
		return nil, nil
	}
	return engine.OK(u.show())
}

func userWrite(r *engine.Request) (*engine.Response, error) {
	var u user
	if !r.Storage.Get(userKey(r), &u) {
		if r.String("password") == "" {
			return nil, engine.BadRequest(`"password" or "password_hash" must be supplied`)
		}
	}
	if p := r.String("password"); p != "" {
		u.Hash = digest(r.Accessor, p)
	}
	u.apply(r)
	return engine.Done(r.Storage.Put(userKey(r), u))
}

func userChange(r *engine.Request) (*engine.Response, error) {
	if !userExists(r) {
		return nil, engine.BadRequest("username does not exist")
	}
	return userWrite(r)
}

func userDelete(r *engine.Request) (*engine.Response, error) {
	return engine.Done(r.Storage.Delete(userKey(r)))
}

func userLogin(r *engine.Request) (*engine.Response, error) {
	var u user
	name := strings.ToLower(r.Param("name"))
	if r.String("password") == "" {
		return nil, engine.BadRequest("invalid credentials")
	}
	if !r.Storage.Get(userKey(r), &u) || u.Hash != digest(r.Accessor, r.String("password")) {
		return nil, engine.BadRequest("invalid username or password")
	}
	return u.auth(display(r, name), name, map[string]string{"username": name}), nil
}

// digest hides a password well enough for a laboratory.
func digest(salt, s string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + s))
	return hex.EncodeToString(sum[:])
}

// JWT is a toy form of the jwt and kubernetes methods: a role accepts the
// token text in its "bound_jwt", or in the mount's config as "accepted_jwt";
// without either, any text that is not empty.
func JWT(kind string) *engine.Engine {
	return &engine.Engine{Type: kind, Routes: []engine.Route{
		{Pattern: "config", Ops: record("", "none", shared, func(r *engine.Request, d map[string]any) {
			copyFields(r, d, "accepted_jwt", "kubernetes_host", "jwks_url", "oidc_discovery_url", "default_role", "bound_issuer")
		})},
		{Pattern: "role", Ops: list("role/")},
		{Pattern: "role/:role", Ops: ops{engine.Read: jwtRead, engine.Update: jwtWrite, engine.Delete: jwtDelete}},
		{Pattern: "login", Public: true, Pure: true, Ops: ops{engine.Update: jwtLogin}},
	}}
}

type jwtRole struct {
	Bound string `json:"bound_jwt"`
	tokenFields
}

func jwtRead(r *engine.Request) (*engine.Response, error) {
	var role jwtRole
	if !r.Storage.Get("role/"+r.Param("role"), &role) {
		return nil, nil
	}
	return engine.OK(role.show())
}

func jwtWrite(r *engine.Request) (*engine.Response, error) {
	var role jwtRole
	r.Storage.Get("role/"+r.Param("role"), &role)
	if r.Has("bound_jwt") {
		role.Bound = r.String("bound_jwt")
	}
	role.apply(r)
	return engine.Done(r.Storage.Put("role/"+r.Param("role"), role))
}

func jwtDelete(r *engine.Request) (*engine.Response, error) {
	return engine.Done(r.Storage.Delete("role/" + r.Param("role")))
}

func jwtLogin(r *engine.Request) (*engine.Response, error) {
	if err := hasField(r, "jwt"); err != nil {
		return nil, err
	}
	var role jwtRole
	name := r.String("role")
	if !r.Storage.Get("role/"+name, &role) {
		return nil, engine.BadRequest("invalid role name %q", name)
	}
	var config map[string]any
	r.Storage.Get("", &config)
	for _, want := range []string{role.Bound, engine.Text(config["accepted_jwt"])} {
		if want != "" && want != r.String("jwt") {
			return nil, engine.Errorf(http.StatusForbidden, "permission denied")
		}
	}
	return role.auth(display(r, name), name, map[string]string{"role": name}), nil
}
