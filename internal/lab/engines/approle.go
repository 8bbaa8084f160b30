package engines

import (
	"net/http"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

type appRole struct {
	Name         string        `json:"name"`
	RoleID       string        `json:"role_id"`
	BindSecret   bool          `json:"bind_secret_id"`
	SecretUses   int           `json:"secret_id_num_uses"`
	SecretTTL    time.Duration `json:"secret_id_ttl"`
	LocalSecrets bool          `json:"local_secret_ids"`
	tokenFields
}

type secretID struct {
	Accessor string            `json:"accessor"`
	Uses     int               `json:"uses"` // 0: any number
	Created  time.Time         `json:"created"`
	Expires  time.Time         `json:"expires"`
	Meta     map[string]string `json:"meta"`
}

// AppRole is the auth method for machines.
func AppRole() *engine.Engine {
	return &engine.Engine{Type: "approle", Routes: []engine.Route{
		{Pattern: "role", Ops: list("role/")},
		{Pattern: "role/:role", Exists: roleExists, Ops: ops{engine.Read: roleRead, engine.Update: roleWrite, engine.Delete: roleDelete}},
		{Pattern: "role/:role/role-id", Ops: ops{engine.Read: roleIDRead, engine.Update: roleIDWrite}},
		{Pattern: "role/:role/secret-id", Ops: ops{engine.Update: secretCreate, engine.List: secretList}},
		{Pattern: "role/:role/custom-secret-id", Ops: ops{engine.Update: secretCreate}},
		{Pattern: "role/:role/secret-id/lookup", Ops: ops{engine.Update: secretLookup}},
		{Pattern: "role/:role/secret-id/destroy", Ops: ops{engine.Update: secretDestroy, engine.Delete: secretDestroy}},
		{Pattern: "login", Public: true, Ops: ops{engine.Update: appLogin}},
	}}
}

func roleKey(r *engine.Request) string { return "role/" + strings.ToLower(r.Param("role")) }

func roleExists(r *engine.Request) bool { return r.Storage.Has(roleKey(r)) }

func loadRole(r *engine.Request) (*appRole, error) {
	role := &appRole{}
	if !r.Storage.Get(roleKey(r), role) {
		return nil, engine.Errorf(http.StatusNotFound, "role %q does not exist", r.Param("role"))
	}
	return role, nil
}

func roleRead(r *engine.Request) (*engine.Response, error) {
	role := &appRole{}
	if !r.Storage.Get(roleKey(r), role) {
		return nil, nil
	}
	data := role.show()
	data["bind_secret_id"], data["local_secret_ids"] = role.BindSecret, role.LocalSecrets
	data["secret_id_num_uses"], data["secret_id_ttl"] = role.SecretUses, seconds(role.SecretTTL)
	data["secret_id_bound_cidrs"] = nil
	return engine.OK(data)
}

func roleWrite(r *engine.Request) (*engine.Response, error) {
	role := &appRole{Name: strings.ToLower(r.Param("role")), RoleID: engine.UUID(), BindSecret: true}
	r.Storage.Get(roleKey(r), role)
	role.apply(r)
	if r.Has("bind_secret_id") {
		role.BindSecret = r.Bool("bind_secret_id")
	}
	if r.Has("secret_id_num_uses") {
		role.SecretUses = r.Int("secret_id_num_uses")
	}
	if r.Has("secret_id_ttl") {
		role.SecretTTL = r.Duration("secret_id_ttl")
	}
	if r.Has("local_secret_ids") {
		role.LocalSecrets = r.Bool("local_secret_ids")
	}
	return engine.Done(saveRole(r, role, ""))
}

// saveRole stores the role and the way from its role id to it.
func saveRole(r *engine.Request, role *appRole, oldID string) error {
	if err := r.Storage.Put("role/"+role.Name, role); err != nil {
		return err
	}
	if oldID != "" {
		if err := r.Storage.Delete("id/" + oldID); err != nil {
			return err
		}
	}
	return r.Storage.Put("id/"+role.RoleID, role.Name)
}

func roleDelete(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, nil // deleting what is not there is no error
	}
	if err := r.Storage.Delete("id/" + role.RoleID); err != nil {
		return nil, err
	}
	return engine.Done(r.Storage.Delete(roleKey(r)))
}

func roleIDRead(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, nil // reading what is not there is a 404
	}
	return engine.OK(map[string]any{"role_id": role.RoleID})
}

func roleIDWrite(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, err
	}
	if err := hasField(r, "role_id"); err != nil {
		return nil, err
	}
	old := role.RoleID
	role.RoleID = r.String("role_id")
	return engine.Done(saveRole(r, role, old))
}

// secrets is where a role's secret ids are: replicated, unless the role says local.
func (a *appRole) secrets(r *engine.Request) store.View {
	if a.LocalSecrets {
		return r.Local
	}
	return r.Storage
}

func (a *appRole) secretKey(r *engine.Request, id string) string {
	return "secret/" + a.Name + "/" + digest(r.Accessor, id)
}

func secretCreate(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, err
	}
	id := r.String("secret_id")
	if id == "" {
		id = engine.UUID()
	}
	s := secretID{Accessor: engine.UUID(), Uses: role.SecretUses, Created: time.Now().UTC(), Meta: r.Meta("metadata")}
	if r.Has("num_uses") {
		s.Uses = r.Int("num_uses")
	}
	ttl := role.SecretTTL
	if r.Has("ttl") {
		ttl = r.Duration("ttl")
	}
	if ttl > 0 {
		s.Expires = s.Created.Add(ttl)
	}
	if err := role.secrets(r).Put(role.secretKey(r, id), s); err != nil {
		return nil, err
	}
	return engine.OK(map[string]any{
		"secret_id": id, "secret_id_accessor": s.Accessor, "secret_id_ttl": seconds(ttl), "secret_id_num_uses": s.Uses,
	})
}

func secretList(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, err
	}
	var accessors []string
	for _, k := range role.secrets(r).Keys("secret/" + role.Name + "/") {
		var s secretID
		role.secrets(r).Get(k, &s)
		accessors = append(accessors, s.Accessor)
	}
	return engine.Listed(accessors)
}

func secretLookup(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, err
	}
	var s secretID
	if !role.secrets(r).Get(role.secretKey(r, r.String("secret_id")), &s) {
		return nil, nil
	}
	meta := s.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return engine.OK(map[string]any{
		"secret_id_accessor": s.Accessor, "secret_id_num_uses": s.Uses, "creation_time": s.Created,
		"last_updated_time": s.Created, "expiration_time": s.Expires, "metadata": meta, "secret_id_ttl": seconds(role.SecretTTL),
		"cidr_list": []string{}, "token_bound_cidrs": []string{},
	})
}

func secretDestroy(r *engine.Request) (*engine.Response, error) {
	role, err := loadRole(r)
	if err != nil {
		return nil, err
	}
	return engine.Done(role.secrets(r).Delete(role.secretKey(r, r.String("secret_id"))))
}

func appLogin(r *engine.Request) (*engine.Response, error) {
	refused := engine.BadRequest("invalid role or secret ID")
	if r.String("role_id") == "" {
		return nil, engine.Errorf(http.StatusInternalServerError, "failed to determine alias name from login request")
	}
	var name string
	role := &appRole{}
	if !r.Storage.Get("id/"+r.String("role_id"), &name) || !r.Storage.Get("role/"+name, role) {
		return nil, refused
	}
	meta := map[string]string{"role_name": role.Name}
	if role.BindSecret && r.String("secret_id") == "" {
		return nil, engine.BadRequest("missing secret_id")
	}
	if role.BindSecret {
		s, err := role.spend(r, r.String("secret_id"))
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, refused
		}
		for k, v := range s.Meta {
			meta[k] = v
		}
	}
	return role.auth(strings.TrimSuffix(display(r, ""), "-"), role.RoleID, meta), nil
}

// spend checks a secret id and takes one use from it. For a limited one that
// is a replicated write, so a secondary has to pass the login on.
func (a *appRole) spend(r *engine.Request, id string) (*secretID, error) {
	s, v, key := &secretID{}, a.secrets(r), a.secretKey(r, id)
	if id == "" || !v.Get(key, s) || !s.Expires.IsZero() && time.Now().After(s.Expires) {
		return nil, nil
	}
	switch s.Uses {
	case 0:
		return s, nil
	case 1:
		return s, v.Delete(key)
	default:
		s.Uses--
		return s, v.Put(key, s)
	}
}
