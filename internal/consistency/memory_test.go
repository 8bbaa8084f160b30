package consistency

import (
	"context"
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vrproxy/vrproxy/routing"
)

func index(cluster string, local, replicated int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "v1:%s:%d:%d:abcd", cluster, local, replicated))
}

func secret(key string) routing.Scope { return routing.Scope{Mount: "secret/", Key: key} }

func primary() Place   { return Place{Home: "us", ClusterID: "id-us", Primary: true} }
func secondary() Place { return Place{Home: "eu", ClusterID: "id-eu", Lag: 600 * time.Millisecond} }

const margin = 3 * time.Second

// remembering is a memory of one session.
func remembering() *Memory {
	all, err := New(Config{})
	if err != nil {
		panic(err) // the sizes are constants
	}
	return all.For(1, "", time.Now())
}

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// after is how a place stands for a read of a key, so long after it was written at us.
func after(m *Memory, key string, age time.Duration, p Place, c Compares) Standing {
	now := start().Add(age)
	n, ok := m.Need(secret(key), now)
	if !ok {
		return Has
	}
	return n.At(p, c, margin, now)
}

func TestHowAPlaceStands(t *testing.T) {
	t.Parallel()
	unknownLag, unrelated := secondary(), secondary()
	unknownLag.Lag = -1
	unrelated.ClusterID = ""
	for _, c := range []struct {
		name     string
		index    string
		versions bool
		age      time.Duration
		place    Place
		compares Compares
		want     Standing
	}{
		{"the primary has all", "", false, 0, primary(), Unknown, Has},
		{"a secondary without an index", "", false, 0, secondary(), Yes, Lacks},
		{"until the lag and a margin are over", "", false, 3500 * time.Millisecond, secondary(), No, Lacks},
		{"and then it has", "", false, 3700 * time.Millisecond, secondary(), No, Has},
		{"while its lag is unknown it may lack it", "", false, 9 * time.Minute, unknownLag, No, Lacks},
		{"but not for ever", "", false, 11 * time.Minute, unknownLag, No, Has},
		{"asked by another's index, too early", index("id-us", 5, 5), false, 0, secondary(), Yes, Later},
		{"and when it may be there", index("id-us", 5, 5), false, 450 * time.Millisecond, secondary(), Yes, Asks},
		{"not when it was seen not to compare", index("id-us", 5, 5), false, 450 * time.Millisecond, secondary(), No, Lacks},
		{"nor when nobody knows", index("id-us", 5, 5), false, 450 * time.Millisecond, secondary(), Unknown, Lacks},
		{"unless the version tells", index("id-us", 5, 5), true, 0, secondary(), Unknown, Tells},
		{"its own index it always compares", index("id-eu", 5, 5), false, 450 * time.Millisecond, secondary(), No, Asks},
		{"of a cluster without an id nothing is known", index("id-eu", 5, 5), false, 450 * time.Millisecond, unrelated, No, Lacks},
	} {
		m := remembering()
		number := uint64(0)
		if c.versions {
			number = 7
		}
		m.Wrote(secret("a"), "us", c.index, number, start())
		if got := after(m, "a", c.age, c.place, c.compares); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		if got := after(m, "b", c.age, c.place, c.compares); got != Has {
			t.Errorf("%s: what was not written: %d", c.name, got)
		}
	}
}

// TestWhatAVersionDoesNotTell: that a secret was deleted, or a policy changed.
func TestWhatAVersionDoesNotTell(t *testing.T) {
	t.Parallel()
	deleted, policy := remembering(), remembering()
	deleted.Wrote(secret("a"), "us", index("id-us", 5, 5), 7, start())
	deleted.Wrote(secret("a"), "us", index("id-us", 6, 6), 0, start())
	policy.Wrote(secret("a"), "us", index("id-us", 5, 5), 7, start())
	policy.Wrote(routing.Scope{Mount: "pki/"}, "us", index("id-us", 6, 6), 0, start())
	policy.Wrote(routing.Scope{Mount: "secret/"}, "us", index("id-us", 6, 6), 0, start())
	for name, m := range map[string]*Memory{"deleted": deleted, "configured": policy} {
		if n, _ := m.Need(secret("a"), start()); n.Verifiable() || after(m, "a", 0, secondary(), Unknown) != Lacks {
			t.Errorf("%s: the version is taken for proof", name)
		}
	}
}

// TestASecondaryThatLostItsPrimary: its lag grows for ever, and what it has not got may be
// lost. After a minute it is read from again.
func TestASecondaryThatLostItsPrimary(t *testing.T) {
	t.Parallel()
	m := remembering()
	m.Wrote(secret("a"), "us", "", 0, start())
	lost := secondary()
	lost.Lag = time.Hour
	if got := after(m, "a", 59*time.Second, lost, No); got != Lacks {
		t.Errorf("after 59s: %d", got)
	}
	if got := after(m, "a", 61*time.Second, lost, No); got != Has {
		t.Errorf("after 61s: %d", got)
	}
}

// TestAnOldStateCoversNoNewWrite: a state that a secondary gave before says nothing of what
// was written at the primary since.
func TestAnOldStateCoversNoNewWrite(t *testing.T) {
	t.Parallel()
	m := remembering()
	m.Wrote(secret("a"), "us", index("id-eu", 5, 5), 0, start())
	m.Wrote(secret("b"), "us", index("id-us", 9, 9), 0, start().Add(time.Second))
	if got := after(m, "b", 2*time.Second, secondary(), No); got != Lacks {
		t.Errorf("%d", got)
	}
	m.Wrote(secret("c"), "us", index("id-eu", 6, 10), 0, start().Add(1500*time.Millisecond))
	if got := after(m, "b", 2*time.Second, secondary(), No); got != Asks {
		t.Errorf("a state it gave since: %d", got)
	}
}

func TestTheNewestStatesAreKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		given []string
		want  []string
	}{
		{"the newer of two", []string{index("a", 1, 1), index("a", 2, 2)}, []string{index("a", 2, 2)}},
		{"whatever came first", []string{index("a", 2, 2), index("a", 1, 1)}, []string{index("a", 2, 2)}},
		{"both, if neither is ahead", []string{index("a", 2, 1), index("a", 1, 2)}, []string{index("a", 2, 1), index("a", 1, 2)}},
		{"one that is ahead of both", []string{index("a", 2, 1), index("a", 1, 2), index("a", 2, 2)}, []string{index("a", 2, 2)}},
		{"of each cluster", []string{index("a", 1, 1), index("b", 9, 9)}, []string{index("a", 1, 1), index("b", 9, 9)}},
		{"nothing of a form that is not known", []string{"opaque", index("a", 1, 1), "djI6"}, []string{index("a", 1, 1)}},
	} {
		var states []state
		for _, g := range c.given {
			states = merge(states, g, start())
		}
		var got []string
		for _, s := range states {
			got = append(got, s.index)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestWhichIndexesAreSent(t *testing.T) {
	t.Parallel()
	m := remembering()
	m.Wrote(secret("a"), "us", index("id-us", 5, 5), 0, start())
	m.Wrote(secret("a"), "us", index("id-eu", 3, 5), 0, start())
	n, _ := m.Need(secret("a"), start())
	for _, c := range []struct {
		place    Place
		compares Compares
		want     []string
	}{
		{secondary(), Yes, []string{index("id-us", 5, 5), index("id-eu", 3, 5)}},
		{secondary(), No, []string{index("id-eu", 3, 5)}},
		{primary(), Yes, []string{index("id-us", 5, 5)}},
		{Place{Home: "ap", ClusterID: "id-ap"}, No, nil},
	} {
		if got := n.Indexes(c.place, c.compares); !slices.Equal(got, c.want) {
			t.Errorf("%s, compares %v: %v", c.place.Home, c.compares, got)
		}
	}
}

// TestOfTooManyWritesTheOlderAreOne: what does not fit is not forgotten, but it is no
// reason to refuse what was never written.
func TestOfTooManyWritesTheOlderAreOne(t *testing.T) {
	t.Parallel()
	m := remembering()
	const n = 10 * maxWrites
	for i := range n {
		m.Wrote(secret(fmt.Sprint(i)), "us", "", 0, start().Add(time.Duration(i)*time.Microsecond))
	}
	now := time.Duration(n) * time.Microsecond
	for i := range n {
		got := after(m, fmt.Sprint(i), now, secondary(), No)
		if got < Later || i < n-maxWrites && got != Later || i >= n-maxWrites/2 && got != Lacks {
			t.Fatalf("write %d of %d: %d", i, n, got)
		}
	}
	if need, ok := m.Need(secret("never written"), start().Add(now)); !ok || need.Must() {
		t.Errorf("what was never written: needed %v, must %v", ok, need.Must())
	}
	if len(m.writes) > maxWrites {
		t.Errorf("%d writes are kept", len(m.writes))
	}
	if got := after(m, "0", time.Minute, secondary(), No); got != Has {
		t.Errorf("after a minute: %d", got)
	}
}

// TestVersionsOfManySecrets: of the one that was seen last, of others, and of one that is
// seen again and again.
func TestVersionsOfManySecrets(t *testing.T) {
	t.Parallel()
	m := remembering()
	m.Saw(secret("a"), 3, "us", start())
	m.Saw(secret("b"), 7, "us", start())
	if !m.Older(secret("a"), 2, "eu", start()) || !m.Older(secret("b"), 6, "eu", start()) || m.Older(secret("c"), 0, "eu", start()) {
		t.Error("versions are mixed up")
	}
	m.Gone(secret("a"))
	if m.Older(secret("a"), 2, "eu", start()) || !m.Older(secret("b"), 6, "eu", start()) {
		t.Error("the wrong one is forgotten")
	}
	now := start()
	for ; now.Before(start().Add(2 * forget)); now = now.Add(time.Second) {
		m.Saw(secret("b"), 7, "us", now)
	}
	if !m.Older(secret("b"), 6, "eu", now.Add(forget-2*roughly)) {
		t.Error("what is seen again and again is forgotten")
	}
	m.Saw(secret("a"), 1, "us", now) // and b is not the last any more
	if !m.Older(secret("b"), 6, "eu", now.Add(forget-2*roughly)) {
		t.Error("what was seen again and again is forgotten")
	}
}

func TestVersionsDoNotGoBack(t *testing.T) {
	t.Parallel()
	m, key := remembering(), secret("a")
	if m.Older(key, 1, "eu", start()) {
		t.Error("nothing was seen before")
	}
	m.Saw(key, 3, "us", start())
	for _, c := range []struct {
		number uint64
		home   string
		age    time.Duration
		want   bool
	}{
		{2, "eu", 0, true},
		{0, "eu", 0, true}, // not there
		{3, "eu", 0, false},
		{4, "eu", 0, false},
		{2, "us", 0, false}, // a cluster does not go back; the secret was made anew
		{2, "eu", forget + time.Second, false},
	} {
		if got := m.Older(key, c.number, c.home, start().Add(c.age)); got != c.want {
			t.Errorf("version %d of %s after %v: %v", c.number, c.home, c.age, got)
		}
	}
	m.Saw(key, 1, "us", start())
	if m.Older(key, 1, "eu", start()) {
		t.Error("it was made anew, and that was seen")
	}
	m.Gone(key)
	if m.Older(key, 0, "eu", start()) {
		t.Error("it is gone, and that was seen")
	}
	for i := range maxVersions + 1000 {
		m.Saw(secret(fmt.Sprint(i)), 1, "us", start())
	}
	if n := m.versions.Len(); n > maxVersions {
		t.Errorf("%d versions are kept", n)
	}
	written := remembering()
	written.Wrote(key, "us", index("id-us", 5, 5), 7, start())
	written.Gone(key) // as if it were pushed out
	if n, _ := written.Need(key, start()); n.Verifiable() {
		t.Error("nobody remembers which version it has to be")
	}
}

func TestWhatIsNoSecretIsNoReasonToRefuse(t *testing.T) {
	t.Parallel()
	all, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	own := remembering()
	own.Wrote(routing.Scope{Mount: "sys/", Everything: true}, "us", "", 0, start())
	all.Shared().Wrote(secret("a"), "us", "", 0, start())
	child := remembering()
	parent := remembering()
	parent.Wrote(secret("a"), "us", "", 0, start())
	child.Inherit(parent, start())
	for name, m := range map[string]*Memory{"a policy": own, "of all sessions": all.Shared(), "inherited": child} {
		if n, ok := m.Need(secret("a"), start()); !ok || n.Must() {
			t.Errorf("%s: needed %v, must %v", name, ok, n.Must())
		}
		if got := after(m, "a", 0, secondary(), No); got != Later {
			t.Errorf("%s: %d", name, got)
		}
	}
	if n, _ := parent.Need(secret("a"), start()); !n.Must() {
		t.Error("what it wrote itself")
	}
}

func TestWhatASessionInherits(t *testing.T) {
	t.Parallel()
	parent, child := remembering(), remembering()
	parent.Wrote(routing.Scope{Mount: "sys/", Everything: true}, "us", index("id-us", 5, 5), 0, start())
	child.Inherit(parent, start())
	if got := after(child, "a", 0, secondary(), Yes); got != Later {
		t.Errorf("%d", got)
	}
	old := remembering()
	old.Inherit(parent, start().Add(forget))
	if !old.Empty() {
		t.Error("what is over is inherited")
	}
}

func TestMemoriesAreApartAndBounded(t *testing.T) {
	t.Parallel()
	m, err := New(Config{Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	if m.Of(1, "", time.Now()) != nil {
		t.Error("nothing was written")
	}
	m.For(1, "", time.Now()).Wrote(secret("a"), "us", "", 0, start())
	if m.Of(1, "", time.Now()) != m.For(1, "", time.Now()) || m.Of(1, "app", time.Now()) != nil || m.Of(2, "", time.Now()) != nil {
		t.Error("sessions are mixed up")
	}
	now := time.Now()
	m.For(2, "", now)
	m.Of(1, "", now.Add(roughly)) // used later than 2
	m.For(3, "", now)
	if m.Of(1, "", now) == nil || m.Of(2, "", now) != nil {
		t.Error("more are kept than may be, or not what was used last")
	}
}

// TestWhatIsOverIsForgotten: a session that ended, or does nothing, costs nothing.
func TestWhatIsOverIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		m.For(1, "", time.Now()).Wrote(secret("a"), "us", "", 7, time.Now())
		m.For(2, "", time.Now()).Wrote(secret("a"), "us", "", 7, time.Now())
		<-time.After(forget - time.Minute)
		m.Of(2, "", time.Now()).Need(secret("a"), time.Now()) // it is at work
		<-time.After(3 * time.Minute)
		if m.Of(1, "", time.Now()) != nil || m.Of(2, "", time.Now()) == nil || m.versions.Len() != 0 {
			t.Errorf("kept: %v, %v, %d versions", m.Of(1, "", time.Now()) != nil, m.Of(2, "", time.Now()) != nil, m.versions.Len())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheMechanismIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fixed    Mechanism
		compares bool
		want     Mechanism
		known    Compares
	}{
		{Auto, true, Index, Yes}, {Auto, false, Keys, No}, {Index, false, Index, Yes}, {Keys, true, Keys, No},
	} {
		m, err := New(Config{Mechanism: c.fixed})
		if err != nil {
			t.Fatal(err)
		}
		m.Learn(c.compares)
		if m.Mechanism() != c.want || m.Compares() != c.known {
			t.Errorf("%s, seen %v: %s, %v", c.fixed, c.compares, m.Mechanism(), m.Compares())
		}
	}
}

func BenchmarkNeed(b *testing.B) {
	m := remembering()
	m.Saw(secret("a"), 1, "us", start())
	for b.Loop() {
		if _, ok := m.Need(secret("a"), start()); ok {
			b.Fatal("nothing was written")
		}
	}
}

// BenchmarkMemory tells what a session costs that wrote and read as much as is kept.
func BenchmarkMemory(b *testing.B) {
	const n = 1000
	for b.Loop() {
		all, err := New(Config{Max: n})
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for session := range uint64(n) {
			m := all.For(session, "", time.Now())
			for i := range maxWrites {
				m.Wrote(secret(fmt.Sprintf("an/application/of/ours/%d", i)), "us", index("7f3a4470-7e12-7807-51bd-fbb2b9c2ab51", i, i), uint64(i), start())
			}
		}
		b.ReportMetric(float64(heap()-before)/n, "B/session")
		runtime.KeepAlive(all)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
