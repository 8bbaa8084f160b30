// Package routing decides where a Vault request has to go. It only decides: no
// I/O, no clock, no goroutine. A [Router] turns a [Request] and a mount [Table]
// into a [Decision] (what is asked, which class, why); a [Planner] turns the
// decision and a topology into a [Plan] (the ordered clusters to try).
//
// The engine decides, not the HTTP method: POST transit/encrypt only reads, GET
// database/creds makes a lease. What each engine does is data, one table per
// engine, in the files engine_*.go.
package routing

import (
	"net/url"
	"path"
	"strconv"
	"strings"
)

// Request is what a decision needs to know of an HTTP request.
type Request struct {
	Method    string
	Path      string // escaped path as the client sent it, with the /v1/
	RawQuery  string
	Namespace string // X-Vault-Namespace; may be empty
	Wrap      bool   // the client asked for response wrapping (X-Vault-Wrap-TTL)
	// LocalMount is true when the body of a mount request says "local": true. It
	// is looked at only where Decision.BodyMatters was true before.
	LocalMount bool
}

// SetHeader takes over what an HTTP header says, if it matters to a decision.
func (r *Request) SetHeader(name, value string) {
	switch {
	case strings.EqualFold(name, "X-Vault-Namespace"):
		r.Namespace = value
	case strings.EqualFold(name, "X-Vault-Wrap-TTL"):
		r.Wrap = value != ""
	}
}

// Verb is Vault's own word for what a request does, from method and query.
type Verb uint8

// The verbs, as a set so that a table row can name several.
const (
	Read Verb = 1 << iota
	List
	Update // create or update: POST and PUT
	Patch
	Delete
	Header // HEAD
	Help   // HELP or ?help=1: documentation, whatever the method

	reads  = Read | List | Header | Help
	writes = Update | Patch | Delete
	all    = reads | writes
)

// VerbOf reads the verb the way Vault does (http/logical.go, http/help.go): list
// counts only on GET, a non-empty help parameter wins over every method.
func VerbOf(method, rawQuery string) Verb {
	if rawQuery != "" && queryValue(rawQuery, "help") != "" {
		return Help
	}
	switch method {
	case "GET":
		if rawQuery != "" {
			if list, err := strconv.ParseBool(queryValue(rawQuery, "list")); err == nil && list {
				return List
			}
		}
		return Read
	case "LIST", "SCAN":
		return List
	case "HEAD":
		return Header
	case "HELP", "OPTIONS":
		return Help
	case "PATCH":
		return Patch
	case "DELETE":
		return Delete
	}
	return Update
}

func queryValue(rawQuery, key string) string {
	if !strings.Contains(rawQuery, key) && !strings.Contains(rawQuery, "%") {
		return ""
	}
	values, _ := url.ParseQuery(rawQuery) // what can be parsed counts, as in Vault
	return values.Get(key)
}

// apiPath gives the path below /v1/ as Vault will understand it: the escaped path
// is cleaned, then decoded once. Never the other way round, or %2e%2e would become
// a path segment that Vault does not see. ok is false for what is no API path.
func apiPath(escaped string) (p string, ok bool) {
	if isPlain(escaped) {
		return strings.CutPrefix(escaped, "/v1/")
	}
	u, err := url.ParseRequestURI(escaped)
	if err != nil {
		return "", false
	}
	// What the client escaped, or, if it left bytes bare that have to be escaped, what
	// net/http makes of it: Vault's listener goes by this.
	p, ok = strings.CutPrefix(cleanPath(u.EscapedPath()), "/v1/")
	if !ok {
		return "", false
	}
	decoded, err := url.PathUnescape(p)
	return decoded, err == nil
}

// isPlain reports whether a path is clean and means itself: most are and do, and it
// costs no allocation.
func isPlain(p string) bool {
	for i := range len(p) {
		c := p[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~':
		case c == '/', c == '.':
			if i > 0 && p[i-1] == '/' {
				return false
			}
		default:
			return false
		}
	}
	return p != "" && p[0] == '/'
}

// cleanPath cleans as Go's ServeMux does, which Vault's own listener uses.
func cleanPath(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}
