package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

const cubbyBucket = "core/cubbyhole" // keys token/path

// wrapInfo is what sys/wrapping/lookup tells.
type wrapInfo struct {
	TTL  int64     `json:"creation_ttl"`
	Time time.Time `json:"creation_time"`
	Path string    `json:"creation_path"`
}

func (c *Core) wrapTTL(j *job) time.Duration {
	if j.full == "sys/wrapping/unwrap" || j.full == "sys/wrapping/lookup" || j.full == "sys/wrapping/rewrap" {
		return 0
	}
	ttl, _ := engine.ParseDuration(j.call.Header.Get("X-Vault-Wrap-TTL"))
	return ttl
}

// wrapped puts the answer into a new wrapping token's cubbyhole.
func (c *Core) wrapped(j *job, b *body, resp *engine.Response, ttl time.Duration) *Reply {
	content, err := json.Marshal(b)
	if err != nil {
		return failure(err)
	}
	w, err := c.wrap(j.Tx, j.Namespace, j.full, content, ttl)
	if err != nil {
		return failure(err)
	}
	if resp.Auth != nil {
		w.WrappedAccessor = resp.Auth.Token.Accessor
	}
	return jsonReply(http.StatusOK, &body{WrapInfo: wrapOf(w)})
}

// wrap makes a token of one use that holds the content.
func (c *Core) wrap(tx *store.Tx, ns, path string, content []byte, ttl time.Duration) (*engine.Wrap, error) {
	t := &engine.Token{
		Policies: []string{"response-wrapping"}, Path: path, NumUses: 1, Type: "service", Namespace: ns,
		ExplicitMax: ttl, OnlyWrapping: true,
	}
	c.life(t, ttl, ttl)
	if err := c.issue(tx, t); err != nil {
		return nil, err
	}
	cubby := tx.Local(cubbyBucket)
	if err := cubby.Put(t.ID+"/response", map[string]any{"response": string(content)}); err != nil {
		return nil, err
	}
	if err := cubby.Put(t.ID+"/wrapinfo", wrapInfo{int64(ttl.Seconds()), t.Created, path}); err != nil {
		return nil, err
	}
	return &engine.Wrap{Token: t.ID, Accessor: t.Accessor, TTL: int64(ttl.Seconds()), CreationTime: t.Created, CreationPath: path}, nil
}

// Wrap puts content behind a token of one use.
func (c *Core) Wrap(path string, content []byte, ttl time.Duration) (*engine.Wrap, error) {
	return c.wrap(c.tx(), "", path, content, ttl)
}

// Unwrap gives the content of a wrapping token and ends the token.
func (c *Core) Unwrap(token string) ([]byte, error) {
	if t := c.lookup(token); t == nil || !t.OnlyWrapping {
		return nil, badWrapping()
	}
	content, _, err := c.takeWrapped(&engine.Request{Data: map[string]any{"token": token}, Tx: c.tx()})
	return []byte(content), err
}

// checkWrappingToken refuses, before anything else, a wrapping token that is
// not one of this cluster, as Vault does.
func (c *Core) checkWrappingToken(j *job) error {
	switch j.full {
	case "sys/wrapping/lookup", "sys/wrapping/unwrap", "sys/wrapping/rewrap":
	default:
		return nil
	}
	if t := c.lookup(wrappingToken(j.Request)); t == nil || !t.OnlyWrapping {
		return badWrapping()
	}
	return nil
}

func badWrapping() error {
	return engine.BadRequest("wrapping token is not valid or does not exist")
}

// wrappingToken is the token to unwrap: in the body, or the caller's own.
func wrappingToken(r *engine.Request) string {
	if t := r.String("token"); t != "" {
		return t
	}
	return r.RawToken
}

// takeWrapped reads the content of a wrapping token and ends the token. A
// token in the body has its only use taken here, an own one already lost it.
func (c *Core) takeWrapped(r *engine.Request) (string, *wrapInfo, error) {
	id := wrappingToken(r)
	if id != r.RawToken || r.Token == nil {
		if _, ok := c.takeUse(id); !ok {
			return "", nil, badWrapping()
		}
	}
	var held struct {
		Response string `json:"response"`
	}
	info := &wrapInfo{}
	cubby := r.Tx.Local(cubbyBucket)
	if !cubby.Get(id+"/response", &held) || !cubby.Get(id+"/wrapinfo", info) {
		return "", nil, badWrapping()
	}
	c.revokeTree(r.Tx, id)
	return held.Response, info, nil
}

func (c *Core) unwrap(r *engine.Request) (*engine.Response, error) {
	content, _, err := c.takeWrapped(r)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Raw: append(bytes.TrimSpace([]byte(content)), '\n'), Type: "application/json"}, nil
}

func (c *Core) rewrap(r *engine.Request) (*engine.Response, error) {
	content, info, err := c.takeWrapped(r)
	if err != nil {
		return nil, err
	}
	w, err := c.wrap(r.Tx, r.Namespace, info.Path, []byte(content), time.Duration(info.TTL)*time.Second)
	if err != nil {
		return nil, err
	}
	return &engine.Response{Wrap: w}, nil
}

func (c *Core) wrappingLookup(r *engine.Request) (*engine.Response, error) {
	info := &wrapInfo{}
	if !r.Tx.Local(cubbyBucket).Get(wrappingToken(r)+"/wrapinfo", info) {
		return nil, badWrapping()
	}
	return engine.OK(map[string]any{"creation_path": info.Path, "creation_time": info.Time, "creation_ttl": info.TTL})
}

// wrapData answers what it is given; the wrapping itself is the header's work.
func wrapData(r *engine.Request) (*engine.Response, error) {
	if r.WrapTTL <= 0 {
		return nil, engine.BadRequest("endpoint requires response wrapping to be used")
	}
	return engine.OK(r.Data)
}

func cubbyholeEngine() *engine.Engine {
	return &engine.Engine{Type: "cubbyhole", Routes: []engine.Route{{
		Pattern: "*path",
		Exists:  func(r *engine.Request) bool { return cubby(r).Has(cubbyKey(r)) },
		Ops: map[engine.Operation]engine.Handler{
			engine.Read: cubbyRead,
			engine.List: func(r *engine.Request) (*engine.Response, error) {
				return engine.Listed(cubby(r).List(cubbyKey(r)))
			},
			engine.Update: func(r *engine.Request) (*engine.Response, error) {
				if len(r.Data) == 0 {
					return nil, errors.New("missing data fields")
				}
				return engine.Done(cubby(r).Put(cubbyKey(r), r.Data))
			},
			engine.Delete: func(r *engine.Request) (*engine.Response, error) {
				return engine.Done(cubby(r).Delete(cubbyKey(r)))
			},
		},
	}}}
}

func cubby(r *engine.Request) store.View { return r.Tx.Local(cubbyBucket) }

func cubbyKey(r *engine.Request) string {
	if r.Token == nil {
		return "/" + r.Path
	}
	return r.Token.ID + "/" + r.Path
}

func cubbyRead(r *engine.Request) (*engine.Response, error) {
	data := map[string]any{}
	if !cubby(r).Get(cubbyKey(r), &data) {
		return nil, nil
	}
	return engine.OK(data)
}
