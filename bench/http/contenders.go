package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// adminAddress is vrproxy's admin listener.
const adminAddress = "127.0.0.1:15911"

// The names of contenders that are compared by name.
const (
	direct       = "direct"
	haproxy      = "HAProxy"
	reverseProxy = "ReverseProxy"
	vrproxy      = "vrproxy"
	vaultProxy   = "vault proxy"
)

// contender is one proxy to measure, or none.
type contender struct {
	name   string
	files  map[string]string // written before the start
	args   []string          // none: the load goes to the upstream
	binary string            // whose size is told; empty: none
	dial   dialer
	// profile is where a CPU profile of it is to be had; empty: nowhere.
	profile string
}

// names are those that -only may pick.
func names() []string {
	return []string{direct, haproxy, "nginx", reverseProxy, "fasthttp", vrproxy, "vrproxy identity", vaultProxy, "vault proxy cached"}
}

// chosen are the names of a list, or all.
func chosen(list string) ([]string, error) {
	if list == "" {
		return names(), nil
	}
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(names(), func(known string) bool { return strings.EqualFold(known, strings.TrimSpace(name)) })
		if i < 0 {
			return nil, fmt.Errorf("-only: %q is none of: %s", name, strings.Join(names(), ", "))
		}
		out = append(out, names()[i])
	}
	return out, nil
}

// site is where the proxies' files are, and what they have before them.
type site struct {
	dir, vault string // vault: its binary, or empty
	secure     bool   // the upstream is asked over TLS
	pprof      bool
}

func (s site) at(name string) string { return filepath.Join(s.dir, name) }

func (s site) upstream() string {
	if s.secure {
		return stage.TLSUpstream
	}
	return stage.PlainUpstream
}

func (s site) url() string {
	if s.secure {
		return "https://" + stage.TLSUpstream
	}
	return "http://" + stage.PlainUpstream
}

// ifSecure is a text that is needed with TLS only.
func (s site) ifSecure(text string) string {
	if s.secure {
		return text
	}
	return ""
}

// contenders are the chosen proxies in front of the upstream, in the order of names.
func (s site) contenders(only []string) ([]contender, error) {
	upstream, err := s.dialer()
	if err != nil {
		return nil, err
	}
	var out []contender
	for _, c := range append([]contender{{name: direct, dial: upstream}, s.haproxy(), s.nginx(),
		s.part(reverseProxy, "-reverse"), s.part("fasthttp", "-fasthttp"),
		s.vrproxy(vrproxy, ""), s.vrproxy("vrproxy identity", "identity: {method: userpass, options: {username: u, password: p}, use: force}\n"),
	}, s.vaults()...) {
		if !slices.Contains(only, c.name) {
			continue
		}
		if c.dial == nil {
			c.dial = dialTCP(stage.Front)
		}
		out = append(out, c)
	}
	return out, nil
}

func dialTCP(address string) dialer {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }
}

// dialer is how clients reach the upstream itself.
func (s site) dialer() (dialer, error) {
	if !s.secure {
		return dialTCP(stage.PlainUpstream), nil
	}
	roots, err := stage.Authority(s.dir)
	if err != nil {
		return nil, err
	}
	d := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", stage.TLSUpstream) }, nil
}

func (s site) haproxy() contender {
	file := s.at("haproxy.cfg")
	return contender{name: haproxy, binary: "haproxy", args: []string{"haproxy", "-f", file, "-db"}, files: map[string]string{file: fmt.Sprintf(`global
  nbthread 2
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind %s
  default_backend b
backend b
  http-response set-header X-Bench 1
  server s %s%s
`, stage.Front, s.upstream(), s.ifSecure(" ssl verify required ca-file "+s.at("cert.pem")))}}
}

func (s site) nginx() contender {
	secure := s.ifSecure("proxy_ssl_verify on; proxy_ssl_trusted_certificate " + s.at("cert.pem") + "; proxy_ssl_name " + stage.UpstreamName + "; proxy_ssl_session_reuse on;")
	file := s.at("nginx.conf")
	return contender{name: "nginx", binary: "nginx", args: []string{"nginx", "-c", file}, files: map[string]string{file: fmt.Sprintf(`worker_processes 1;
daemon off;
master_process off;
pid %s;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 10000000;
  client_body_temp_path %[2]s; proxy_temp_path %[2]s; fastcgi_temp_path %[2]s; uwsgi_temp_path %[2]s; scgi_temp_path %[2]s;
  upstream u { server %[3]s; keepalive 64; keepalive_requests 10000000; }
  server {
    listen %[4]s;
    location / { proxy_pass %[5]s://u; proxy_http_version 1.1; proxy_set_header Connection ""; add_header X-Bench 1; %[6]s }
  }
}
`, s.at("nginx.pid"), s.at("nginx"), s.upstream(), stage.Front, strings.SplitN(s.url(), ":", 2)[0], secure)}}
}

// part is a proxy of bench/http/parts.
func (s site) part(name, mode string) contender {
	return contender{name: name, args: []string{s.at("parts"), mode, s.url(), "-dir", s.dir}}
}

// vrproxy is told no more than where the cluster is.
func (s site) vrproxy(name, more string) contender {
	file := s.at(strings.ReplaceAll(name, " ", "-") + ".yaml")
	return contender{name: name, binary: s.at("vrproxy"), profile: "http://" + adminAddress + "/debug/pprof/profile", args: []string{s.at("vrproxy"), "run", "-c", file}, files: map[string]string{file: fmt.Sprintf(`region: r
listeners: [{address: %q}]
admin: {address: %q, pprof: %t}
log: {level: warn}
clusters: [{name: c, region: r, addresses: [%q]%s}]
%s`, stage.Front, adminAddress, s.pprof, s.url(), s.ifSecure(fmt.Sprintf(", tls: {ca_file: %q}", s.at("cert.pem"))), more)}}
}

// vaults are `vault proxy` without its cache and with it, if there is a vault.
func (s site) vaults() []contender {
	if s.vault == "" {
		return nil
	}
	with := func(name, cache string) contender {
		file := s.at(strings.ReplaceAll(name, " ", "-") + ".hcl")
		return contender{name: name, binary: s.vault, args: []string{s.vault, "proxy", "-config=" + file}, files: map[string]string{file: fmt.Sprintf(`log_level = "warn"
vault {
  address = %q
  %s
}
api_proxy {}
%s
listener "tcp" {
  address     = %q
  tls_disable = true
}
`, s.url(), s.ifSecure(fmt.Sprintf("ca_cert = %q", s.at("cert.pem"))), cache, stage.Front)}}
	}
	return []contender{with(vaultProxy, ""), with("vault proxy cached", "cache {}")}
}
