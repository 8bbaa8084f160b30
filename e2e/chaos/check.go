package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/vrproxy/vrproxy/internal/lab"
)

// codes are the contract's codes of the proxy's own errors.
func codes() []string {
	return []string{"no-healthy-cluster", "no-primary", "split-brain", "owner-unavailable", "outcome-unknown", "deadline", "session-lost", "stale"}
}

// findings is what a run showed.
type findings struct {
	requests, reads, failedReads, writes, unknown, refused int
	ownReads, ownNear, stale                               int                        // of what the session wrote; by the nearest cluster; refused because nobody had it
	slowest                                                time.Duration              // read
	lost                                                   map[string]bool            // leases that Vault may have lost with a change of the primary, or ended by its clock
	slowestBy, movedBy                                     map[string][]time.Duration // by fault: the slowest read, and after how long reads were answered elsewhere
	problems                                               []string
}

func (f *findings) wrong(format string, args ...any) {
	if len(f.problems) < 20 {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

// check holds a history to what was promised.
func (w *world) check(ctx context.Context, h *history, x *trouble) *findings {
	f := &findings{requests: len(h.events), lost: make(map[string]bool)}
	for _, e := range h.events {
		if e.op == "credential" && (x.lossy(e.began, e.ended) || x.jumped(e.cluster, e.began)) {
			f.lost[e.value] = true
		}
	}
	for _, e := range h.events {
		f.count(e)
		f.honest(e, x)
	}
	f.linearizable(h.events, x)
	w.once(ctx, h.events, x, f)
	w.revoked(ctx, h.events, x, f)
	f.sessions(h.events, x)
	f.faults(h.events, x)
	return f
}

func (f *findings) count(e event) {
	took := e.ended.Sub(e.began)
	switch e.op {
	case "read", "self", "encrypt":
		f.reads++
		f.slowest = max(f.slowest, took)
		if e.status != http.StatusOK {
			f.failedReads++
			f.wrong("a read failed: %v", e)
		}
	case "once", "strong write", "own write":
		f.writes++
		switch {
		case e.status == 0 || e.code == "outcome-unknown":
			f.unknown++
		case e.status >= 300:
			f.refused++
		}
	}
	if took > 10*time.Second {
		f.wrong("it took too long: %v", e)
	}
}

// honest: an error is one of the contract's, and something was wrong then. Vault's own
// words for a lease that is there, or a token that is good, must never be heard.
func (f *findings) honest(e event, x *trouble) {
	switch {
	case strings.Contains(e.text, "somebody else"):
		f.wrong("%v", e)
	case e.status == 0:
		f.wrong("the proxy gave no answer: %v", e)
	case e.status < 400, e.status == http.StatusNotFound && (strings.HasPrefix(e.op, "strong") || e.op == "own read"):
	case e.code == "" && e.status >= 500 && !x.justified(e.began, e.ended):
		f.wrong("Vault's error in quiet times: %v", e)
	case e.code == "" && e.status >= 500: // passed on, while something was wrong
	case e.op == "renew" && f.lost[e.value]:
	case e.op == "own read" && e.status == http.StatusPreconditionFailed && x.justified(e.began, e.ended): // Vault's own word
	case e.code == "":
		f.wrong("the wrong cluster was asked: %v", e)
	case !slices.Contains(codes(), e.code):
		f.wrong("no code of the contract: %v", e)
	case !x.justified(e.began, e.ended):
		f.wrong("refused in quiet times: %v", e)
	}
}

// linearizable checks the strong keys with porcupine: reads and writes of each are as if
// they happened one after another, between their begin and end.
func (f *findings) linearizable(events []event, x *trouble) {
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			in, _ := input.(event)
			if in.op == "strong write" {
				return true, in.value
			}
			return state == output, state
		},
		Equal: func(a, b any) bool { return a == b },
	}
	byKey := make(map[string][]porcupine.Operation)
	forever := time.Now().Add(time.Hour).UnixNano()
	for _, e := range events {
		op := porcupine.Operation{ClientId: e.client, Input: e, Call: e.began.UnixNano(), Return: e.ended.UnixNano(), Output: e.value}
		switch lossy := x.lossy(e.began, e.ended); {
		case e.op == "strong write" && (lossy && e.status == http.StatusOK || mayHaveHappened(e)):
			op.Return = forever
		case lossy:
			continue
		case e.op == "strong read" && (e.status == http.StatusOK || e.status == http.StatusNotFound):
		case e.op == "strong write" && e.status == http.StatusOK:
		default:
			continue
		}
		byKey[e.key] = append(byKey[e.key], op)
	}
	for key, ops := range byKey {
		if r := porcupine.CheckOperationsTimeout(model, ops, 20*time.Second); r == porcupine.Illegal {
			f.wrong("%s is not linearizable over %d operations", key, len(ops))
		}
	}
}

// mayHaveHappened: what the proxy refuses did not happen; what Vault or nobody answered
// may have.
func mayHaveHappened(e event) bool {
	return e.status == 0 || e.code == "outcome-unknown" || e.code == "" && e.status >= 500
}

// ask asks a cluster itself.
func (w *world) ask(ctx context.Context, cluster, method, path, body string) (int, map[string]any) {
	req, err := http.NewRequestWithContext(ctx, method, w.lab.Cluster(cluster).Address()+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("X-Vault-Token", lab.RootToken)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&answer) // no content is fine
	data, _ := answer["data"].(map[string]any)
	return resp.StatusCode, data
}

// primary is the cluster that has all writes at the end.
func (w *world) primary() string {
	for _, c := range w.lab.Clusters() {
		if c.Role() == "primary" && c.State() == "running" {
			return c.Name()
		}
	}
	return ""
}

// once checks that each acknowledged write is there once, a refused one not, and one of
// unknown outcome not twice.
func (w *world) once(ctx context.Context, events []event, x *trouble, f *findings) {
	primary := w.primary()
	if primary == "" {
		f.wrong("no primary at the end")
		return
	}
	for _, e := range events {
		if e.op != "once" {
			continue
		}
		status, data := w.ask(ctx, primary, "GET", strings.Replace(e.key, "/data/", "/metadata/", 1), "")
		versions, _ := data["current_version"].(float64)
		switch {
		case status != http.StatusOK && status != http.StatusNotFound:
			f.wrong("%s can't be looked up at the end: %d", e.key, status)
		case versions > 1:
			f.wrong("written %v times: %v", versions, e)
		case e.status == http.StatusOK && versions != 1 && !x.lossy(e.began, e.ended):
			f.wrong("an acknowledged write is lost: %v", e)
		case !mayHaveHappened(e) && e.status != http.StatusOK && versions != 0:
			f.wrong("refused, and done: %v", e)
		}
	}
}

// revoked checks that no lease lives whose revocation was acknowledged.
func (w *world) revoked(ctx context.Context, events []event, x *trouble, f *findings) {
	for _, e := range events {
		if e.op != "revoke" || e.status >= 300 || e.status == 0 || x.lossy(e.began, e.ended) {
			continue
		}
		for _, c := range w.lab.Clusters() {
			if c.Role() == "dr" || c.State() != "running" {
				continue
			}
			if status, _ := w.ask(ctx, c.Name(), "POST", "sys/leases/lookup", fmt.Sprintf(`{"lease_id":%q}`, e.value)); status == http.StatusOK {
				f.wrong("acknowledged as revoked, and alive at %s: %v", c.Name(), e)
			}
		}
	}
}
