// Package engine is what the secrets engines and auth methods of the
// laboratory are written against: requests, answers, routes and errors.
package engine

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// Operation is what a request does, in Vault's words.
type Operation string

// The operations. Create is told from Update only for the access check.
const (
	Read   Operation = "read"
	List   Operation = "list"
	Create Operation = "create"
	Update Operation = "update"
	Patch  Operation = "patch"
	Delete Operation = "delete"
	Header Operation = "header"
)

// Request is one operation on one mount.
type Request struct {
	Operation Operation
	Path      string            // below the mount
	Params    map[string]string // what the route's pattern matched
	Mount     string            // with its slash, auth/ included
	MountType string
	Accessor  string // of the mount
	Namespace string // "" or "team/"
	Data      map[string]any
	Token     *Token // nil on a public route without a token
	RawToken  string // as the client sent it
	Tx        *store.Tx
	Storage   store.View    // replicated, unless the mount is local
	Local     store.View    // never replicated
	WrapTTL   time.Duration // the answer will be wrapped
}

// Token is what the cluster remembers of a token.
type Token struct {
	ID           string            `json:"id"`
	Accessor     string            `json:"accessor"`
	Parent       string            `json:"parent,omitempty"`
	Policies     []string          `json:"policies"`
	Path         string            `json:"path"`
	Meta         map[string]string `json:"meta"`
	DisplayName  string            `json:"display_name"`
	NumUses      int               `json:"num_uses"`
	Created      time.Time         `json:"created"`
	LastRenewal  time.Time         `json:"last_renewal"`
	Expires      time.Time         `json:"expires"` // zero: never
	TTL          time.Duration     `json:"ttl"`
	Period       time.Duration     `json:"period,omitempty"`
	MaxTTL       time.Duration     `json:"max_ttl,omitempty"` // 0: the system's
	ExplicitMax  time.Duration     `json:"explicit_max,omitempty"`
	Renewable    bool              `json:"renewable"`
	EntityID     string            `json:"entity_id"`
	Type         string            `json:"type"` // service or batch
	Namespace    string            `json:"namespace,omitempty"`
	Role         string            `json:"role,omitempty"`
	OnlyWrapping bool              `json:"only_wrapping,omitempty"`
}

// Response is what a handler answers; nil means 204, or 404 on a read.
type Response struct {
	Data     map[string]any
	Lease    *Lease
	Auth     *Auth
	Wrap     *Wrap
	Warnings []string
	Status   int    // 0: as Vault decides
	Raw      []byte // sent as it is when not nil
	Type     string // content type of Raw
	Stream   func(ctx context.Context, write func([]byte) error) error
}

// Lease is a dynamic secret's lease.
type Lease struct {
	ID        string
	TTL       time.Duration
	MaxTTL    time.Duration
	Renewable bool
	Internal  map[string]string // handed to Revoke
}

// Auth describes a login: the wish of the method, then the token made of it.
type Auth struct {
	DisplayName string
	Alias       string // the entity's name at this mount
	Policies    []string
	Meta        map[string]string
	TTL, MaxTTL time.Duration
	Period      time.Duration
	ExplicitMax time.Duration
	NumUses     int
	Type        string // "", service or batch
	Token       *Token // set by the core
	Made        bool   // the token exists already and has not to be made
	Hidden      bool   // the answer does not show the token's id
}

// Wrap describes a wrapping token.
type Wrap struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"`
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor,omitempty"`
}

// Error is an answer that Vault gives as errors.
type Error struct {
	Status   int
	Messages []string
	Data     map[string]any // some 404 answers carry data
}

// Error joins the messages.
func (e *Error) Error() string { return strings.Join(e.Messages, "; ") }

// Errorf is an Error with one message.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Messages: []string{fmt.Sprintf(format, args...)}}
}

// BadRequest is an Error with status 400.
func BadRequest(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, format, args...)
}

// Wrapped is an Error with status 400 in the form that Vault gives to the
// errors of a handler that returns one instead of an answer.
func Wrapped(format string, args ...any) *Error {
	return BadRequest("1 error occurred:\n\t* %s\n\n", fmt.Sprintf(format, args...))
}

// Unsupported is the answer to an operation that a path does not have.
func Unsupported() *Error {
	return Errorf(http.StatusMethodNotAllowed, "1 error occurred:\n\t* unsupported operation\n\n")
}

// NoPath is the answer to a path that the mount does not have.
func NoPath() *Error {
	return Errorf(http.StatusNotFound, "1 error occurred:\n\t* unsupported path\n\n")
}
