package core

import (
	"net/http"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

func denied() error {
	return engine.Errorf(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
}

// noToken is the answer to a request that needs a token and has none.
func noToken() error { return engine.Errorf(http.StatusForbidden, "permission denied") }

func invalidToken() error {
	return engine.Errorf(http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
}

// admit checks the caller's token and policies. The function it returns has
// to be called when the request is done.
func (c *Core) admit(j *job) (func(), error) {
	nothing := func() {}
	if j.call.Caller != nil {
		return nothing, nil
	}
	if err := c.checkWrappingToken(j); err != nil {
		return nothing, err
	}
	if j.route != nil && j.route.Public {
		c.attach(j)
		return nothing, nil
	}
	if j.RawToken == "" {
		return nothing, noToken()
	}
	used := c.attach(j)
	if j.Token == nil {
		return nothing, invalidToken()
	}
	return used, c.authorise(j)
}

// attach looks the token up and counts its use; the returned function ends a
// token that was used for the last time.
func (c *Core) attach(j *job) func() {
	nothing := func() {}
	if j.RawToken == "" {
		return nothing
	}
	t := c.lookup(j.RawToken)
	if t == nil {
		return nothing
	}
	public := j.route != nil && j.route.Public
	if t.NumUses != 0 && !public {
		return c.use(j, t)
	}
	j.Token = t
	return nothing
}

// use takes one use from a limited token.
func (c *Core) use(j *job, t *engine.Token) func() {
	last, ok := c.takeUse(t.ID)
	if !ok {
		return func() {}
	}
	j.Token = t
	if t.NumUses--; !last {
		return func() {}
	}
	t.NumUses = -1
	return func() { c.revokeTree(c.tx(), t.ID) }
}

// authorise checks the token's policies for the request.
func (c *Core) authorise(j *job) error {
	path, ok := c.aclPath(j)
	if !ok {
		return invalidToken()
	}
	a := c.aclOf(j.Token)
	if j.route != nil && j.route.Root && !a.root {
		return denied()
	}
	if checkedInside(j.full) {
		return nil
	}
	if j.Operation == engine.List {
		path = a.listPath(path)
	}
	if a.allows(path, c.wanted(j)...) {
		return nil
	}
	return denied()
}

// checkedInside tells the paths that any valid token may call, because they
// show only what the token may see.
func checkedInside(path string) bool {
	return path == "sys/internal/ui/resultant-acl" || strings.HasPrefix(path, "sys/internal/ui/mounts/")
}

// aclPath is the request's path as the token's namespace sees it.
func (c *Core) aclPath(j *job) (string, bool) {
	if strings.HasPrefix(j.full, "auth/token/") && strings.HasSuffix(j.full, "-self") {
		return j.full, true
	}
	rest, ok := strings.CutPrefix(j.Namespace, j.Token.Namespace)
	return rest + j.full, ok
}

// wanted are the capabilities of which one is enough. A path without an
// existence check takes either create or update.
func (c *Core) wanted(j *job) []string {
	if j.Operation == engine.Header {
		return []string{"read"}
	}
	if j.Operation != engine.Update {
		return []string{string(j.Operation)}
	}
	if j.route == nil || j.route.Exists == nil {
		return []string{"update", "create"}
	}
	if j.route.Exists(j.Request) {
		return []string{"update"}
	}
	return []string{"create"}
}
