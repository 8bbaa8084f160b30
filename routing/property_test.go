package routing

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vrproxy/vrproxy/health"
)

// FuzzClassify: whatever a client sends, it is either no API path or has a class
// and a reason.
func FuzzClassify(f *testing.F) {
	f.Add("GET", "/v1/secret/data/a", "", "")
	f.Add("POST", "/v1/secret/data/%2e%2e/x", "list=true", "team")
	f.Add("GET", "/v1/../v1//sys/./leases/lookup/", "help=%zz;", "/root/")
	f.Add("LIST", "/v1/team/sub/deep/secret", "l%69st=1", "team//sub")
	f.Add("\x00", "/v1/%", "%", "\xff")
	known, router := table(), New([]Rule{{Path: "a/+/*", To: "primary"}, {Path: "secret/*", Methods: []string{"LIST"}, To: "refuse"}})
	f.Fuzz(func(t *testing.T, method, path, query, namespace string) {
		for _, tb := range []*Table{nil, known} {
			d, err := router.Classify(tb, Request{Method: method, Path: path, RawQuery: query, Namespace: namespace})
			if err != nil {
				if !errors.Is(err, ErrNotAPI) {
					t.Fatalf("error %v, want ErrNotAPI", err)
				}
				continue
			}
			if d.Class != Nearest && d.Class != Primary && d.Class != Owner && d.Class != Operator || d.Reason == "" || d.Verb == 0 {
				t.Fatalf("half a decision: %+v", d)
			}
			if (d.Engine == "") != (d.Mount == "") || d.Class == Owner && d.Subject == NoSubject && d.Rule == "" {
				t.Fatalf("decision does not fit together: %+v", d)
			}
		}
	})
}

// TestPathsAreReadAsVaultReadsThem: Vault's listener is Go's ServeMux, which sends a
// client to the clean path, and reads what is decoded then. Where routing read a
// path in another way, a request could be taken for another one.
func TestPathsAreReadAsVaultReadsThem(t *testing.T) {
	t.Parallel()
	pieces := []string{"/", "/", "//", ".", "..", "%2e", "%2E%2e", "%2F", "%2f", "%25", "%252F", "%00", "%ff", "%", "%z", "a", "sys", "secret", "data", "*", "+", ";", "~", "\xc3\xbc", "v1"}
	rapid.Check(t, func(t *rapid.T) {
		escaped := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "pieces"), "")
		if rapid.Bool().Draw(t, "below the API") {
			escaped = "/v1" + escaped
		}
		want, ok, redirected := asVault(t, escaped)
		if redirected && (&url.URL{Path: escaped}).EscapedPath() != escaped {
			return // Go escapes it once more on the way, so what Vault carries out is another request
		}
		got, gotOK := apiPath(escaped)
		if !ok || want == "" { // /v1/ itself: nothing to decide
			want, ok = "", false
			gotOK = gotOK && got != ""
		}
		if gotOK != ok || ok && got != want {
			t.Fatalf("%q: %q, %v; Vault reads %q, %v", escaped, got, gotOK, want, ok)
		}
	})
}

// asVault is what a handler behind a ServeMux sees of a path below /v1/, after a
// redirect if there is one.
func asVault(t *rapid.T, escaped string) (seen string, ok, redirected bool) {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/", func(_ http.ResponseWriter, r *http.Request) { seen, ok = strings.CutPrefix(r.URL.Path, "/v1/") })
	for range 2 { // once more where it is redirected to
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + escaped + " HTTP/1.1\r\nHost: v\r\n\r\n")))
		if err != nil {
			return "", false, redirected
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusTemporaryRedirect {
			return seen, ok, redirected
		}
		redirected = true
		escaped = w.Header().Get("Location")
	}
	return "", false, redirected // to /v1/ itself
}

// TestEveryPlanCanBeServed: whatever the topology, a plan names only clusters that
// serve, or says that it is the last resort; and it never names a forbidden region,
// a cluster twice, or nobody.
func TestEveryPlanCanBeServed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		topology, prefs := drawTopology(t), drawPreferences(t)
		d := Decision{
			Class:      rapid.SampledFrom([]Class{Nearest, Primary, Owner, Operator}).Draw(t, "class"),
			StatusRead: rapid.Bool().Draw(t, "status read"),
		}
		limits := Constraint{Home: rapid.SampledFrom([]string{"", "c0", "c1", "gone"}).Draw(t, "home"), HomeFirst: rapid.Bool().Draw(t, "home first")}
		plan, err := NewPlanner(prefs).Plan(topology, d, limits)
		var refusal *Refusal
		if err != nil {
			if !errors.As(err, &refusal) || refusal.Code == "" || refusal.Text == "" {
				t.Fatalf("refusal without words: %v", err)
			}
			return
		}
		if len(plan.Candidates) == 0 {
			t.Fatal("a plan without candidates")
		}
		seen := make(map[string]bool)
		for _, c := range plan.Candidates {
			if !c.Usable() && !plan.LastResort || c.Role == health.RoleDR || c.State == health.StateDrained {
				t.Fatalf("%s (%s, %s) in %q", c.Name, c.Role, c.State, order(plan))
			}
			if seen[c.Name] || c.Region == strings.Join(prefs.Never, "") {
				t.Fatalf("%s has no place in %q", c.Name, order(plan))
			}
			seen[c.Name] = true
		}
	})
}

func drawTopology(t *rapid.T) *health.Topology {
	regions := rapid.SampledFrom([]string{"eu", "us", "ap"})
	top := &health.Topology{Region: regions.Draw(t, "here")}
	for i := range rapid.IntRange(0, 6).Draw(t, "clusters") {
		c := health.Cluster{
			Name: "c" + string(rune('0'+i)), Order: i, Region: regions.Draw(t, "region"),
			Role:   rapid.SampledFrom([]health.Role{health.RolePrimary, health.RoleSecondary, health.RoleDR, health.RoleStandalone, health.RoleUnknown}).Draw(t, "role"),
			State:  rapid.SampledFrom([]health.State{health.StateHealthy, health.StateDegraded, health.StateDown, health.StateDrained}).Draw(t, "state"),
			RTT:    time.Duration(rapid.IntRange(0, 5).Draw(t, "rtt")) * time.Millisecond,
			Lag:    time.Duration(rapid.IntRange(-1, 3).Draw(t, "lag")) * time.Second,
			Linked: rapid.Bool().Draw(t, "linked"),
		}
		if i > 0 && rapid.Bool().Draw(t, "copy") {
			c.DROf = "c0"
		}
		if c.Role == health.RolePrimary {
			top.Primary = c.Name
		}
		top.Clusters = append(top.Clusters, c)
	}
	top.SplitBrain = rapid.Bool().Draw(t, "split brain")
	return top
}

func drawPreferences(t *rapid.T) Preferences {
	p := Preferences{WritesNearest: rapid.Bool().Draw(t, "writes nearest"), MaxStaleness: time.Duration(rapid.IntRange(0, 2).Draw(t, "staleness")) * time.Second}
	p.Window = time.Duration(rapid.IntRange(0, 2).Draw(t, "window")) * time.Millisecond
	if rapid.Bool().Draw(t, "some never") {
		p.Never = []string{"ap"}
	}
	return p
}
