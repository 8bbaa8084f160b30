package tokencache

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// gce logs in as a Compute Engine instance. The module of
// Vault for it waits for the metadata service without end and sends its
// error pages to Vault as if they were a JWT.
type gce struct{ role, path string }

// Login asks the metadata service for a JWT and takes it to Vault.
func (g gce) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	q := url.Values{"audience": {client.Address() + "/vault/" + g.role}, "format": {"full"}}
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // never through HTTP_PROXY
	jwt, err := metadata.NewClient(direct).GetWithContext(ctx, "instance/service-accounts/default/identity?"+q.Encode())
	if err != nil {
		return nil, &statedError{text: "asking the metadata service for a JWT: " + describe(err)}
	}
	return write{path: g.path, data: map[string]any{"role": g.role, "jwt": strings.TrimSpace(jwt)}}.Login(ctx, client)
}

const (
	gcpScope  = "https://www.googleapis.com/auth/cloud-platform"
	gcpAnswer = 64 << 10 // a signed JWT is far smaller
	gcpLife   = 10 * time.Minute
)

// gcpIAM logs in as a service account, with a JWT that Google's IAM signs for whom the
// environment's credentials are of. Vault's module for it heeds no deadline, and brings
// gRPC for its one request, which costs every process 3 MB.
type gcpIAM struct{ role, path, account string }

// Login has a JWT signed and takes it to Vault.
func (g gcpIAM) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	credentials, err := google.FindDefaultCredentials(ctx, gcpScope)
	if err != nil {
		return nil, err
	}
	domain, err := credentials.GetUniverseDomain()
	if err != nil {
		return nil, err
	}
	signer := "https://iamcredentials." + domain + "/v1/projects/-/serviceAccounts/" + url.PathEscape(g.account) + ":signJwt"
	jwt, err := g.sign(ctx, oauth2.NewClient(ctx, credentials.TokenSource), signer)
	if err != nil {
		return nil, err
	}
	return write{path: g.path, data: map[string]any{"role": g.role, "jwt": jwt}}.Login(ctx, client)
}

func (g gcpIAM) sign(ctx context.Context, client *http.Client, signer string) (string, error) {
	claims, err := json.Marshal(map[string]any{"aud": "vault/" + g.role, "sub": g.account, "exp": time.Now().Add(gcpLife).Unix()})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"payload": string(claims)})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, signer, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s did not sign a JWT for the service account: %s", req.URL.Host, resp.Status)
	}
	var signed struct {
		JWT string `json:"signedJwt"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, gcpAnswer)).Decode(&signed); err != nil || signed.JWT == "" {
		return "", fmt.Errorf("%s answered without a signed JWT", req.URL.Host)
	}
	return signed.JWT, nil
}
