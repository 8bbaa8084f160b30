package operate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// errLost marks an order whose answer did not arrive: it may have been carried out.
var errLost = errors.New("the answer was lost")

// write gives one order, once. Only the order itself outlives ctx: one that was cut off
// would leave a state that nobody knows.
func (o *Operator) write(ctx context.Context, f replication.Facts, path string, data map[string]any) (*api.Secret, error) {
	token, err := o.cfg.Token(f.Name)
	if err != nil {
		return nil, err
	}
	return o.writeWith(ctx, f, token, path, data)
}

func (o *Operator) writeWith(ctx context.Context, f replication.Facts, token replication.Secret, path string, data map[string]any) (*api.Secret, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, err := o.cfg.Vaults.Client(f.Name, f.Active)
	if err != nil {
		return nil, err
	}
	client.SetToken(token.Reveal())
	s, err := client.Logical().WriteWithContext(context.WithoutCancel(ctx), path, data)
	if err != nil {
		return nil, refusal(f, path, err)
	}
	return s, nil
}

// said is an answer of Vault that says no.
type said struct {
	status int
	*replication.Refusal
}

func (s *said) Unwrap() error { return s.Refusal }

// refused reports whether Vault answered an order with a plain no.
func refused(err error) bool {
	var s *said
	return errors.As(err, &s) && s.status == http.StatusBadRequest
}

// refusal turns an answer of Vault into a sentence.
func refusal(f replication.Facts, path string, err error) error {
	var resp *api.ResponseError
	if !errors.As(err, &resp) {
		return fmt.Errorf("%w: writing %s at %s: %s. It was not sent again.\nNext: vrproxy replication status", errLost, path, f.Name, scrub(cause(err)))
	}
	text := scrub(strings.Join(resp.Errors, "; "))
	r := &replication.Refusal{What: fmt.Sprintf("%s answered %d to %s: %s", f.Name, resp.StatusCode, path, text), State: "Nothing was changed there.", Next: "vrproxy replication status"}
	switch {
	case resp.StatusCode == http.StatusForbidden && strings.Contains(path, "/dr/secondary/"):
		r.What = fmt.Sprintf("%s does not take this DR operation token", f.Name)
		r.Next = "vrproxy replication generate-operation-token " + f.Name
	case resp.StatusCode == http.StatusForbidden:
		r.What = fmt.Sprintf("the token for %s may not write %s: %s", f.Name, path, text)
		r.Next = fmt.Sprintf("a token in %s or VAULT_TOKEN whose policy allows update on it (and sudo for secondary-token)", TokenVariable(f.Name))
	case resp.StatusCode == http.StatusNotFound, strings.Contains(text, "enterprise-only"), strings.Contains(text, "not supported by OSS"):
		return &said{resp.StatusCode, &replication.Refusal{What: fmt.Sprintf("%s has no %s: replication is part of Vault Enterprise only", f.Name, path), State: "Nothing was changed there."}}
	case strings.Contains(text, "error response unwrapping secondary token"):
		r.What = fmt.Sprintf("the activation token is used up, expired, or of another primary (%s)", text)
		r.State = "The data of " + f.Name + " were not touched."
		r.Next = "fetch a new one, or let enable-secondary do it with --primary NAME"
	case strings.Contains(text, "error unwrapping secondary token"):
		r.What = fmt.Sprintf("%s can't reach the API of its primary to redeem the token: %s", f.Name, text)
		r.State = "The data of " + f.Name + " were not touched."
		r.Next = "the same command with --primary-api-addr, or --ca-file (a file on the servers of " + f.Name + ")"
	case resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(text, "sealed"):
		r.What, r.Next = f.Name+" is sealed", "vault operator unseal, then the same command"
	case resp.StatusCode == http.StatusServiceUnavailable:
		r.Next = "the same command later, or with --force if what is missing may be lost"
	}
	return &said{resp.StatusCode, r}
}

// cause is an error without the URL around it.
func cause(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

// secrets are tokens of Vault and JWTs, wherever they are quoted.
var secrets = regexp.MustCompile(`\b(?:hv[sbr]\.|[sbr]\.|eyJ)[A-Za-z0-9_.\-]{16,}`)

func scrub(text string) string { return secrets.ReplaceAllString(text, "[redacted]") }

// TokenVariable is the environment variable of the token for one cluster.
func TokenVariable(cluster string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, cluster)
	return "VRPROXY_TOKEN_" + name
}
