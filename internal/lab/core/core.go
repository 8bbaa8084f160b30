// Package core is the inside of one simulated cluster: tokens, policies,
// mounts, leases, wrapping, and the way of a request to its engine.
package core

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// Config describes a Core. Store, Name and ID are required.
type Config struct {
	Store   *store.Store
	Name    string
	ID      string                    // cluster id
	Key     []byte                    // shared by the replication set: batch tokens, X-Vault-Index
	NoIndex bool                      // no X-Vault-Index
	OwnIdx  bool                      // only an index of this cluster is compared
	Engines map[string]*engine.Engine // by mount type; kv version 2 is "kv2"
	Seal    func()                    // called for sys/seal, may be nil
	Now     func() time.Time          // the cluster's clock; default: the true one

	// Replicate executes a write below sys/replication/, may be nil. sudo says whether
	// the token has that capability on the path.
	Replicate func(operation string, sudo bool, r *engine.Request) (*engine.Response, error)
}

// Forward executes a call at the primary, and fails when it can't be reached.
type Forward func(context.Context, *Call) (*Reply, error)

// Core executes requests against one cluster's storage. It is safe for concurrent use.
type Core struct {
	cfg     Config
	engines map[string]*engine.Engine
	locks   sync.Map // mount uuid → *sync.RWMutex
	tokens  sync.Mutex
	key     atomic.Pointer[[]byte] // of the replication set the cluster is in
	table   atomic.Pointer[table]
	acls    sync.Map // policy text → []rule
	lines   broadcast
}

// New returns a core over cfg.Store, which may be empty; see Bootstrap.
func New(cfg Config) *Core {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Core{cfg: cfg, engines: map[string]*engine.Engine{}}
	c.SetKey(cfg.Key)
	for name, e := range cfg.Engines {
		c.engines[name] = e
	}
	c.engines["system"] = c.sysEngine()
	c.engines["token"] = c.tokenEngine()
	c.engines["cubbyhole"] = cubbyholeEngine()
	c.engines["identity"] = &engine.Engine{Type: "identity"}
	return c
}

// SetKey takes over the key of a replication set.
func (c *Core) SetKey(key []byte) { c.key.Store(&key) }

// Key is the key of the replication set.
func (c *Core) Key() []byte { return *c.key.Load() }

func (c *Core) tx() *store.Tx { return &store.Tx{Store: c.cfg.Store} }

// job is one request on its way through the core.
type job struct {
	*engine.Request
	call   *Call
	mount  *Mount
	engine *engine.Engine
	route  *engine.Route
	full   string // path below the namespace

	primary uint64 // replicated position of the primary that executed it
	passed  int    // writes there
}

// Execute answers one call. With forward nil a write that belongs to the
// primary is refused.
func (c *Core) Execute(ctx context.Context, call *Call, forward Forward) *Reply {
	j := &job{call: call}
	reply := c.run(ctx, j, forward)
	if j.Request != nil {
		reply.Namespace, reply.Path = j.Namespace, j.full
	}
	c.finish(j, reply)
	c.lines.send(call.Method + " " + call.Path)
	return reply
}

func (c *Core) run(ctx context.Context, j *job, forward Forward) *Reply {
	if err := c.prepare(j); err != nil {
		return failure(err)
	}
	used, err := c.admit(j)
	if err != nil {
		return failure(err)
	}
	defer used()
	passed := false
	resp, err := c.handle(j)
	if errors.Is(err, store.ErrReadOnly) {
		passed = true
		resp, err = c.passOn(ctx, j, forward)
	}
	if err != nil {
		return failure(err)
	}
	reply := c.answer(j, resp)
	reply.PassedOn = passed
	return reply
}

// prepare finds the mount and the route of a call.
func (c *Core) prepare(j *job) error {
	var err error
	if err = c.checkIndex(j.call.Header.Values("X-Vault-Index")); err != nil {
		return err
	}
	if j.Request, err = parse(j.call); err != nil {
		return err
	}
	j.Tx = c.tx()
	if j.call.Caller != nil {
		j.Token = j.call.Caller.Token
	}
	t := c.mounts()
	j.Namespace, j.full = t.split(j.call.Header.Get("X-Vault-Namespace"), j.Path)
	if _, err := engine.ParseDuration(j.call.Header.Get("X-Vault-Wrap-TTL")); err != nil {
		return engine.BadRequest("error parsing X-Vault-Wrap-TTL header: %v", err)
	}
	j.WrapTTL = c.wrapTTL(j)
	j.mount = t.find(j.Namespace, j.full)
	if j.mount != nil {
		c.enter(j)
	}
	return nil
}

// enter points the request at its mount.
func (c *Core) enter(j *job) {
	m := j.mount
	j.Mount, j.MountType, j.Accessor = m.Path, m.Type, m.Accessor
	j.Path = strings.TrimPrefix(j.full, m.Path)
	j.Local = j.Tx.Local("m/" + m.UUID)
	j.Storage = j.Local
	if !m.Local {
		j.Storage = j.Tx.Shared("m/" + m.UUID)
	}
	j.engine = c.engines[m.engineName()]
	if j.engine != nil {
		j.route, j.Params = j.engine.Match(j.Path)
	}
}

// handle runs the engine under the lock of its mount.
func (c *Core) handle(j *job) (*engine.Response, error) {
	if j.mount == nil || j.engine == nil {
		return nil, engine.Errorf(http.StatusNotFound,
			"no handler for route %q. route entry not found.", j.Namespace+j.full)
	}
	if j.route == nil {
		return nil, engine.NoPath()
	}
	h := j.route.Ops[j.Operation]
	if h == nil && j.route.Public {
		return nil, engine.Errorf(http.StatusMethodNotAllowed, "unsupported operation")
	}
	if h == nil {
		return nil, engine.Unsupported()
	}
	if j.route.Forward && !c.ownsShared(j) {
		return nil, store.ErrReadOnly
	}
	defer c.lock(j)()
	return h(j.Request)
}

// ownsShared reports whether a request that has to run where its storage is
// owned may run here.
func (c *Core) ownsShared(j *job) bool {
	return j.mount.Local || c.cfg.Store.Writable()
}

// lock makes changes to a mount exclusive and returns the unlocking.
func (c *Core) lock(j *job) func() {
	v, _ := c.locks.LoadOrStore(j.mount.UUID, &sync.RWMutex{})
	mu := v.(*sync.RWMutex)
	if j.route.Pure || j.Operation == engine.Read || j.Operation == engine.List {
		mu.RLock()
		return mu.RUnlock
	}
	mu.Lock()
	return mu.Unlock
}

// passOn hands the request to the primary, the way a secondary does when it
// meets storage that it may not write.
func (c *Core) passOn(ctx context.Context, j *job, forward Forward) (*engine.Response, error) {
	if forward == nil {
		return nil, engine.Errorf(http.StatusInternalServerError, "1 error occurred:\n\t* cannot write to readonly storage\n\n")
	}
	call := *j.call
	call.Header = j.call.Header.Clone()
	call.Header.Del("X-Vault-Wrap-TTL") // the cluster that answers wraps
	call.Header.Del("X-Vault-Index")    // it was satisfied here
	call.Caller = &Caller{Token: j.Token}
	reply, err := forward(ctx, &call)
	if err != nil {
		return nil, engine.Errorf(http.StatusInternalServerError, "1 error occurred:\n\t* rpc error: code = Unavailable desc = %v\n\n", err)
	}
	j.primary = reply.Position.Replicated
	j.passed = reply.Writes
	if reply.Result != nil {
		return reply.Result.Response, nil
	}
	return &engine.Response{Status: reply.Status, Raw: reply.Body, Type: reply.Header.Get("Content-Type")}, nil
}
