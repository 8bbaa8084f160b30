package engines

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// defaultVersions is how many versions are kept when nobody says otherwise.
const defaultVersions = 10

// kvMeta is the metadata of one key.
type kvMeta struct {
	Created        time.Time             `json:"created"`
	Updated        time.Time             `json:"updated"`
	Current        int                   `json:"current"`
	Oldest         int                   `json:"oldest"`
	Max            int                   `json:"max"`
	CASRequired    bool                  `json:"cas_required"`
	DeleteAfter    time.Duration         `json:"delete_after"`
	CustomMetadata map[string]string     `json:"custom_metadata"`
	Versions       map[string]*kvVersion `json:"versions"`
	UpdatedBy      *kvActor              `json:"updated_by"`
}

type kvVersion struct {
	Created   time.Time `json:"created"`
	Deleted   time.Time `json:"deleted"` // zero: not
	Destroyed bool      `json:"destroyed"`
	CreatedBy *kvActor  `json:"created_by"`
	DeletedBy *kvActor  `json:"deleted_by"`
}

// kvActor is who made a change.
type kvActor struct {
	Name      string `json:"actor"`
	ClientID  string `json:"client_id"`
	EntityID  string `json:"entity_id,omitempty"`
	Operation string `json:"operation"`
}

// kvCaller is who makes the request.
func kvCaller(r *engine.Request, operation engine.Operation) *kvActor {
	a := &kvActor{Operation: string(operation)}
	if r.Token == nil {
		return a
	}
	a.Name, a.ClientID, a.EntityID = r.Token.DisplayName, r.Token.EntityID, r.Token.EntityID
	if a.ClientID == "" { // Vault counts a token without an entity by its policies
		a.ClientID = digest("", strings.Join(r.Token.Policies, ","))
	}
	return a
}

// KV2 is version 2 of the key/value engine.
func KV2() *engine.Engine {
	exists := func(r *engine.Request) bool {
		m := kvLoad(r)
		return m != nil && m.Current > 0
	}
	return &engine.Engine{Type: "kv", Routes: []engine.Route{
		{Pattern: "config", Ops: ops{engine.Read: kvReadConfig, engine.Update: kvWriteConfig}},
		{Pattern: "data/*path", Exists: exists, Ops: ops{
			engine.Read: kvRead, engine.Update: kvWrite, engine.Patch: kvPatch, engine.Delete: kvDeleteLatest}},
		{Pattern: "delete/*path", Ops: ops{engine.Update: kvOnVersions("No version number provided", kvMarkDeleted)}},
		{Pattern: "undelete/*path", Ops: ops{engine.Update: kvOnVersions("No version number provided", kvUndelete)}},
		{Pattern: "destroy/*path", Ops: ops{engine.Update: kvOnVersions("no version number provided", kvDestroy)}},
		{Pattern: "subkeys/*path", Ops: ops{engine.Read: kvSubkeys}},
		{Pattern: "metadata", Ops: ops{engine.List: kvList}},
		{Pattern: "metadata/*path", Ops: ops{engine.List: kvList, engine.Read: kvReadMeta,
			engine.Update: kvWriteMeta, engine.Patch: kvWriteMeta, engine.Delete: kvDeleteMeta}},
		{Pattern: "*path", Ops: ops{engine.Read: kvWrongPath, engine.Update: kvWrongPath, engine.List: kvWrongPath, engine.Delete: kvWrongPath}},
	}}
}

// kvWrongPath tells a client of version 1 what it did wrong.
func kvWrongPath(r *engine.Request) (*engine.Response, error) {
	return &engine.Response{Status: http.StatusNotFound, Warnings: []string{fmt.Sprintf(
		"Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv %s' for this operation.",
		map[engine.Operation]string{engine.Read: "get", engine.Update: "put", engine.List: "list", engine.Delete: "delete"}[r.Operation])}}, nil
}

func kvLoad(r *engine.Request) *kvMeta {
	m := &kvMeta{}
	if !r.Storage.Get("meta/"+r.Param("path"), m) {
		return nil
	}
	return m
}

func kvSave(r *engine.Request, m *kvMeta) error {
	return r.Storage.Put("meta/"+r.Param("path"), m)
}

func kvDataKey(r *engine.Request, version int) string {
	return "data/" + r.Param("path") + "/" + strconv.Itoa(version)
}

// kvWhich is the version that a read asks for, 0 for the latest.
func kvWhich(r *engine.Request, m *kvMeta) int {
	if v := r.Int("version"); v > 0 {
		return v
	}
	return m.Current
}

func kvRead(r *engine.Request) (*engine.Response, error) {
	if strings.HasSuffix(r.Path, "/") {
		return kvWrongPath(r)
	}
	m := kvLoad(r)
	if m == nil {
		return nil, nil
	}
	if v := r.String("version"); v != "" {
		if _, err := strconv.ParseInt(v, 0, 64); err != nil {
			return nil, engine.BadRequest("Field validation failed: error converting input for field \"version\": cannot parse '' as int: %v", err)
		}
	}
	n := kvWhich(r, m)
	v := m.Versions[strconv.Itoa(n)]
	if v == nil {
		return nil, nil
	}
	out := map[string]any{"data": nil, "metadata": kvVersionInfo(m, n, v)}
	if v.gone() {
		return nil, notFound(out)
	}
	data := map[string]any{}
	r.Storage.Get(kvDataKey(r, n), &data)
	out["data"] = data
	return engine.OK(out)
}

func (v *kvVersion) gone() bool {
	return v.Destroyed || !v.Deleted.IsZero() && time.Now().After(v.Deleted)
}

func kvVersionInfo(m *kvMeta, n int, v *kvVersion) map[string]any {
	return map[string]any{
		"version": n, "created_time": v.Created, "deletion_time": stamp(v.Deleted),
		"destroyed": v.Destroyed, "custom_metadata": custom(m),
	}
}

func custom(m *kvMeta) any {
	if m.CustomMetadata == nil {
		return nil
	}
	return m.CustomMetadata
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func kvWrite(r *engine.Request) (*engine.Response, error) {
	data, ok := r.Data["data"].(map[string]any)
	if !ok {
		return nil, engine.BadRequest("no data provided")
	}
	m := kvLoad(r)
	if m == nil {
		m = &kvMeta{Created: time.Now().UTC(), Versions: map[string]*kvVersion{}}
	}
	if err := kvCheck(r, m); err != nil {
		return nil, err
	}
	return kvAdd(r, m, data)
}

// kvCheck is the check-and-set.
func kvCheck(r *engine.Request, m *kvMeta) error {
	cas, given := r.Map("options")["cas"]
	if !given {
		if m.CASRequired || kvConfig(r).CASRequired {
			return engine.BadRequest("check-and-set parameter required for this call")
		}
		return nil
	}
	n, err := strconv.Atoi(engine.Text(cas))
	if err != nil {
		return engine.BadRequest("error parsing check-and-set parameter")
	}
	if n != m.Current {
		return engine.BadRequest("check-and-set parameter did not match the current version")
	}
	return nil
}

// kvAdd stores a new version and drops those that are too many.
func kvAdd(r *engine.Request, m *kvMeta, data map[string]any) (*engine.Response, error) {
	n := m.Current + 1
	op := r.Operation
	if m.Current == 0 {
		op = engine.Create
	}
	v := &kvVersion{Created: time.Now().UTC(), CreatedBy: kvCaller(r, op)}
	m.UpdatedBy = v.CreatedBy
	after := m.DeleteAfter
	if after == 0 {
		after = kvConfig(r).DeleteAfter
	}
	if after > 0 {
		v.Deleted = v.Created.Add(after)
	}
	if err := r.Storage.Put(kvDataKey(r, n), data); err != nil {
		return nil, err
	}
	m.Current, m.Updated = n, v.Created
	m.Versions[strconv.Itoa(n)] = v
	if err := kvTrim(r, m); err != nil {
		return nil, err
	}
	if err := kvSave(r, m); err != nil {
		return nil, err
	}
	return engine.OK(kvVersionInfo(m, n, v))
}

func kvTrim(r *engine.Request, m *kvMeta) error {
	keep := m.Max
	if keep == 0 {
		keep = kvConfig(r).Max
	}
	if keep == 0 {
		keep = defaultVersions
	}
	for s := range m.Versions {
		n, _ := strconv.Atoi(s)
		if n > m.Current-keep {
			continue
		}
		delete(m.Versions, s)
		m.Oldest = max(m.Oldest, n+1)
		if err := r.Storage.Delete(kvDataKey(r, n)); err != nil {
			return err
		}
	}
	return nil
}

func kvPatch(r *engine.Request) (*engine.Response, error) {
	change, ok := r.Data["data"].(map[string]any)
	if !ok {
		return nil, engine.BadRequest("no data provided")
	}
	m := kvLoad(r)
	if m == nil || m.Versions[strconv.Itoa(m.Current)] == nil {
		return &engine.Response{Status: http.StatusNotFound, Raw: []byte{}, Type: "application/json"}, nil
	}
	if v := m.Versions[strconv.Itoa(m.Current)]; v.gone() {
		return nil, notFound(kvVersionInfo(m, m.Current, v))
	}
	if err := kvCheck(r, m); err != nil {
		return nil, err
	}
	data := map[string]any{}
	r.Storage.Get(kvDataKey(r, m.Current), &data)
	return kvAdd(r, m, mergePatch(data, change))
}

// mergePatch is RFC 7396.
func mergePatch(into, change map[string]any) map[string]any {
	for k, v := range change {
		sub, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap:
			old, _ := into[k].(map[string]any)
			if old == nil {
				old = map[string]any{}
			}
			into[k] = mergePatch(old, sub)
		default:
			into[k] = v
		}
	}
	return into
}

func kvDeleteLatest(r *engine.Request) (*engine.Response, error) {
	m := kvLoad(r)
	if m == nil {
		return nil, nil
	}
	v := m.Versions[strconv.Itoa(m.Current)]
	if v == nil || v.gone() {
		return nil, nil
	}
	v.Deleted, v.DeletedBy = time.Now().UTC(), kvCaller(r, engine.Delete)
	m.UpdatedBy = v.DeletedBy
	return engine.Done(kvSave(r, m))
}

// kvOnVersions applies a change to the versions in the body.
func kvOnVersions(missing string, change func(*engine.Request, int, *kvVersion) error) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		versions := r.Strings("versions")
		if len(versions) == 0 {
			return nil, engine.BadRequest("%s", missing)
		}
		m := kvLoad(r)
		if m == nil {
			return nil, nil
		}
		for _, s := range versions {
			n, _ := strconv.Atoi(s)
			if v := m.Versions[s]; v != nil {
				if err := change(r, n, v); err != nil {
					return nil, err
				}
			}
		}
		m.UpdatedBy = kvCaller(r, engine.Update)
		return engine.Done(kvSave(r, m))
	}
}

func kvMarkDeleted(r *engine.Request, _ int, v *kvVersion) error {
	if !v.gone() {
		v.Deleted, v.DeletedBy = time.Now().UTC(), kvCaller(r, engine.Update)
	}
	return nil
}

func kvUndelete(_ *engine.Request, _ int, v *kvVersion) error {
	v.Deleted, v.DeletedBy = time.Time{}, nil
	return nil
}

func kvDestroy(r *engine.Request, n int, v *kvVersion) error {
	v.Destroyed = true
	return r.Storage.Delete(kvDataKey(r, n))
}

func kvSubkeys(r *engine.Request) (*engine.Response, error) {
	resp, err := kvRead(r)
	if resp == nil || err != nil {
		return resp, err
	}
	data := resp.Data["data"].(map[string]any)
	return engine.OK(map[string]any{"subkeys": hollow(data), "metadata": resp.Data["metadata"]})
}

// hollow keeps the keys and drops the values.
func hollow(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = nil
		if sub, ok := v.(map[string]any); ok {
			out[k] = hollow(sub)
		}
	}
	return out
}

func kvList(r *engine.Request) (*engine.Response, error) {
	return engine.Listed(r.Storage.List("meta/" + r.Params["path"]))
}
