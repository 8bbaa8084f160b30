package dns

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"gopkg.in/yaml.v3"
)

// front is one way to plug vrproxy in: it starts what stands before it, and gives the
// resolv.conf of the client.
type front struct {
	name  string
	start func(t *testing.T) (resolvConf string)
	// all: it takes all names to vrproxy, not only the zone.
	all bool
}

func fronts() []front {
	return []front{
		{"resolv.conf", func(t *testing.T) string { return example(t, "/etc/resolv.conf") }, true},
		{"systemd-resolved", resolved, false},
		{"NetworkManager's dnsmasq", networkManager, false},
		{"CoreDNS", func(t *testing.T) string {
			return coreDNS(t, example(t, "CoreDNS")+"\n.:53 {\n bind "+frontAddress+"\n forward . "+upstreamAddress+"\n}\n", frontAddress)
		}, false},
		{"dnsmasq", dnsmasq, false},
		{"unbound", unbound, false},
		{"Kubernetes", kubernetes, true},
		{"NodeLocal DNSCache", func(t *testing.T) string { return coreDNS(t, example(t, "NodeLocal DNSCache"), nodeLocal) }, false},
	}
}

func nameserver(address string) string {
	return "nameserver " + address + "\noptions timeout:1 attempts:3\n"
}

func coreDNS(t *testing.T, corefile, address string) string {
	file := filepath.Join(t.TempDir(), "Corefile")
	if !strings.Contains(corefile, "bind "+address+"\n    forward") {
		corefile = strings.Replace(corefile, "errors", "errors\n    bind "+address, 1)
	}
	write(t, file, corefile)
	background(t, os.Getenv(envCoreDNS), "-conf", file)
	return nameserver(address)
}

// dnsmasqBase is what any dnsmasq in a test needs.
func dnsmasqBase() []string {
	return []string{
		"dnsmasq", "--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file=", "--no-hosts", "--no-resolv",
		"--bind-interfaces", "--except-interface=front", "--listen-address=" + frontAddress, "--server=" + upstreamAddress,
	}
}

func dnsmasq(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "dnsmasq.conf")
	write(t, file, example(t, "dnsmasq"))
	background(t, append(dnsmasqBase(), "--conf-file="+file)...)
	return nameserver(frontAddress)
}

// networkManager runs dnsmasq as NetworkManager does, with the folder that it reads.
func networkManager(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "dnsmasq.d")
	write(t, filepath.Join(dir, "vrproxy.conf"), example(t, "NetworkManager"))
	background(t, append(dnsmasqBase(), "--conf-file=/dev/null", "--conf-dir="+dir)...)
	return nameserver(frontAddress)
}

func unbound(t *testing.T) string {
	dir := t.TempDir()
	file := filepath.Join(dir, "unbound.conf")
	write(t, file, unboundBase(dir, frontAddress)+example(t, "unbound")+"forward-zone:\n    name: \".\"\n    forward-addr: "+upstreamAddress+"\n")
	background(t, "unbound", "-d", "-c", file)
	return nameserver(frontAddress)
}

// kubernetes gives the resolv.conf that kubelet writes for the pod.
func kubernetes(t *testing.T) string {
	var pod struct {
		Spec struct {
			DNSPolicy string `yaml:"dnsPolicy"`
			DNSConfig struct {
				Nameservers, Searches []string
				Options               []struct{ Name, Value string }
			} `yaml:"dnsConfig"`
		}
	}
	if err := yaml.Unmarshal([]byte(example(t, "Kubernetes")), &pod); err != nil {
		t.Fatal(err)
	}
	d := pod.Spec.DNSConfig
	if pod.Spec.DNSPolicy != "None" || len(d.Nameservers) == 0 {
		t.Fatalf("the pod says %+v", pod.Spec)
	}
	out := "search " + strings.Join(d.Searches, " ") + "\n"
	for _, n := range d.Nameservers {
		out += "nameserver " + n + "\n"
	}
	for _, o := range d.Options {
		out += "options " + o.Name + ":" + o.Value + "\n"
	}
	return out
}

// TestResolvers puts each resolver between the client and vrproxy, and follows
// vault.internal through the loss of two clusters with glibc's resolver.
func TestResolvers(t *testing.T) {
	for _, f := range fronts() {
		t.Run(f.name, func(t *testing.T) {
			upstream(t)
			w := newWorld(t, "", ", ttl: 1s, negative_ttl: 1s")
			conf := f.start(t)
			getent := func(name string) []string { return getent(t, conf, name) }
			eventually(t, "vault.internal is the nearest cluster", func() bool {
				return slices.Equal(getent("vault.internal"), []string{addresses()["eu-west"]})
			})
			if got := getent("primary.vault.internal"); !slices.Equal(got, []string{addresses()["us-east"]}) {
				t.Errorf("the primary: %v", got)
			}
			if got := getent("nowhere.vault.internal"); got != nil {
				t.Errorf("a name that does not exist: %v", got)
			}
			if got := getent("www.corp"); f.name != "NodeLocal DNSCache" && !slices.Equal(got, []string{"192.0.2.80"}) {
				t.Errorf("another name: %v", got)
			}
			records(t, conf)
			for _, lost := range []struct{ cluster, next string }{{"eu-west", "us-west"}, {"us-west", "us-east"}} {
				killed := time.Now()
				w.lab.Cluster(lost.cluster).Kill()
				eventually(t, "vault.internal is "+lost.next, func() bool {
					return slices.Equal(getent("vault.internal"), []string{addresses()[lost.next]})
				})
				t.Logf("%s: %s after the loss of %s the client finds %s", f.name, time.Since(killed).Round(10*time.Millisecond), lost.cluster, lost.next)
			}
		})
	}
}

// getent asks as programs do.
func getent(t *testing.T, conf, name string) []string {
	t.Helper()
	out, err := inClient(t, conf, "getent", "ahostsv4", name)
	if err != nil {
		return nil
	}
	var got []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "STREAM" {
			got = append(got, fields[0])
		}
	}
	return got
}

// records asks with dig for what getent does not show.
func records(t *testing.T, conf string) {
	t.Helper()
	dig := func(args ...string) string {
		out, err := inClient(t, conf, append([]string{"dig", "+short", "+timeout=2", "+tries=2"}, args...)...)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	if got := dig("TXT", "primary.vault.internal"); got != `"cluster=us-east region=us-east role=primary state=healthy"` {
		t.Errorf("TXT: %s", got)
	}
	var targets []string
	for line := range strings.Lines(dig("SRV", "_vault._tcp.vault.internal")) {
		targets = append(targets, strings.TrimSpace(line))
	}
	slices.Sort(targets)
	want := []string{
		"0 100 8200 node-1.eu-west.vault.internal.", "1 100 8200 node-1.us-west.vault.internal.", "2 100 8200 node-1.us-east.vault.internal.",
	}
	if !slices.Equal(targets, want) {
		t.Errorf("SRV: %v", targets)
	}
	if got := dig("+tcp", "A", "node-1.us-east.vault.internal"); got != addresses()["us-east"] {
		t.Errorf("by TCP: %s", got)
	}
	if got := dig("AAAA", "vault.internal"); got != "" {
		t.Errorf("AAAA: %s", got)
	}
}

// TestForwarding has vrproxy before a real resolver.
func TestForwarding(t *testing.T) {
	upstream(t)
	newWorld(t, "", "")
	if got := ask(proxyAddress, "www.corp."); !slices.Equal(got, []string{"192.0.2.80"}) {
		t.Errorf("A: %v", got)
	}
	resp, err := query(proxyAddress, new(dns.Msg).SetQuestion("odd.corp.", 65280))
	if err != nil || len(resp.Answer) != 1 || resp.Answer[0].(*dns.RFC3597).Rdata != "010203" {
		t.Errorf("a type that nobody knows: %v %v", resp, err)
	}
	resp, err = query(proxyAddress, new(dns.Msg).SetQuestion("none.corp.", dns.TypeA))
	if err != nil || resp.Rcode != dns.RcodeNameError || len(resp.Ns) != 1 || resp.Ns[0].Header().Ttl > 60 {
		t.Errorf("NXDOMAIN: %v %v", resp, err)
	}
	out, err := inClient(t, nameserver(proxyAddress), "dig", "+short", "+bufsize=1232", "TXT", "big.corp")
	if n := strings.Count(out, "xxx\""); err != nil || n != 20 {
		t.Errorf("a large answer: %d records, %v", n, err)
	}
}
