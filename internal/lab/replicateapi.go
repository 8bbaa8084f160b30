package lab

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// The warnings with which Vault answers, word for word.
const (
	enabledPrimary = "This cluster is being enabled as a primary for replication. Vault will be unavailable for a brief period and will resume service shortly."
	foundSecondary = "Vault has successfully found secondary information; it may take a while to perform setup tasks. Vault will be unavailable until these tasks and initial sync complete."
	promoted       = "This cluster is being promoted to a replication primary. Vault will be unavailable for a brief period and will resume service shortly."
	demoted        = "This cluster is being demoted to a replication secondary. Vault will be unavailable for a brief period and will resume service shortly."
)

// tokenTTL is how long an activation token is good.
const tokenTTL = 30 * time.Minute

// activation is what an activation token wraps.
type activation struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Primary string `json:"primary"`
}

// replicate executes a write below sys/replication/. What Vault says to a request in the
// wrong order is not public: those errors are worded here.
func (c *Cluster) replicate(operation string, sudo bool, r *engine.Request) (*engine.Response, error) {
	kind, verb, _ := strings.Cut(operation, "/")
	role := map[string]string{"performance": roleSecondary, "dr": roleDR}[kind]
	if role == "" {
		return nil, engine.NoPath()
	}
	c.lab.mu.Lock()
	defer c.lab.mu.Unlock()
	switch verb {
	case "primary/enable":
		return c.apiEnablePrimary(role, r)
	case "primary/secondary-token":
		return c.apiSecondaryToken(role, sudo, r)
	case "primary/revoke-secondary":
		return c.apiRevoke(role, r)
	case "secondary/enable":
		return c.apiEnableSecondary(role, r)
	case "primary/demote", "primary/disable":
		return c.apiLeave(role, verb)
	case "secondary/promote", "secondary/disable", "secondary/update-primary":
		return c.apiSecondary(role, strings.TrimPrefix(verb, "secondary/"), r.Data)
	}
	return nil, engine.NoPath()
}

func warning(text string) *engine.Response { return &engine.Response{Warnings: []string{text}} }

func (c *Cluster) apiEnablePrimary(role string, r *engine.Request) (*engine.Response, error) {
	switch {
	case c.leads(role):
		return nil, engine.Wrapped("cluster is already a replication primary")
	case role == roleSecondary && c.Role() != roleStandalone:
		return nil, engine.Wrapped("cluster is a replication secondary and must be promoted")
	}
	c.lab.enablePrimary(c, role, r.String("primary_cluster_addr"))
	return warning(enabledPrimary), nil
}

func (c *Cluster) apiSecondaryToken(role string, sudo bool, r *engine.Request) (*engine.Response, error) {
	id, ttl := r.String("id"), r.Duration("ttl")
	switch {
	case !sudo:
		return nil, engine.Errorf(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case id == "":
		return nil, engine.BadRequest("missing id")
	case !c.leads(role):
		return nil, engine.Wrapped("cluster is not a replication primary")
	case c.lab.cfg.UniqueIDs && slices.Contains(c.known(role), id):
		return nil, engine.Wrapped("secondary id %q is in use", id)
	}
	if ttl <= 0 {
		ttl = tokenTTL
	}
	content, _ := json.Marshal(activation{id, role, c.name}) // strings always marshal
	w, err := c.backend.(*simulated).core.Wrap("sys/"+r.Path, content, ttl)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	claims, _ := json.Marshal(map[string]any{ // scalars always marshal
		"accessor": "", "addr": c.Address(), "exp": now.Add(ttl).Unix(), "iat": now.Unix(), "jti": w.Token, "type": "wrapping",
	})
	w.Token = jwt(claims)
	c.issue(role, id)
	return &engine.Response{Wrap: w}, nil
}

func (c *Cluster) apiRevoke(role string, r *engine.Request) (*engine.Response, error) {
	if !c.leads(role) {
		return nil, engine.Wrapped("cluster is not a replication primary")
	}
	c.lab.revoke(c, role, r.String("id"))
	return nil, nil
}

func (c *Cluster) apiEnableSecondary(role string, r *engine.Request) (*engine.Response, error) {
	if c.Role() != roleStandalone || c.leads(roleDR) {
		return nil, engine.Wrapped("replication is enabled on this cluster already")
	}
	primary, a, err := c.redeem(role, r.Data)
	if err != nil {
		return nil, err
	}
	c.lab.joinAs(c, primary, role, a.ID)
	return warning(foundSecondary), nil
}

// redeem takes the activation token to the primary that made it, as a secondary does.
func (c *Cluster) redeem(role string, data map[string]any) (*Cluster, activation, error) {
	var a activation
	addr, token, err := claims(engine.Text(data["token"]))
	if err != nil {
		return nil, a, engine.Wrapped("error parsing secondary token: %v", err)
	}
	if own := engine.Text(data["primary_api_addr"]); own != "" {
		addr = own
	}
	i := slices.IndexFunc(c.lab.clusters, func(o *Cluster) bool { return o.Address() == strings.TrimSuffix(addr, "/") })
	if i < 0 || !c.lab.clusters[i].reachable() || c.lab.clusters[i].copying() || !c.reachable() {
		return nil, a, engine.Errorf(http.StatusInternalServerError,
			"1 error occurred:\n\t* error unwrapping secondary token: Post \"%s/v1/sys/wrapping/unwrap\": dial tcp %s: i/o timeout\n\n", addr, strings.TrimPrefix(addr, "http://"))
	}
	primary := c.lab.clusters[i]
	content, err := primary.backend.(*simulated).core.Unwrap(token)
	if err != nil || json.Unmarshal(content, &a) != nil || a.Role != role || !primary.leads(role) {
		return nil, a, engine.Errorf(http.StatusInternalServerError,
			"1 error occurred:\n\t* error response unwrapping secondary token; status code is 400, message is \"400 Bad Request\"\n\n")
	}
	return primary, a, nil
}

var errNoJWT = errors.New("not a JWT")

func claims(token string) (addr, id string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", errNoJWT
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", fmt.Errorf("decoding claims: %w", err)
	}
	var c struct{ Addr, JTI string }
	err = json.Unmarshal(raw, &c)
	return c.Addr, c.JTI, err
}

// apiLeave takes the place of a primary from a cluster.
func (c *Cluster) apiLeave(role, verb string) (*engine.Response, error) {
	if !c.leads(role) {
		return nil, engine.Wrapped("cluster is not a replication primary")
	}
	if verb == "primary/demote" {
		c.lab.demoteAs(c, role)
		return warning(demoted), nil
	}
	c.lab.disableAs(c, role)
	return nil, nil
}

// apiSecondary changes the place of a secondary.
func (c *Cluster) apiSecondary(role, verb string, data map[string]any) (*engine.Response, error) {
	if c.Role() != role {
		return nil, engine.Wrapped("cluster is not a replication secondary")
	}
	switch verb {
	case "promote":
		if c.behind() && engine.Text(data["force"]) != "true" {
			return nil, engine.Errorf(http.StatusServiceUnavailable, "replication is still catching up, try again later or provide the \"force\" argument")
		}
		c.lab.promoteAs(c, role, engine.Text(data["primary_cluster_addr"]))
		return warning(promoted), nil
	case "disable":
		c.lab.disableAs(c, role)
		return nil, nil
	}
	primary, a, err := c.redeem(role, data)
	if err != nil {
		return nil, err
	}
	c.lab.retarget(c, primary, a.ID)
	return warning(foundSecondary), nil
}

// behind reports whether a secondary has not copied its primary yet.
func (c *Cluster) behind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.repl.copied(time.Now())
}

func jsonBody(r *http.Request) map[string]any {
	raw, _ := io.ReadAll(r.Body) // it was read into memory before, see ServeHTTP
	return object(raw)
}

func object(raw []byte) map[string]any {
	out := map[string]any{}
	_ = json.Unmarshal(raw, &out) // nothing in it: the fields are missing
	return out
}

// drAnswer returns the handler of a request that a DR secondary answers, or nil. What
// those do is allowed by an operation token, not by a Vault token.
func (c *Cluster) drAnswer(call *core.Call) func(http.ResponseWriter) {
	verb, ok := strings.CutPrefix(call.Path, "sys/replication/dr/secondary/")
	if !ok || c.Role() != roleDR || c.State() == "sealed" || c.copying() {
		return nil
	}
	data := object(call.Body)
	switch verb {
	case "generate-operation-token/attempt":
		return func(w http.ResponseWriter) { c.serveAttempt(w, call.Method) }
	case "generate-operation-token/update":
		return func(w http.ResponseWriter) { c.serveShare(w, data) }
	case "promote", "disable", "update-primary", "operation-token/delete":
		return func(w http.ResponseWriter) { c.serveDR(w, verb, data) }
	}
	return nil
}

func (c *Cluster) copying() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repl.busy(time.Now())
}

// serveAttempt begins, shows or cancels the making of an operation token.
func (c *Cluster) serveAttempt(w http.ResponseWriter, method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch method {
	case http.MethodDelete:
		c.repl.attempt = nil
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPut, http.MethodPost:
		if c.repl.attempt != nil {
			writeError(w, http.StatusBadRequest, "root generation already in progress")
			return
		}
		c.repl.attempt = &attempt{engine.UUID(), otpFor("hvs." + strings.Repeat("x", 24))}
		writeJSON(w, http.StatusOK, c.repl.attempt.status(c.repl.attempt.otp))
		return
	}
	writeJSON(w, http.StatusOK, c.repl.attempt.status(""))
}

func (a *attempt) status(otp string) map[string]any {
	out := map[string]any{
		"nonce": "", "started": a != nil, "progress": 0, "required": 1, "complete": false,
		"encoded_token": "", "encoded_root_token": "", "pgp_fingerprint": "", "otp": otp, "otp_length": 28,
	}
	if a != nil {
		out["nonce"] = a.nonce
	}
	return out
}

// serveShare takes the only share of the key.
func (c *Cluster) serveShare(w http.ResponseWriter, data map[string]any) {
	right := c.opens(data["key"])
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.repl.attempt
	switch {
	case a == nil:
		writeError(w, http.StatusBadRequest, "no root generation in progress")
	case engine.Text(data["nonce"]) != a.nonce:
		writeError(w, http.StatusBadRequest, fmt.Sprintf("incorrect nonce supplied; nonce for this root generation operation is %q", a.nonce))
	case !right:
		c.repl.attempt = nil
		writeError(w, http.StatusBadRequest, "root generation failed, invalid key")
	default:
		c.repl.drToken, c.repl.attempt = "hvs."+engine.Random(24), nil
		out := a.status("")
		out["progress"], out["complete"], out["encoded_token"] = 1, true, padded(c.repl.drToken, a.otp)
		writeJSON(w, http.StatusOK, out)
	}
}

// serveDR does what an operation token allows.
func (c *Cluster) serveDR(w http.ResponseWriter, verb string, data map[string]any) {
	c.mu.Lock()
	good := c.repl.drToken != "" && engine.Text(data["dr_operation_token"]) == c.repl.drToken
	c.mu.Unlock()
	if !good {
		writeError(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	}
	if verb == "operation-token/delete" {
		c.set(func() { c.repl.drToken = "" })
		w.WriteHeader(http.StatusNoContent)
		return
	}
	c.lab.mu.Lock()
	resp, err := c.apiSecondary(roleDR, verb, data)
	c.lab.mu.Unlock()
	var e *engine.Error
	switch {
	case errors.As(err, &e):
		writeError(w, e.Status, e.Messages...)
	case resp == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"request_id": engine.UUID(), "data": nil, "warnings": resp.Warnings})
	}
}
