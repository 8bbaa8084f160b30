package tokencache

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"cloud.google.com/go/compute/metadata"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/aws"
	"github.com/hashicorp/vault/api/auth/azure"
	"github.com/hashicorp/vault/api/auth/gcp"
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
		return c.aws(home)
	case "gcp":
		return c.gcp(home)
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

func (c *configured) aws(home string) (api.AuthMethod, error) {
	options := []aws.LoginOption{aws.WithMountPath(c.mount(home)), aws.WithRole(c.option(home, "role"))}
	if c.option(home, "type") == "ec2" {
		return aws.NewAWSAuth(append(options, aws.WithEC2Auth(), aws.WithNonce(c.awsNonce(home)), awsSignature(c.option(home, "signature")))...)
	}
	if region := c.option(home, "region"); region != "" {
		options = append(options, aws.WithRegion(region))
	}
	return aws.NewAWSAuth(append(options, aws.WithIAMAuth(), aws.WithIAMServerIDHeader(c.option(home, "header_value")))...)
}

// awsNonce is the same at each login: Vault refuses an instance that comes back with
// another one.
func (c *configured) awsNonce(home string) string {
	if n := c.option(home, "nonce"); n != "" {
		return n
	}
	return c.nonce.Reveal()
}

func awsSignature(name string) aws.LoginOption {
	switch name {
	case "identity":
		return aws.WithIdentitySignature()
	case "rsa2048":
		return aws.WithRSA2048Signature()
	}
	return aws.WithPKCS7Signature()
}

func (c *configured) gcp(home string) (api.AuthMethod, error) {
	role, mount := c.option(home, "role"), c.mount(home)
	if c.option(home, "type") == "iam" {
		return gcp.NewGCPAuth(role, gcp.WithMountPath(mount), gcp.WithIAMAuth(c.option(home, "service_account")))
	}
	return gce{role: role, mount: mount}, nil
}

func (c *configured) azure(home string) (api.AuthMethod, error) {
	options := []azure.LoginOption{azure.WithMountPath(c.mount(home))}
	if r := c.option(home, "resource"); r != "" {
		options = append(options, azure.WithResource(r))
	}
	return azure.NewAzureAuth(c.option(home, "role"), options...)
}

// gce logs in as a Compute Engine instance. It takes the place of the gcp module's
// own way, which waits for the metadata service without end and sends its error
// pages to Vault as if they were a JWT.
type gce struct{ role, mount string }

// Login asks the metadata service for a JWT and takes it to Vault.
func (g gce) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	q := url.Values{"audience": {client.Address() + "/vault/" + g.role}, "format": {"full"}}
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // never through HTTP_PROXY
	jwt, err := metadata.NewClient(direct).GetWithContext(ctx, "instance/service-accounts/default/identity?"+q.Encode())
	if err != nil {
		return nil, &statedError{text: "asking the metadata service for a JWT: " + describe(err)}
	}
	return write{path: "auth/" + g.mount + "/login", data: map[string]any{"role": g.role, "jwt": strings.TrimSpace(jwt)}}.Login(ctx, client)
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
