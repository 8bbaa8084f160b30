// Package operate sets up and changes Vault's replication, and reads what clusters say of
// it. It carries out what package replication decides; whoever uses it brings the
// connections, the tokens, and a place to tell what happens.
package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// Vaults makes clients that neither repeat nor redirect.
type Vaults interface {
	Client(cluster, address string) (*api.Client, error)
}

// Out is where an Operator tells what it does.
type Out interface {
	Say(line string)
	Progress(line string) // replaces the one before where it can
}

// Cluster is one configured cluster.
type Cluster struct {
	Name, Region, DROf string
	Addresses          []string
}

// Config is what an Operator needs. All but Poll and Within are required.
type Config struct {
	Vaults   Vaults
	Clusters []Cluster
	Out      Out
	// Token gives the Vault token for a cluster.
	Token func(cluster string) (replication.Secret, error)
	// OperationToken gives the DR operation token for a DR secondary.
	OperationToken func(cluster string) (replication.Secret, error)
	DryRun         bool          // tell the plan, change nothing
	Poll           time.Duration // between two looks at a cluster that changes; default 1s
	Within         time.Duration // longest wait for one cluster; default 30m
}

// Operator gives orders to clusters. It is used from one goroutine.
type Operator struct{ cfg Config }

// New makes an Operator.
func New(cfg Config) *Operator {
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
	}
	if cfg.Within <= 0 {
		cfg.Within = 30 * time.Minute
	}
	return &Operator{cfg}
}

// Clusters are the configured clusters.
func (o *Operator) Clusters() []Cluster { return o.cfg.Clusters }

// Reach is how a secondary finds its primary's API, where the token does not tell right.
type Reach struct {
	APIAddr     string // primary_api_addr
	CAFile      string // a file on the secondary's servers
	ClusterAddr string // primary_cluster_addr, given at the primary
}

// Setup leads to a goal, from wherever the clusters are on the way to it. What it does
// next it reads from the clusters alone, so that it can be ended at any moment and
// started again.
func (o *Operator) Setup(ctx context.Context, g replication.Goal, c replication.Consent, r Reach) error {
	all, steps, err := o.survey(ctx, g)
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		o.say("Nothing to do: it is so already.")
		return nil
	}
	if o.announce(ctx, steps, all) {
		return nil
	}
	if err := o.consented(ctx, steps, all, c); err != nil {
		return err
	}
	var last replication.Step
	for len(steps) > 0 && ctx.Err() == nil {
		if steps[0] == last {
			return &replication.Refusal{What: "no effect is seen of this step: " + last.String(), State: "It was not repeated.", Next: "vrproxy replication status"}
		}
		last = steps[0]
		if err := o.step(ctx, last, c, r); err != nil && !errors.Is(err, errLost) {
			return err
		}
		if steps, err = replication.Plan(g, o.Facts(ctx)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// survey makes the plan. A primary that serves nothing because it was enabled a moment ago
// could not tell what it holds, so it is waited for.
func (o *Operator) survey(ctx context.Context, g replication.Goal) ([]replication.Facts, []replication.Step, error) {
	all := o.Facts(ctx)
	steps, err := replication.Plan(g, all)
	if err != nil {
		return nil, nil, err
	}
	p, _ := replication.Find(all, g.Primary)
	if p.Serving() {
		return all, steps, nil
	}
	o.say("Waiting until %s serves.", g.Primary)
	if err := o.awaitMode(ctx, g.Kind, g.Primary, p.Mode(g.Kind).Mode); err != nil {
		return nil, nil, err
	}
	all = o.Facts(ctx)
	steps, err = replication.Plan(g, all)
	return all, steps, err
}

// announce tells the plan, with what would be lost, and reports whether that was all.
func (o *Operator) announce(ctx context.Context, steps []replication.Step, all []replication.Facts) bool {
	var lines []string
	for _, s := range steps {
		line := s.String()
		if s.Action == replication.Join {
			t, _ := replication.Find(all, s.Cluster)
			line += fmt.Sprintf("\n     now there: %s", o.Use(ctx, t))
		}
		lines = append(lines, line)
	}
	return o.plan(lines...)
}

// plan tells what is about to be done, and reports whether that was all.
func (o *Operator) plan(lines ...string) bool {
	o.say("Plan:")
	for i, line := range lines {
		o.say("  %d. %s", i+1, line)
	}
	if o.cfg.DryRun {
		o.say("Nothing was changed (--dry-run).")
	}
	return o.cfg.DryRun
}

// consented asks for all consents before anything is changed.
func (o *Operator) consented(ctx context.Context, steps []replication.Step, all []replication.Facts, c replication.Consent) error {
	for _, s := range steps {
		if s.Action != replication.Join {
			continue
		}
		if _, err := o.cfg.Token(s.Cluster); err != nil {
			return err
		}
		if _, err := o.authorise(ctx, s, all, c); err != nil {
			return err
		}
	}
	return nil
}

func (o *Operator) step(ctx context.Context, s replication.Step, c replication.Consent, r Reach) error {
	switch s.Action {
	case replication.EnablePrimary:
		return o.enablePrimary(ctx, s, r)
	case replication.Join:
		return o.join(ctx, s, replication.Secret{}, c, r)
	default:
		return o.awaitJoined(ctx, s.Kind, s.Cluster, s.Primary)
	}
}

// enablePrimary enables a primary and waits until it serves again.
func (o *Operator) enablePrimary(ctx context.Context, s replication.Step, r Reach) error {
	f, err := find(o.Facts(ctx), s.Cluster)
	if err != nil {
		return err
	}
	o.say("Enabling %s replication on %s.", s.Kind, s.Cluster)
	if _, err := o.write(ctx, f, path(s.Kind, "primary/enable"), clusterAddr(r)); err != nil {
		return err
	}
	return o.awaitMode(ctx, s.Kind, s.Cluster, replication.ModePrimary)
}

func clusterAddr(r Reach) map[string]any {
	if r.ClusterAddr == "" {
		return map[string]any{}
	}
	return map[string]any{"primary_cluster_addr": r.ClusterAddr}
}

func path(k replication.Kind, verb string) string {
	return "sys/replication/" + string(k) + "/" + verb
}

// Activation is what a primary gives for a new secondary.
type Activation struct {
	Token    replication.Secret
	Accessor string
	TTL      time.Duration
}

// SecondaryToken fetches an activation token.
func (o *Operator) SecondaryToken(ctx context.Context, k replication.Kind, primary, id string, ttl time.Duration) (Activation, error) {
	all := o.Facts(ctx)
	f, err := find(all, primary)
	if err == nil {
		err = replication.CheckToken(k, f)
	}
	if err != nil {
		return Activation{}, err
	}
	if o.plan(fmt.Sprintf("fetch an activation token for a %s secondary %q from %s (nothing is replaced by that)", k, id, primary)) {
		return Activation{}, nil
	}
	return o.activation(ctx, k, f, id, ttl)
}

func (o *Operator) activation(ctx context.Context, k replication.Kind, primary replication.Facts, id string, ttl time.Duration) (Activation, error) {
	data := map[string]any{"id": id}
	if ttl > 0 {
		data["ttl"] = ttl.String()
	}
	s, err := o.write(ctx, primary, path(k, "primary/secondary-token"), data)
	if refused(err) && waits(primary.Mode(k), id) {
		// An earlier run got a token for this id that nobody used.
		o.say("%s knows %s already, which never joined: revoking that.", primary.Name, id)
		if _, err := o.write(ctx, primary, path(k, "primary/revoke-secondary"), map[string]any{"id": id}); err != nil {
			return Activation{}, err
		}
		s, err = o.write(ctx, primary, path(k, "primary/secondary-token"), data)
	}
	if err != nil {
		return Activation{}, err
	}
	if s == nil || s.WrapInfo == nil || s.WrapInfo.Token == "" {
		return Activation{}, fmt.Errorf("%s answered without an activation token", primary.Name)
	}
	return Activation{replication.NewSecret(s.WrapInfo.Token), s.WrapInfo.Accessor, time.Duration(s.WrapInfo.TTL) * time.Second}, nil
}

// waits reports whether a primary knows an id of which nobody is connected.
func waits(m replication.Mode, id string) bool {
	known := false
	for _, k := range m.KnownSecondaries {
		known = known || k == id
	}
	for _, p := range m.Secondaries {
		known = known && (p.NodeID != id || p.ConnectionStatus != "connected")
	}
	return known && m.Secondaries != nil
}

// EnableSecondary makes a cluster a secondary, which replaces all its data, and waits
// until it keeps up. Without a token it fetches one itself.
func (o *Operator) EnableSecondary(ctx context.Context, k replication.Kind, name, primary string, token replication.Secret, c replication.Consent, r Reach) error {
	all, steps, err := o.survey(ctx, replication.Goal{Kind: k, Primary: primary, Secondaries: []string{name}})
	switch {
	case err != nil:
		return err
	case len(steps) == 0:
		o.say("Nothing to do: %s is a %s secondary of %s already.", name, k, primary)
		return nil
	case steps[0].Action == replication.EnablePrimary:
		return &replication.Refusal{What: fmt.Sprintf("%s is not a %s primary yet", primary, k), State: "Nothing was changed.", Next: fmt.Sprintf("vrproxy replication enable-primary %s %s", primary, k.Flag())}
	}
	if o.announce(ctx, steps, all) {
		return nil
	}
	if err := o.consented(ctx, steps, all, c); err != nil {
		return err
	}
	if steps[0].Action == replication.Wait {
		return o.awaitJoined(ctx, k, name, primary)
	}
	return o.join(ctx, steps[0], token, c, r)
}

// PrimaryFor is the primary that a secondary would have, where only one can be meant.
func (o *Operator) PrimaryFor(ctx context.Context, k replication.Kind, name string) (string, error) {
	for _, c := range o.cfg.Clusters {
		if k == replication.DR && c.Name == name && c.DROf != "" {
			return c.DROf, nil
		}
	}
	var primaries []string
	for _, f := range o.Facts(ctx) {
		if f.Mode(k).Mode == replication.ModePrimary {
			primaries = append(primaries, f.Name)
		}
	}
	if len(primaries) == 1 {
		return primaries[0], nil
	}
	return "", &replication.Refusal{What: fmt.Sprintf("of which cluster should %s be a secondary? %s primaries are: %v", name, k, primaries), State: "Nothing was changed.", Next: "the same command with --primary NAME", Usage: true}
}

// join makes a cluster a secondary, with the operator's consent.
func (o *Operator) join(ctx context.Context, s replication.Step, token replication.Secret, c replication.Consent, r Reach) error {
	if err := o.awaitMode(ctx, s.Kind, s.Primary, replication.ModePrimary); err != nil {
		return err
	}
	all := o.Facts(ctx)
	w, err := o.authorise(ctx, s, all, c)
	if err != nil {
		return err
	}
	if token.Empty() {
		p, _ := replication.Find(all, s.Primary)
		o.say("Fetching an activation token for %s from %s.", s.Cluster, s.Primary)
		a, err := o.activation(ctx, s.Kind, p, s.Cluster, 0)
		if err != nil {
			return err
		}
		token = a.Token
	}
	if err := o.replace(ctx, w, s.Kind, s.Cluster, token, r); err != nil {
		return err
	}
	if err := o.awaitJoined(ctx, s.Kind, s.Cluster, s.Primary); err != nil {
		return err
	}
	o.say("%s", afterwards(s.Kind, s.Cluster, s.Primary))
	return nil
}

// afterwards is what an operator has to know of a new secondary.
func afterwards(k replication.Kind, name, primary string) string {
	text := fmt.Sprintf("%s is a %s secondary of %s.\n  Unseal it with the unseal keys of %s from now on (its recovery keys are those of %s, too); its own are void. Other nodes of it seal themselves: unseal these now.\n  All tokens and leases of %s are gone.",
		name, k, primary, primary, primary, name)
	if k == replication.DR {
		return text + "\n  It serves nothing until it is promoted."
	}
	return text + " Log in there with an auth method of " + primary + ", or make a root token with its keys: vault operator generate-root."
}

// authorise counts what would be lost, and asks for a warrant.
func (o *Operator) authorise(ctx context.Context, s replication.Step, all []replication.Facts, c replication.Consent) (replication.Warrant, error) {
	t, _ := replication.Find(all, s.Cluster)
	p, _ := replication.Find(all, s.Primary)
	return replication.Authorise(s.Kind, t, p, o.Use(ctx, t), o.Use(ctx, p), c)
}

var errNoWarrant = errors.New("no consent to replace the data of this cluster")

// replace is the only place that makes a cluster a secondary, and so replaces its data.
func (o *Operator) replace(ctx context.Context, w replication.Warrant, k replication.Kind, name string, token replication.Secret, r Reach) error {
	if !w.Covers(k, name) {
		return fmt.Errorf("%s: %w", name, errNoWarrant)
	}
	f, err := find(o.Facts(ctx), name)
	if err != nil {
		return err
	}
	o.say("Replacing all data of %s.", name)
	_, err = o.write(ctx, f, path(k, "secondary/enable"), joinData(token, r))
	return err
}

func joinData(token replication.Secret, r Reach) map[string]any {
	data := map[string]any{"token": token.Reveal()}
	if r.APIAddr != "" {
		data["primary_api_addr"] = r.APIAddr
	}
	if r.CAFile != "" {
		data["ca_file"] = r.CAFile
	}
	return data
}

func (o *Operator) say(format string, args ...any) { o.cfg.Out.Say(fmt.Sprintf(format, args...)) }

// find is replication.Find with a refusal.
func find(all []replication.Facts, name string) (replication.Facts, error) {
	f, ok := replication.Find(all, name)
	if !ok {
		return f, &replication.Refusal{What: fmt.Sprintf("there is no cluster %q in the configuration", name), State: "Nothing was changed.", Usage: true}
	}
	return f, nil
}
