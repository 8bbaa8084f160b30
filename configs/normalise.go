package configs

import (
	"slices"
	"strings"
)

// normalise fills what depends on other keys and brings what can be written in
// several ways into one form. It comes before validation and judges nothing
// but words that contradict each other.
func (c *Config) normalise(r *report) {
	if c.Identity != nil {
		c.Identity.normalise(r)
	}
	for i := range c.Listeners {
		c.Listeners[i].normalise(c.Identity)
	}
	for i := range c.Clusters {
		for j, address := range c.Clusters[i].Addresses {
			c.Clusters[i].Addresses[j] = strings.TrimSuffix(address, "/")
		}
	}
	if _, given := c.lines["health.timeout"]; !given && c.Health.Interval > 0 {
		c.Health.Timeout = min(c.Health.Timeout, c.Health.Interval)
	}
	if c.DNS != nil && c.DNS.Zone != "" && !strings.HasSuffix(c.DNS.Zone, ".") {
		c.DNS.Zone += "."
	}
}

func (l *Listener) normalise(identity *Identity) {
	if l.Identity == "" {
		l.Identity = UseNever
		if identity != nil {
			l.Identity = identity.Use
		}
	}
	if l.Mode == 0 && l.IsUnix() {
		l.Mode = DefaultSocketMode
	}
}

func (i *Identity) normalise(r *report) {
	if i.Mount == "" && i.Method != MethodTokenFile {
		i.Mount = string(i.Method)
	}
	i.Options.normalise(i.Method, r, "identity.options")
	for name, o := range i.PerCluster {
		o.Options.normalise(i.Method, r, join("identity.per_cluster", name)+".options")
		i.PerCluster[name] = o
	}
	if i.Method == MethodKubernetes && i.Options.TokenPath == "" {
		i.Options.TokenPath = DefaultTokenPath
	}
	if t := defaultType(i.Method); i.Options.Type == "" && t != "" {
		i.Options.Type = t
	}
	for n := range i.Sinks {
		if i.Sinks[n].Mode == 0 {
			i.Sinks[n].Mode = DefaultSinkMode
		}
	}
}

func defaultType(m Method) string {
	switch m {
	case MethodAWS:
		return "iam"
	case MethodGCP:
		return "gce"
	}
	return ""
}

// normalise turns jwt_file into the path that it is another word for.
func (o *Options) normalise(method Method, r *report, path string) {
	if o.JWTFile == "" || method != MethodJWT {
		return
	}
	if o.Path != "" {
		r.add(path+".jwt_file", "path gives the same; keep one of them")
	}
	o.Path, o.JWTFile = o.JWTFile, ""
}

// IsUnix reports whether the listener is a unix socket.
func (l Listener) IsUnix() bool { return strings.HasPrefix(l.Address, "unix://") }

// Passed returns the name of the socket that systemd is to pass for the listener.
func (l Listener) Passed() (name string, ok bool) { return strings.CutPrefix(l.Address, "systemd:") }

// Endpoint returns the network and address to give to net.Listen.
func (l Listener) Endpoint() (network, address string) {
	if path, ok := strings.CutPrefix(l.Address, "unix://"); ok {
		return "unix", path
	}
	return "tcp", l.Address
}

// Cluster returns the cluster with the given name.
func (c *Config) Cluster(name string) (Cluster, bool) {
	i := slices.IndexFunc(c.Clusters, func(cl Cluster) bool { return cl.Name == name })
	if i < 0 {
		return Cluster{}, false
	}
	return c.Clusters[i], true
}
