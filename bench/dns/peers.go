package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The address of whichever server is measured, and the address that it gives.
const (
	host   = "127.0.0.1"
	port   = 15353
	answer = "127.0.0.1"
)

// contender is one server to measure.
type contender struct {
	name  string
	files map[string]string // written before the start
	args  []string
	names []string // that dnsperf asks for
}

// names are the questions; all servers but a forwarding one have them as their own.
func names(zone string) []string { return []string{zone, "nearest." + zone, "primary." + zone} }

func contenders(dir string) []contender {
	at := func(name string) string { return filepath.Join(dir, name) }
	listen := fmt.Sprintf("%s:%d", host, port)
	var local, zone strings.Builder
	for _, n := range names("vault.internal") {
		fmt.Fprintf(&local, "    local-data: \"%s. 5 A %s\"\n", n, answer)
		fmt.Fprintf(&zone, "%s. 5 IN A %s\n", n, answer)
	}
	vrproxy := func(forward string) string {
		return fmt.Sprintf("region: r\nlisteners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\nlog: {level: error}\n"+
			"dns: {address: %q, forward: [%s]}\nclusters: [{name: c, region: r, addresses: [%q]}]\n", listen, forward, fakeVault)
	}
	return []contender{
		{"dnsmasq", nil, []string{
			"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--pid-file=", "--local-ttl=5", "--user=" + userName(),
			"--bind-interfaces", "--listen-address=" + host, fmt.Sprint("--port=", port), "--host-record=vault.internal,nearest.vault.internal,primary.vault.internal," + answer,
		}, names("vault.internal")},
		{"unbound", map[string]string{at("unbound.conf"): fmt.Sprintf("server:\n    interface: %s@%d\n    num-threads: 1\n    do-daemonize: no\n    username: \"\"\n"+
			"    chroot: \"\"\n    directory: %q\n    pidfile: \"\"\n    use-syslog: no\n    module-config: \"iterator\"\n    local-zone: \"internal.\" static\n%s"+
			"remote-control:\n    control-enable: no\n", host, port, dir, local.String())}, []string{"unbound", "-d", "-c", at("unbound.conf")}, names("vault.internal")},
		{"CoreDNS", map[string]string{
			at("zone"):     "internal. 5 IN SOA ns.internal. host.internal. 1 60 60 60 5\ninternal. 5 IN NS ns.internal.\n" + zone.String(),
			at("Corefile"): fmt.Sprintf("internal:%d {\n    bind %s\n    file %s\n}\n", port, host, at("zone")),
		}, []string{at("coredns"), "-conf", at("Corefile")}, names("vault.internal")},
		{"vrproxy", map[string]string{at("own.yaml"): vrproxy("")}, []string{at("vrproxy"), "run", "-c", at("own.yaml")}, names("vault.internal")},
		{"vrproxy, forwarded + cached", map[string]string{at("forward.yaml"): vrproxy(`"` + fakeUpstream + `"`)},
			[]string{at("vrproxy"), "run", "-c", at("forward.yaml")}, names("vault.example")},
	}
}

func userName() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return "root"
}
