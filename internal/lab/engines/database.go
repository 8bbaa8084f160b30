package engines

import (
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// Database is the engine for dynamic database users. The databases are
// imaginary: a user exists as long as it is in the mount's local storage.
func Database() *engine.Engine {
	return &engine.Engine{Type: "database", Revoke: dropUser, Routes: []engine.Route{
		{Pattern: "config", Ops: list("config/")},
		{Pattern: "config/:name", Ops: record("config/", "name", shared, func(r *engine.Request, d map[string]any) {
			copyFields(r, d, "plugin_name", "allowed_roles", "connection_url", "verify_connection")
			d["connection_details"] = map[string]any{"connection_url": d["connection_url"], "username": r.String("username")}
		})},
		{Pattern: "roles", Ops: list("roles/")},
		{Pattern: "roles/:name", Ops: record("roles/", "name", shared, databaseRole)},
		{Pattern: "creds/:role", Ops: ops{engine.Read: createUser}},
		{Pattern: "static-roles", Ops: list("static/")},
		{Pattern: "static-roles/:name", Ops: record("static/", "name", shared, staticRole)},
		{Pattern: "static-creds/:name", Ops: ops{engine.Read: staticUser}},
		{Pattern: "rotate-role/:name", Ops: ops{engine.Update: rotateStatic}},
		{Pattern: "rotate-root/:name", Ops: ops{engine.Update: func(r *engine.Request) (*engine.Response, error) {
			return engine.Done(r.Storage.Put("rotated/"+r.Param("name"), time.Now()))
		}}},
		{Pattern: "reset/:name", Pure: true, Ops: ops{engine.Update: func(*engine.Request) (*engine.Response, error) { return nil, nil }}},
	}}
}

func databaseRole(r *engine.Request, d map[string]any) {
	copyFields(r, d, "db_name", "creation_statements", "revocation_statements")
	for _, name := range []string{"default_ttl", "max_ttl"} {
		if r.Has(name) || d[name] == nil {
			d[name] = seconds(r.Duration(name))
		}
	}
	if s, ok := d["creation_statements"].(string); ok {
		d["creation_statements"] = []string{s}
	}
}

func staticRole(r *engine.Request, d map[string]any) {
	copyFields(r, d, "db_name", "username", "rotation_period", "rotation_statements")
	d["password"], d["last_vault_rotation"] = engine.Random(20), time.Now().UTC()
}

func createUser(r *engine.Request) (*engine.Response, error) {
	name := r.Param("role")
	var role struct {
		DB  string `json:"db_name"`
		TTL int64  `json:"default_ttl"`
		Max int64  `json:"max_ttl"`
	}
	if !r.Storage.Get("roles/"+name, &role) {
		return nil, engine.BadRequest("unknown role: %s", name)
	}
	username := "v-" + clip(r.Token.DisplayName, 8) + "-" + clip(name, 8) + "-" + engine.Random(20)
	if err := r.Local.Put("users/"+username, time.Now().UTC()); err != nil {
		return nil, err
	}
	return &engine.Response{
		Data: map[string]any{"username": username, "password": engine.Random(20)},
		Lease: &engine.Lease{
			TTL: time.Duration(role.TTL) * time.Second, MaxTTL: time.Duration(role.Max) * time.Second, Renewable: true,
			Internal: map[string]string{"username": username},
		},
	}, nil
}

func clip(s string, n int) string {
	return strings.ToLower(s[:min(n, len(s))])
}

func dropUser(r *engine.Request, internal map[string]string) error {
	return r.Local.Delete("users/" + internal["username"])
}

func staticUser(r *engine.Request) (*engine.Response, error) {
	d := map[string]any{}
	if !r.Storage.Get("static/"+r.Param("name"), &d) {
		return nil, engine.BadRequest("unknown role: %s", r.Param("name"))
	}
	return engine.OK(map[string]any{
		"username": d["username"], "password": d["password"], "last_vault_rotation": d["last_vault_rotation"],
		"rotation_period": d["rotation_period"], "ttl": d["rotation_period"],
	})
}

func rotateStatic(r *engine.Request) (*engine.Response, error) {
	d, key := map[string]any{}, "static/"+r.Param("name")
	if !r.Storage.Get(key, &d) {
		return nil, engine.BadRequest("no static role found for role name")
	}
	d["password"], d["last_vault_rotation"] = engine.Random(20), time.Now().UTC()
	return engine.Done(r.Storage.Put(key, d))
}

// SSH is the one-time-password part of the ssh engine.
func SSH() *engine.Engine {
	return &engine.Engine{Type: "ssh", Routes: []engine.Route{
		{Pattern: "roles", Ops: list("roles/")},
		{Pattern: "roles/:name", Ops: record("roles/", "name", shared, func(r *engine.Request, d map[string]any) {
			copyFields(r, d, "key_type", "default_user", "cidr_list")
		})},
		{Pattern: "creds/:name", Pure: true, Ops: ops{engine.Update: sshOTP}},
		{Pattern: "verify", Public: true, Ops: ops{engine.Update: sshVerify}},
	}}
}

func sshOTP(r *engine.Request) (*engine.Response, error) {
	role := map[string]any{}
	if !r.Storage.Get("roles/"+r.Param("name"), &role) {
		return nil, engine.BadRequest("role %q not found", r.Param("name"))
	}
	otp := map[string]any{"ip": r.String("ip"), "username": role["default_user"], "role_name": r.Param("name")}
	key := engine.UUID()
	if err := r.Local.Put("otp/"+key, otp); err != nil {
		return nil, err
	}
	return &engine.Response{
		Data:  map[string]any{"key": key, "key_type": "otp", "ip": otp["ip"], "username": otp["username"], "port": 22},
		Lease: &engine.Lease{},
	}, nil
}

func sshVerify(r *engine.Request) (*engine.Response, error) {
	otp, key := map[string]any{}, "otp/"+r.String("otp")
	if !r.Local.Get(key, &otp) {
		return nil, engine.BadRequest("OTP not found")
	}
	if err := r.Local.Delete(key); err != nil {
		return nil, err
	}
	return engine.OK(otp)
}
