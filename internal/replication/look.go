package replication

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What counts as wrong although replication goes on.
const (
	maxCanaryAge = 30 * time.Second
	maxClockSkew = 5 * time.Second
)

// Picture is what the clusters of one configuration say of their replication, put
// together.
type Picture struct {
	Clusters []View    `json:"clusters"`
	Problems []Problem `json:"problems"`
}

// Problem is something that is wrong.
type Problem struct {
	Cluster string `json:"cluster,omitempty"`
	Text    string `json:"text"`
	Next    string `json:"next,omitempty"`
	Drift   bool   `json:"drift"` // the clusters are not what the configuration says
}

func (p Problem) String() string {
	text := p.Text
	if p.Cluster != "" {
		text = p.Cluster + ": " + text
	}
	if p.Next != "" {
		text += " (next: " + p.Next + ")"
	}
	return text
}

// View is one cluster in a Picture.
type View struct {
	Name        string `json:"name"`
	Region      string `json:"region"`
	Reachable   bool   `json:"reachable"`
	Reason      string `json:"reason,omitempty"`
	Version     string `json:"version,omitempty"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Performance Link   `json:"performance"`
	DR          Link   `json:"dr"`
}

// Link is one kind of replication at one cluster. What is not known is null, or
// "unknown".
type Link struct {
	Mode             string   `json:"mode"`
	State            string   `json:"state"`
	Connection       string   `json:"connection"`
	Primary          string   `json:"primary,omitempty"` // of a secondary, where it is configured
	SetID            string   `json:"set_id,omitempty"`
	WALDistance      *int64   `json:"wal_distance"`
	CanaryAgeMS      *int64   `json:"canary_age_ms"`
	ClockSkewMS      *int64   `json:"clock_skew_ms"`
	MerkleRootsAgree *bool    `json:"merkle_roots_agree"`
	LastHeartbeat    string   `json:"last_heartbeat,omitempty"`
	Secondaries      []string `json:"known_secondaries"`   // of a primary
	Missing          []string `json:"missing_secondaries"` // of these, not connected
	ClusterAddresses []string `json:"cluster_addresses"`
}

// Look puts the facts together and says what is wrong.
func Look(all []Facts) Picture {
	l := looker{all: all, pic: Picture{Clusters: []View{}, Problems: []Problem{}}}
	for _, f := range all {
		v := View{
			Name: f.Name, Region: f.Region, Reachable: f.Unreachable == "", Reason: f.Unreachable,
			Version: f.Health.Version, ClusterID: f.Health.ClusterID,
			Performance: l.link(Performance, f), DR: l.link(DR, f),
		}
		l.reachable(f)
		l.pic.Clusters = append(l.pic.Clusters, v)
	}
	l.together()
	for i, f := range all {
		for _, k := range []Kind{Performance, DR} {
			l.judge(k, f, l.pic.Clusters[i].link(k))
		}
		l.membership(f)
	}
	return l.pic
}

func (v *View) link(k Kind) Link {
	if k == DR {
		return v.DR
	}
	return v.Performance
}

type looker struct {
	all []Facts
	pic Picture
}

func (l *looker) problem(cluster, next, format string, args ...any) {
	l.pic.Problems = append(l.pic.Problems, Problem{Cluster: cluster, Text: fmt.Sprintf(format, args...), Next: next})
}

// drift is a problem between the clusters and the configuration.
func (l *looker) drift(cluster, next, format string, args ...any) {
	l.problem(cluster, next, format, args...)
	l.pic.Problems[len(l.pic.Problems)-1].Drift = true
}

func (l *looker) reachable(f Facts) {
	switch {
	case f.Unreachable != "":
		l.problem(f.Name, "", "can't be reached: %s", f.Unreachable)
	case !f.Health.Initialized:
		l.problem(f.Name, "vault operator init", "is not initialised")
	case f.Health.Sealed:
		l.problem(f.Name, "vault operator unseal; a secondary takes the keys of its primary", "is sealed")
	case f.Health.Community():
		l.problem(f.Name, "", "runs Vault %s, and replication is part of Vault Enterprise only", f.Health.Version)
	}
	if len(f.Strangers) > 0 {
		l.drift(f.Name, "correct the addresses in the configuration", "its addresses lead to more than one cluster: %s is another", strings.Join(f.Strangers, ", "))
	}
	if skew := f.Health.ClockSkewMS; skew.Known && tooMuch(skew.Value, maxClockSkew) {
		l.problem(f.Name, "", "its clock is %d ms off its active node's", skew.Value)
	}
}

// together judges what only all clusters together show.
func (l *looker) together() {
	ids := map[string]string{}
	var primaries []string
	for _, f := range l.all {
		if other := ids[f.Health.ClusterID]; other != "" && f.Health.ClusterID != "" {
			l.drift("", "correct the addresses in the configuration", "%s and %s are the same cluster", other, f.Name)
		}
		ids[f.Health.ClusterID] = f.Name
		if f.Mode(Performance).Mode == ModePrimary {
			primaries = append(primaries, f.Name)
		}
	}
	if len(primaries) > 1 {
		l.drift("", "vrproxy replication demote, the one whose writes are not needed", "two primaries: %s; writes to one of them will be lost", strings.Join(primaries, " and "))
	}
	if !l.any(Performance) && !l.any(DR) {
		l.problem("", "vrproxy replication setup", "no cluster replicates")
	}
}

func (l *looker) any(k Kind) bool {
	return slices.ContainsFunc(l.all, func(f Facts) bool { return f.Replicates(k) })
}

func (l *looker) link(k Kind, f Facts) Link {
	m := f.Mode(k)
	out := Link{Mode: m.Mode, State: ModeUnknown, Connection: ModeUnknown, SetID: m.ClusterID}
	if m.State != "" {
		out.State = m.State
	}
	switch m.Mode {
	case ModeDisabled:
		out.State, out.Connection = "", ""
	case ModePrimary:
		l.primaryLink(f, m, &out)
	case ModeSecondary, ModeBootstrapping:
		l.secondaryLink(k, f, m, &out)
	}
	return out
}

func (l *looker) primaryLink(f Facts, m Mode, out *Link) {
	out.Connection = ""
	out.Secondaries, out.Missing = m.KnownSecondaries, m.missing()
	for _, a := range []string{m.PrimaryClusterAddr, f.ClusterAddress} {
		if a != "" && !slices.Contains(out.ClusterAddresses, a) {
			out.ClusterAddresses = append(out.ClusterAddresses, a)
		}
	}
	for _, p := range m.Secondaries {
		out.LastHeartbeat = max(out.LastHeartbeat, p.LastHeartbeat)
	}
}

// missing are the known secondaries that are not connected; nil where a version of Vault
// does not list who is.
func (m Mode) missing() []string {
	if m.Secondaries == nil {
		return nil
	}
	out := []string{}
	for _, id := range m.KnownSecondaries {
		connected := func(p Peer) bool { return p.NodeID == id && p.ConnectionStatus == "connected" }
		if !slices.ContainsFunc(m.Secondaries, connected) {
			out = append(out, id)
		}
	}
	return out
}

func (l *looker) secondaryLink(k Kind, f Facts, m Mode, out *Link) {
	if m.ConnectionState != "" {
		out.Connection = m.ConnectionState
	}
	out.ClusterAddresses = m.KnownPrimaryAddrs
	if age := m.CanaryAge(); age >= 0 {
		out.CanaryAgeMS = pointer(age.Milliseconds())
	} else if f.Health.CanaryAgeMS.Known {
		out.CanaryAgeMS = pointer(f.Health.CanaryAgeMS.Value)
	}
	for _, p := range m.Primaries {
		out.LastHeartbeat = max(out.LastHeartbeat, p.LastHeartbeat)
		if p.ClockSkewMS.Known && out.ClockSkewMS == nil {
			out.ClockSkewMS = pointer(p.ClockSkewMS.Value)
		}
	}
	name, rel := primaryOf(k, f, l.all)
	if rel != member {
		return
	}
	out.Primary = name
	p, _ := Find(l.all, name)
	theirs := p.Mode(k).written(k)
	if !theirs.Known || !m.LastRemoteWAL.Known {
		return
	}
	out.WALDistance = pointer(max(0, theirs.Value-m.LastRemoteWAL.Value))
	// Roots can be compared at the same position only; reads at different moments differ.
	if root := p.Mode(k).MerkleRoot; theirs.Value == m.LastRemoteWAL.Value && root != "" && m.MerkleRoot != "" {
		out.MerkleRootsAgree = pointer(root == m.MerkleRoot)
	}
}

// written is the last position of a primary, as far as its secondaries see it.
func (m Mode) written(k Kind) Number {
	last := m.LastPerformanceWAL
	if k == DR {
		last = m.LastDRWAL
	}
	if !last.Known {
		return m.LastWAL
	}
	return last
}

func pointer[T any](v T) *T { return &v }

func tooMuch(ms int64, limit time.Duration) bool {
	return max(ms, -ms) > limit.Milliseconds()
}

// judge says what is wrong with one kind at one cluster.
func (l *looker) judge(k Kind, f Facts, link Link) {
	m := f.Mode(k)
	if m.CorruptedTree {
		l.problem(f.Name, "the documentation of sys/replication/reindex", "its Merkle tree (%s) is corrupted", k)
	}
	switch m.Mode {
	case ModePrimary:
		l.judgePrimary(k, f, m, link)
	case ModeSecondary:
		l.judgeSecondary(k, f, m, link)
	case ModeBootstrapping:
		l.problem(f.Name, "", "is becoming a %s secondary", k)
	}
}

func (l *looker) judgePrimary(k Kind, f Facts, m Mode, link Link) {
	whole := !slices.ContainsFunc(l.all, func(o Facts) bool { return !o.StatusKnown })
	for _, id := range m.KnownSecondaries {
		claimed := slices.ContainsFunc(l.all, func(o Facts) bool { return o.Mode(k).SecondaryID == id && o.Mode(k).Mode == ModeSecondary })
		gone := slices.Contains(link.Missing, id)
		switch {
		case claimed && gone:
			l.problem(f.Name, "", "its %s secondary %s is not connected", k, id)
		case !claimed && gone && whole:
			l.problem(f.Name, "enable the secondary, or revoke it: vault write sys/replication/"+string(k)+"/primary/revoke-secondary id="+id,
				"knows a %s secondary %s that never joined, or is gone", k, id)
		case !claimed && whole:
			l.drift(f.Name, "add it to the configuration, or revoke it", "replicates (%s) to %s, which is not configured", k, id)
		case gone:
			l.problem(f.Name, "", "its %s secondary %s is not connected", k, id)
		}
	}
}

func (l *looker) judgeSecondary(k Kind, f Facts, m Mode, link Link) {
	_, rel := primaryOf(k, f, l.all)
	update := fmt.Sprintf("vrproxy replication update-primary %s %s --primary NAME --confirm %s", f.Name, k.Flag(), f.Name)
	switch {
	case rel == nobody:
		l.drift(f.Name, update, "is a %s secondary without a primary", k)
		return
	case rel == stranger:
		l.drift(f.Name, update, "follows (%s) a primary that is not configured: %s", k, strings.Join(m.KnownPrimaryAddrs, ", "))
	case !f.StatusKnown: // nobody tells more
		return
	}
	switch {
	case !m.Linked():
		l.problem(f.Name, "look at the network to the primary's cluster address", "has no working connection to its %s primary (state %s, connection %s)", k, link.State, link.Connection)
	case m.State != StateStreaming && m.State != "":
		_, how := Joined(k, f)
		l.problem(f.Name, "", "does not stream (%s): %s", k, how)
	case link.CanaryAgeMS != nil && tooMuch(*link.CanaryAgeMS, maxCanaryAge):
		l.problem(f.Name, "", "lags %s behind its %s primary", time.Duration(*link.CanaryAgeMS)*time.Millisecond, k)
	case link.MerkleRootsAgree != nil && !*link.MerkleRootsAgree:
		l.problem(f.Name, "read again; if it stays, the documentation of sys/replication/reindex", "differs from its %s primary at the same position", k)
	}
	if link.ClockSkewMS != nil && tooMuch(*link.ClockSkewMS, maxClockSkew) {
		l.problem(f.Name, "", "its clock is %d ms off its %s primary's", *link.ClockSkewMS, k)
	}
}

// membership compares what a cluster is with what the configuration says.
func (l *looker) membership(f Facts) {
	mode := f.Mode(Performance).Mode
	switch {
	case !f.StatusKnown && mode == ModeUnknown || f.Unreachable != "" || f.Health.Community():
	case f.DROf != "":
		l.copyOf(f)
	case f.Mode(DR).Mode == ModeSecondary:
		whom, _ := primaryOf(DR, f, l.all)
		l.drift(f.Name, "add dr_of: "+shown(whom), "is a DR secondary, and the configuration does not say of whom")
	case mode == ModeDisabled && l.any(Performance):
		l.drift(f.Name, fmt.Sprintf("vrproxy replication setup --primary %s --secondary %s --confirm %s", l.primary(), f.Name, f.Name), "does not replicate, and the others do")
	}
}

// copyOf judges a cluster that is configured as a DR copy.
func (l *looker) copyOf(f Facts) {
	switch f.Mode(DR).Mode {
	case ModeSecondary:
		if whom, rel := primaryOf(DR, f, l.all); rel == member && whom != f.DROf {
			l.drift(f.Name, "correct dr_of", "is the DR copy of %s, and configured as that of %s", whom, f.DROf)
		}
	case ModePrimary:
		l.drift(f.Name, "when it stays so, swap the two in dr_of", "is configured as the DR copy of %s, and has been promoted", f.DROf)
	case ModeDisabled:
		if l.any(Performance) || l.any(DR) {
			l.drift(f.Name, fmt.Sprintf("vrproxy replication setup --mode dr --primary %s --secondary %s --confirm %s", f.DROf, f.Name, f.Name), "is configured as the DR copy of %s, and does not replicate", f.DROf)
		}
	}
}

// primary is a performance primary, for a command to copy.
func (l *looker) primary() string {
	for _, f := range l.all {
		if f.Mode(Performance).Mode == ModePrimary {
			return f.Name
		}
	}
	return "NAME"
}
