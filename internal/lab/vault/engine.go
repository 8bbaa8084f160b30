package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// writeWithin bounds a shared write. It is not ended with the client's request:
// its outcome has to be known, or the clusters would differ.
const writeWithin = 30 * time.Second

// Config describes an Engine. All but NoIndex is required.
type Config struct {
	Server  *Server
	ID      string // of the cluster
	Key     []byte // shared by the set: X-Vault-Index
	NoIndex bool
	Seal    func() // called for sys/seal
	OnWrite func() // called after each shared write; must not block
}

// Engine executes requests on a Vault process. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	server   *Server
	log      log
	writable atomic.Bool
	writing  sync.Mutex // one shared write at a time: the log has Vault's order
	table    atomic.Pointer[mounts]
}

// New returns an engine on a server; Learn has to be called once it runs.
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg, server: cfg.Server}
}

// Learn reads what the engine has to know of its Vault.
func (e *Engine) Learn(ctx context.Context) error {
	t, err := e.server.learnMounts(ctx)
	if err == nil {
		e.table.Store(&t)
	}
	return err
}

func (e *Engine) mountTable() mounts {
	if t := e.table.Load(); t != nil {
		return *t
	}
	return nil
}

// SetWritable says whether this is the primary.
func (e *Engine) SetWritable(w bool) { e.writable.Store(w) }

// Position is how many statements were executed.
func (e *Engine) Position() store.Position {
	n := e.log.len()
	return store.Position{Local: n, Replicated: n}
}

// Execute answers one call. A reply with status 0 means that the process went
// away under it.
func (e *Engine) Execute(ctx context.Context, call *core.Call, forward core.Forward) *core.Reply {
	path, err := url.PathUnescape(call.Path)
	if err != nil {
		path = call.Path // Vault will refuse it
	}
	reply := e.checkIndex(call)
	if reply == nil {
		reply = e.run(ctx, call, path, forward)
	}
	if reply.Header == nil {
		reply.Header = http.Header{}
	}
	have, reached := e.Position(), reply.Position // reached: at the primary, when it was passed on
	reply.Path, reply.Position = path, have
	if (reply.Writes > 0 || reply.PassedOn) && call.Caller == nil && !e.cfg.NoIndex {
		reply.Header.Set("X-Vault-Index", e.index(have.Local, max(have.Replicated, reached.Replicated)))
	}
	return reply
}

// checkIndex refuses a call whose required state is not here yet.
func (e *Engine) checkIndex(call *core.Call) *core.Reply {
	for _, required := range call.Header.Values("X-Vault-Index") {
		switch ok, err := e.present(required); {
		case err != nil:
			return failure(http.StatusBadRequest, "error parsing required index state: "+err.Error())
		case !ok:
			return failure(http.StatusPreconditionFailed, "required index state not present")
		}
	}
	return nil
}

func (e *Engine) run(ctx context.Context, call *core.Call, path string, forward core.Forward) *core.Reply {
	r := requestOf(call)
	switch e.mountTable().fateOf(r.Method, path, r.Body) {
	case refused:
		return failure(http.StatusBadRequest, "Vault Community processes behind the laboratory's replication can't agree on "+path)
	case shared:
		return e.change(ctx, call, r, path, forward)
	}
	switch {
	case path == "sys/seal" && writes(r.Method):
		return e.seal(ctx, r)
	case path == "sys/monitor":
		return &core.Reply{Status: http.StatusOK, Stream: func(ctx context.Context, write func([]byte) error) error {
			return e.server.Stream(ctx, r, write)
		}}
	default:
		return e.pass(ctx, r)
	}
}

// change makes a write that all clusters shall see, where it belongs.
func (e *Engine) change(ctx context.Context, call *core.Call, r Request, path string, forward core.Forward) *core.Reply {
	wrap := r.Header.Get("X-Vault-Wrap-TTL")
	r.Header.Del("X-Vault-Wrap-TTL") // the statement needs to see the answer
	var reply *core.Reply
	switch {
	case call.Caller != nil: // a secondary has checked the rights
		r.Header.Set("X-Vault-Token", e.server.cfg.RootToken)
		return e.write(ctx, r, path)
	case e.writable.Load():
		reply = e.write(ctx, r, path)
	default:
		reply = e.passOn(ctx, call, r, path, forward)
	}
	if wrap != "" && reply.Status == http.StatusOK {
		return e.wrapped(ctx, reply, wrap)
	}
	return reply
}

// write executes a shared write and notes it.
func (e *Engine) write(ctx context.Context, r Request, path string) *core.Reply {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	defer cancel()
	e.writing.Lock()
	defer e.writing.Unlock()
	answer, err := e.server.Do(ctx, r)
	if err != nil {
		return &core.Reply{}
	}
	reply := replyOf(answer)
	if answer.Status >= http.StatusMultipleChoices {
		return reply
	}
	s, err := e.statementOf(ctx, r, path, answer)
	if err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	if err := e.noted(ctx, s, path); err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	reply.Writes = 1
	e.cfg.OnWrite()
	return reply
}

// noted adds an executed statement to the log.
func (e *Engine) noted(ctx context.Context, s statement, path string) error {
	e.log.add(s)
	if changesMounts(path) {
		return e.Learn(ctx)
	}
	return nil
}

// passOn sends a write to the primary, after this Vault has said that the
// caller may do it.
func (e *Engine) passOn(ctx context.Context, call *core.Call, r Request, path string, forward core.Forward) *core.Reply {
	if r.Header.Get("X-Vault-Token") == "" || forward == nil {
		return e.pass(ctx, r) // without a token Vault refuses it, and without a primary there is no other way
	}
	if refusal := e.refusal(ctx, r, path); refusal != nil {
		return refusal
	}
	on := *call
	on.Header = r.Header.Clone()
	on.Caller = &core.Caller{}
	reply, err := forward(ctx, &on)
	if err == nil && reply.Status == 0 {
		err = ErrDown
	}
	if err != nil {
		return failure(http.StatusInternalServerError, fmt.Sprintf("1 error occurred:\n\t* rpc error: code = Unavailable desc = %v\n\n", err))
	}
	reply.PassedOn = reply.Writes > 0
	return reply
}

// refusal is what this Vault says to a caller who may not write to a path, nil
// when he may. Rules about parameters are not looked at.
func (e *Engine) refusal(ctx context.Context, r Request, path string) *core.Reply {
	body, err := json.Marshal(map[string]any{"paths": []string{path}})
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	answer, err := e.server.Do(ctx, Request{Method: http.MethodPost, Path: "sys/capabilities-self", Body: body,
		Header: http.Header{"X-Vault-Token": {r.Header.Get("X-Vault-Token")}}})
	if err != nil {
		return &core.Reply{}
	}
	if answer.Status != http.StatusOK {
		return replyOf(answer)
	}
	var said struct {
		Data struct {
			Capabilities []string `json:"capabilities"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	if slices.ContainsFunc(said.Data.Capabilities, func(c string) bool { return suffices(c, r.Method) }) {
		return nil
	}
	return failure(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
}

// suffices reports whether a capability allows a method. Whether a write
// creates or updates is not known here, so that either will do.
func suffices(capability, method string) bool {
	switch method {
	case http.MethodDelete:
		return capability == "delete" || capability == "root"
	case http.MethodPatch:
		return capability == "patch" || capability == "root"
	default:
		return capability == "create" || capability == "update" || capability == "root"
	}
}

// wrapped puts an answer into a wrapping token of this Vault.
func (e *Engine) wrapped(ctx context.Context, reply *core.Reply, ttl string) *core.Reply {
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(reply.Body, &answer); err != nil || len(answer.Data) == 0 {
		return reply
	}
	got, err := e.server.Do(ctx, Request{Method: http.MethodPost, Path: "sys/wrapping/wrap", Body: answer.Data,
		Header: http.Header{"X-Vault-Token": {e.server.cfg.RootToken}, "X-Vault-Wrap-Ttl": {ttl}}})
	if err != nil {
		return &core.Reply{}
	}
	reply.Status, reply.Body = got.Status, got.Body
	return reply
}

// seal lets the front seal the cluster for who may do it. The process stays
// unsealed.
func (e *Engine) seal(ctx context.Context, r Request) *core.Reply {
	if refusal := e.refusal(ctx, r, "sys/seal"); refusal != nil {
		return refusal
	}
	e.cfg.Seal()
	return &core.Reply{Status: http.StatusNoContent}
}

func (e *Engine) pass(ctx context.Context, r Request) *core.Reply {
	answer, err := e.server.Do(ctx, r)
	if err != nil {
		return &core.Reply{}
	}
	return replyOf(answer)
}

// Forget revokes a token.
func (e *Engine) Forget(ctx context.Context, token string) error {
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return err
	}
	return e.server.call(ctx, e.server.cfg.RootToken, http.MethodPost, "auth/token/revoke", string(body), nil)
}

func requestOf(call *core.Call) Request {
	h := call.Header.Clone()
	h.Del("X-Vault-Index") // Community knows nothing of it
	return Request{Method: call.Method, Path: call.Path, Query: call.Query, Header: h, Body: call.Body}
}

func replyOf(r *Response) *core.Reply {
	return &core.Reply{Status: r.Status, Header: r.Header, Body: r.Body}
}

func failure(status int, message string) *core.Reply {
	raw, _ := json.Marshal(map[string]any{"errors": []string{message}}) // strings always can be
	return &core.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: raw}
}
