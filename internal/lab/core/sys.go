package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

type ops = map[engine.Operation]engine.Handler

// sysEngine is sys/, without what the front answers itself.
func (c *Core) sysEngine() *engine.Engine {
	var routes []engine.Route
	routes = append(routes, c.mountRoutes()...)
	routes = append(routes, c.policyRoutes()...)
	routes = append(routes, c.leaseRoutes()...)
	routes = append(routes, c.wrappingRoutes()...)
	routes = append(routes, c.toolRoutes()...)
	routes = append(routes, engine.Route{Pattern: "replication/*operation", Pure: true, Ops: ops{engine.Update: c.replicate}})
	return &engine.Engine{Type: "system", Routes: routes}
}

func (c *Core) wrappingRoutes() []engine.Route {
	return []engine.Route{
		{Pattern: "wrapping/wrap", Pure: true, Ops: ops{engine.Update: wrapData}},
		{Pattern: "wrapping/unwrap", Pure: true, Ops: ops{engine.Update: c.unwrap}},
		{Pattern: "wrapping/rewrap", Pure: true, Ops: ops{engine.Update: c.rewrap}},
		{Pattern: "wrapping/lookup", Pure: true, Public: true, Ops: ops{engine.Update: c.wrappingLookup, engine.Read: c.wrappingLookup}},
	}
}

func (c *Core) toolRoutes() []engine.Route {
	return []engine.Route{
		{Pattern: "capabilities-self", Pure: true, Ops: ops{engine.Update: c.capabilitiesSelf}},
		{Pattern: "capabilities", Pure: true, Ops: ops{engine.Update: c.capabilitiesOf}},
		{Pattern: "capabilities-accessor", Pure: true, Ops: ops{engine.Update: c.capabilitiesOf}},
		{Pattern: "tools/random", Pure: true, Ops: ops{engine.Update: RandomBytes}},
		{Pattern: "tools/random/*bytes", Pure: true, Ops: ops{engine.Update: RandomBytes}},
		{Pattern: "tools/hash", Pure: true, Ops: ops{engine.Update: Hash}},
		{Pattern: "tools/hash/:algorithm", Pure: true, Ops: ops{engine.Update: Hash}},
		{Pattern: "monitor", Pure: true, Root: true, Ops: ops{engine.Read: c.monitor}},
		{Pattern: "seal", Root: true, Ops: ops{engine.Update: c.sealNow}},
		{Pattern: "step-down", Root: true, Ops: ops{engine.Update: func(*engine.Request) (*engine.Response, error) { return nil, nil }}},
		{Pattern: "namespaces", Ops: ops{engine.List: listNamespaces}},
		{Pattern: "namespaces/*path", Ops: ops{engine.Read: readNamespace, engine.Update: createNamespace, engine.Delete: deleteNamespace}},
	}
}

func (c *Core) replicate(r *engine.Request) (*engine.Response, error) {
	if c.cfg.Replicate == nil {
		return nil, engine.NoPath()
	}
	a := c.aclOf(r.Token)
	return c.cfg.Replicate(r.Param("operation"), a.root || slices.Contains(a.capabilities("sys/"+r.Path), "sudo"), r)
}

func (c *Core) monitor(*engine.Request) (*engine.Response, error) {
	return &engine.Response{Stream: func(ctx context.Context, write func([]byte) error) error {
		return c.lines.stream(ctx, write)
	}}, nil
}

func (c *Core) sealNow(*engine.Request) (*engine.Response, error) {
	if c.cfg.Seal != nil {
		c.cfg.Seal()
	}
	return nil, nil
}

func (c *Core) capabilitiesSelf(r *engine.Request) (*engine.Response, error) {
	return c.capabilities(r, r.Token)
}

func (c *Core) capabilitiesOf(r *engine.Request) (*engine.Response, error) {
	t, kind := c.lookup(r.String("token")), "token"
	if r.Has("accessor") {
		t, kind = c.byAccessor(r.String("accessor")), "accessor"
	}
	if t == nil {
		return nil, engine.Wrapped("invalid %s", kind)
	}
	return c.capabilities(r, t)
}

func (c *Core) capabilities(r *engine.Request, t *engine.Token) (*engine.Response, error) {
	paths := append(r.Strings("paths"), r.Strings("path")...)
	if len(paths) == 0 {
		return nil, engine.BadRequest("paths must be supplied")
	}
	a, out := c.aclOf(t), map[string]any{}
	rel := strings.TrimPrefix(r.Namespace, t.Namespace)
	for _, p := range paths {
		out[p] = a.capabilities(rel + p)
	}
	if len(paths) == 1 {
		out["capabilities"] = out[paths[0]]
	}
	return engine.OK(out)
}

// RandomBytes answers tools/random and transit/random.
func RandomBytes(r *engine.Request) (*engine.Response, error) {
	n := 32
	for _, s := range append(strings.Split(r.Param("bytes"), "/"), r.String("bytes")) {
		if v, err := strconv.Atoi(s); err == nil {
			n = v
		}
	}
	switch format := r.String("format"); {
	case n < 1:
		return nil, engine.BadRequest(`"bytes" cannot be less than 1`)
	case n > 128*1024:
		return nil, engine.BadRequest(`"bytes" should be less than 131072`)
	case format != "" && format != "hex" && format != "base64":
		return nil, engine.BadRequest(`unsupported encoding format %q; must be "hex" or "base64"`, format)
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return engine.OK(map[string]any{"random_bytes": encode(b, r.String("format"), "base64")})
}

// Hash answers tools/hash and transit/hash.
func Hash(r *engine.Request) (*engine.Response, error) {
	input, err := base64.StdEncoding.DecodeString(r.String("input"))
	if err != nil {
		return nil, engine.BadRequest("unable to decode input as base64: %v", err)
	}
	algorithm := r.Param("algorithm")
	if algorithm == "" {
		algorithm = r.String("algorithm")
	}
	h := newHash(algorithm)
	if h == nil {
		return nil, engine.BadRequest("unsupported algorithm %s", algorithm)
	}
	h.Write(input)
	return engine.OK(map[string]any{"sum": encode(h.Sum(nil), r.String("format"), "hex")})
}

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "", "sha2-256":
		return sha256.New()
	case "sha2-224":
		return sha256.New224()
	case "sha2-384":
		return sha512.New384()
	case "sha2-512":
		return sha512.New()
	default:
		return nil
	}
}

func encode(b []byte, format, otherwise string) string {
	if format == "" {
		format = otherwise
	}
	if format == "hex" {
		return hex.EncodeToString(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}
