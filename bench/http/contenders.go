package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// frontAddress is where whichever proxy is measured listens.
const frontAddress = "127.0.0.1:15910"

// contender is one proxy to measure.
type contender struct {
	name  string
	files map[string]string // written before the start
	args  []string
}

// contenders are the proxies in front of an upstream. vaultBinary may be empty.
func contenders(dir, vaultBinary string, secure bool) []contender {
	at := func(name string) string { return filepath.Join(dir, name) }
	scheme, upstream, haTLS, nginxTLS, yamlTLS := "http", plainUpstream, "", "", ""
	if secure {
		scheme, upstream = "https", tlsUpstream
		haTLS = " ssl verify required ca-file " + at("cert.pem")
		nginxTLS = "proxy_ssl_verify on; proxy_ssl_trusted_certificate " + at("cert.pem") + "; proxy_ssl_name 127.0.0.1; proxy_ssl_session_reuse on;"
		yamlTLS = fmt.Sprintf(", tls: {ca_file: %q}", at("cert.pem"))
	}
	out := []contender{
		{"HAProxy", map[string]string{at("haproxy.cfg"): fmt.Sprintf(`global
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
`, frontAddress, upstream, haTLS)}, []string{"haproxy", "-f", at("haproxy.cfg"), "-db"}},
		{"nginx", map[string]string{at("nginx.conf"): fmt.Sprintf(`worker_processes 1;
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
`, at("nginx.pid"), at("nginx"), upstream, frontAddress, scheme, nginxTLS)}, []string{"nginx", "-c", at("nginx.conf")}},
		{"httputil.ReverseProxy", nil, []string{os.Args[0], "-reverse", scheme + "://" + upstream, "-dir", dir}},
		{"vrproxy", map[string]string{at("vrproxy.yaml"): fmt.Sprintf(
			"region: r\nlisteners: [{address: %q}]\nadmin: {address: \"127.0.0.1:15911\"}\nlog: {level: warn}\nclusters: [{name: c, region: r, addresses: [%q]%s}]\n",
			frontAddress, scheme+"://"+upstream, yamlTLS)}, []string{at("vrproxy"), "run", "-c", at("vrproxy.yaml")}},
		{"vrproxy, identity", map[string]string{at("identity.yaml"): fmt.Sprintf(
			"region: r\nlisteners: [{address: %q}]\nadmin: {address: \"127.0.0.1:15911\"}\nlog: {level: warn}\nidentity: {method: userpass, options: {username: u, password: p}, use: force}\nclusters: [{name: c, region: r, addresses: [%q]%s}]\n",
			frontAddress, scheme+"://"+upstream, yamlTLS)}, []string{at("vrproxy"), "run", "-c", at("identity.yaml")}},
	}
	if vaultBinary != "" {
		out = append(out, contender{"vault proxy", map[string]string{at("proxy.hcl"): fmt.Sprintf(
			"vault {\n  address = %q\n  ca_cert = %q\n}\napi_proxy {}\nlistener \"tcp\" {\n  address     = %q\n  tls_disable = true\n}\n",
			scheme+"://"+upstream, at("cert.pem"), frontAddress)}, []string{vaultBinary, "proxy", "-config=" + at("proxy.hcl")}})
	}
	return out
}
