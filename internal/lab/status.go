package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// snapshot is a cluster's state at one moment.
type snapshot struct {
	role, pose  string
	sealed      bool
	performance string // replication mode
	hasDR       bool
	parent      *Cluster
	linked      bool // the parent can be reached
	remote      store.Position
	caughtUp    time.Time
	lag         time.Duration
	skew        time.Duration // of the clock, beside the parent's
	started     time.Time
	paused      bool // its role was changed a moment ago
	copied      bool // it has copied its primary at least once
	progress    float64
	id          string // as secondary
}

func (c *Cluster) snapshot() snapshot {
	parent, linked := c.parent(), c.source() != nil
	c.mu.Lock()
	defer c.mu.Unlock()
	s := snapshot{
		role: c.role, pose: c.pose, sealed: c.sealed, performance: c.role, hasDR: c.repl.drOn && c.role != roleDR, parent: parent, linked: linked,
		remote: c.remote, caughtUp: c.caughtUp, lag: c.lab.cfg.Lag, started: c.started,
		paused: c.repl.paused(time.Now()), copied: c.repl.copied(time.Now()), progress: c.repl.progress(time.Now()), id: c.repl.id,
	}
	if c.role == roleDR || c.role == roleStandalone {
		s.performance = "disabled"
	}
	if parent != nil {
		s.skew = c.ahead() - parent.ahead()
	}
	if s.id == "" {
		s.id = c.name
	}
	return s
}

// canaryAge is how old the newest write of the primary is that can be seen here, by the
// two clocks.
func (s snapshot) canaryAge() time.Duration {
	if s.linked && s.remote.Local >= s.parent.backend.position().Local {
		return s.lag + s.skew
	}
	return max(s.lag, time.Since(s.caughtUp)) + s.skew
}

// following are the clusters of a role that copy c.
func (l *Lab) following(c *Cluster, role string) []*Cluster {
	var out []*Cluster
	for _, o := range l.clusters {
		if o.Role() == role && o.parent() == c {
			out = append(out, o)
		}
	}
	return out
}

// clusterAddress is the address for server-to-server traffic, on which
// nothing listens here.
func clusterAddress(c *Cluster) string {
	host, port, _ := strings.Cut(c.address, ":")
	n, _ := strconv.Atoi(port)
	return "https://" + host + ":" + strconv.Itoa(n+1)
}

// serveReplication answers a replication status; part "" is both.
func (c *Cluster) serveReplication(part string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := c.snapshot()
		if s.sealed {
			writeError(w, http.StatusServiceUnavailable, "Vault is sealed")
			return
		}
		data := map[string]any{"performance": c.performanceStatus(s), "dr": c.drStatus(s)}
		if part != "" {
			data = data[part].(map[string]any)
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"request_id": "", "lease_id": "", "renewable": false, "lease_duration": 0,
			"data": data, "wrap_info": nil, "warnings": nil, "auth": nil,
		})
	}
}

// syncKeys is what a Merkle sync counts; the number of keys is of no interest here.
const syncKeys = 1000

// state is that of a secondary which reaches its primary.
func (s snapshot) state() string {
	switch {
	case s.copied:
		return "stream-wals"
	case s.progress < 0.3:
		return "merkle-diff"
	default:
		return "merkle-sync"
	}
}

// merkleRoot is the same for the same data: here, for the same position in the same set.
func (c *Cluster) merkleRoot(role string, p store.Position) string {
	at := p.Replicated
	if role == roleDR {
		at = p.Local
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", c.setID(role), at))
	return hex.EncodeToString(sum[:20])
}

func disabled() map[string]any { return map[string]any{"mode": "disabled"} }

func (c *Cluster) performanceStatus(s snapshot) map[string]any {
	switch s.role {
	case rolePrimary:
		d := c.primaryStatus(roleSecondary)
		d["last_performance_wal"] = c.backend.position().Replicated
		return d
	case roleSecondary:
		return c.secondaryStatus(s, s.remote.Replicated)
	default:
		return disabled()
	}
}

func (c *Cluster) drStatus(s snapshot) map[string]any {
	switch {
	case s.role == roleDR:
		return c.secondaryStatus(s, s.remote.Local)
	case s.hasDR:
		d := c.primaryStatus(roleDR)
		d["last_dr_wal"] = c.backend.position().Local
		return d
	default:
		return disabled()
	}
}

// primaryStatus is the status of the side that is copied by clusters of a role.
func (c *Cluster) primaryStatus(role string) map[string]any {
	known, secondaries := c.known(role), []map[string]any{}
	for _, o := range c.lab.following(c, role) {
		id := o.snapshot().id
		if !slices.Contains(known, id) {
			known = append(known, id)
		}
		info := peer(o, o.source() == c)
		info["node_id"] = id
		info["replication_primary_canary_age_ms"] = strconv.FormatInt(o.snapshot().canaryAge().Milliseconds(), 10)
		secondaries = append(secondaries, info)
	}
	return map[string]any{
		"mode": rolePrimary, "state": "running", "cluster_id": c.setID(role), "known_secondaries": known,
		"secondaries": secondaries, "last_wal": c.backend.position().Local, "last_reindex_epoch": "0",
		"corrupted_merkle_tree": false, "last_corruption_check_epoch": "-62135596800",
		"merkle_root": c.merkleRoot(role, c.backend.position()), "primary_cluster_addr": c.advertised(role), "ssct_generation_counter": 0,
	}
}

func (c *Cluster) secondaryStatus(s snapshot, wal uint64) map[string]any {
	d := map[string]any{
		"mode": roleSecondary, "state": "idle", "connection_state": "transient_failure", "cluster_id": c.setID(s.role),
		"secondary_id": s.id, "last_remote_wal": wal, "known_primary_cluster_addrs": []string{}, "primaries": []map[string]any{},
		"last_reindex_epoch": "0", "corrupted_merkle_tree": false, "last_corruption_check_epoch": "-62135596800",
		"merkle_root": c.merkleRoot(s.role, s.remote), "last_start": s.started.UTC().Format(time.RFC3339), "ssct_generation_counter": 0,
	}
	if s.linked {
		d["state"], d["connection_state"] = s.state(), "ready"
	}
	if d["state"] == "merkle-sync" {
		d["sync_total_keys"], d["sync_progress"] = syncKeys, int(s.progress*syncKeys)
	}
	if s.paused && !s.copied {
		d["mode"] = "bootstrapping"
	}
	if s.parent == nil {
		return d
	}
	d["known_primary_cluster_addrs"] = []string{clusterAddress(s.parent)}
	info := peer(s.parent, s.linked)
	info["replication_primary_canary_age_ms"] = strconv.FormatInt(s.canaryAge().Milliseconds(), 10)
	d["primaries"] = []map[string]any{info}
	return d
}

// setID is the id of the replication set: one for performance replication,
// one for each DR pair.
func (c *Cluster) setID(role string) string {
	if role == roleSecondary || role == rolePrimary {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.perfSet
	}
	if p := c.drSource(); p != nil {
		return p.id
	}
	return c.id
}

// peer describes a node of another cluster. The numbers are text here, as in
// Vault, unlike those in sys/health.
func peer(o *Cluster, connected bool) map[string]any {
	status := "connected"
	if !connected {
		status = "disconnected"
	}
	return map[string]any{
		"api_address": o.Address(), "cluster_address": clusterAddress(o), "connection_status": status,
		"last_heartbeat": time.Now().UTC().Format(time.RFC3339), "last_heartbeat_duration_ms": "1",
		"clock_skew_ms": "0", "node_id": o.name + "-0",
	}
}
