package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// Report is what sys/health of one node said.
type Report struct {
	Initialized        bool    `json:"initialized"`
	Sealed             bool    `json:"sealed"`
	Standby            bool    `json:"standby"`
	PerformanceStandby bool    `json:"performance_standby"`
	PerformanceMode    string  `json:"replication_performance_mode"`
	DRMode             string  `json:"replication_dr_mode"`
	ClusterID          string  `json:"cluster_id"`
	ClusterName        string  `json:"cluster_name"`
	Version            string  `json:"version"`
	Removed            bool    `json:"removed_from_cluster"`
	HAConnection       *bool   `json:"ha_connection_healthy"`
	CanaryAgeMS        *int64  `json:"replication_primary_canary_age_ms"`
	License            License `json:"license"`

	Took time.Duration `json:"-"` // round trip of the probe
}

// License is the license part of sys/health.
type License struct {
	Terminated bool `json:"terminated"`
}

// DecodeReport reads a body of sys/health. The HTTP status is not needed: the body
// says more, and a load balancer may have changed the status.
func DecodeReport(body []byte) (Report, error) {
	var r struct {
		Report
		Initialized *bool `json:"initialized"` // in every version's answer, and in no error's
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, fmt.Errorf("decoding sys/health: %w", err)
	}
	if r.Initialized == nil {
		return Report{}, errNotHealth
	}
	r.Report.Initialized = *r.Initialized
	return r.Report, nil
}

var errNotHealth = errors.New("decoding sys/health: this is not what Vault answers there")

// refusal says why the node cannot serve, from its own words; empty when it can.
func (r Report) refusal() string {
	switch {
	case !r.Initialized:
		return "not initialized"
	case r.Removed:
		return "removed from its cluster"
	case r.Sealed:
		return "sealed"
	case r.License.Terminated:
		return "license terminated"
	case r.Standby && r.HAConnection != nil && !*r.HAConnection:
		return "standby without a connection to its active node"
	}
	return ""
}

// role is what the report says of the cluster's role; RoleUnknown when it does not.
func (r Report) role() Role {
	switch {
	case r.DRMode == replication.ModeSecondary:
		return RoleDR
	case r.PerformanceMode == replication.ModePrimary:
		return RolePrimary
	case r.PerformanceMode == replication.ModeSecondary:
		return RoleSecondary
	case r.PerformanceMode == replication.ModeDisabled || r.PerformanceMode == "":
		return RoleStandalone
	}
	return RoleUnknown
}

func (r Report) replicates() bool {
	return r.role() == RolePrimary || r.role() == RoleSecondary || r.role() == RoleDR || r.DRMode == replication.ModePrimary
}
