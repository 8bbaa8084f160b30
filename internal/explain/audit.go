package explain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/vrproxy/vrproxy/routing"
)

// Network says in which region the clients of a network are.
type Network struct {
	Prefix netip.Prefix
	Region string
}

// Audit is the count of an audit log: how much of its traffic could be served near
// its clients. Others rely on its JSON: fields are added, not changed.
type Audit struct {
	Requests int                       `json:"requests"`
	Skipped  int                       `json:"skipped"` // lines that are no request of a client
	Guessed  int                       `json:"guessed"` // requests of which the mount or the path was not known
	Classes  map[routing.Class]int     `json:"classes"`
	Mounts   []MountCount              `json:"mounts"` // most requests first
	Regions  map[string]*RegionTraffic `json:"regions,omitempty"`
	LogIn    string                    `json:"log_region,omitempty"` // where the cluster is that wrote the log
	Primary  string                    `json:"primary_region,omitempty"`
}

// MountCount is the count of one mount.
type MountCount struct {
	Namespace string                `json:"namespace"`
	Mount     string                `json:"mount"`
	Engine    string                `json:"engine"`
	Requests  int                   `json:"requests"`
	Classes   map[routing.Class]int `json:"classes"`
}

// RegionTraffic is the traffic of one region's clients: what crosses to another
// region today, and what would have to with a cluster of their own and this proxy.
type RegionTraffic struct {
	Requests int `json:"requests"`
	Today    int `json:"crosses_today"`
	Then     int `json:"would_cross"`
}

// AuditConfig is what a log does not say by itself. All of it is optional.
type AuditConfig struct {
	Networks  []Network // where clients are
	LogRegion string    // of the cluster that wrote the log
	Primary   string    // region of the primary; LogRegion when empty
}

// entry is what is read of one line. Everything that Vault hashes, and every value, is
// left unread.
type entry struct {
	Type    string `json:"type"`
	Request struct {
		Operation string `json:"operation"`
		Path      string `json:"path"`
		Namespace struct {
			Path string `json:"path"`
		} `json:"namespace"`
		MountPoint string `json:"mount_point"`
		MountType  string `json:"mount_type"`
		MountClass string `json:"mount_class"`
		Remote     string `json:"remote_address"`
		WrapTTL    int    `json:"wrap_ttl"`
	} `json:"request"`
}

// methods are the HTTP methods of Vault's operations. Others (renew, revoke,
// rollback) are Vault's own work and no client's request.
func methods() map[string]string {
	return map[string]string{
		"read": "GET", "list": "LIST", "create": "POST", "update": "POST", "patch": "PATCH", "delete": "DELETE", "header": "HEAD", "help": "HELP", "recover": "RECOVER",
	}
}

// Audit counts the requests of a Vault audit log (JSON, one entry a line; entries of
// type "response" repeat requests and are skipped). Mounts that are not known are
// taken from the log itself, which tells their types. Lines that are no JSON are an
// error, because then the counts would mean nothing.
func (e Explainer) Audit(in io.Reader, cfg AuditConfig) (*Audit, error) {
	c := counter{e: e, cfg: cfg, mounts: make(map[mountKey]*MountCount), fromLog: make(map[mountKey]bool), methods: methods(), out: &Audit{Classes: make(map[routing.Class]int), LogIn: cfg.LogRegion, Primary: cfg.Primary}}
	if c.out.Primary == "" {
		c.out.Primary = cfg.LogRegion
	}
	if len(cfg.Networks) > 0 {
		c.out.Regions = make(map[string]*RegionTraffic)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(lines.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return c.finish()
}

type mountKey struct{ namespace, mount string }

type counter struct {
	e       Explainer
	cfg     AuditConfig
	methods map[string]string
	mounts  map[mountKey]*MountCount
	fromLog map[mountKey]bool // mounts of which only the log is known
	out     *Audit
}

func (c *counter) line(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	var en entry
	if err := json.Unmarshal(raw, &en); err != nil {
		return errors.New("this is no entry of a JSON audit log (is it written with format=jsonx, or cut off?)") // not err: it may quote the line
	}
	method, ok := c.methods[en.Request.Operation]
	if en.Type != "request" || !ok {
		c.out.Skipped++
		return nil
	}
	namespace := routing.NormalNamespace(en.Request.Namespace.Path)
	c.learn(namespace, en)
	d, err := c.e.Router.Classify(c.e.Table, routing.Request{
		Method: method, Path: "/v1/" + escape(en.Request.Path), Namespace: namespace, Wrap: en.Request.WrapTTL > 0,
	})
	if err != nil {
		c.out.Skipped++
		return nil //nolint:nilerr // counted
	}
	c.count(d, en)
	return nil
}

// escape undoes the decoding that Vault did before it wrote the log.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "/.", "/%2E", "//", "/%2F").Replace(path)
}

// learn takes a mount from the log. It does not tell the version of a kv mount; where
// a path has the form of version 2, the classes are the same.
func (c *counter) learn(namespace string, en entry) {
	r := en.Request
	if r.MountPoint == "" || r.MountType == "" {
		return
	}
	if d, err := c.e.Router.Classify(c.e.Table, routing.Request{Method: "GET", Path: "/v1/" + escape(r.MountPoint), Namespace: namespace}); err == nil && d.Engine != "" {
		return
	}
	m := routing.Mount{Path: strings.TrimSuffix(r.MountPoint, "/") + "/", Type: strings.TrimPrefix(r.MountType, "ns_")}
	switch {
	case r.MountClass == "auth" || strings.HasPrefix(m.Path, "auth/"):
		m.Type = "auth/" + m.Type
	case m.Type == "kv" || m.Type == "generic":
		m.Type = "kv-v1"
	}
	c.e.Table = c.e.Table.With(namespace, append(c.e.Table.Mounts(namespace), m))
	c.fromLog[mountKey{namespace, m.Path}] = true
}

func (c *counter) count(d routing.Decision, en entry) {
	c.out.Requests++
	c.out.Classes[d.Class]++
	if d.Guess {
		c.out.Guessed++
	}
	key := mountKey{d.Namespace, d.Mount}
	m := c.mounts[key]
	if m == nil {
		m = &MountCount{Namespace: d.Namespace, Mount: d.Mount, Engine: d.Engine, Classes: make(map[routing.Class]int)}
		if c.fromLog[key] && d.Engine == "kv-v1" {
			m.Engine = "kv" // of a version that the log does not tell
		}
		c.mounts[key] = m
	}
	m.Requests++
	m.Classes[d.Class]++
	if c.out.Regions != nil {
		c.traffic(d.Class, en.Request.Remote)
	}
}

// traffic counts crossings. Tokens and leases of class owner are made where the client
// logs in, so with a cluster in its region they are there.
func (c *counter) traffic(class routing.Class, remote string) {
	region := c.regionOf(remote)
	t := c.out.Regions[region]
	if t == nil {
		t = &RegionTraffic{}
		c.out.Regions[region] = t
	}
	t.Requests++
	if region == unknownRegion {
		return
	}
	if region != c.cfg.LogRegion {
		t.Today++
	}
	if (class == routing.Primary || class == routing.Operator) && region != c.out.Primary {
		t.Then++
	}
}

const unknownRegion = "unknown"

func (c *counter) regionOf(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return unknownRegion
	}
	addr = addr.Unmap()
	for _, n := range c.cfg.Networks {
		if n.Prefix.Contains(addr) {
			return n.Region
		}
	}
	return unknownRegion
}

func (c *counter) finish() (*Audit, error) {
	if c.out.Requests == 0 {
		return nil, fmt.Errorf("no requests in this log (%d other entries)", c.out.Skipped)
	}
	for _, m := range c.mounts {
		c.out.Mounts = append(c.out.Mounts, *m)
	}
	slices.SortFunc(c.out.Mounts, func(a, b MountCount) int {
		if a.Requests != b.Requests {
			return b.Requests - a.Requests
		}
		return strings.Compare(a.Namespace+a.Mount, b.Namespace+b.Mount)
	})
	return c.out, nil
}

// Text writes the totals for people.
func (a *Audit) Text(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "requests\tnearest\tprimary\towner\toperator\t  mount")
	for _, m := range a.Mounts {
		_, _ = fmt.Fprintf(t, "%d\t%s  %s\n", m.Requests, classCounts(m.Classes), m.name())
	}
	_, _ = fmt.Fprintf(t, "%d\t%s  total\n", a.Requests, classCounts(a.Classes))
	_ = t.Flush() // a strings.Builder does not fail
	near := a.Classes[routing.Nearest] + a.Classes[routing.Owner]
	fmt.Fprintf(&b, "\n%s of %d requests can be served in the region of the client,\n%s have to go to the primary, %s are for one cluster by name.\n",
		percent(near, a.Requests), a.Requests, percent(a.Classes[routing.Primary], a.Requests), percent(a.Classes[routing.Operator], a.Requests))
	a.regions(&b)
	if a.Guessed > 0 {
		fmt.Fprintf(&b, "\n%d requests are guesses: their mount or path is in no table.\n", a.Guessed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m MountCount) name() string {
	name := m.Namespace + m.Mount
	if m.Mount == "" {
		name += "(not known)"
	}
	if m.Engine != "" && m.Engine+"/" != m.Mount {
		name += " (" + m.Engine + ")"
	}
	return name
}

func classCounts(c map[routing.Class]int) string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t", c[routing.Nearest], c[routing.Primary], c[routing.Owner], c[routing.Operator])
}

func percent(part, whole int) string {
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(max(whole, 1)))
}

func (a *Audit) regions(b *strings.Builder) {
	if a.Regions == nil {
		return
	}
	names := make([]string, 0, len(a.Regions))
	var total RegionTraffic
	for name, r := range a.Regions {
		names = append(names, name)
		total.Requests, total.Today, total.Then = total.Requests+r.Requests, total.Today+r.Today, total.Then+r.Then
	}
	slices.Sort(names)
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "requests\tcross today\twould cross\t  clients in")
	row := func(name string, r RegionTraffic) {
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t  %s\n", r.Requests, percent(r.Today, r.Requests), percent(r.Then, r.Requests), name)
	}
	for _, name := range names {
		row(name, *a.Regions[name])
	}
	row("all regions", total)
	_ = t.Flush() // a strings.Builder does not fail
	fmt.Fprintf(b, "\nThe log was written in %s, the primary is in %s. \"Would cross\" supposes a\ncluster in each region of clients.\n", a.LogIn, a.Primary)
}
