package core

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// body is the JSON of an answer in Vault's order.
type body struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	Renewable     bool           `json:"renewable"`
	LeaseDuration int64          `json:"lease_duration"`
	Data          map[string]any `json:"data"`
	WrapInfo      *wrapBody      `json:"wrap_info"`
	Warnings      []string       `json:"warnings"`
	Auth          *authBody      `json:"auth"`
	MountType     string         `json:"mount_type"`
}

type wrapBody struct {
	Token           string `json:"token"`
	Accessor        string `json:"accessor"`
	TTL             int64  `json:"ttl"`
	CreationTime    string `json:"creation_time"`
	CreationPath    string `json:"creation_path"`
	WrappedAccessor string `json:"wrapped_accessor,omitempty"`
}

type authBody struct {
	ClientToken   string            `json:"client_token"`
	Accessor      string            `json:"accessor"`
	Policies      []string          `json:"policies"`
	TokenPolicies []string          `json:"token_policies"`
	Metadata      map[string]string `json:"metadata"`
	LeaseDuration int64             `json:"lease_duration"`
	Renewable     bool              `json:"renewable"`
	EntityID      string            `json:"entity_id"`
	TokenType     string            `json:"token_type"`
	Orphan        bool              `json:"orphan"`
	MFA           any               `json:"mfa_requirement"`
	NumUses       int               `json:"num_uses"`
}

// answer turns what the engine said into a reply: makes the token of a login,
// registers the lease, wraps if asked to.
func (c *Core) answer(j *job, resp *engine.Response) *Reply {
	if j.call.Caller != nil && (resp == nil || resp.Raw == nil && resp.Stream == nil) {
		return &Reply{Status: http.StatusOK, Result: &Result{Response: resp}}
	}
	if resp == nil {
		return empty(j)
	}
	if resp.Stream != nil {
		return &Reply{Status: http.StatusOK, Stream: resp.Stream}
	}
	if err := c.bind(j, resp); err != nil {
		return failure(err)
	}
	if resp.Raw != nil {
		return raw(resp)
	}
	if keys, ok := resp.Data["keys"].([]string); ok && j.Operation == engine.List && len(keys) == 0 {
		return notFound()
	}
	b := c.body(j, resp)
	if ttl := c.wrapTTL(j); ttl > 0 {
		return c.wrapped(j, b, resp, ttl)
	}
	return c.reply(j, resp, b)
}

// bind makes the token or the lease of an answer on this cluster.
func (c *Core) bind(j *job, resp *engine.Response) error {
	if resp.Auth != nil && !resp.Auth.Made {
		if err := c.login(j, resp.Auth); err != nil {
			return err
		}
	}
	if resp.Lease != nil && resp.Lease.ID == "" {
		return c.register(j, resp.Lease)
	}
	return nil
}

func empty(j *job) *Reply {
	if j.Operation == engine.Read || j.Operation == engine.List || j.Operation == engine.Header {
		return notFound()
	}
	return &Reply{Status: http.StatusNoContent, Header: http.Header{"Content-Type": {"application/json"}}}
}

func notFound() *Reply { return failure(&engine.Error{Status: http.StatusNotFound}) }

func raw(resp *engine.Response) *Reply {
	r := &Reply{Status: resp.Status, Header: http.Header{}, Body: resp.Raw}
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	if resp.Type != "" {
		r.Header.Set("Content-Type", resp.Type)
	}
	return r
}

func (c *Core) body(j *job, resp *engine.Response) *body {
	if resp.Wrap != nil {
		return &body{WrapInfo: wrapOf(resp.Wrap)}
	}
	b := &body{RequestID: engine.UUID(), Data: resp.Data, Warnings: resp.Warnings, MountType: j.MountType}
	if l := resp.Lease; l != nil {
		b.LeaseID, b.Renewable, b.LeaseDuration = l.ID, l.Renewable, int64(l.TTL.Seconds())
	}
	if j.MountType == "kv" && j.mount.Options["version"] != "2" && j.Operation == engine.Read {
		b.LeaseDuration = int64(defaultTTL.Seconds())
	}
	if resp.Auth != nil {
		b.Auth = c.authOf(resp.Auth)
	}
	// Vault tells the type only when it has checked a token and all went well.
	if j.route.Public || resp.Status >= http.StatusBadRequest {
		b.MountType = ""
	}
	return b
}

func (c *Core) authOf(a *engine.Auth) *authBody {
	t := a.Token
	left := int64(0)
	if !t.Expires.IsZero() {
		left = int64(t.Expires.Sub(c.cfg.Now()).Round(time.Second).Seconds())
	}
	id := t.ID
	if a.Hidden {
		id = ""
	}
	return &authBody{
		ClientToken: id, Accessor: t.Accessor, Policies: t.Policies, TokenPolicies: t.Policies,
		Metadata: t.Meta, LeaseDuration: left, Renewable: t.Renewable, EntityID: t.EntityID,
		TokenType: t.Type, Orphan: t.Parent == "", NumUses: t.NumUses,
	}
}

func wrapOf(w *engine.Wrap) *wrapBody {
	if w == nil {
		return nil
	}
	return &wrapBody{w.Token, w.Accessor, w.TTL, w.CreationTime.Format(time.RFC3339Nano), w.CreationPath, w.WrappedAccessor}
}

// topRoutes are the system paths whose data Vault repeats at the top level.
func topRoutes() []string {
	return []string{"audit", "auth", "capabilities", "mounts", "policy", "remount", "rotate", "wrapping/wrap"}
}

func (c *Core) reply(j *job, resp *engine.Response, b *body) *Reply {
	status := resp.Status
	if status == 0 {
		status = http.StatusOK
	}
	if !repeatsData(j.full) || len(b.Data) == 0 {
		return jsonReply(status, b)
	}
	top := map[string]any{}
	clone(b, &top)
	maps.Copy(top, b.Data)
	return jsonReply(status, top)
}

func repeatsData(path string) bool {
	rest, ok := strings.CutPrefix(path, "sys/")
	for _, p := range topRoutes() {
		if ok && (rest == p || strings.HasPrefix(rest, p+"/") || p == "capabilities" && strings.HasPrefix(rest, p+"-")) {
			return true
		}
	}
	return false
}

func jsonReply(status int, v any) *Reply {
	raw, err := json.Marshal(v)
	if err != nil {
		return failure(err)
	}
	return &Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: append(raw, '\n')}
}

// failure is the answer to an error.
func failure(err error) *Reply {
	var e *engine.Error
	if !errors.As(err, &e) {
		e = engine.Errorf(http.StatusInternalServerError, "1 error occurred:\n\t* %v\n\n", err)
	}
	if e.Data != nil {
		return jsonReply(e.Status, &body{RequestID: engine.UUID(), Data: e.Data})
	}
	messages := e.Messages
	if messages == nil {
		messages = []string{}
	}
	return jsonReply(e.Status, map[string]any{"errors": messages})
}
