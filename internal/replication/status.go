// Package replication knows Vault Enterprise replication: what sys/replication/status
// says, what is wrong with a picture of many clusters, which steps lead to a goal, and
// when a cluster's data may be replaced. It decides and does no I/O; package operate does.
package replication

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The modes Vault reports.
const (
	ModePrimary       = "primary"
	ModeSecondary     = "secondary"
	ModeBootstrapping = "bootstrapping"
	ModeDisabled      = "disabled"
	ModeUnknown       = "unknown"
)

// StateStreaming is the state of a secondary that keeps up.
const StateStreaming = "stream-wals"

// connectionReady is the gRPC state of a secondary with a working link.
const connectionReady = "ready"

// Status is the data of sys/replication/status.
type Status struct {
	Performance Mode `json:"performance"`
	DR          Mode `json:"dr"`
}

// Mode is one kind of replication as one cluster sees it. Fields that the
// cluster's role or version does not have are zero.
type Mode struct {
	Mode            string `json:"mode"`
	State           string `json:"state"`
	ClusterID       string `json:"cluster_id"` // of the replication set, not of the cluster
	ConnectionState string `json:"connection_state"`
	SecondaryID     string `json:"secondary_id"`
	// KnownPrimaryAddrs are cluster addresses (port 8201), never API addresses.
	KnownPrimaryAddrs  []string `json:"known_primary_cluster_addrs"`
	KnownSecondaries   []string `json:"known_secondaries"`
	Primaries          []Peer   `json:"primaries"`
	Secondaries        []Peer   `json:"secondaries"`
	LastPerformanceWAL Number   `json:"last_performance_wal"`
	LastDRWAL          Number   `json:"last_dr_wal"`
	LastRemoteWAL      Number   `json:"last_remote_wal"`
	LastWAL            Number   `json:"last_wal"`
	MerkleRoot         string   `json:"merkle_root"`
	CorruptedTree      bool     `json:"corrupted_merkle_tree"`
	PrimaryClusterAddr string   `json:"primary_cluster_addr"`
	SyncProgress       Number   `json:"sync_progress"`
	SyncTotalKeys      Number   `json:"sync_total_keys"`
}

// Peer is one node at the other end of a replication link.
type Peer struct {
	APIAddress       string `json:"api_address"`
	ClusterAddress   string `json:"cluster_address"`
	ConnectionStatus string `json:"connection_status"`
	NodeID           string `json:"node_id"` // at a primary: the id of the secondary
	LastHeartbeat    string `json:"last_heartbeat"`
	CanaryAgeMS      Number `json:"replication_primary_canary_age_ms"`
	ClockSkewMS      Number `json:"clock_skew_ms"`
}

// Linked reports whether a secondary has a working connection to its primary. A
// version of Vault that does not tell is believed while its state is not idle.
func (m Mode) Linked() bool {
	if m.Mode != ModeSecondary {
		return false
	}
	if m.ConnectionState != "" {
		return m.ConnectionState == connectionReady
	}
	return m.State != "" && m.State != "idle"
}

// Followed reports whether a primary sees a secondary connected to it.
func (m Mode) Followed() bool {
	return m.Mode == ModePrimary && slices.ContainsFunc(m.Secondaries, func(p Peer) bool { return p.ConnectionStatus == "connected" })
}

// CanaryAge is how old the newest replicated canary is on a secondary; negative
// when the cluster does not tell.
func (m Mode) CanaryAge() time.Duration {
	for _, p := range m.Primaries {
		if p.CanaryAgeMS.Known {
			return time.Duration(p.CanaryAgeMS.Value) * time.Millisecond
		}
	}
	return -1
}

// Number is an integer that Vault sends as a JSON number or as a string, depending
// on the endpoint. Known is false when it was absent or not a number.
type Number struct {
	Value int64
	Known bool
}

// UnmarshalJSON takes a number, a numeric string, or leaves the number unknown.
func (n *Number) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		n.Value, n.Known = v, true
		return nil
	}
	if v, err := strconv.ParseFloat(string(b), 64); err == nil {
		n.Value, n.Known = int64(v), true
	}
	return nil
}

// Decode reads the body of sys/replication/status. A cluster without Enterprise
// replication answers {"data":{"mode":"disabled"}}, which decodes to both modes
// disabled.
func Decode(body []byte) (Status, error) {
	var answer struct {
		Data struct {
			Status
			Mode string `json:"mode"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Status{}, fmt.Errorf("decoding sys/replication/status: %w", err)
	}
	s := answer.Data.Status
	if s.Performance.Mode == "" {
		s.Performance.Mode = ModeDisabled
	}
	if s.DR.Mode == "" {
		s.DR.Mode = ModeDisabled
	}
	return s, nil
}

// DecodeMode reads the body of sys/replication/performance/status or .../dr/status.
func DecodeMode(body []byte) (Mode, error) {
	var answer struct {
		Data Mode `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Mode{}, fmt.Errorf("decoding a replication status: %w", err)
	}
	if answer.Data.Mode == "" {
		answer.Data.Mode = ModeDisabled
	}
	return answer.Data, nil
}
