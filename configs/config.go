package configs

import (
	"io/fs"
	"net/netip"
	"time"
)

// The defaults of keys that other programs need to know as well.
const (
	DefaultListenAddress = "127.0.0.1:8200"
	DefaultAdminAddress  = "127.0.0.1:8210"
	DefaultDNSAddress    = "127.0.0.1:5353"
	DefaultDNSZone       = "vault.internal."

	// DefaultSocketMode is the mode of a unix socket whose listener gives none.
	DefaultSocketMode fs.FileMode = 0o660

	// DefaultSinkMode is the mode of a token file whose sink gives none.
	DefaultSinkMode fs.FileMode = 0o600

	// DefaultTokenPath is where Kubernetes puts a pod's service account token.
	DefaultTokenPath = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path, not a credential
)

// Config is one whole, valid configuration.
type Config struct {
	// Region is where this proxy runs. Required; VRPROXY_REGION overrides it.
	Region string `yaml:"region"`
	// Listeners are the addresses where applications find Vault. Default: one
	// at 127.0.0.1:8200.
	Listeners []Listener `yaml:"listeners"`
	// Clusters are the Vault clusters to choose from, in order of preference
	// among equals. At least one is required.
	Clusters []Cluster `yaml:"clusters"`
	// Identity is the proxy's own login. Default: none, only clients' tokens
	// are used.
	Identity *Identity `yaml:"identity"`
	// Sessions is what is remembered of clients' logins.
	Sessions Sessions `yaml:"sessions"`
	// Routing decides between clusters.
	Routing Routing `yaml:"routing"`
	// Limits bound what clients can take up.
	Limits Limits `yaml:"limits"`
	// Connections are those to the clusters' nodes.
	Connections Connections `yaml:"connections"`
	// Health is how the clusters are probed.
	Health Health `yaml:"health"`
	// DNS is the DNS server. Default: off.
	DNS *DNS `yaml:"dns"`
	// Admin is the listener for operators and their monitoring.
	Admin Admin `yaml:"admin"`
	// Tracing sends OpenTelemetry spans of requests. Default: off.
	Tracing *Tracing `yaml:"tracing"`
	// Shutdown is how long a stop may take.
	Shutdown Shutdown `yaml:"shutdown"`
	// Log is what is logged, and in which form.
	Log Log `yaml:"log"`

	file  string
	lines map[string]int
}

// Listener is one address where applications find Vault.
type Listener struct {
	// Address is host:port, unix:///absolute/path, or systemd:NAME for a socket
	// that systemd passes under that name. Required.
	Address string `yaml:"address"`
	// Mode is the permission of a unix socket, octal. Default: 0660.
	Mode fs.FileMode `yaml:"mode"`
	// User owns a unix socket: a name or a number. Default: who runs the proxy.
	User string `yaml:"user"`
	// Group is that of a unix socket: a name or a number. Default: that of whoever
	// runs the proxy.
	Group string `yaml:"group"`
	// TLS serves HTTPS. Required beyond loopback unless AllowPlaintext is set.
	// Default: plain HTTP.
	TLS *ServerTLS `yaml:"tls"`
	// AllowPlaintext permits plain HTTP beyond loopback. Default: false.
	AllowPlaintext bool `yaml:"allow_plaintext"`
	// RequireRequestHeader refuses requests without X-Vault-Request: true.
	// Default: false.
	RequireRequestHeader bool `yaml:"require_request_header"`
	// Identity says whether this listener lends out the proxy's own identity.
	// Default: identity.use; never without an identity.
	Identity IdentityUse `yaml:"identity"`
}

// ServerTLS is the certificate that a listener shows.
type ServerTLS struct {
	// CertFile is the PEM certificate chain. Required.
	CertFile string `yaml:"cert_file" file:"relative"`
	// KeyFile is the PEM private key of CertFile. Required.
	KeyFile string `yaml:"key_file" file:"relative"`
	// ClientCAFile holds the PEM authorities that client certificates must
	// come from. Default: client certificates are not asked for.
	ClientCAFile string `yaml:"client_ca_file" file:"relative"`
}

// Cluster is one Vault cluster.
type Cluster struct {
	// Name is a DNS label, unique in the file. Required.
	Name string `yaml:"name"`
	// Region is where the cluster runs. Required.
	Region string `yaml:"region"`
	// Addresses are base URLs: one load balancer, or every node. Required.
	Addresses []string `yaml:"addresses"`
	// TLS is how the proxy trusts the cluster and shows itself to it. Default:
	// the system's authorities, no client certificate.
	TLS *ClientTLS `yaml:"tls"`
	// DROf names the cluster whose tokens and leases this disaster-recovery
	// copy holds. Default: none.
	DROf string `yaml:"dr_of"`
	// Role pins the cluster's role. Default: discovered.
	Role Role `yaml:"role"`
}

// ClientTLS is how the proxy speaks TLS to a cluster.
type ClientTLS struct {
	// CAFile holds the PEM authorities to trust. Default: the system's.
	CAFile string `yaml:"ca_file" file:"relative"`
	// CertFile is the PEM client certificate. Default: none.
	CertFile string `yaml:"cert_file" file:"relative"`
	// KeyFile is the PEM private key of CertFile. Default: none.
	KeyFile string `yaml:"key_file" file:"relative"`
	// ServerName is the name to verify. Default: the address's host.
	ServerName string `yaml:"server_name"`
	// InsecureSkipVerify trusts any certificate. For trials only. Default: false.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
}

// Sessions is what the proxy remembers of clients' logins.
type Sessions struct {
	// Replay remembers a login seen through the proxy, in memory only, to
	// repeat it on another cluster. Default: true.
	Replay bool `yaml:"replay"`
	// ReplayExcept are auth methods whose logins are not repeated all the same, by
	// the name of their type (okta, ldap). Default: none.
	ReplayExcept []string `yaml:"replay_except"`
	// Max is the number of sessions kept; the least recently used go first.
	// Default: 10000.
	Max int `yaml:"max"`
	// Prewarm logs in ahead of need at the primary and at the next-nearest
	// cluster. Default: true.
	Prewarm bool `yaml:"prewarm"`
	// LoginRate is how many logins a second each cluster gets from this proxy at
	// most, when sessions are repeated. Default: 100.
	LoginRate int `yaml:"login_rate"`
	// StateFile keeps, encrypted, over a restart which cluster issued what.
	// Default: nothing is kept.
	StateFile string `yaml:"state_file" file:"relative"`
	// StateKeyFile holds the secret that StateFile is encrypted with, 16 bytes or
	// more. Required with StateFile.
	StateKeyFile string `yaml:"state_key_file" file:"relative"`
	// PersistCredentials keeps the sessions in StateFile, too: logins and tokens.
	// Default: false.
	PersistCredentials bool `yaml:"persist_credentials"`
	// Idle is how long a session may go unused before it gives its tokens on
	// other clusters back. Default: 1h.
	Idle time.Duration `yaml:"idle"`
}

// Routing decides between clusters.
type Routing struct {
	// Writes go straight to the primary, or to the nearest cluster, which
	// forwards them. Default: primary.
	Writes Writes `yaml:"writes"`
	// LatencyWindow is how much slower than the best a cluster may be and still
	// count as equally near. Default: 15ms.
	LatencyWindow time.Duration `yaml:"latency_window"`
	// Failover is the order of regions after the own one. Default: by round trip.
	Failover []string `yaml:"failover"`
	// Never are regions that this proxy must not use. Default: none.
	Never []string `yaml:"never"`
	// PrimaryDown says what becomes of a write while no primary is known.
	// Default: wait.
	PrimaryDown PrimaryDown `yaml:"primary_down"`
	// PrimaryWait is the longest such wait. Default: 10s.
	PrimaryWait time.Duration `yaml:"primary_wait"`
	// Hedge asks a second cluster for a read that takes longer than 95 of 100 do.
	// Default: false.
	Hedge bool `yaml:"hedge"`
	// MaxInFlight is how many requests each cluster is sent at the same time; more
	// go to the next, or are refused. Default: 1024.
	MaxInFlight int `yaml:"max_in_flight"`
	// Consistency is what a client may expect to read. Default: session.
	Consistency Consistency `yaml:"consistency"`
	// ConsistencyMechanism is how it is made sure that a cluster has what a client
	// wrote. Default: auto.
	ConsistencyMechanism ConsistencyMechanism `yaml:"consistency_mechanism"`
	// MaxStaleness is the replication lag beyond which a secondary is not read
	// from. Default: 0s, any lag will do.
	MaxStaleness time.Duration `yaml:"max_staleness"`
	// Rules come before the built-in classification; the first match wins.
	// Default: none.
	Rules []Rule `yaml:"rules"`
}

// Rule sends the requests that match it to a place of the user's choice.
type Rule struct {
	// Path is below /v1/; "*" at its end matches any rest, "+" one segment.
	// Required.
	Path string `yaml:"path"`
	// Methods are upper-case HTTP methods, with Vault's LIST and SCAN.
	// Default: all.
	Methods []string `yaml:"methods"`
	// To is where matching requests go. Required.
	To Target `yaml:"to"`
}

// Limits bound what clients can take up.
type Limits struct {
	// Connections is how many clients each listener serves at the same time. Beyond
	// it the one that was idle for longest is closed. Default: 10000.
	Connections int `yaml:"connections"`
	// InFlight is how many requests are served at the same time; more are refused.
	// Default: 4096.
	InFlight int `yaml:"in_flight"`
	// RepeatBody is the largest request body, in bytes, that is kept for a repeat; a
	// larger one is sent once. Default: 65536.
	RepeatBody int `yaml:"repeat_body"`
	// HeaderBytes is the largest request header, in bytes. Default: 65536.
	HeaderBytes int `yaml:"header_bytes"`
	// HeaderTimeout is how long a client may take to send a header. Default: 10s.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	// IdleTimeout is how long a client may keep a connection without a request.
	// Default: 5m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
}

// Connections are those to the clusters' nodes.
type Connections struct {
	// PerNode is how many connections each node gets at the same time; further
	// requests wait. Default: 1024.
	PerNode int `yaml:"per_node"`
	// IdlePerNode is how many of them are kept without a request. Default: 256.
	IdlePerNode int `yaml:"idle_per_node"`
	// IdleTimeout is how long they are kept. Default: 90s.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// Lifetime is how long a connection takes new requests. Then another is made,
	// which looks the address up anew. Default: 5m.
	Lifetime time.Duration `yaml:"lifetime"`
	// HTTP2 is offered to nodes that are spoken to by TLS. Default: true.
	HTTP2 bool `yaml:"http2"`
	// EnvironmentProxy heeds HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Default: false.
	EnvironmentProxy bool `yaml:"environment_proxy"`
}

// Health is how the clusters are probed.
type Health struct {
	// Interval is the time between two probes of a node. Default: 2s.
	Interval time.Duration `yaml:"interval"`
	// Timeout is the longest a probe may take. Default: 1s, or the interval if
	// that is shorter.
	Timeout time.Duration `yaml:"timeout"`
	// Fall is the number of failures in a row that takes a node out. Default: 3.
	Fall int `yaml:"fall"`
	// Rise is the number of successes in a row that brings it back. Default: 2.
	Rise int `yaml:"rise"`
}

// DNS is the DNS server for the zone of clusters.
type DNS struct {
	// Address is host:port, served over UDP and TCP. Default: 127.0.0.1:5353.
	Address string `yaml:"address"`
	// Zone is the domain that is answered, with its final dot. Default:
	// vault.internal.
	Zone string `yaml:"zone"`
	// TTL is how long answers may be cached, at most 1h. Default: 5s.
	TTL time.Duration `yaml:"ttl"`
	// NegativeTTL is how long it may be cached that a name or type does not exist, at
	// most 1h. Default: 5s.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// Forward are the resolvers for other names, each host:port or the absolute
	// path of a resolv.conf; with none such names are refused. Default:
	// /etc/resolv.conf.
	Forward []string `yaml:"forward"`
	// CacheSize is how many forwarded answers are kept. 0 keeps none. Default: 4096.
	CacheSize int `yaml:"cache_size"`
	// ServeStale is for how long forwarded answers that have expired are given while
	// no resolver answers, at most 24h. 0s: never. Default: 1h.
	ServeStale time.Duration `yaml:"serve_stale"`
	// RateLimit is how many questions a second one source may ask, other than this
	// machine itself. 0 is no limit. Default: 1000.
	RateLimit int `yaml:"rate_limit"`
	// Allow are the networks that may ask. Default: 127.0.0.0/8 and ::1/128.
	Allow []netip.Prefix `yaml:"allow"`
}

// Admin is the listener for operators and their monitoring.
type Admin struct {
	// Address is host:port. Default: 127.0.0.1:8210.
	Address string `yaml:"address"`
	// TLS serves HTTPS; required beyond loopback. Default: plain HTTP.
	TLS *ServerTLS `yaml:"tls"`
	// PProf serves /debug/pprof/. Default: false.
	PProf bool `yaml:"pprof"`
	// Quit lets POST /quit end the process. Default: false.
	Quit bool `yaml:"quit"`
}

// Tracing is where spans of requests go.
type Tracing struct {
	// Endpoint is the URL of a collector that takes OTLP over HTTP; without a path,
	// /v1/traces. Required.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of the requests that is traced, from 0 to 1, where the client
	// has not decided (traceparent). Default: 1.
	Sample float64 `yaml:"sample"`
	// TLS is how the proxy trusts the collector and shows itself to it. Default:
	// the system's authorities, no client certificate.
	TLS *ClientTLS `yaml:"tls"`
}

// Shutdown is how long a stop may take.
type Shutdown struct {
	// DrainDelay is how long listeners stay open after readiness has gone.
	// Default: 0s.
	DrainDelay time.Duration `yaml:"drain_delay"`
	// DrainTimeout is how long requests in flight may take to finish.
	// Default: 30s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Log is what is logged, and in which form.
type Log struct {
	// Level is the least severe level logged. Default: info; VRPROXY_LOG_LEVEL
	// overrides it.
	Level LogLevel `yaml:"level"`
	// Format is the form of a log line. Default: json.
	Format LogFormat `yaml:"format"`
}

// File returns the name of the file that c was read from.
func (c *Config) File() string { return c.file }

// Problem returns a problem at the line of key, written as in
// "clusters[0].tls.ca_file". It lets whoever uses a value report it the way
// [Load] does.
func (c *Config) Problem(key, message string) Problem {
	return Problem{File: c.file, Line: lineOf(c.lines, key), Message: key + ": " + message}
}
