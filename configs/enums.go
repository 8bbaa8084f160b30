package configs

import (
	"fmt"
	"strings"
)

// enum is a string type that may only hold some words.
type enum interface{ values() []string }

// IdentityUse says when the proxy's own identity is lent to a request.
type IdentityUse string

// The uses of the proxy's identity.
const (
	UseNever    IdentityUse = "never"
	UseFallback IdentityUse = "fallback" // for requests without a token
	UseForce    IdentityUse = "force"    // in place of the client's token
)

func (IdentityUse) values() []string { return []string{"never", "fallback", "force"} }

// Role pins what a cluster is in its replication set.
type Role string

// The roles that can be pinned. RoleDiscovered, the zero value, pins nothing.
const (
	RoleDiscovered Role = ""
	RolePrimary    Role = "primary"
	RoleSecondary  Role = "secondary"
	RoleDR         Role = "dr"
)

func (Role) values() []string { return []string{"primary", "secondary", "dr"} }

// Method is a way to log in to Vault.
type Method string

// The login methods.
const (
	MethodAppRole    Method = "approle"
	MethodKubernetes Method = "kubernetes"
	MethodJWT        Method = "jwt"
	MethodUserpass   Method = "userpass"
	MethodLDAP       Method = "ldap"
	MethodCert       Method = "cert"
	MethodAWS        Method = "aws"
	MethodGCP        Method = "gcp"
	MethodAzure      Method = "azure"
	MethodTokenFile  Method = "token_file"
)

func (Method) values() []string {
	return []string{"approle", "kubernetes", "jwt", "userpass", "ldap", "cert", "aws", "gcp", "azure", "token_file"}
}

// Writes says where writes are sent.
type Writes string

// The ways of a write.
const (
	WritesPrimary Writes = "primary" // straight to the primary
	WritesNearest Writes = "nearest" // to the nearest cluster, which forwards it
)

func (Writes) values() []string { return []string{"primary", "nearest"} }

// PrimaryDown says what becomes of a write while no primary is known.
type PrimaryDown string

// The answers to a lost primary.
const (
	PrimaryDownFail PrimaryDown = "fail"
	PrimaryDownWait PrimaryDown = "wait" // at most routing.primary_wait
)

func (PrimaryDown) values() []string { return []string{"fail", "wait"} }

// Consistency says what a client may expect to read.
type Consistency string

// The levels of consistency.
const (
	ConsistencySession Consistency = "session" // a client reads its own writes everywhere
	ConsistencyNone    Consistency = "none"
)

func (Consistency) values() []string { return []string{"session", "none"} }

// ConsistencyMechanism says how it is made sure that a cluster has what a client wrote.
type ConsistencyMechanism string

// The mechanisms.
const (
	MechanismAuto  ConsistencyMechanism = "auto"  // index, once it was seen to work between clusters
	MechanismIndex ConsistencyMechanism = "index" // Vault is asked, with X-Vault-Index
	MechanismKeys  ConsistencyMechanism = "keys"  // what was written is read where it was written
)

func (ConsistencyMechanism) values() []string { return []string{"auto", "index", "keys"} }

// LogLevel is the least severe level that is logged.
type LogLevel string

// The log levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) values() []string { return []string{"debug", "info", "warn", "error"} }

// LogFormat is the form of a log line.
type LogFormat string

// The log formats.
const (
	LogJSON    LogFormat = "json"
	LogConsole LogFormat = "console"
)

func (LogFormat) values() []string { return []string{"json", "console"} }

// TargetKind is the kind of place a rule sends a request to.
type TargetKind string

// The kinds of target.
const (
	TargetNearest TargetKind = "nearest"
	TargetPrimary TargetKind = "primary"
	TargetCluster TargetKind = "cluster"
	TargetRefuse  TargetKind = "refuse"
)

// Target is where a rule sends a request.
type Target struct {
	Kind    TargetKind
	Cluster string // the cluster's name if Kind is TargetCluster; empty otherwise
}

// String returns t as it is written in the file.
func (t Target) String() string {
	if t.Kind == TargetCluster {
		return "cluster:" + t.Cluster
	}
	return string(t.Kind)
}

func parseTarget(s string) (Target, error) {
	switch kind := TargetKind(s); kind {
	case TargetNearest, TargetPrimary, TargetRefuse:
		return Target{Kind: kind}, nil
	}
	if name, ok := strings.CutPrefix(s, "cluster:"); ok && name != "" {
		return Target{Kind: TargetCluster, Cluster: name}, nil
	}
	return Target{}, fmt.Errorf("%q is not a target; use nearest, primary, cluster:NAME or refuse", s)
}
