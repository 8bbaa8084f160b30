package engines

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

func kvReadMeta(r *engine.Request) (*engine.Response, error) {
	m := kvLoad(r)
	if m == nil {
		return nil, nil
	}
	versions := map[string]any{}
	for s, v := range m.Versions {
		versions[s] = map[string]any{"created_time": v.Created, "deletion_time": stamp(v.Deleted), "destroyed": v.Destroyed,
			"created_by": v.CreatedBy, "deleted_by": v.DeletedBy}
	}
	return engine.OK(map[string]any{
		"cas_required": m.CASRequired, "created_time": m.Created, "current_version": m.Current,
		"custom_metadata": custom(m), "delete_version_after": span(m.DeleteAfter), "max_versions": m.Max,
		"oldest_version": m.Oldest, "updated_time": m.Updated, "versions": versions,
		"last_updated_by": m.UpdatedBy,
	})
}

// span writes a duration as Vault does.
func span(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	return d.String()
}

func kvWriteMeta(r *engine.Request) (*engine.Response, error) {
	m := kvLoad(r)
	if m == nil {
		now := time.Now().UTC()
		m = &kvMeta{Created: now, Updated: now, Versions: map[string]*kvVersion{}}
	}
	if r.Has("max_versions") {
		m.Max = r.Int("max_versions")
	}
	if r.Has("cas_required") {
		m.CASRequired = r.Bool("cas_required")
	}
	if r.Has("delete_version_after") {
		m.DeleteAfter = r.Duration("delete_version_after")
	}
	if r.Has("custom_metadata") {
		m.CustomMetadata = r.Meta("custom_metadata")
	}
	return engine.Done(kvSave(r, m))
}

func kvDeleteMeta(r *engine.Request) (*engine.Response, error) {
	for _, k := range r.Storage.Keys("data/" + r.Param("path") + "/") {
		if strings.Count(k, "/") != strings.Count(kvDataKey(r, 0), "/") {
			continue // a key below this one
		}
		if err := r.Storage.Delete(k); err != nil {
			return nil, err
		}
	}
	return engine.Done(r.Storage.Delete("meta/" + r.Param("path")))
}

// kvMount is the configuration of a mount.
type kvMount struct {
	Max         int           `json:"max_versions"`
	CASRequired bool          `json:"cas_required"`
	DeleteAfter time.Duration `json:"delete_after"`
}

func kvConfig(r *engine.Request) kvMount {
	var c kvMount
	r.Storage.Get("config", &c)
	return c
}

func kvReadConfig(r *engine.Request) (*engine.Response, error) {
	c := kvConfig(r)
	return engine.OK(map[string]any{
		"max_versions": json.Number(strconv.Itoa(c.Max)), "cas_required": c.CASRequired, "delete_version_after": span(c.DeleteAfter),
	})
}

func kvWriteConfig(r *engine.Request) (*engine.Response, error) {
	c := kvConfig(r)
	if r.Has("max_versions") {
		c.Max = r.Int("max_versions")
	}
	if r.Has("cas_required") {
		c.CASRequired = r.Bool("cas_required")
	}
	if r.Has("delete_version_after") {
		c.DeleteAfter = r.Duration("delete_version_after")
	}
	return engine.Done(r.Storage.Put("config", c))
}
