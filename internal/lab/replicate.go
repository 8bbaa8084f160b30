package lab

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// replicating is what a cluster remembers of its place in replication, beside its role.
// Cluster.mu guards it.
type replicating struct {
	drOn        bool                // primary of DR replication
	issued      map[string][]string // by role of the secondary: ids that got an activation token
	advertise   map[string]string   // by role of the secondary: primary_cluster_addr
	id          string              // as secondary; "": the cluster's name
	pausedUntil time.Time           // serves nothing after a change of role
	joined      time.Time           // became a secondary through sys/replication
	syncedAt    time.Time           // shows the copy as done from then on
	fetched     bool                // has copied its primary
	was         string              // role before it was demoted to a DR secondary
	unsealKey   string              // "": any key will do
	drToken     string              // DR operation token; "": none
	attempt     *attempt            // to make one
}

// attempt is the making of a DR operation token.
type attempt struct{ nonce, otp string }

func newReplicating(bare bool) replicating {
	r := replicating{issued: map[string][]string{}, advertise: map[string]string{}, fetched: true}
	if bare {
		r.unsealKey = base64.StdEncoding.EncodeToString(newKey())
	}
	return r
}

func (r *replicating) paused(now time.Time) bool { return now.Before(r.pausedUntil) }

// busy reports whether the cluster serves nothing because of replication.
func (r *replicating) busy(now time.Time) bool { return r.paused(now) || !r.copied(now) }

func (r *replicating) copied(now time.Time) bool { return r.fetched && !now.Before(r.syncedAt) }

// progress is the part of the copy that is done.
func (r *replicating) progress(now time.Time) float64 {
	if !now.Before(r.syncedAt) {
		return 1
	}
	return max(0, float64(now.Sub(r.joined))/float64(r.syncedAt.Sub(r.joined)))
}

// UnsealKey is the key that unseals the cluster; empty when any does.
func (c *Cluster) UnsealKey() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repl.unsealKey
}

// opens reports whether a key unseals the cluster.
func (c *Cluster) opens(key any) bool {
	own := c.UnsealKey()
	return own == "" || engine.Text(key) == own
}

// known are the secondaries of a role that were given an activation token.
func (c *Cluster) known(role string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.repl.issued[role]...)
}

func (c *Cluster) advertised(role string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repl.advertise[role]
}

// serving is the place that a copy of the cluster takes when it is promoted.
func (c *Cluster) serving() (role string, upstream *Cluster, set string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.role == roleDR {
		return c.repl.was, c.upstream, c.perfSet
	}
	return c.role, c.upstream, c.perfSet
}

// owns reports whether the cluster takes writes to replicated storage itself.
func (c *Cluster) owns() bool { return c.Role() == rolePrimary || c.Role() == roleStandalone }

// leads reports whether the cluster is the primary of secondaries of a role.
func (c *Cluster) leads(role string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if role == roleDR {
		return c.repl.drOn && c.role != roleDR
	}
	return c.role == rolePrimary
}

// turn changes the cluster's place, after which it serves nothing for a moment.
func (c *Cluster) turn(change func()) {
	c.set(func() {
		change()
		c.repl.pausedUntil = time.Now().Add(c.lab.cfg.Pause)
	})
	c.backend.setWritable(c.owns())
}

func (l *Lab) enablePrimary(c *Cluster, role, addr string) {
	c.turn(func() {
		c.repl.advertise[role], c.repl.issued[role] = addr, nil
		if role == roleDR {
			c.repl.drOn = true
			return
		}
		c.role, c.perfSet = rolePrimary, engine.UUID()
	})
}

// joinAs makes a cluster a secondary of another, which replaces all it had: storage,
// tokens, and the key that unseals it.
func (l *Lab) joinAs(c, primary *Cluster, role, id string) {
	own, theirs := c.backend.(*simulated), primary.backend.(*simulated)
	own.wipe()
	own.core.SetKey(theirs.core.Key())
	key, set := primary.UnsealKey(), primary.setID(rolePrimary)
	now := time.Now()
	c.turn(func() {
		c.repl = replicating{
			issued: map[string][]string{}, advertise: map[string]string{}, id: id, unsealKey: key,
			joined: now, syncedAt: now.Add(l.cfg.SyncTime),
		}
		c.role, c.upstream, c.drOf, c.perfSet = role, primary, nil, set
		c.remote.Local, c.remote.Replicated = 0, 0
		if role == roleDR {
			c.upstream, c.drOf = nil, primary
		}
	})
}

// retarget makes a secondary follow another primary of its set, and keeps its data.
func (l *Lab) retarget(c, primary *Cluster, id string) {
	set := primary.setID(rolePrimary)
	c.turn(func() {
		c.repl.id = id
		if c.role == roleDR {
			c.drOf = primary
			return
		}
		c.upstream, c.perfSet = primary, set
	})
}

func (l *Lab) demoteAs(c *Cluster, role string) {
	c.turn(func() {
		if role != roleDR {
			c.role, c.upstream = roleSecondary, nil
			return
		}
		c.repl.was, c.repl.drOn, c.role, c.drOf = c.role, false, roleDR, nil
	})
}

// promoteAs makes a secondary the primary. Other secondaries go on following whom they
// followed, until they are told otherwise.
func (l *Lab) promoteAs(c *Cluster, role, addr string) {
	was, upstream, set := rolePrimary, (*Cluster)(nil), c.setID(rolePrimary)
	if role == roleDR {
		was, upstream, set = c.serving()
		if old := c.drSource(); old != nil {
			was, upstream, set = old.serving()
		}
	}
	c.turn(func() {
		c.role, c.upstream, c.drOf, c.perfSet = was, upstream, nil, set
		c.repl.advertise[role], c.repl.drToken = addr, ""
		if role == roleDR {
			c.repl.drOn = true
		}
	})
}

func (l *Lab) disableAs(c *Cluster, role string) {
	c.turn(func() {
		c.repl.issued[role], c.repl.id = nil, ""
		if role == roleDR && c.repl.drOn {
			c.repl.drOn = false
			return
		}
		c.role, c.upstream, c.drOf, c.repl.fetched = roleStandalone, nil, nil, true
	})
}

// issue notes that a secondary got an activation token.
func (c *Cluster) issue(role, id string) {
	c.set(func() {
		if !slices.Contains(c.repl.issued[role], id) {
			c.repl.issued[role] = append(c.repl.issued[role], id)
		}
	})
}

// revoke cuts a secondary off.
func (l *Lab) revoke(c *Cluster, role, id string) {
	c.set(func() {
		c.repl.issued[role] = slices.DeleteFunc(slices.Clone(c.repl.issued[role]), func(s string) bool { return s == id })
	})
	for _, o := range l.following(c, role) {
		if o.snapshot().id == id {
			o.set(func() { o.upstream, o.drOf = nil, nil })
		}
	}
}

// otpFor is a one-time pad for a token, made of letters as Vault's are.
func otpFor(token string) string { return engine.Random(len(token)) }

// padded is a token as the last holder of a key share gets it.
func padded(token, otp string) string {
	out := make([]byte, len(token))
	for i := range out {
		out[i] = token[i] ^ otp[i]
	}
	return base64.RawStdEncoding.EncodeToString(out)
}

// jwt has the form of Vault's wrapping tokens for replication: the claims say where to
// unwrap it. Nobody looks at the signature here.
func jwt(claims []byte) string {
	signature := make([]byte, 132)
	_, _ = rand.Read(signature) // never fails
	enc := base64.RawURLEncoding
	return strings.Join([]string{enc.EncodeToString([]byte(`{"alg":"ES512","kid":"","typ":"JWT"}`)), enc.EncodeToString(claims), enc.EncodeToString(signature)}, ".")
}
