// Package lab is a test bed and a demo, never a secrets store: simulated Vault
// Enterprise clusters that replicate to each other, on real loopback sockets,
// with faults at will.
//
// A lab is made by New, which binds the sockets, and served by Run:
//
//	l, err := lab.New(lab.Config{Region: "eu-west"})
//	go l.Run(ctx)
//	l.Cluster("us-east").Kill()
//
// Tests use labtest.Start. Everything is in memory; userpass demo/demo,
// AppRole demo/demo and the token "root" work on every cluster.
package lab

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// RootToken is a root token on every cluster.
const RootToken = "root"

// Version is what the clusters say they are.
const Version = "1.21.1+ent"

// The roles of a cluster.
const (
	rolePrimary    = "primary"
	roleSecondary  = "secondary"
	roleDR         = "dr"
	roleStandalone = "standalone" // replicates with nobody
)

// Config describes a lab. The zero value is the default set on free ports.
type Config struct {
	Clusters []ClusterConfig // nil: DefaultClusters()
	Region   string          // from where round trips are simulated, e.g. "eu-west"
	Latency  bool            // simulate round trips between regions
	Host     string          // default 127.0.0.1
	BasePort int             // port of the first cluster; 0: any free ports
	Lag      time.Duration   // replication lag, default 20ms
	Seed     uint64          // of the jitter in the round trips
	NoIndex  bool            // no X-Vault-Index in answers
	OwnIndex bool            // X-Vault-Index of another cluster is taken for satisfied
	Logger   *zap.Logger     // nil: no logging

	// Bare leaves the clusters unreplicated, whatever their configured roles: each has
	// storage, keys and tokens of its own until sys/replication is told otherwise.
	Bare bool
	// SyncTime is how long a new secondary takes to copy its primary, default 1s.
	SyncTime time.Duration
	// Pause is how long a cluster serves nothing after its role was changed through
	// sys/replication, default 200ms.
	Pause time.Duration
	// UniqueIDs makes a primary refuse a second activation token for an id that it
	// knows already. Vault's documentation leaves open whether it does.
	UniqueIDs bool

	// VaultBin makes a real Vault Community process the engine of each cluster,
	// behind the same front; package vault tells what that can't do.
	VaultBin string
}

// ClusterConfig describes one cluster.
type ClusterConfig struct {
	Name   string
	Region string        // default: Name
	Role   string        // primary, secondary or dr
	DROf   string        // name of the cluster that a dr copies
	RTT    time.Duration // from Config.Region; 0: from the table of regions
	Type   string        // "": simulated, the only type so far
	// Address is host:port. Default: Config.Host and the next port.
	Address string
}

// DefaultClusters is one primary, two performance secondaries, and a DR
// secondary of the primary.
func DefaultClusters() []ClusterConfig {
	return []ClusterConfig{
		{Name: "us-east", Region: "us-east", Role: rolePrimary},
		{Name: "us-west", Region: "us-west", Role: roleSecondary},
		{Name: "eu-west", Region: "eu-west", Role: roleSecondary},
		{Name: "us-east-dr", Region: "us-west", Role: roleDR, DROf: "us-east"},
	}
}

func (c Config) withDefaults() Config {
	if c.Clusters == nil {
		c.Clusters = DefaultClusters()
	}
	if c.Host == "" {
		c.Host = "127.0.0.1"
	}
	if c.Lag == 0 {
		c.Lag = 20 * time.Millisecond
	}
	if c.SyncTime == 0 {
		c.SyncTime = time.Second
	}
	if c.Pause == 0 {
		c.Pause = 200 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func (c Config) validate() error {
	if c.Bare && c.VaultBin != "" {
		return errors.New("a bare lab needs simulated clusters: Vault Community does not replicate")
	}
	return c.validateClusters()
}

func (c Config) validateClusters() error {
	seen := map[string]bool{}
	for _, cc := range c.Clusters {
		if cc.Name == "" || seen[cc.Name] {
			return fmt.Errorf("cluster name %q is empty or taken", cc.Name)
		}
		seen[cc.Name] = true
		if cc.Type != "" {
			return fmt.Errorf("cluster %s: unknown type %q", cc.Name, cc.Type)
		}
		if cc.Role != rolePrimary && cc.Role != roleSecondary && cc.Role != roleDR {
			return fmt.Errorf("cluster %s: unknown role %q (primary, secondary, dr)", cc.Name, cc.Role)
		}
	}
	for _, cc := range c.Clusters {
		if cc.Role == roleDR && (!seen[cc.DROf] || cc.DROf == cc.Name) {
			return fmt.Errorf("cluster %s: dr of unknown cluster %q", cc.Name, cc.DROf)
		}
	}
	return nil
}
