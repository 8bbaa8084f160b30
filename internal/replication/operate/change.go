package operate

import (
	"context"
	"fmt"
	"slices"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// Promote makes a secondary the primary. force is Vault's: to promote one that is still
// catching up.
func (o *Operator) Promote(ctx context.Context, k replication.Kind, name string, c replication.Consent, force bool, r Reach) error {
	all := o.Facts(ctx)
	f, err := find(all, name)
	if err == nil {
		err = replication.CheckPromote(k, f, all)
	}
	if err != nil {
		return err
	}
	if stop, err := o.consent(c, name, fmt.Sprintf("make %s the %s primary: writes that it has not received are lost, and it serves nothing for a moment", name, k)); stop {
		return err
	}
	data := clusterAddr(r)
	if force {
		data["force"] = true
	}
	o.say("Promoting %s.", name)
	if err := o.writeSecondary(ctx, k, f, "promote", data); err != nil {
		return err
	}
	return o.awaitMode(ctx, k, name, replication.ModePrimary)
}

// Demote makes a primary a secondary without a primary.
func (o *Operator) Demote(ctx context.Context, k replication.Kind, name string, c replication.Consent) error {
	f, err := find(o.Facts(ctx), name)
	if err == nil {
		err = replication.CheckDemote(k, f)
	}
	what := "nobody takes writes until another cluster is promoted"
	if k == replication.DR {
		what = "it serves nothing from then on"
	}
	if err != nil {
		return err
	}
	if stop, err := o.consent(c, name, fmt.Sprintf("make %s a %s secondary without a primary: %s", name, k, what)); stop {
		return err
	}
	o.say("Demoting %s.", name)
	if _, err := o.write(ctx, f, path(k, "primary/demote"), nil); err != nil {
		return err
	}
	return o.awaitMode(ctx, k, name, replication.ModeSecondary)
}

// Disable ends a kind of replication at a cluster. Its data stay.
func (o *Operator) Disable(ctx context.Context, k replication.Kind, name string, c replication.Consent) error {
	f, err := find(o.Facts(ctx), name)
	if err == nil {
		err = replication.CheckDisable(k, f)
	}
	if err != nil {
		return err
	}
	if stop, err := o.consent(c, name, fmt.Sprintf("end %s replication at %s: to join again later replaces the data of a secondary, also those of the secondaries of a primary", k, name)); stop {
		return err
	}
	o.say("Disabling %s replication on %s.", k, name)
	if f.Mode(k).Mode == replication.ModePrimary {
		_, err = o.write(ctx, f, path(k, "primary/disable"), nil)
	} else {
		err = o.writeSecondary(ctx, k, f, "disable", map[string]any{})
	}
	if err != nil {
		return err
	}
	return o.awaitMode(ctx, k, name, replication.ModeDisabled)
}

// UpdatePrimary makes a secondary follow another primary, and keeps its data.
func (o *Operator) UpdatePrimary(ctx context.Context, k replication.Kind, name, primary string, c replication.Consent, r Reach) error {
	all := o.Facts(ctx)
	f, err := find(all, name)
	if err != nil {
		return err
	}
	p, err := find(all, primary)
	if err == nil {
		err = replication.CheckUpdate(k, f, p)
	}
	if err != nil {
		return err
	}
	if stop, err := o.consent(c, name, fmt.Sprintf("make %s follow %s: it keeps its data, and serves nothing for a moment", name, primary)); stop {
		return err
	}
	o.say("Fetching an activation token for %s from %s.", name, primary)
	a, err := o.activation(ctx, k, p, name, 0)
	if err != nil {
		return err
	}
	o.say("Making %s follow %s.", name, primary)
	if err := o.writeSecondary(ctx, k, f, "update-primary", joinData(a.Token, r)); err != nil {
		return err
	}
	return o.awaitJoined(ctx, k, name, primary)
}

// consent tells the plan and wants the name of the cluster typed out; stop means that the
// command ends here.
func (o *Operator) consent(c replication.Consent, name, what string) (stop bool, err error) {
	switch {
	case o.plan(what):
		return true, nil
	case !slices.Contains(c.Confirmed, name):
		return true, replication.TakeDown(name, "this takes "+name+" out of its place")
	default:
		return false, nil
	}
}

// writeSecondary gives an order to a secondary: one for DR takes no Vault token but a DR
// operation token.
func (o *Operator) writeSecondary(ctx context.Context, k replication.Kind, f replication.Facts, verb string, data map[string]any) error {
	if k != replication.DR {
		_, err := o.write(ctx, f, path(k, "secondary/"+verb), data)
		return err
	}
	token, err := o.cfg.OperationToken(f.Name)
	if err != nil {
		return err
	}
	data["dr_operation_token"] = token.Reveal()
	_, err = o.writeWith(ctx, f, replication.Secret{}, path(k, "secondary/"+verb), data)
	return err
}
