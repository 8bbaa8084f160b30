package operate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// errPad is an operation token that does not fit its one-time pad.
var errPad = errors.New("the answer does not hold a DR operation token")

// GenerateOperationToken makes a DR operation token for a DR secondary out of shares of
// the unseal or recovery keys of its primary, which share gives one by one.
func (o *Operator) GenerateOperationToken(ctx context.Context, name string, share func(have, of int) (replication.Secret, error)) (replication.Secret, error) {
	var none replication.Secret
	f, err := find(o.Facts(ctx), name)
	if err == nil {
		err = replication.Ready(f)
	}
	if err != nil {
		return none, err
	}
	if f.Mode(replication.DR).Mode != replication.ModeSecondary {
		return none, &replication.Refusal{What: name + " is not a DR secondary", State: "Nothing was changed.", Next: "vrproxy replication status"}
	}
	if o.plan("make a DR operation token on " + name + " out of key shares of its primary") {
		return none, nil
	}
	client, err := o.cfg.Vaults.Client(name, f.Active)
	if err != nil {
		return none, err
	}
	a, err := client.Sys().GenerateDROperationTokenInitWithContext(ctx, "", "")
	if err != nil {
		return none, refusal(f, "sys/replication/dr/secondary/generate-operation-token", err)
	}
	otp, nonce := a.OTP, a.Nonce
	for !a.Complete {
		key, err := share(a.Progress, a.Required)
		if err == nil {
			a, err = client.Sys().GenerateDROperationTokenUpdateWithContext(ctx, key.Reveal(), nonce)
			err = wrongShare(f, err)
		}
		if err != nil { // an attempt left open would be in the way of the next
			return none, errors.Join(err, client.Sys().GenerateDROperationTokenCancelWithContext(context.WithoutCancel(ctx)))
		}
	}
	encoded := a.EncodedToken
	if encoded == "" {
		encoded = a.EncodedRootToken
	}
	return unpad(encoded, otp)
}

func wrongShare(f replication.Facts, err error) error {
	if err == nil {
		return nil
	}
	return refusal(f, "sys/replication/dr/secondary/generate-operation-token", err)
}

// unpad takes the one-time pad off a token.
func unpad(encoded, otp string) (replication.Secret, error) {
	raw, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return replication.Secret{}, fmt.Errorf("%w: %w", errPad, err)
	}
	if len(raw) == 0 || len(raw) != len(otp) {
		return replication.Secret{}, errPad
	}
	for i := range raw {
		raw[i] ^= otp[i]
	}
	return replication.NewSecret(string(raw)), nil
}
