package engine

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Random returns n random letters and digits.
func Random(n int) string {
	out := make([]byte, 0, n)
	var pool [128]byte
	for len(out) < n {
		_, _ = rand.Read(pool[:]) // never fails
		for _, b := range pool {
			// The highest values would favour some letters.
			if len(out) < n && int(b) < 256/len(alphabet)*len(alphabet) {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// UUID returns a random UUID.
func UUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Param returns a part of the path that the route named.
func (r *Request) Param(name string) string { return strings.TrimSuffix(r.Params[name], "/") }

// String returns a field of the body as text, "" when absent.
func (r *Request) String(name string) string { return Text(r.Data[name]) }

// Text renders a JSON scalar.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// Has reports whether the body has the field.
func (r *Request) Has(name string) bool {
	_, ok := r.Data[name]
	return ok
}

// Bool returns a field of the body as a boolean.
func (r *Request) Bool(name string) bool {
	b, _ := strconv.ParseBool(r.String(name))
	return b
}

// Int returns a field of the body as a number, 0 when it is none.
func (r *Request) Int(name string) int {
	n, _ := strconv.Atoi(r.String(name))
	return n
}

// Duration returns a field given as seconds or as text like "1h".
func (r *Request) Duration(name string) time.Duration {
	d, _ := ParseDuration(r.String(name))
	return d
}

// ParseDuration reads seconds, "90s" or "2d"; "" is zero.
func ParseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Duration(n * float64(time.Second)), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// Strings returns a field given as a list or as comma-separated text.
func (r *Request) Strings(name string) []string {
	switch v := r.Data[name].(type) {
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			out = append(out, Text(e))
		}
		return out
	case string:
		return splitList(v)
	default:
		return nil
	}
}

func splitList(s string) []string {
	var out []string
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// Map returns a field that is an object.
func (r *Request) Map(name string) map[string]any {
	m, _ := r.Data[name].(map[string]any)
	return m
}

// Meta returns a field that is an object of text, also when it is sent as JSON text.
func (r *Request) Meta(name string) map[string]string {
	src := r.Map(name)
	if s, ok := r.Data[name].(string); ok {
		_ = json.Unmarshal([]byte(s), &src) // not JSON: no metadata
	}
	if len(src) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range src {
		out[k] = Text(v)
	}
	return out
}

// Listed answers a LIST; no keys become a 404.
func Listed(keys []string) (*Response, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return &Response{Data: map[string]any{"keys": keys}}, nil
}

// OK answers with data.
func OK(data map[string]any) (*Response, error) { return &Response{Data: data}, nil }

// Done answers 204, or the error.
func Done(err error) (*Response, error) { return nil, err }
