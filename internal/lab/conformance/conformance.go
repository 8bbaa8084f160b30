// Package conformance holds the laboratory to the real thing: one script of
// requests runs against a simulated cluster and against a real Vault, and their
// answers have to agree in status, in the shape of the JSON, and in the error
// texts that clients match on.
//
//	answers, err := conformance.Run(ctx, conformance.Target{Address: url, Token: "root"})
//	for _, d := range conformance.Compare(real, simulated) { … }
//
// The target needs nothing but a root token: the script mounts what it uses,
// under names of its own.
package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// upgrading is what a new versioned kv mount of a real Vault answers for its
// first moments.
const (
	upgrading    = "Upgrading from non-versioned to versioned data"
	settleWithin = 10 * time.Second
	settleEvery  = 20 * time.Millisecond
)

// Step is one request of the script. In Path, Token and Body, {name} stands for
// what an earlier step kept under that name; {root} is the target's root token.
type Step struct {
	Name   string
	Method string
	Path   string // escaped, with the query, below /v1/
	Token  string // "": none
	Body   string
	Header [2]string // one more header

	Keep map[string]string // name → place in the answer, "auth.client_token"

	// What is expected of every target.
	Status int
	Error  string // part of the error messages
}

// Target is a Vault to run against.
type Target struct {
	Address string       // URL
	Token   string       // a root token
	HTTP    *http.Client // nil: one of its own
}

// Answer is what a target said to a step.
type Answer struct {
	Step   Step
	Status int
	Shape  Shape
	Errors []string
	Header http.Header
	Body   string // for people; it has values that differ from run to run
}

// Run sends the script's requests in order.
func Run(ctx context.Context, t Target) ([]Answer, error) {
	r := runner{target: t, kept: map[string]string{"root": t.Token}, http: t.client()}
	defer r.http.CloseIdleConnections()
	var all []Answer
	for _, s := range Script() {
		a, err := r.settled(ctx, s)
		if err != nil {
			return all, fmt.Errorf("step %q: %w", s.Name, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// client follows no redirects: they are answers too.
func (t Target) client() *http.Client {
	c := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	if t.HTTP != nil {
		copied := *t.HTTP
		c = &copied
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

type runner struct {
	target Target
	http   *http.Client
	kept   map[string]string
}

// settled repeats a step until a new kv mount is ready.
func (r *runner) settled(ctx context.Context, s Step) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		a, err := r.step(ctx, s)
		if err != nil || !strings.Contains(a.Body, upgrading) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(settleEvery):
		}
	}
}

func (r *runner) step(ctx context.Context, s Step) (Answer, error) {
	req, err := r.request(ctx, s)
	if err != nil {
		return Answer{}, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Step: s, Status: resp.StatusCode, Header: resp.Header, Body: string(raw)}
	return a, r.read(&a, raw)
}

func (r *runner) request(ctx context.Context, s Step) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, s.Method, r.target.Address+"/v1/"+r.fill(s.Path), strings.NewReader(r.fill(s.Body)))
	if err != nil {
		return nil, err
	}
	if s.Token != "" {
		req.Header.Set("X-Vault-Token", r.fill(s.Token))
	}
	if s.Header[0] != "" {
		req.Header.Set(s.Header[0], r.fill(s.Header[1]))
	}
	return req, nil
}

func (r *runner) fill(text string) string {
	for name, value := range r.kept {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

// read takes from an answer what is compared and what is kept.
func (r *runner) read(a *Answer, raw []byte) error {
	var v any
	switch err := json.Unmarshal(raw, &v); {
	case len(bytes.TrimSpace(raw)) == 0:
		a.Shape = Shape{"": "nothing"}
	case err != nil:
		a.Shape = Shape{"": "no JSON"}
	default:
		a.Shape = shapeOf(v)
	}
	a.Errors = errorsIn(v)
	for name, place := range a.Step.Keep {
		value, ok := textAt(v, place)
		if !ok {
			return fmt.Errorf("%w: %s in %d %s", errNothingToKeep, place, a.Status, raw)
		}
		r.kept[name] = value
	}
	return nil
}

var errNothingToKeep = errors.New("the answer lacks what later steps need")

func errorsIn(v any) []string {
	m, _ := v.(map[string]any)
	list, _ := m["errors"].([]any)
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprint(e))
	}
	return out
}

func textAt(v any, place string) (string, bool) {
	for name := range strings.SplitSeq(place, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, ok := v.(string)
	return s, ok && s != ""
}
