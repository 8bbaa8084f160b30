package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vrproxy/vrproxy/configs"
)

const (
	adminWithin  = 5 * time.Second
	adminAnswer  = 16 << 20
	defaultAdmin = "127.0.0.1:8210"
)

// adminFlags are the flags of commands that ask a running proxy.
type adminFlags struct {
	fileFlags
	admin, output string
}

func (f *adminFlags) register(cmd *cobra.Command) {
	f.registerFind(cmd)
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
}

// registerFind leaves out how the answer is shown.
func (f *adminFlags) registerFind(cmd *cobra.Command) {
	f.fileFlags.register(cmd)
	cmd.Flags().StringVar(&f.admin, "admin", "", "address of the running proxy's admin listener (or VRPROXY_ADMIN_ADDR)")
}

func (f *adminFlags) wrongOutput() bool { return f.output != "text" && f.output != "json" }

// adminAPI is the admin listener of a running proxy, as commands use it.
type adminAPI struct {
	base   string
	client *http.Client
	named  bool // somebody named it: then it has to be there
}

// adminError is an answer of the admin listener that says no.
type adminError struct {
	status int
	text   string
}

func (e *adminError) Error() string { return e.text }

// find finds the admin listener: by flag, by environment, by the configuration,
// else where it is by default.
func (f *adminFlags) find(p Process) (*adminAPI, error) {
	api := &adminAPI{client: &http.Client{Timeout: adminWithin}}
	address := f.admin
	if address == "" {
		address = p.Getenv("VRPROXY_ADMIN_ADDR")
	}
	api.named = address != ""
	if address == "" && f.hasFile(p) {
		cfg, err := f.load(p)
		if err != nil {
			return nil, err
		}
		address = cfg.Admin.Address
		if err := api.trust(cfg.Admin.TLS); err != nil {
			return nil, runtimeFailure(err)
		}
		if cfg.Admin.TLS != nil {
			address = "https://" + address
		}
	}
	if address == "" {
		address = defaultAdmin
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	api.base = strings.TrimSuffix(address, "/")
	return api, nil
}

// trust lets the client know the listener's own certificate, which need not be signed
// by anybody the system trusts. A listener that wants client certificates is shown its
// own: that is what who runs the command on its machine, with its file, has.
func (a *adminAPI) trust(c *configs.ServerTLS) error {
	if c == nil {
		return nil
	}
	raw, err := os.ReadFile(c.CertFile)
	if err != nil {
		return fmt.Errorf("reading the admin listener's certificate: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(raw)
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: certifiedName(raw)}
	if c.ClientCAFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return fmt.Errorf("reading the admin listener's certificate, to show it: %w", err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	a.client.Transport = &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	return nil
}

// certifiedName is a name that the certificate is for. The address in the file, such as
// 0.0.0.0, is hardly ever one.
func certifiedName(raw []byte) string {
	block, _ := pem.Decode(raw)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return ""
	case len(cert.DNSNames) > 0:
		return strings.Replace(cert.DNSNames[0], "*", "vrproxy", 1)
	case len(cert.IPAddresses) > 0:
		return cert.IPAddresses[0].String()
	}
	return ""
}

// get reads one JSON answer. The error is an *adminError where the listener said no.
func (a *adminAPI) get(ctx context.Context, path string, into any) error {
	raw, err := a.fetch(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("what answers at %s is not a vrproxy admin listener: %w", a.base, err)
	}
	return nil
}

// fetch reads one answer.
func (a *adminAPI) fetch(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("the admin address %s is not a URL: %w", a.base, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no running proxy answers at %s: %w", a.base, unwrapURL(err))
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, adminAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", a.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		var said struct {
			Errors []string `json:"errors"`
		}
		_ = json.Unmarshal(raw, &said) // somebody else's answer has no errors in it
		text := strings.Join(said.Errors, "; ")
		if text == "" && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			text = strings.TrimSpace(string(raw)) // of a probe
		}
		return nil, &adminError{resp.StatusCode, fmt.Sprintf("%s answered %d: %s", a.base, resp.StatusCode, text)}
	}
	return raw, nil
}

// unwrapURL drops the URL, which the caller's text has already.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
