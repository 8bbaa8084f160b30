package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// Call is one API request as a cluster receives it.
type Call struct {
	Method string
	Path   string // escaped, below /v1/
	Query  url.Values
	Header http.Header
	Body   []byte
	Caller *Caller // not nil when another cluster forwards it
}

// Caller is who a secondary forwards a request for: it has already looked up
// the token, which the primary does not know, and checked its policies.
type Caller struct {
	Token *engine.Token // nil for a login
}

// Reply is the answer to a Call.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Stream func(ctx context.Context, write func([]byte) error) error // instead of Body

	// Result replaces Status and Body in the answer to a forwarded call: the
	// cluster that forwarded it makes the token, the lease and the wrapping.
	Result *Result

	Namespace string         // "" or "team/"
	Path      string         // decoded, below the namespace
	Writes    int            // writes to this cluster's storage
	Position  store.Position // of the storage after the request
	PassedOn  bool           // another cluster executed it
}

// Result is an answer that is not yet bound to a cluster. A nil Response is
// the answer to a write without content, or to a read of what is not there.
type Result struct {
	Response *engine.Response
}

// parse reads the operation and its data out of a call.
func parse(c *Call) (*engine.Request, error) {
	path, err := url.PathUnescape(c.Path)
	if err != nil {
		return nil, engine.BadRequest("invalid path: %v", err)
	}
	r := &engine.Request{Path: path, RawToken: clientToken(c.Header)}
	if r.Operation, err = operation(c); err != nil {
		return nil, err
	}
	if r.Operation == engine.List && !strings.HasSuffix(path, "/") {
		r.Path += "/"
	}
	if err := checkPath(r); err != nil {
		return nil, err
	}
	r.Data, err = data(c, r.Operation)
	return r, err
}

func checkPath(r *engine.Request) error {
	write := r.Operation == engine.Update || r.Operation == engine.Patch
	if write && strings.HasSuffix(r.Path, "/") {
		return engine.BadRequest("cannot write to a path ending in '/'")
	}
	return nil
}

func operation(c *Call) (engine.Operation, error) {
	switch c.Method {
	case http.MethodGet:
		return readOrList(c.Query.Get("list"))
	case "LIST":
		return engine.List, nil
	case http.MethodHead, http.MethodOptions:
		return engine.Header, nil
	case http.MethodPost, http.MethodPut:
		return engine.Update, nil
	case http.MethodDelete:
		return engine.Delete, nil
	case http.MethodPatch:
		if !strings.HasPrefix(c.Header.Get("Content-Type"), "application/merge-patch+json") {
			return "", engine.Errorf(http.StatusUnsupportedMediaType,
				"PATCH requires Content-Type of application/merge-patch+json, provided %s", c.Header.Get("Content-Type"))
		}
		return engine.Patch, nil
	default:
		return "", &engine.Error{Status: http.StatusMethodNotAllowed}
	}
}

func readOrList(list string) (engine.Operation, error) {
	if list == "" {
		return engine.Read, nil
	}
	yes, err := strconv.ParseBool(list)
	if err != nil {
		return "", &engine.Error{Status: http.StatusBadRequest}
	}
	if yes {
		return engine.List, nil
	}
	return engine.Read, nil
}

func data(c *Call, op engine.Operation) (map[string]any, error) {
	if op != engine.Update && op != engine.Patch {
		return queryData(c.Query), nil
	}
	out := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(c.Body))
	dec.UseNumber()
	switch err := dec.Decode(&out); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, engine.Errorf(http.StatusInternalServerError, "malformed JSON, unclosed containers")
	case err != nil && !errors.Is(err, io.EOF):
		return nil, engine.BadRequest("error parsing JSON: failed to parse JSON input: %v", err)
	}
	return out, nil
}

func queryData(q url.Values) map[string]any {
	out := map[string]any{}
	for k, v := range q {
		if len(v) == 1 {
			out[k] = v[0]
			continue
		}
		all := make([]any, len(v))
		for i := range v {
			all[i] = v[i]
		}
		out[k] = all
	}
	return out
}

func clientToken(h http.Header) string {
	if t := h.Get("X-Vault-Token"); t != "" {
		return t
	}
	t, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(t)
}
