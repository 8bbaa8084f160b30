package core

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// Mount is a secrets engine or auth method at a path.
type Mount struct {
	Namespace   string            `json:"namespace"`
	Path        string            `json:"path"` // with auth/ for auth methods, and a slash
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Accessor    string            `json:"accessor"`
	UUID        string            `json:"uuid"`
	Local       bool              `json:"local"`
	Options     map[string]string `json:"options"`
	Config      MountConfig       `json:"config"`
}

// MountConfig is what sys/mounts/:path/tune changes.
type MountConfig struct {
	DefaultTTL int64  `json:"default_lease_ttl"`
	MaxTTL     int64  `json:"max_lease_ttl"`
	Visibility string `json:"listing_visibility"`
}

// engineName tells the two versions of kv apart.
func (m *Mount) engineName() string {
	if m.Type == "kv" && m.Options["version"] == "2" {
		return "kv2"
	}
	return m.Type
}

func (m *Mount) key() string { return m.Namespace + "|" + m.Path }

const (
	mountsBucket     = "core/mounts"
	namespacesBucket = "core/namespaces"
)

// table is the mounts and namespaces as of one state of the storage.
type table struct {
	version    [3]uint64
	namespaces []string // longest first, without the root
	mounts     map[string][]*Mount
}

// mounts returns the current table; it is read again only after a change.
func (c *Core) mounts() *table {
	version := c.mountVersion()
	if t := c.table.Load(); t != nil && t.version == version {
		return t
	}
	tx := c.tx()
	t := &table{version: version, mounts: map[string][]*Mount{}}
	t.namespaces = tx.Shared(namespacesBucket).Keys("")
	slices.SortFunc(t.namespaces, func(a, b string) int { return len(b) - len(a) })
	t.load(tx.Shared(mountsBucket))
	t.load(tx.Local(mountsBucket))
	c.table.Store(t)
	return t
}

func (c *Core) mountVersion() [3]uint64 {
	s := c.cfg.Store
	return [3]uint64{
		s.Version(store.Bucket{Name: mountsBucket}),
		s.Version(store.Bucket{Name: mountsBucket, Local: true}),
		s.Version(store.Bucket{Name: namespacesBucket}),
	}
}

func (t *table) load(v store.View) {
	for _, k := range v.Keys("") {
		m := &Mount{}
		if v.Get(k, m) {
			t.mounts[m.Namespace] = append(t.mounts[m.Namespace], m)
		}
	}
}

// split joins the namespace header with the path and takes the longest
// namespace off the front.
func (t *table) split(header, path string) (ns, rest string) {
	full := path
	if h := strings.Trim(header, "/"); h != "" && h != "root" {
		full = h + "/" + path
	}
	for _, n := range t.namespaces {
		if rest, ok := strings.CutPrefix(full, n); ok {
			return n, rest
		}
	}
	return "", full
}

// find returns the mount with the longest path that begins the given one.
func (t *table) find(ns, path string) *Mount {
	var best *Mount
	for _, m := range t.mounts[ns] {
		if strings.HasPrefix(path+"/", m.Path) && (best == nil || len(m.Path) > len(best.Path)) {
			best = m
		}
	}
	return best
}

// list returns the mounts of a namespace, auth methods or secrets engines.
func (t *table) list(ns string, auth bool) []*Mount {
	var out []*Mount
	for _, m := range t.mounts[ns] {
		if strings.HasPrefix(m.Path, "auth/") == auth {
			out = append(out, m)
		}
	}
	return out
}

// mountAt writes a new mount.
func mountAt(tx *store.Tx, m Mount) error {
	normalise(&m)
	if m.Local {
		return tx.Local(mountsBucket).Put(m.key(), m)
	}
	return tx.Shared(mountsBucket).Put(m.key(), m)
}

func normalise(m *Mount) {
	if version, ok := strings.CutPrefix(m.Type, "kv-v"); ok {
		m.Type = "kv"
		m.Options = maps.Clone(m.Options)
		if m.Options == nil {
			m.Options = map[string]string{}
		}
		m.Options["version"] = version
	}
	if m.UUID == "" {
		m.UUID = engine.UUID()
	}
	if m.Accessor == "" {
		kind := m.Type
		if strings.HasPrefix(m.Path, "auth/") {
			kind = "auth_" + m.Type
		}
		m.Accessor = kind + "_" + engine.UUID()[:8]
	}
}

// makeNamespace writes a namespace with the mounts that every one has.
func makeNamespace(tx *store.Tx, ns string) error {
	if ns != "" {
		if err := tx.Shared(namespacesBucket).Put(ns, map[string]string{"id": engine.Random(5), "uuid": engine.UUID()}); err != nil {
			return err
		}
	}
	for _, m := range []Mount{
		{Path: "sys/", Type: "system", Description: "system endpoints used for control, policy and debugging"},
		{Path: "identity/", Type: "identity", Description: "identity store"},
		{Path: "cubbyhole/", Type: "cubbyhole", Description: "per-token private secret storage"},
		{Path: "auth/token/", Type: "token", Description: "token based credentials"},
	} {
		m.Namespace = ns
		if err := mountAt(tx, m); err != nil {
			return err
		}
	}
	return nil
}

// entry is a mount as sys/mounts and sys/auth show it: with the life times that
// it was given, 0 for the system's.
func (m *Mount) entry() map[string]any {
	info := m.info()
	config := info["config"].(map[string]any)
	config["default_lease_ttl"], config["max_lease_ttl"] = m.Config.DefaultTTL, m.Config.MaxTTL
	return info
}

// info is a mount with the life times that apply.
func (m *Mount) info() map[string]any {
	ttl, maxTTL := m.Config.DefaultTTL, m.Config.MaxTTL
	if ttl == 0 {
		ttl = int64(defaultTTL.Seconds())
	}
	if maxTTL == 0 {
		maxTTL = int64(defaultTTL.Seconds())
	}
	config := map[string]any{"default_lease_ttl": ttl, "max_lease_ttl": maxTTL, "force_no_cache": false}
	if m.Config.Visibility != "" {
		config["listing_visibility"] = m.Config.Visibility
	}
	if strings.HasPrefix(m.Path, "auth/") {
		config["token_type"] = "default-service"
	}
	info := map[string]any{
		"type": m.Type, "description": m.Description, "accessor": m.Accessor, "uuid": m.UUID,
		"local": m.Local || m.Type == "cubbyhole", "options": m.options(), "config": config, "seal_wrap": m.Type == "system",
		"external_entropy_access": false, "plugin_version": "", "running_sha256": "",
		"running_plugin_version": pluginVersion(m.Type),
	}
	switch m.Type {
	case "system":
		config["passthrough_request_headers"] = []string{"Accept"}
	case "identity":
		config["passthrough_request_headers"] = []string{"Authorization"}
	case "cubbyhole", "token":
	default:
		info["deprecation_status"] = "supported"
	}
	return info
}

// pluginVersion tells the plugins that Vault takes from other repositories.
func pluginVersion(kind string) string {
	switch kind {
	case "kv", "jwt":
		return "v0.25.0+builtin"
	case "kubernetes":
		return "v0.23.1+builtin"
	default:
		return "v1.21.1+builtin.vault"
	}
}

func (m *Mount) options() any {
	if m.Options == nil {
		return nil
	}
	return m.Options
}

// clone copies a value through JSON.
func clone(v, into any) {
	raw, _ := json.Marshal(v)
	_ = json.Unmarshal(raw, into) // was encoded just now
}
