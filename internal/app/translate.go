package app

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http/httpproxy"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/health"
	"github.com/vrproxy/vrproxy/internal/admin"
	"github.com/vrproxy/vrproxy/internal/consistency"
	"github.com/vrproxy/vrproxy/internal/upstream"
	"github.com/vrproxy/vrproxy/proxy"
	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

func preferences(cfg *configs.Config) routing.Preferences {
	return routing.Preferences{
		Preference:    preference(cfg),
		WritesNearest: cfg.Routing.Writes == configs.WritesNearest,
		MaxStaleness:  cfg.Routing.MaxStaleness,
	}
}

func preference(cfg *configs.Config) health.Preference {
	return health.Preference{Window: cfg.Routing.LatencyWindow, Failover: cfg.Routing.Failover, Never: cfg.Routing.Never}
}

func primaryWait(cfg *configs.Config) time.Duration {
	if cfg.Routing.PrimaryDown == configs.PrimaryDownFail {
		return 0
	}
	return cfg.Routing.PrimaryWait
}

// memories are those of the process, unless no guarantee is asked for.
func memories(cfg *configs.Config, all *consistency.Memories) *consistency.Memories {
	if cfg.Routing.Consistency == configs.ConsistencyNone {
		return nil
	}
	return all
}

func consistencyConfig(cfg *configs.Config) consistency.Config {
	return consistency.Config{
		Max: cfg.Sessions.Max, Mechanism: consistency.Mechanism(cfg.Routing.ConsistencyMechanism),
		Margin: cfg.Health.Interval*11/10 + time.Second,
	}
}

func rules(cfg *configs.Config) []routing.Rule {
	var out []routing.Rule
	for _, r := range cfg.Routing.Rules {
		out = append(out, routing.Rule{Path: r.Path, Methods: r.Methods, To: r.To.String()})
	}
	return out
}

func healthConfig(cfg *configs.Config, p *upstream.Pool, logger *zap.Logger) health.Config {
	out := health.Config{
		Region: cfg.Region, Prober: p, Resolve: p.Resolve, Warm: p.Warm, Logger: logger,
		Interval: cfg.Health.Interval, Timeout: cfg.Health.Timeout, Fall: cfg.Health.Fall, Rise: cfg.Health.Rise,
	}
	for _, c := range cfg.Clusters {
		out.Clusters = append(out.Clusters, health.ClusterConfig{
			Name: c.Name, Region: c.Region, DROf: c.DROf, Role: health.Role(c.Role), Addresses: c.Addresses,
		})
	}
	return out
}

func policy(cfg *configs.Config, l configs.Listener) proxy.Policy {
	lend := proxy.Lend(l.Identity)
	if lend == "" {
		lend = proxy.LendNever
		if cfg.Identity != nil {
			lend = proxy.Lend(cfg.Identity.Use)
		}
	}
	return proxy.Policy{Lend: lend, RequireHeader: l.RequireRequestHeader}
}

// identity translates the proxy's own login. Clusters that share a home share one
// identity there; the first override in the file wins.
func identity(cfg *configs.Config, homes func() []string) *tokencache.IdentityConfig {
	id := cfg.Identity
	if id == nil {
		return nil
	}
	out := &tokencache.IdentityConfig{
		Method: string(id.Method), Mount: id.Mount, Namespace: id.Namespace,
		Options: options(id.Options), PerHome: make(map[string]tokencache.IdentityOverride), Homes: homes,
	}
	for name, o := range id.PerCluster {
		out.PerHome[homeOf(cfg, name)] = tokencache.IdentityOverride{Mount: o.Mount, Namespace: o.Namespace, Options: options(o.Options)}
	}
	return out
}

// sinks are the files that the identity's own token is written to.
func sinks(cfg *configs.Config, tokens *tokencache.Cache, nearest func() string) []*tokencache.Sink {
	if cfg.Identity == nil {
		return nil
	}
	var out []*tokencache.Sink
	for _, s := range cfg.Identity.Sinks {
		home := nearest
		if s.Cluster != "" {
			home = func() string { return homeOf(cfg, s.Cluster) }
		}
		out = append(out, tokens.NewSink(tokencache.SinkConfig{Path: s.Path, Mode: s.Mode, Home: home}))
	}
	return out
}

func homeOf(cfg *configs.Config, name string) string {
	i := slices.IndexFunc(cfg.Clusters, func(c configs.Cluster) bool { return c.Name == name })
	if i >= 0 && cfg.Clusters[i].DROf != "" {
		return cfg.Clusters[i].DROf
	}
	return name
}

func upstreamConfig(cfg *configs.Config, clusters []upstream.Cluster) upstream.Config {
	c := cfg.Connections
	out := upstream.Config{
		Clusters: clusters, PerNode: c.PerNode, IdlePerNode: c.IdlePerNode, IdleTimeout: c.IdleTimeout, Lifetime: c.Lifetime, NoHTTP2: !c.HTTP2,
	}
	if c.EnvironmentProxy {
		out.Proxy = httpproxy.FromEnvironment().ProxyFunc()
	}
	return out
}

func upstreamClusters(cfg *configs.Config) ([]upstream.Cluster, error) {
	var out []upstream.Cluster
	var problems []error
	for i, c := range cfg.Clusters {
		t, err := clientTLS(c.TLS)
		if err != nil {
			problems = append(problems, errors.New(cfg.Problem(fmt.Sprintf("clusters[%d].tls", i), err.Error()).String()))
		}
		out = append(out, upstream.Cluster{Name: c.Name, TLS: t})
	}
	return out, errors.Join(problems...)
}

// options gives the login options by their configured names. Secrets are revealed
// here, on their way into the one room that sends them.
func options(o configs.Options) map[string]string {
	all := map[string]string{
		"role_id": o.RoleID, "role_id_file": o.RoleIDFile,
		"secret_id": o.SecretID.Reveal(), "secret_id_file": o.SecretIDFile,
		"role": o.Role, "token_path": o.TokenPath, "path": o.Path, "jwt_file": o.JWTFile,
		"username": o.Username, "password": o.Password.Reveal(), "password_file": o.PasswordFile,
		"name": o.Name, "type": o.Type, "region": o.Region, "header_value": o.HeaderValue,
		"nonce": o.Nonce.Reveal(), "signature": o.Signature,
		"service_account": o.ServiceAccount, "resource": o.Resource,
	}
	if o.SecretIDWrapped {
		all["secret_id_wrapped"] = "true"
	}
	for name, value := range all {
		if value == "" {
			delete(all, name)
		}
	}
	return all
}

// consistency is what /status says of the guarantee now.
func (a *App) consistency() admin.ConsistencyStatus {
	if a.cores.p.Load().cfg.Routing.Consistency == configs.ConsistencyNone {
		return admin.ConsistencyStatus{Level: string(configs.ConsistencyNone), Mechanism: "none", Compares: consistency.Unknown.String()}
	}
	m := a.shared.memory
	return admin.ConsistencyStatus{Level: string(configs.ConsistencySession), Mechanism: string(m.Mechanism()), Compares: m.Compares().String()}
}
