package archtest

import (
	"slices"
	"strings"
	"testing"
)

// rule says which rooms of this module a room may import, and why no others.
// Rooms below it (internal/lab/core) come under the same rule and may import
// each other. Tests may import what they like.
type rule struct {
	room string
	may  []string
	why  string
}

func rules() []rule {
	return []rule{
		{"cmd/vrproxy", []string{"internal/app"}, "main is a few lines around app, so that everything can be tested in-process"},
		{"internal/app", []string{"*"}, "app is the only room that knows all others"},
		{"proxy", []string{"routing", "tokencache", "health", "internal/consistency", "internal/http1"}, "an exchange plans, authorises and sends; transports, mounts and counters are handed in by app"},
		{"routing", []string{"health"}, "decisions are pure: they see health's topology and nothing that does anything"},
		{"health", []string{"internal/replication"}, "health stands below all others; replication is only the decoder of sys/replication/status"},
		{"tokencache", nil, "tokens are the most delicate state: what they depend on is handed in"},
		{"configs", nil, "the file format knows no room; app translates it into each room's own Config"},
		{"internal/scale", nil, "it is nothing but tests"},
		{"internal/consistency", []string{"routing"}, "it remembers and decides; what a request touches is told in routing's terms"},
		{"internal/mounts", []string{"routing"}, "it fills routing's mount tables; connections and tokens are handed in"},
		{"internal/explain", []string{"routing", "health", "internal/mounts"}, "it decides as the proxy does and sends nothing; it reads mounts as they are learned"},
		{"internal/upstream", []string{"health", "internal/replication", "internal/http1"}, "connections stand beside health, below whoever sends; it decodes what probes bring back"},
		{"internal/http1", nil, "it speaks HTTP/1.1 and knows nothing of Vault but the shape of its errors"},
		{"internal/wiretest", nil, "it looks at a front from outside, through its sockets"},
		{"internal/dnsserver", []string{"health", "routing"}, "answers come from the topology and its order, never from requests"},
		{"internal/observe", []string{"proxy"}, "it is shown records of requests and decides nothing"},
		{"internal/admin", []string{"health", "routing", "internal/replication"}, "it shows and explains; what it may change is handed in as functions"},
		{"internal/replication", nil, "it decodes and drives Vault's replication; whoever uses it brings the connection"},
		{"internal/lab", nil, "the laboratory stands for Vault: if it shared code with the proxy, it would share its mistakes"},
		{"internal/archtest", nil, "it looks at all rooms from outside"},
	}
}

// onlyFor names the rooms that few may import, and who.
func onlyFor() []rule {
	return []rule{
		{"configs", []string{"internal/app"}, "the core must serve as a library, without a file"},
		{"internal/lab", []string{"internal/app"}, "it is a test bed; only `dev` runs it outside tests"},
		{"internal/app", []string{"cmd/vrproxy"}, "app assembles; nothing can be built on it"},
	}
}

// pure are imports that routing must do without, with what they would bring in.
func pure() map[string]string {
	return map[string]string{
		"net":         "the network",
		"net/http":    "the network",
		"os":          "files and the environment",
		"os/exec":     "processes",
		"io/fs":       "files",
		"log":         "output",
		"math/rand":   "chance: a plan must be the same for the same input",
		"sync":        "locks: tables are immutable values (sync/atomic is fine)",
		"time/tzdata": "a clock",
	}
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for _, p := range rooms(t) {
		r, ok := ruleFor(p.room())
		if !ok {
			t.Errorf("%s has no import rule; add one here with its reason (DESIGN: rooms and who may import whom)", p.room())
			continue
		}
		for _, imported := range own(p.Imports) {
			if !allowed(r, imported) {
				t.Errorf("%s must not import %s: %s", p.room(), imported, r.why)
			}
			for _, o := range onlyFor() {
				if within(imported, o.room) && !within(p.room(), o.room) && !slices.Contains(o.may, p.room()) {
					t.Errorf("%s must not import %s, which is for %s only: %s", p.room(), imported, strings.Join(o.may, ", "), o.why)
				}
			}
		}
	}
}

func TestRoutingIsPure(t *testing.T) {
	t.Parallel()
	banned := pure()
	for _, p := range rooms(t) {
		if !within(p.room(), "routing") {
			continue
		}
		for _, imported := range p.Imports {
			if what, found := banned[strings.TrimSuffix(imported, "/v2")]; found {
				t.Errorf("%s must not import %s, which brings in %s: routing decides and does nothing else", p.room(), imported, what)
			}
		}
	}
}

// ruleFor returns the rule of the most specific room.
func ruleFor(room string) (rule, bool) {
	var best rule
	for _, r := range rules() {
		if within(room, r.room) && len(r.room) > len(best.room) {
			best = r
		}
	}
	return best, best.room != ""
}

// own returns the imports of this module as rooms.
func own(imports []string) []string {
	var found []string
	for _, i := range imports {
		if room, ok := strings.CutPrefix(i, module+"/"); ok {
			found = append(found, room)
		}
	}
	return found
}

func allowed(r rule, imported string) bool {
	return within(imported, r.room) || slices.ContainsFunc(r.may, func(name string) bool {
		return name == "*" || within(imported, name)
	})
}
