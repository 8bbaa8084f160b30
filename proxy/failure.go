package proxy

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// The response headers the proxy adds.
const (
	HeaderCluster  = "X-Vrproxy-Cluster"
	HeaderClass    = "X-Vrproxy-Class"
	HeaderAttempts = "X-Vrproxy-Attempts"
	HeaderError    = "X-Vrproxy-Error"
	HeaderSession  = "X-Vrproxy-Session"
)

// The codes of the proxy's own errors beside those of routing.
const (
	outcomeUnknown = routing.Code("outcome-unknown")
	deadline       = routing.Code("deadline")
	missingHeader  = routing.Code("missing-request-header")
	sessionLost    = routing.Code("session-lost")
	notLent        = routing.Code("identity-not-lent")
	partlyDone     = routing.Code("partly-done")
	staleRead      = routing.Code("stale")
	clientGone     = routing.Code("client-gone") // only counted; nobody is there to read it
)

// statusOf is the HTTP status of each code, as the contract lists them.
func statusOf(code routing.Code) int {
	switch code {
	case outcomeUnknown, partlyDone:
		return http.StatusBadGateway
	case deadline:
		return http.StatusGatewayTimeout
	case missingHeader, staleRead:
		return http.StatusPreconditionFailed
	case sessionLost, notLent, routing.RefusedByRule:
		return http.StatusForbidden
	case routing.OperatorRequest:
		return http.StatusMisdirectedRequest
	case routing.BadRequest:
		return http.StatusBadRequest
	case clientGone:
		return 499 // nginx's code for a client that closed the request
	}
	return http.StatusServiceUnavailable
}

// failure is an answer of the proxy's own. Its text is for clients and names no
// secret.
type failure struct {
	code routing.Code
	text string
	wait bool // a later topology may allow what this one does not
}

func refused(err error) *failure {
	var r *routing.Refusal
	if errors.As(err, &r) {
		return &failure{code: r.Code, text: r.Text, wait: r.Wait}
	}
	if errors.Is(err, tokencache.ErrSessionLost) {
		return &failure{code: sessionLost, text: err.Error()}
	}
	return &failure{code: routing.BadRequest, text: err.Error()}
}

// write sends a failure in Vault's error shape.
func (f *failure) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set(HeaderError, string(f.code))
	w.WriteHeader(statusOf(f.code))
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {"vrproxy: " + f.text}})
}
