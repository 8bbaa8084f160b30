package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// upgrading is what a new kv mount answers for its first moments.
const upgrading = "Upgrading from non-versioned to versioned data"

// ErrRefused is returned for a statement that this Vault does not take although
// the primary did.
var ErrRefused = errors.New("statement refused")

// Missing returns what source has executed and e has not.
func (e *Engine) Missing(source *Engine) ([]Statement, error) {
	list, err := e.log.after(&source.log)
	out := make([]Statement, len(list))
	for i, s := range list {
		out[i] = Statement{s}
	}
	return out, err
}

// Statement is a write to repeat.
type Statement struct{ statement }

// Made is when the primary executed it.
func (s Statement) Made() time.Time { return s.Time }

// Apply repeats a statement. After ErrDown it has to be tried again; after
// ErrRefused it counts as executed.
func (e *Engine) Apply(ctx context.Context, s Statement) error {
	r := s.Request
	r.Header = r.Header.Clone()
	r.Header.Set("X-Vault-Token", e.server.cfg.RootToken)
	answer, err := e.settled(ctx, r)
	if err != nil {
		return err
	}
	path, err := url.PathUnescape(s.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := e.noted(ctx, s.statement, path); err != nil {
		return err
	}
	if answer.Status >= http.StatusMultipleChoices {
		return fmt.Errorf("%w: %s %s: %d %s", ErrRefused, s.Method, path, answer.Status, bytes.TrimSpace(answer.Body))
	}
	return nil
}

// Write executes a shared write with the root token.
func (e *Engine) Write(ctx context.Context, method, path, body string) error {
	r := Request{Method: method, Path: path, Body: []byte(body), Header: http.Header{"X-Vault-Token": {e.server.cfg.RootToken}}}
	for {
		reply := e.write(ctx, r, path)
		switch {
		case bytes.Contains(reply.Body, []byte(upgrading)) && wait(ctx):
		case reply.Status == 0:
			return fmt.Errorf("writing %s: %w", path, ErrDown)
		case reply.Status >= http.StatusMultipleChoices:
			return fmt.Errorf("writing %s: %d %s", path, reply.Status, bytes.TrimSpace(reply.Body))
		default:
			return nil
		}
	}
}

// settled sends a request again as long as a new kv mount is not ready.
func (e *Engine) settled(ctx context.Context, r Request) (*Response, error) {
	for {
		answer, err := e.server.Do(ctx, r)
		if err != nil || !bytes.Contains(answer.Body, []byte(upgrading)) || !wait(ctx) {
			return answer, err
		}
	}
}

func wait(ctx context.Context) bool {
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
