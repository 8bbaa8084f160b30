package tokencache

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/azure"
)

// cloud logs in with what the cloud says about the machine. Credentials come from
// the environment, as the cloud's own programs find them.
func (c *configured) cloud(ctx context.Context, client *api.Client, home string) (*api.Secret, error) {
	method, err := c.cloudMethod(home)
	if err != nil {
		return nil, err
	}
	secret, err := c.pending.login(ctx, home, func() (*api.Secret, error) { return method.Login(ctx, client) })
	if err != nil {
		return nil, c.fromCloud(err)
	}
	return secret, nil
}

func (c *configured) cloudMethod(home string) (api.AuthMethod, error) {
	switch c.cfg.Method {
	case "aws":
		return c.aws(home), nil
	case "gcp":
		return c.gcp(home), nil
	}
	return c.azure(home)
}

// fromCloud tells an error of the cloud's metadata service from one of Vault, which
// look alike once they are shortened for the log.
func (c *configured) fromCloud(err error) error {
	var answer *api.ResponseError
	var said *statedError
	if errors.As(err, &answer) || errors.As(err, &said) || errors.Is(err, context.DeadlineExceeded) || strings.HasPrefix(err.Error(), "unable to log in with ") {
		return err
	}
	return &statedError{text: "getting credentials of " + c.cfg.Method + ": " + describe(err)}
}

func (c *configured) gcp(home string) api.AuthMethod {
	role, path := c.option(home, "role"), "auth/"+c.mount(home)+"/login"
	if c.option(home, "type") == "iam" {
		return gcpIAM{role: role, path: path, account: c.option(home, "service_account")}
	}
	return gce{role: role, path: path}
}

func (c *configured) azure(home string) (api.AuthMethod, error) {
	options := []azure.LoginOption{azure.WithMountPath(c.mount(home))}
	if r := c.option(home, "resource"); r != "" {
		options = append(options, azure.WithResource(r))
	}
	return azure.NewAzureAuth(c.option(home, "role"), options...)
}

// pending are the logins by modules that do not look at their context while they
// speak to a metadata service. The caller goes on at its deadline; the login that it
// leaves behind ends when its module gives up. Until then no other is begun on that
// home, so that there is never more than one of them.
type pending struct {
	mu   sync.Mutex
	busy map[string]bool // by home
}

var errPending = &statedError{text: "an earlier login still waits for the cloud's metadata service"}

func (p *pending) login(ctx context.Context, home string, login func() (*api.Secret, error)) (*api.Secret, error) {
	if !p.begin(home) {
		return nil, errPending
	}
	type answer struct {
		secret *api.Secret
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		secret, err := login()
		p.end(home) // before the caller may come back for another
		done <- answer{secret, err}
	}()
	select {
	case a := <-done:
		return a.secret, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pending) begin(home string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[home] {
		return false
	}
	if p.busy == nil {
		p.busy = make(map[string]bool)
	}
	p.busy[home] = true
	return true
}

func (p *pending) end(home string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, home)
}
