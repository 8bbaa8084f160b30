package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"
	"github.com/hashicorp/vault/api/auth/ldap"
	"github.com/hashicorp/vault/api/auth/userpass"
)

// credentials is a way to obtain a token on any home.
type credentials interface {
	// login makes a token with the given client, whose namespace is already set.
	login(ctx context.Context, client *api.Client, home string) (*api.Secret, error)
	// namespace is where the auth mount lives, for a home.
	namespace(home string) string
	// wipe forgets the secrets, as far as Go allows.
	wipe()
}

// replay is a login that passed through the proxy, kept to be repeated elsewhere.
type replay struct {
	hidden
	method, path, ns string

	mu   sync.Mutex // a session may end while its login is on the way
	body []byte     // nil once wiped
}

func (r *replay) namespace(string) string { return r.ns }

func (r *replay) wipe() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.body)
	r.body = nil
}

func (r *replay) copy() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.body) // of an empty body an empty one, not nil
}

func (r *replay) login(ctx context.Context, client *api.Client, _ string) (*api.Secret, error) {
	body := r.copy()
	if body == nil {
		return nil, ErrSessionLost
	}
	req := client.NewRequest(r.method, r.path)
	req.BodyBytes = body
	req.Headers.Set("Content-Type", "application/json")
	//nolint:staticcheck // Logical().Write would re-encode the body; it has to be repeated as it was.
	resp, err := client.RawRequestWithContext(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return api.ParseSecret(resp.Body)
}

// IdentityConfig is the proxy's own way to log in. It prints redacted: its options
// hold secrets.
type IdentityConfig struct {
	hidden
	// Method is approle, userpass, ldap, kubernetes, jwt, cert, aws, gcp, azure or
	// token_file.
	Method    string
	Mount     string // without auth/; default: the method's name
	Namespace string
	// Options are the method's own, as documented for identity.options in the
	// configuration. Files named there are read at each login.
	Options map[string]string
	// PerHome overrides Mount, Namespace and single options on one home.
	PerHome map[string]IdentityOverride
	// Homes lists all homes, nearest first. Needed for a wrapped secret-id, which
	// has to be looked for; may be nil otherwise.
	Homes func() []string
}

// IdentityOverride replaces what is not empty. A secret, the file that can hold it,
// and secret_id_wrapped, which says what they hold, are replaced as one. It prints
// redacted.
type IdentityOverride struct {
	hidden
	Mount     string
	Namespace *string
	Options   map[string]string
}

type configured struct {
	hidden
	cfg       *IdentityConfig // fmt shows what a struct holds under some verbs, but not behind a second pointer
	nonce     Token           // of aws, unless the configuration has one
	pending   pending
	unwrapper *unwrapper
}

func newConfigured(cfg IdentityConfig, vault Vault) *configured {
	c := &configured{cfg: &cfg, nonce: NewToken(rand.Text())}
	c.unwrapper = &unwrapper{vault: vault, turn: make(chan struct{}, 1)}
	return c
}

func (c *configured) wipe() {}

func (c *configured) namespace(home string) string {
	if o, ok := c.cfg.PerHome[home]; ok && o.Namespace != nil {
		return *o.Namespace
	}
	return c.cfg.Namespace
}

func (c *configured) mount(home string) string {
	if o := c.cfg.PerHome[home]; o.Mount != "" {
		return o.Mount
	}
	if c.cfg.Mount != "" {
		return c.cfg.Mount
	}
	return c.cfg.Method
}

func (c *configured) option(home, name string) string {
	if v, ok := c.cfg.PerHome[home].Options[name]; ok {
		return v
	}
	return c.cfg.Options[name]
}

// source is where an option that is given in place or as NAME_file comes from: what
// is given for one home replaces both.
func (c *configured) source(home, name string) map[string]string {
	if o := c.cfg.PerHome[home].Options; o[name] != "" || o[name+"_file"] != "" {
		return o
	}
	return c.cfg.Options
}

// secret reads an option given in place or as NAME_file.
func (c *configured) secret(home, name string) (string, error) {
	o := c.source(home, name)
	if file := o[name+"_file"]; file != "" {
		return readSecretFile(file)
	}
	return o[name], nil
}

func readSecretFile(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading a credential: %w", err)
	}
	defer clear(b)
	return strings.TrimSpace(string(b)), nil
}

// errMethod is returned for a method that this version cannot log in with.
var errMethod = errors.New("unsupported identity method")

func (c *configured) login(ctx context.Context, client *api.Client, home string) (*api.Secret, error) {
	switch c.cfg.Method {
	case "jwt":
		return c.jwt(ctx, client, home)
	case "cert":
		return c.cert(ctx, client, home)
	case "token_file":
		return c.tokenFile(ctx, client, home)
	case "aws", "gcp", "azure":
		return c.cloud(ctx, client, home)
	}
	method, err := c.method(ctx, home)
	if err != nil {
		return nil, err
	}
	return method.Login(ctx, client)
}

func (c *configured) method(ctx context.Context, home string) (api.AuthMethod, error) {
	switch c.cfg.Method {
	case "approle":
		return c.approle(ctx, home)
	case "userpass":
		return c.userpass(home)
	case "ldap":
		return c.ldap(home)
	case "kubernetes":
		return c.kubernetes(home)
	}
	return nil, fmt.Errorf("%w: %q", errMethod, c.cfg.Method)
}

func (c *configured) approle(ctx context.Context, home string) (api.AuthMethod, error) {
	role, err := c.secret(home, "role_id")
	if err != nil {
		return nil, err
	}
	secretID, err := c.secretID(ctx, home)
	if err != nil {
		return nil, err
	}
	if secretID == "" { // a role without bind_secret_id
		return write{path: "auth/" + c.mount(home) + "/login", data: map[string]any{"role_id": role}}, nil
	}
	return approle.NewAppRoleAuth(role, &approle.SecretID{FromString: secretID}, approle.WithMountPath(c.mount(home)))
}

func (c *configured) userpass(home string) (api.AuthMethod, error) {
	password, err := c.secret(home, "password")
	if err != nil {
		return nil, err
	}
	return userpass.NewUserpassAuth(c.option(home, "username"), &userpass.Password{FromString: password}, userpass.WithMountPath(c.mount(home)))
}

func (c *configured) ldap(home string) (api.AuthMethod, error) {
	password, err := c.secret(home, "password")
	if err != nil {
		return nil, err
	}
	return ldap.NewLDAPAuth(c.option(home, "username"), &ldap.Password{FromString: password}, ldap.WithMountPath(c.mount(home)))
}

func (c *configured) kubernetes(home string) (api.AuthMethod, error) {
	options := []kubernetes.LoginOption{kubernetes.WithMountPath(c.mount(home))}
	if p := c.option(home, "token_path"); p != "" {
		jwt, err := readSecretFile(p) // WithServiceAccountTokenPath would keep a final newline
		if err != nil {
			return nil, err
		}
		options = append(options, kubernetes.WithServiceAccountToken(jwt))
	}
	return kubernetes.NewKubernetesAuth(c.option(home, "role"), options...)
}

func (c *configured) jwt(ctx context.Context, client *api.Client, home string) (*api.Secret, error) {
	path := c.option(home, "path")
	if path == "" {
		path = c.option(home, "jwt_file")
	}
	jwt, err := readSecretFile(path)
	if err != nil {
		return nil, err
	}
	return write{path: "auth/" + c.mount(home) + "/login", data: map[string]any{"role": c.option(home, "role"), "jwt": jwt}}.Login(ctx, client)
}

// cert logs in with the client certificate of the cluster's TLS configuration.
func (c *configured) cert(ctx context.Context, client *api.Client, home string) (*api.Secret, error) {
	data := map[string]any{}
	if name := c.option(home, "name"); name != "" {
		data["name"] = name
	}
	return write{path: "auth/" + c.mount(home) + "/login", data: data}.Login(ctx, client)
}

// tokenFile takes a token that somebody else put into a file. It is looked up, so
// that its lifetime and accessor are known and a foreign token is noticed.
func (c *configured) tokenFile(ctx context.Context, client *api.Client, home string) (*api.Secret, error) {
	token, err := readSecretFile(c.option(home, "path"))
	if err != nil {
		return nil, err
	}
	client.SetToken(token)
	self, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, err
	}
	ttl, _ := self.TokenTTL()
	renewable, _ := self.TokenIsRenewable()
	accessor, _ := self.TokenAccessor()
	return &api.Secret{Auth: &api.SecretAuth{ClientToken: token, Accessor: accessor, LeaseDuration: int(ttl.Seconds()), Renewable: renewable}}, nil
}

// write is a login that is one write.
type write struct {
	hidden
	path string
	data map[string]any
}

// Login sends it.
func (w write) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	return client.Logical().WriteWithContext(ctx, w.path, w.data)
}

// statedError has a text that is the proxy's own: it names no secret, and is shown
// whole.
type statedError struct {
	text string
	kind error // what Unwrap gives; may be nil
}

// Error is the text.
func (e *statedError) Error() string { return e.text }

// Unwrap gives the kind.
func (e *statedError) Unwrap() error { return e.kind }

// describe says what went wrong in a Vault call without URL, path or body, all of
// which may hold names or secrets.
func describe(err error) string {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return fmt.Sprintf("Vault answered %d %s: %s", answer.StatusCode, http.StatusText(answer.StatusCode), strings.Join(answer.Errors, "; "))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Error()
	}
	var said *statedError
	if errors.As(err, &said) {
		return said.text
	}
	text, _, _ := strings.Cut(err.Error(), "\n") // AWS adds an advice for programmers
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}
