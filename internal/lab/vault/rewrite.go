package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// statementOf makes the statement of a write that Vault has executed. Where
// Vault made something up, the statement carries it.
func (e *Engine) statementOf(ctx context.Context, r Request, path string, answer *Response) (statement, error) {
	s := statement{Request: Request{Method: r.Method, Path: r.Path, Query: r.Query, Body: r.Body, Header: http.Header{}}}
	if t := r.Header.Get("Content-Type"); t != "" {
		s.Header.Set("Content-Type", t) // PATCH needs it
	}
	m, below, _ := e.mountTable().find(path)
	if m.engine != "approle" || r.Method == http.MethodDelete {
		return s, nil
	}
	switch {
	case matches("role/+", below):
		return e.withRoleID(ctx, s, path)
	case matches("role/+/secret-id", below):
		return withSecretID(s, answer)
	default:
		return s, nil
	}
}

// withRoleID adds the role id that the primary has chosen.
func (e *Engine) withRoleID(ctx context.Context, s statement, path string) (statement, error) {
	var answer struct {
		Data struct {
			RoleID string `json:"role_id"`
		} `json:"data"`
	}
	if err := e.server.call(ctx, e.server.cfg.RootToken, http.MethodGet, path+"/role-id", "", &answer); err != nil {
		return s, fmt.Errorf("reading the role id: %w", err)
	}
	var err error
	s.Body, err = merged(s.Body, map[string]any{"role_id": answer.Data.RoleID})
	return s, err
}

// withSecretID turns the making of a secret id into the giving of this one.
func withSecretID(s statement, answer *Response) (statement, error) {
	var made struct {
		Data struct {
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Body, &made); err != nil {
		return s, fmt.Errorf("reading the secret id: %w", err)
	}
	s.Path = strings.TrimSuffix(s.Path, "secret-id") + "custom-secret-id"
	var err error
	s.Body, err = merged(s.Body, map[string]any{"secret_id": made.Data.SecretID})
	return s, err
}

// merged adds members to a JSON object, which may be empty.
func merged(body []byte, more map[string]any) ([]byte, error) {
	all := map[string]any{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &all); err != nil {
			return nil, fmt.Errorf("reading a request's body: %w", err)
		}
	}
	maps.Copy(all, more)
	return json.Marshal(all)
}
