// Package mounts learns from Vault which engine is mounted where, with the rights
// of the clients whose requests need to know it. What is learned only steers
// routing; it is never shown to a client.
package mounts

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/vrproxy/vrproxy/routing"
)

// Vault gives clients for control calls. Implemented by internal/app.
type Vault interface {
	Client(home string) (*api.Client, error)
}

// query is one wish to know the mount of a path.
type query struct {
	namespace string // "" or with trailing slash
	path      string // below the namespace
	home      string // whom to ask
	token     string // with whose rights
}

const (
	askWithin    = 2 * time.Second  // a request waits at most this long for knowledge
	missFor      = 10 * time.Second // how long a fruitless question is not asked again
	missForNew   = time.Second      // the same after an edit of mounts, which has to be replicated first
	refreshAfter = 5 * time.Minute  // mounts this old are asked for again, while requests go on
	refreshes    = 16               // namespaces waiting to be asked for again
)

// known is what is known at one time; never changed once it is stored.
type known struct {
	table *routing.Table
	asked map[string]time.Time // by namespace: when all its mounts were last asked for
	edits map[string]time.Time // by namespace: when its mounts were last changed or gone
}

// Learner holds the mount table. It is safe for concurrent use; reading the table
// is one atomic load.
type Learner struct {
	vault  Vault
	logger *zap.Logger
	known  atomic.Pointer[known]
	flight singleflight.Group
	seed   maphash.Seed
	stale  chan query // namespaces to be asked for again

	mu     sync.Mutex // guards writers of known, and misses
	misses map[string]time.Time
}

// New makes a learner that knows nothing yet.
func New(vault Vault, logger *zap.Logger) *Learner {
	l := &Learner{vault: vault, logger: logger, misses: make(map[string]time.Time), seed: maphash.MakeSeed(), stale: make(chan query, refreshes)}
	l.known.Store(&known{table: &routing.Table{}, asked: make(map[string]time.Time), edits: make(map[string]time.Time)})
	return l
}

// Table is the current mount table; immutable.
func (l *Learner) Table() *routing.Table { return l.known.Load().table }

// Refresh tells of a token that was good at a home a moment ago. When the mounts of
// the namespace are old, they will be asked for again with it. It never blocks.
func (l *Learner) Refresh(namespace, home, token string) {
	asked, ok := l.known.Load().asked[namespace]
	if !ok || time.Since(asked) < refreshAfter {
		return
	}
	select {
	case l.stale <- query{namespace: namespace, home: home, token: token}:
		l.update(func(k *known) { k.asked[namespace] = time.Now() }) // whatever comes of it
	default:
	}
}

// Run asks again for what is old, until ctx ends. Mounts that appeared since, or are
// another engine now, are found by that; one that is gone is found by the request
// that Vault has no route for.
func (l *Learner) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-l.stale:
			if err := l.refresh(ctx, q); err != nil {
				l.logger.Debug("mounts not refreshed", zap.String("error", err.Error()))
			}
		}
	}
}

func (l *Learner) refresh(ctx context.Context, q query) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	client, err := l.client(q)
	if err != nil {
		return err
	}
	found, err := list(ctx, client)
	if err != nil {
		return err
	}
	l.add(q.namespace, found)
	return nil
}

// client is one that asks with the rights of a query.
func (l *Learner) client(q query) (*api.Client, error) {
	client, err := l.vault.Client(q.home)
	if err != nil {
		return nil, err
	}
	client.SetToken(q.token)
	if q.namespace != "" {
		client.SetNamespace(strings.TrimSuffix(q.namespace, "/"))
	}
	return client, nil
}

// update puts a changed copy of what is known in the place of the old.
func (l *Learner) update(change func(*known)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.known.Load()
	next := &known{table: old.table, asked: maps.Clone(old.asked), edits: maps.Clone(old.edits)}
	change(next)
	l.known.Store(next)
}

// Learn asks Vault for the mount of a path and reports whether the table is richer
// now. Questions asked at the same time share one call; one that brought nothing is
// not repeated for a while.
func (l *Learner) Learn(ctx context.Context, namespace, path, home, token string) bool {
	q := query{namespace, path, home, token}
	id := namespace + "\x00" + firstSegments(path)
	fruitless := id + "\x00" + strconv.FormatUint(maphash.String(l.seed, token), 36) // another token may see more
	if l.missed(fruitless) {
		return false
	}
	done := l.flight.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
		defer cancel()
		learned, err := l.ask(ctx, q)
		if !learned {
			l.miss(q.namespace, fruitless, err)
		}
		return learned, nil
	})
	select {
	case <-ctx.Done():
		return false
	case r := <-done:
		learned, _ := r.Val.(bool)
		return learned
	}
}

// firstSegments keeps what can name a mount, so that many paths below one unknown
// mount are one question.
func firstSegments(p string) string {
	parts := strings.SplitN(p, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func (l *Learner) missed(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.misses[id]
	return ok && time.Now().Before(until)
}

func (l *Learner) miss(namespace, id string, err error) {
	wait := missFor
	if time.Since(l.known.Load().edits[namespace]) < missFor {
		wait = missForNew
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.misses) > 10_000 { // paths come from clients: bounded
		clear(l.misses)
	}
	l.misses[id] = time.Now().Add(wait)
	if err != nil {
		l.logger.Debug("mounts not learned", zap.String("error", err.Error()))
	}
}

// ask reads the list of all mounts the token may see, then, where that did not
// help, the one mount of the path.
func (l *Learner) ask(ctx context.Context, q query) (bool, error) {
	client, err := l.client(q)
	if err != nil {
		return false, err
	}
	if !l.Table().Knows(q.namespace) {
		found, err := list(ctx, client)
		if err != nil {
			return false, err
		}
		l.add(q.namespace, found)
		l.update(func(k *known) { k.asked[q.namespace] = time.Now() })
		if covers(found, q.path) {
			return true, nil
		}
	}
	m, ok, err := one(ctx, client, q.path)
	if ok {
		l.add(q.namespace, []routing.Mount{m})
	}
	return ok, err
}

func covers(found []routing.Mount, p string) bool {
	for _, m := range found {
		if strings.HasPrefix(p+"/", m.Path) {
			return true
		}
	}
	return false
}

// add merges: another token may see less, which takes nothing away.
func (l *Learner) add(namespace string, found []routing.Mount) {
	l.update(func(k *known) { k.table = k.table.With(namespace, append(k.table.Mounts(namespace), found...)) })
	l.logger.Debug("mounts learned", zap.String("namespace", namespace), zap.Int("mounts", len(found)))
}

// Forget drops what is known of a namespace, after its mounts were changed.
func (l *Learner) Forget(namespace string) {
	l.update(func(k *known) {
		k.table = k.table.Without(namespace)
		delete(k.asked, namespace)
		if len(k.edits) > 1000 { // namespaces come from clients: bounded
			clear(k.edits)
		}
		k.edits[namespace] = time.Now()
		clear(l.misses)
	})
}

func list(ctx context.Context, client *api.Client) ([]routing.Mount, error) {
	secret, err := client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts")
	if err != nil || secret == nil {
		return nil, short(err)
	}
	secrets, auth := listing(secret.Data["secret"]), listing(secret.Data["auth"])
	return List(secrets, auth), nil
}

// listing takes the mounts of one kind out of an answer.
func listing(v any) map[string]map[string]any {
	byPath, _ := v.(map[string]any)
	out := make(map[string]map[string]any, len(byPath))
	for path, v := range byPath {
		if data, ok := v.(map[string]any); ok {
			out[path] = data
		}
	}
	return out
}

// List makes mounts of what sys/internal/ui/mounts says under "secret" and "auth".
func List(secret, auth map[string]map[string]any) []routing.Mount {
	out := make([]routing.Mount, 0, len(secret)+len(auth))
	for path, data := range secret {
		out = append(out, mountOf(path, "secret", data))
	}
	for path, data := range auth {
		out = append(out, mountOf(path, "auth", data))
	}
	return out
}

func one(ctx context.Context, client *api.Client, p string) (routing.Mount, bool, error) {
	secret, err := client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+p)
	if err != nil || secret == nil {
		return routing.Mount{}, false, short(err)
	}
	path, _ := secret.Data["path"].(string)
	m, ok := fit(path, p, secret.Data)
	return m, ok, nil
}

// fit makes a mount of the answer for one path. Vault names an auth method without
// its auth/, but with it where the namespace is part of the path.
func fit(path, asked string, data map[string]any) (routing.Mount, bool) {
	kind := "secret"
	if accessor, _ := data["accessor"].(string); strings.HasPrefix(accessor, "auth_") || strings.HasPrefix(asked, "auth/") {
		kind = "auth"
		if !strings.HasPrefix(asked+"/", "auth/"+path) {
			path = strings.TrimPrefix(path, "auth/")
		}
	}
	m := mountOf(path, kind, data)
	if kind == "auth" && !strings.HasPrefix(asked+"/", m.Path) {
		m.Path = strings.TrimPrefix(m.Path, "auth/") // the namespace comes first
	}
	return m, path != "" && strings.HasPrefix(asked+"/", m.Path)
}

// mountOf reads one entry of sys/internal/ui/mounts.
func mountOf(path, kind string, data map[string]any) routing.Mount {
	typ, _ := data["type"].(string)
	typ = strings.TrimPrefix(typ, "ns_") // what every namespace has: ns_system, ns_token
	local, _ := data["local"].(bool)
	m := routing.Mount{Path: strings.TrimSuffix(path, "/") + "/", Type: typ, Local: local}
	switch {
	case kind == "auth":
		m.Path, m.Type = "auth/"+m.Path, "auth/"+typ
	case typ == "system":
		m.Type = "sys"
	case typ == "kv" || typ == "generic":
		m.Type = "kv-v1"
		if options, _ := data["options"].(map[string]any); options["version"] == "2" {
			m.Type = "kv-v2"
		}
	}
	return m
}

// short keeps status and texts of a Vault answer and drops the URL, which holds
// the client's path.
func short(err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return fmt.Errorf("asking for mounts: %d %s: %s", answer.StatusCode, http.StatusText(answer.StatusCode), strings.Join(answer.Errors, "; "))
	}
	return err
}
