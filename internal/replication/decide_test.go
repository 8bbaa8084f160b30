package replication

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func yes() *bool { v := true; return &v }

// alone is a cluster that replicates with nobody.
func alone(name string) Facts {
	return Facts{
		Name: name, Addresses: []string{"https://" + name + ":8200"}, Active: "https://" + name + ":8200", StatusKnown: true,
		Health:         Health{Initialized: true, PerformanceMode: ModeDisabled, DRMode: ModeDisabled, Version: "1.21.1+ent", Enterprise: yes(), ClusterID: "id-" + name},
		Status:         Status{Performance: Mode{Mode: ModeDisabled}, DR: Mode{Mode: ModeDisabled}},
		ClusterAddress: "https://" + name + ":8201",
	}
}

func (f Facts) with(change func(*Facts)) Facts {
	change(&f)
	return f
}

// leads makes a cluster the primary of secondaries that are all connected.
func leads(f Facts, k Kind, secondaries ...string) Facts {
	m := Mode{Mode: ModePrimary, State: "running", ClusterID: "set", KnownSecondaries: secondaries, Secondaries: []Peer{}, MerkleRoot: "root",
		LastPerformanceWAL: Number{100, true}, LastDRWAL: Number{200, true}}
	for _, s := range secondaries {
		m.Secondaries = append(m.Secondaries, Peer{NodeID: s, ConnectionStatus: "connected"})
	}
	return f.with(func(f *Facts) { *f.mode(k) = m })
}

// joins makes a cluster a secondary that streams from another.
func joins(f Facts, k Kind, primary string) Facts {
	return f.with(func(f *Facts) {
		*f.mode(k) = Mode{Mode: ModeSecondary, State: StateStreaming, ConnectionState: "ready", ClusterID: "set", SecondaryID: f.Name, MerkleRoot: "root",
			KnownPrimaryAddrs: []string{"https://" + primary + ":8201"}, LastRemoteWAL: Number{100, true}}
		if k == DR {
			f.Status.DR.LastRemoteWAL = Number{200, true}
		}
	})
}

func (f *Facts) mode(k Kind) *Mode {
	if k == DR {
		return &f.Status.DR
	}
	return &f.Status.Performance
}

func sealed(f Facts) Facts {
	return f.with(func(f *Facts) {
		f.Health.Sealed, f.StatusKnown = true, false
		f.Health.PerformanceMode, f.Health.DRMode, f.Health.ClusterID = ModeUnknown, ModeUnknown, ""
	})
}

func silent(name string) Facts { return Facts{Name: name, Unreachable: "connection refused"} }

func TestPlan(t *testing.T) {
	t.Parallel()
	a, b, c := alone("a"), alone("b"), alone("c")
	pa := leads(a, Performance, "b")
	for _, tc := range []struct {
		name  string
		kind  Kind
		facts []Facts
		want  string // steps, or what the refusal says
	}{
		{"nothing is done", Performance, []Facts{a, b, c}, "enable-primary a, join b, join c"},
		{"the primary is", Performance, []Facts{leads(a, Performance), b, c}, "join b, join c"},
		{"one secondary is", Performance, []Facts{pa, joins(b, Performance, "a"), c}, "join c"},
		{"all is", Performance, []Facts{leads(a, Performance, "b", "c"), joins(b, Performance, "a"), joins(c, Performance, "a")}, ""},
		{"one is copying", Performance, []Facts{pa, joins(b, Performance, "a").with(func(f *Facts) { f.Status.Performance.State = "merkle-sync" }), joins(c, Performance, "a")}, "wait b"},
		{"one is about to", Performance, []Facts{pa, b.with(func(f *Facts) { f.Status.Performance.Mode = ModeBootstrapping }), joins(c, Performance, "a")}, "wait b"},
		{"DR beside performance", DR, []Facts{pa, b, c}, "enable-primary a, join b, join c"},
		{"DR of a performance secondary", DR, []Facts{joins(a, Performance, "x"), b, c}, "enable-primary a, join b, join c"},
		{"the primary is down", Performance, []Facts{silent("a"), b, c}, "a can't be reached"},
		{"the primary is sealed", Performance, []Facts{sealed(a), b, c}, "a is sealed"},
		{"the primary is no Enterprise", Performance, []Facts{a.with(func(f *Facts) { f.Health.Enterprise, f.Health.Version = nil, "1.21.1" }), b, c}, "Vault Enterprise only"},
		{"a target is sealed", Performance, []Facts{a, sealed(b), c}, "b is sealed"},
		{"a target is down", Performance, []Facts{a, silent("b"), c}, "b can't be reached"},
		{"a target is not initialised", Performance, []Facts{a, b.with(func(f *Facts) { f.Health.Initialized = false }), c}, "b is not initialised"},
		{"a target is performance primary", Performance, []Facts{a, leads(b, Performance), c}, "b is the performance primary already"},
		{"a target is DR primary", Performance, []Facts{a, leads(b, DR), c}, "b is a DR primary: the data of a primary is never replaced"},
		{"a target does not tell", Performance, []Facts{a, b.with(func(f *Facts) { f.StatusKnown, f.Health.PerformanceMode = false, "" }), c}, `replicates already, or does not tell`},
		{"a target is DR secondary", Performance, []Facts{a, joins(b, DR, "x"), c}, `replicates already, or does not tell (DR mode "secondary")`},
		{"a target follows another", Performance, []Facts{leads(a, Performance), joins(b, Performance, "elsewhere").with(func(f *Facts) { f.Status.Performance.ClusterID = "other" }), c}, "b is a performance secondary of a primary that is not configured"},
		{"a target follows nobody", Performance, []Facts{leads(a, Performance), joins(b, Performance, "a").with(func(f *Facts) { f.Status.Performance.KnownPrimaryAddrs = nil }), c}, "secondary of no primary, not of a.*update-primary b --mode performance --primary a"},
		{"one cluster with two names", Performance, []Facts{a, b.with(func(f *Facts) { f.Health.ClusterID = "id-a" }), c}, "lead to the same cluster"},
		{"one name with two clusters", Performance, []Facts{a, b.with(func(f *Facts) { f.Strangers = []string{"https://x"} }), c}, "lead to more than one cluster"},
		{"no ids", Performance, []Facts{a, b.with(func(f *Facts) { f.Health.ClusterID = "" }), c}, "it can't be made sure"},
		{"the primary is a secondary", Performance, []Facts{joins(a, Performance, "x"), b, c}, "a is a performance secondary"},
		{"the primary is a DR secondary", DR, []Facts{joins(a, DR, "x"), b, c}, "a is a DR secondary"},
	} {
		got, err := Plan(Goal{tc.kind, "a", []string{"b", "c"}}, tc.facts)
		var words []string
		for _, s := range got {
			words = append(words, string(s.Action)+" "+s.Cluster)
		}
		text := strings.Join(words, ", ")
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		parts := strings.Split(tc.want, ".*")
		ok := text == tc.want
		if err != nil {
			ok = tc.want != "" && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
		}
		if !ok {
			t.Errorf("%s: %q, want %q", tc.name, text, tc.want)
		}
	}
}

func TestAuthorise(t *testing.T) {
	t.Parallel()
	count := func(n int) Use { return Use{Mounts: Count{n, true}} }
	typed := Consent{Confirmed: []string{"b"}}
	for _, tc := range []struct {
		name       string
		target     Facts
		lost, kept Use
		c          Consent
		want       string // empty: allowed
	}{
		{"typed", alone("b"), count(1), count(5), typed, ""},
		{"not typed", alone("b"), count(0), count(5), Consent{}, "--confirm b"},
		{"not typed, but known", alone("b"), count(0), count(5), Consent{KnowsLoss: true}, "--confirm b"},
		{"another one typed", alone("b"), count(0), count(5), Consent{Confirmed: []string{"a", "B", "b "}}, "--confirm b"},
		{"more used", alone("b"), count(6), count(5), typed, "looks more used than the primary"},
		{"more used, and known", alone("b"), count(6), count(5), Consent{[]string{"b"}, true}, ""},
		{"nothing can be seen", alone("b"), Use{}, count(5), typed, "can't be counted"},
		{"the primary can't be seen", alone("b"), count(1), Use{}, typed, "looks more used"},
		{"both empty", alone("b"), count(0), Use{}, typed, ""},
		{"a primary, whatever is typed", leads(alone("b"), DR), count(0), count(5), Consent{[]string{"b"}, true}, "never replaced"},
		{"a secondary, whatever is typed", joins(alone("b"), Performance, "x"), count(0), count(5), Consent{[]string{"b"}, true}, "replicates already"},
		{"itself", alone("a"), count(0), count(5), Consent{[]string{"a"}, true}, "secondary of itself"},
	} {
		w, err := Authorise(Performance, tc.target, alone("a"), tc.lost, tc.kept, tc.c)
		switch {
		case tc.want == "" && (err != nil || !w.Covers(Performance, "b") || w.Covers(DR, "b") || w.Covers(Performance, "c")):
			t.Errorf("%s: %v, %+v", tc.name, err, w)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || w.Covers(Performance, tc.target.Name)):
			t.Errorf("%s: %v, %+v", tc.name, err, w)
		}
	}
	if (Warrant{}).Covers("", "") {
		t.Error("an empty warrant covers something")
	}
}

func TestLook(t *testing.T) {
	t.Parallel()
	a, b, c := alone("a"), alone("b"), alone("c")
	pa, sb := leads(a, Performance, "b"), joins(b, Performance, "a")
	perf := func(f Facts, change func(*Mode)) Facts {
		return f.with(func(f *Facts) { change(&f.Status.Performance) })
	}
	for _, tc := range []struct {
		name  string
		facts []Facts
		want  []string
	}{
		{"all is well", []Facts{pa, sb}, nil},
		{"nobody replicates", []Facts{a, b}, []string{"no cluster replicates"}},
		{"one does not", []Facts{pa, sb, c}, []string{"c: does not replicate, and the others do"}},
		{"two primaries", []Facts{pa, sb, leads(c, Performance)}, []string{"two primaries: a and c"}},
		{"a stranger as secondary", []Facts{leads(a, Performance, "b", "x"), sb}, []string{"a: replicates (performance) to x, which is not configured"}},
		{"one that never came", []Facts{perf(pa, func(m *Mode) { m.KnownSecondaries = []string{"b", "x"} }), sb}, []string{"a: knows a performance secondary x that never joined"}},
		{"one that left", []Facts{perf(pa, func(m *Mode) { m.Secondaries = []Peer{{NodeID: "b", ConnectionStatus: "disconnected"}} }), sb}, []string{"a: its performance secondary b is not connected"}},
		{"a stranger as primary", []Facts{leads(a, Performance), perf(sb, func(m *Mode) { m.KnownPrimaryAddrs, m.ClusterID = []string{"https://x:8201"}, "other" })}, []string{"b: follows (performance) a primary that is not configured: https://x:8201"}},
		{"perhaps the one that is down", []Facts{silent("a"), sb}, []string{"a: can't be reached"}},
		{"no primary", []Facts{pa, perf(sb, func(m *Mode) { m.KnownPrimaryAddrs = nil })}, []string{"b: is a performance secondary without a primary"}},
		{"behind a load balancer, by the set", []Facts{pa, perf(sb, func(m *Mode) { m.KnownPrimaryAddrs = []string{"https://lb:8201"} })}, nil},
		{"idle", []Facts{pa, perf(sb, func(m *Mode) { m.State, m.ConnectionState = "idle", "transient_failure" })}, []string{"b: has no working connection"}},
		{"copying", []Facts{pa, perf(sb, func(m *Mode) {
			m.State, m.SyncProgress, m.SyncTotalKeys = "merkle-sync", Number{3, true}, Number{9, true}
		})}, []string{"3 of 9 keys"}},
		{"late", []Facts{pa, perf(sb, func(m *Mode) { m.Primaries = []Peer{{CanaryAgeMS: Number{90_000, true}}} })}, []string{"b: lags 1m30s"}},
		{"another root at the same position", []Facts{pa, perf(sb, func(m *Mode) { m.MerkleRoot = "other" })}, []string{"b: differs from its performance primary"}},
		{"another root further on", []Facts{pa, perf(sb, func(m *Mode) { m.MerkleRoot, m.LastRemoteWAL = "other", Number{99, true} })}, nil},
		{"corrupted", []Facts{perf(pa, func(m *Mode) { m.CorruptedTree = true }), sb}, []string{"a: its Merkle tree (performance) is corrupted"}},
		{"skewed", []Facts{pa, perf(sb, func(m *Mode) { m.Primaries = []Peer{{ClockSkewMS: Number{-7000, true}}} })}, []string{"b: its clock is -7000 ms off"}},
		{"sealed", []Facts{pa, sealed(b)}, []string{"b: is sealed"}},
		{"Community", []Facts{a.with(func(f *Facts) { f.Health.Enterprise, f.Health.Version = nil, "1.21.1" })}, []string{"Vault Enterprise only", "no cluster replicates"}},
		{"one cluster twice", []Facts{pa, sb, sb.with(func(f *Facts) { f.Name = "c" })}, []string{"b and c are the same cluster"}},
		{"an old version", []Facts{perf(pa, func(m *Mode) { m.Secondaries, m.LastPerformanceWAL, m.LastWAL = nil, Number{}, Number{101, true} }), perf(sb, func(m *Mode) { m.ConnectionState = "" })}, nil},
		{"the endpoint is switched off", []Facts{
			pa.with(func(f *Facts) { f.StatusKnown, f.Health.PerformanceMode = false, ModePrimary }),
			sb.with(func(f *Facts) { f.StatusKnown, f.Health.PerformanceMode = false, ModeSecondary }),
		}, nil},
		{"a copy that is none", []Facts{leads(a, Performance), c.with(func(f *Facts) { f.DROf = "a" })}, []string{"c: is configured as the DR copy of a, and does not replicate"}},
		{"a copy", []Facts{leads(leads(a, Performance), DR, "c"), joins(c, DR, "a").with(func(f *Facts) { f.DROf = "a" })}, nil},
		{"a copy that nobody told of", []Facts{leads(leads(a, Performance), DR, "c"), joins(c, DR, "a")}, []string{"c: is a DR secondary, and the configuration does not say of whom"}},
		{"a copy of another", []Facts{leads(leads(a, Performance), DR, "c"), b.with(func(f *Facts) {
			f.Status.Performance.Mode = ModeSecondary
			f.Status = joins(b, Performance, "a").Status
		}), joins(c, DR, "a").with(func(f *Facts) { f.DROf = "b" })}, []string{"c: is the DR copy of a, and configured as that of b"}},
		{"a copy that was promoted", []Facts{leads(leads(a, Performance), DR), leads(c, DR).with(func(f *Facts) { f.DROf = "a" })}, []string{"c: is configured as the DR copy of a, and has been promoted"}},
	} {
		pic := Look(tc.facts)
		for _, w := range tc.want {
			if !slices.ContainsFunc(pic.Problems, func(p Problem) bool { return strings.Contains(p.String(), w) }) {
				t.Errorf("%s: no %q in %v", tc.name, w, pic.Problems)
			}
		}
		if len(pic.Problems) != len(tc.want) && !slices.ContainsFunc(tc.facts, func(f Facts) bool { return f.Unreachable != "" }) {
			t.Errorf("%s: %v, want %q", tc.name, pic.Problems, tc.want)
		}
	}
}

func TestLinkFacts(t *testing.T) {
	t.Parallel()
	pic := Look([]Facts{leads(alone("a"), Performance, "b"), joins(alone("b"), Performance, "a").with(func(f *Facts) { f.Status.Performance.LastRemoteWAL.Value = 90 })})
	l := pic.Clusters[1].Performance
	if l.Primary != "a" || l.WALDistance == nil || *l.WALDistance != 10 || l.MerkleRootsAgree != nil || l.CanaryAgeMS != nil {
		t.Errorf("%+v", l)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	pa, sb := leads(alone("a"), Performance, "b"), joins(alone("b"), Performance, "a")
	all := []Facts{pa, sb}
	for what, err := range map[string]error{
		"a is still the performance primary":          CheckPromote(Performance, sb, all),
		"a is not a performance secondary":            CheckPromote(Performance, pa, all),
		"b is not a performance primary":              CheckDemote(Performance, sb),
		"b has no DR replication to disable":          CheckDisable(DR, sb),
		"a is not a DR primary":                       CheckToken(DR, pa),
		"b is not a performance primary (mode second": CheckUpdate(Performance, sb, sb),
		"x can't be reached":                          CheckDisable(DR, silent("x")),
	} {
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	lost := []Facts{silent("a"), sb}
	for _, err := range []error{CheckPromote(Performance, sb, lost), CheckDemote(Performance, pa), CheckDisable(Performance, sb), CheckUpdate(Performance, sb, pa), CheckToken(Performance, pa)} {
		if err != nil {
			t.Error(err)
		}
	}
}
