package lab

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ownAnswer returns the handler of a path that a cluster answers in any
// state, or nil.
func (c *Cluster) ownAnswer(apiPath string) http.HandlerFunc {
	switch strings.TrimSuffix(apiPath, "/") {
	case "sys/health":
		return c.serveHealth
	case "sys/seal-status":
		return c.serveSealStatus
	case "sys/unseal":
		return c.serveUnseal
	case "sys/leader":
		return c.serveLeader
	case "sys/init":
		return func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]any{"initialized": true})
		}
	case "sys/replication/status":
		return c.serveReplication("")
	case "sys/replication/performance/status":
		return c.serveReplication("performance")
	case "sys/replication/dr/status":
		return c.serveReplication("dr")
	default:
		return nil
	}
}

// health is the body of sys/health in Vault's order.
type health struct {
	Initialized        bool     `json:"initialized"`
	Sealed             bool     `json:"sealed"`
	Standby            bool     `json:"standby"`
	PerformanceStandby bool     `json:"performance_standby"`
	PerformanceMode    string   `json:"replication_performance_mode"`
	DRMode             string   `json:"replication_dr_mode"`
	ServerTime         int64    `json:"server_time_utc"`
	Version            string   `json:"version"`
	Enterprise         bool     `json:"enterprise"`
	ClusterName        string   `json:"cluster_name,omitempty"`
	ClusterID          string   `json:"cluster_id,omitempty"`
	LastWAL            uint64   `json:"last_wal,omitempty"`
	License            *license `json:"license,omitempty"`
	EchoDuration       int64    `json:"echo_duration_ms"`
	ClockSkew          int64    `json:"clock_skew_ms"`
	CanaryAge          int64    `json:"replication_primary_canary_age_ms"`
}

type license struct {
	State      string `json:"state"`
	ExpiryTime string `json:"expiry_time"`
	Terminated bool   `json:"terminated"`
}

func (c *Cluster) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeError(w, http.StatusMethodNotAllowed)
		return
	}
	s := c.snapshot()
	status, err := healthCode(s, r)
	if err != nil {
		writeError(w, http.StatusBadRequest)
		return
	}
	writeJSON(w, status, c.healthBody(s))
}

// healthCode is Vault's choice of status code. A simulated cluster is one
// active node, so the codes of standbys occur only in a pose.
func healthCode(s snapshot, r *http.Request) (int, error) {
	q := r.URL.Query()
	name, code := "activecode", http.StatusOK
	switch {
	case s.pose == "uninitialized":
		name, code = "uninitcode", http.StatusNotImplemented
	case s.sealed:
		name, code = "sealedcode", http.StatusServiceUnavailable
	case s.role == roleDR:
		name, code = "drsecondarycode", 472
	case s.pose == posePerformance && !yes(q, "perfstandbyok"):
		name, code = "performancestandbycode", 473
	case (s.pose == poseStandby || s.paused) && !yes(q, "standbyok"):
		name, code = "standbycode", http.StatusTooManyRequests
	}
	if q.Get(name) == "" {
		return code, nil
	}
	return strconv.Atoi(q.Get(name))
}

// The poses of Cluster.Pose that are standbys.
const (
	poseStandby     = "standby"
	posePerformance = "performance-standby"
)

// yes reads a parameter like standbyok; without a value it is true.
func yes(q url.Values, name string) bool {
	if !q.Has(name) {
		return false
	}
	b, err := strconv.ParseBool(q.Get(name))
	return b || err != nil && q.Get(name) == ""
}

func (c *Cluster) healthBody(s snapshot) health {
	h := health{
		Initialized: s.pose != "uninitialized", Sealed: s.sealed || s.pose == "uninitialized",
		Standby: s.sealed || s.pose != "" || s.paused, PerformanceStandby: s.pose == posePerformance,
		PerformanceMode: "unknown", DRMode: "unknown",
		ServerTime: c.now().Unix(), Version: Version, Enterprise: true,
	}
	if h.Sealed {
		return h
	}
	h.PerformanceMode, h.DRMode = modes(s)
	h.ClusterName, h.ClusterID = "vault-cluster-"+c.name, c.id
	if !h.Standby {
		h.LastWAL = c.backend.position().Local
	}
	h.License = &license{State: "autoloaded", ExpiryTime: "2099-01-01T00:00:00Z"}
	if s.role == roleSecondary || s.role == roleDR {
		h.CanaryAge = s.canaryAge().Milliseconds()
	}
	return h
}

// modes are the two replication modes of a cluster.
func modes(s snapshot) (performance, dr string) {
	dr = "disabled"
	if s.hasDR {
		dr = rolePrimary
	}
	switch s.role {
	case roleDR:
		return s.performance, roleSecondary
	default:
		return s.performance, dr
	}
}

func (c *Cluster) serveSealStatus(w http.ResponseWriter, _ *http.Request) {
	s := c.snapshot()
	body := map[string]any{
		"type": "shamir", "initialized": true, "sealed": s.sealed, "t": 1, "n": 1, "progress": 0, "nonce": "",
		"version": Version, "build_date": "2025-11-18T13:04:32Z", "migration": false, "recovery_seal": false,
		"storage_type": "raft", "removed_from_cluster": false,
	}
	if !s.sealed {
		body["cluster_name"], body["cluster_id"] = "vault-cluster-"+c.name, c.id
	}
	writeJSON(w, http.StatusOK, body)
}

// serveUnseal takes any key, where the cluster has none of its own.
func (c *Cluster) serveUnseal(w http.ResponseWriter, r *http.Request) {
	if !c.opens(jsonBody(r)["key"]) {
		writeError(w, http.StatusBadRequest, "Unseal failed, invalid key")
		return
	}
	c.Unseal()
	c.serveSealStatus(w, r)
}

func (c *Cluster) serveLeader(w http.ResponseWriter, _ *http.Request) {
	s := c.snapshot()
	if s.sealed {
		writeError(w, http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"ha_enabled": true, "is_self": true, "active_time": s.started.UTC(), "leader_address": c.Address(),
		"leader_cluster_address": clusterAddress(c), "performance_standby": false,
		"performance_standby_last_remote_wal": 0, "last_wal": c.backend.position().Local,
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

func writeError(w http.ResponseWriter, status int, messages ...string) {
	if messages == nil {
		messages = []string{}
	}
	writeJSON(w, status, map[string]any{"errors": messages})
}
