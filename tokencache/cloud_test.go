package tokencache

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/internal/upstream"
)

// The tests of this file change the environment, so they do not run in parallel.
// None leaves the machine: what a cloud's metadata service says is faked.

// recorder is a Vault that takes every login and remembers what it was sent.
type recorder struct {
	single
	mu   sync.Mutex
	path string
	body map[string]any
	code int // of the answer; 0: a token
}

func record(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	srv := httptest.NewServer(r)
	pool := upstream.New(upstream.Config{Clusters: []upstream.Cluster{{Name: "one"}}})
	t.Cleanup(func() { pool.Close(); srv.Close() })
	r.single = single{srv.URL, pool}
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path, r.body = q.URL.Path, nil
	_ = json.NewDecoder(q.Body).Decode(&r.body)
	w.Header().Set("Content-Type", "application/json")
	if r.code != 0 {
		w.WriteHeader(r.code)
		_, _ = io.WriteString(w, `{"errors":["role is not allowed here"]}`)
		return
	}
	_, _ = io.WriteString(w, `{"auth":{"client_token":"hvs.x"}}`)
}

// sent logs in and gives what arrived.
func (r *recorder) sent(t *testing.T, cfg IdentityConfig) map[string]any {
	t.Helper()
	return r.again(t, newCache(t, Config{Vault: r, Identity: &cfg}))
}

func (r *recorder) again(t *testing.T, c *Cache) map[string]any {
	t.Helper()
	if tok := token(t, c.Identity(), "one"); tok.Reveal() != "hvs.x" {
		t.Fatal("another token")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body
}

// metadataService fakes what a cloud tells its machines. Answers are by path; others
// are 404.
func metadataService(t *testing.T, answers map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text, ok := answers[q.URL.Path]
		if !ok {
			http.Error(w, "<html>not here</html>", http.StatusNotFound)
			return
		}
		text = strings.ReplaceAll(text, "{audience}", q.URL.Query().Get("audience"))
		_, _ = io.WriteString(w, strings.ReplaceAll(text, "{resource}", q.URL.Query().Get("resource")))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// redirected sends all requests of the default transport to another server. It is
// the only way to fake the metadata service for the azure module, which has the
// address built in.
func redirected(t *testing.T, to http.RoundTripper) {
	t.Helper()
	before := http.DefaultTransport
	http.DefaultTransport = to
	t.Cleanup(func() { http.DefaultTransport = before })
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func noCredentials(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
}

func TestAWSLogsInByIAM(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", planted)
	r := record(t)
	body := r.sent(t, IdentityConfig{Method: "aws", Mount: "aws-eu", Options: map[string]string{"role": "proxy", "type": "iam", "region": "eu-west-1", "header_value": "vault.example.com"}})
	url, _ := base64.StdEncoding.DecodeString(body["iam_request_url"].(string))
	header, _ := base64.StdEncoding.DecodeString(body["iam_request_headers"].(string))
	request, _ := base64.StdEncoding.DecodeString(body["iam_request_body"].(string))
	if r.path != "/v1/auth/aws-eu/login" || body["role"] != "proxy" || body["iam_http_request_method"] != "POST" || string(url) != "https://sts.amazonaws.com/" {
		t.Errorf("%s got %v of %s", r.path, body, url)
	}
	for _, want := range []string{"Credential=AKIAEXAMPLE/", "/eu-west-1/sts/aws4_request", `"X-Vault-Aws-Iam-Server-Id":["vault.example.com"]`} {
		if !strings.Contains(string(header), want) {
			t.Errorf("no %s in %s", want, header)
		}
	}
	if !strings.Contains(string(request), "Action=GetCallerIdentity") || leaks(string(header)+string(request)) {
		t.Errorf("signed %s", request)
	}
}

func TestAWSSignsForTheRegion(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", planted)
	t.Setenv("AWS_SESSION_TOKEN", "a-session")
	r := record(t)
	for _, c := range []struct{ region, endpoints, url string }{
		{"", "", "https://sts.amazonaws.com/"},
		{"ap-northeast-1", "", "https://sts.amazonaws.com/"},
		{"ap-northeast-1", "regional", "https://sts.ap-northeast-1.amazonaws.com/"},
		{"eu-south-1", "", "https://sts.eu-south-1.amazonaws.com/"},
		{"cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn/"},
		{"us-gov-west-1", "", "https://sts.us-gov-west-1.amazonaws.com/"},
	} {
		t.Setenv("AWS_STS_REGIONAL_ENDPOINTS", c.endpoints)
		body := r.sent(t, IdentityConfig{Method: "aws", Options: map[string]string{"role": "proxy", "region": c.region}})
		url, _ := base64.StdEncoding.DecodeString(body["iam_request_url"].(string))
		header, _ := base64.StdEncoding.DecodeString(body["iam_request_headers"].(string))
		if string(url) != c.url || !strings.Contains(string(header), "/"+cmp.Or(c.region, "us-east-1")+"/sts/aws4_request") || !strings.Contains(string(header), `"X-Amz-Security-Token":["a-session"]`) {
			t.Errorf("%+v: %s, %s", c, url, header)
		}
	}
}

func TestAWSLogsInByEC2(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadataService(t, map[string]string{
		"/latest/meta-data/instance-id": "i-1", "/latest/dynamic/instance-identity/pkcs7": "the-pkcs7\n",
		"/latest/dynamic/instance-identity/rsa2048": "the-rsa2048", "/latest/dynamic/instance-identity/document": "the-document",
		"/latest/dynamic/instance-identity/signature": "the-signature",
	}))
	r := record(t)
	with := func(more ...string) IdentityConfig {
		o := map[string]string{"role": "proxy", "type": "ec2"}
		for i := 0; i < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return IdentityConfig{Method: "aws", Options: o}
	}
	if b := r.sent(t, with("nonce", "mine")); r.path != "/v1/auth/aws/login" || b["role"] != "proxy" || b["pkcs7"] != "the-pkcs7" || b["nonce"] != "mine" {
		t.Errorf("%s got %v", r.path, b)
	}
	if b := r.sent(t, with("signature", "rsa2048")); b["pkcs7"] != "the-rsa2048" {
		t.Errorf("got %v", b)
	}
	cfg := with("signature", "identity")
	c := newCache(t, Config{Vault: r, Identity: &cfg})
	first := r.again(t, c)
	if first["identity"] != base64.StdEncoding.EncodeToString([]byte("the-document")) || first["signature"] != "the-signature" || first["nonce"] == "" {
		t.Errorf("got %v", first)
	}
	c.Identity().Rejected("one", token(t, c.Identity(), "one"))
	if second := r.again(t, c); second["nonce"] != first["nonce"] {
		t.Error("another nonce at the second login, which Vault refuses")
	}
}

func TestGCPLogsInByGCE(t *testing.T) {
	noCredentials(t)
	metadata := metadataService(t, map[string]string{"/computeMetadata/v1/instance/service-accounts/default/identity": "jwt for {audience}\n"})
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadata, "http://"))
	r := record(t)
	body := r.sent(t, IdentityConfig{Method: "gcp", Options: map[string]string{"role": "proxy", "type": "gce"}})
	if r.path != "/v1/auth/gcp/login" || body["role"] != "proxy" || body["jwt"] != "jwt for "+r.url+"/vault/proxy" {
		t.Errorf("%s got %v", r.path, body)
	}
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadataService(t, nil), "http://"))
	r.body = nil
	_, err := newCache(t, Config{Vault: r, Identity: &IdentityConfig{Method: "gcp", Options: map[string]string{"role": "proxy"}}}).Identity().Token(t.Context(), "one")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "asking the metadata service for a JWT") || r.body != nil {
		t.Errorf("%v; sent %v", err, r.body)
	}
}

func TestAzureLogsIn(t *testing.T) {
	noCredentials(t)
	metadata := metadataService(t, map[string]string{
		"/metadata/identity/oauth2/token": `{"access_token":"jwt for {resource}"}`,
		"/metadata/instance":              `{"compute":{"name":"vm","vmScaleSetName":"set","subscriptionId":"sub","resourceGroupName":"group"}}`,
	})
	direct := &http.Transport{DisableKeepAlives: true}
	redirected(t, roundTrip(func(q *http.Request) (*http.Response, error) {
		q = q.Clone(q.Context())
		q.URL.Host = strings.TrimPrefix(metadata, "http://")
		return direct.RoundTrip(q)
	}))
	r := record(t)
	body := r.sent(t, IdentityConfig{Method: "azure", Options: map[string]string{"role": "proxy", "resource": "https://vault"}})
	for key, want := range map[string]string{"role": "proxy", "jwt": "jwt for https://vault", "vm_name": "vm", "vmss_name": "set", "subscription_id": "sub", "resource_group_name": "group"} {
		if body[key] != want {
			t.Errorf("%s is %v, want %s", key, body[key], want)
		}
	}
	if body := r.sent(t, IdentityConfig{Method: "azure", Options: map[string]string{"role": "proxy"}}); body["jwt"] != "jwt for https://management.azure.com/" {
		t.Errorf("got %v", body)
	}
}

// TestALoginDoesNotOutlastItsTime: the azure module asks the metadata service without
// the login's context.
func TestALoginDoesNotOutlastItsTime(t *testing.T) {
	noCredentials(t)
	release, asked := make(chan struct{}), make(chan struct{}, 10)
	redirected(t, roundTrip(func(*http.Request) (*http.Response, error) {
		asked <- struct{}{}
		<-release
		return nil, errors.New("the metadata service is gone")
	}))
	id := newCache(t, Config{Vault: record(t), LoginTimeout: 50 * time.Millisecond, Identity: &IdentityConfig{Method: "azure", Options: map[string]string{"role": "proxy"}}}).Identity()
	for _, want := range []string{"timeout", errPending.text, errPending.text} {
		if _, err := id.Token(t.Context(), "one"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if len(asked) != 1 {
		t.Errorf("%d logins wait for the metadata service", len(asked))
	}
	close(release)
	eventually(t, "the login that was left behind has ended", func() bool {
		_, err := id.Token(t.Context(), "one")
		return err != nil && strings.Contains(err.Error(), "getting credentials of azure: the metadata service is gone")
	})
}

func TestGCPLogsInByIAM(t *testing.T) {
	noCredentials(t)
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`{"type":"authorized_user","client_id":"id","client_secret":"secret","refresh_token":"refresh"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	status := http.StatusOK
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	redirected(t, roundTrip(func(q *http.Request) (*http.Response, error) { // Google
		answer := func(code int, text string) (*http.Response, error) {
			return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: q}, nil
		}
		switch {
		case q.URL.String() == "https://oauth2.googleapis.com/token":
			return answer(http.StatusOK, `{"access_token":"at","token_type":"Bearer","expires_in":3600}`)
		case q.URL.String() == "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/proxy@project.iam.gserviceaccount.com:signJwt" && q.Method == http.MethodPost && q.Header.Get("Authorization") == "Bearer at":
			var asked struct{ Payload string }
			if err := errors.Join(json.NewDecoder(q.Body).Decode(&asked), json.Unmarshal([]byte(asked.Payload), &claims)); err != nil {
				t.Error(err)
			}
			return answer(status, `{"keyId":"k","signedJwt":"signed"}`)
		}
		t.Errorf("%s %s", q.Method, q.URL)
		return answer(http.StatusNotFound, "")
	}))
	r := record(t)
	cfg := IdentityConfig{Method: "gcp", Options: map[string]string{"role": "proxy", "type": "iam", "service_account": "proxy@project.iam.gserviceaccount.com"}}
	body := r.sent(t, cfg)
	life := time.Until(time.Unix(claims.Exp, 0))
	if r.path != "/v1/auth/gcp/login" || body["role"] != "proxy" || body["jwt"] != "signed" || claims.Aud != "vault/proxy" || claims.Sub != cfg.Options["service_account"] || life < 5*time.Minute || life > 15*time.Minute {
		t.Errorf("%s got %v for %+v", r.path, body, claims)
	}
	status = http.StatusForbidden
	_, err := newCache(t, Config{Vault: r, Identity: &cfg}).Identity().Token(t.Context(), "one")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "getting credentials of gcp: ") || !strings.Contains(err.Error(), "Forbidden") {
		t.Error(err)
	}
}

func TestCloudsWithoutCredentials(t *testing.T) {
	noCredentials(t)
	for _, cfg := range []IdentityConfig{
		{Method: "aws", Options: map[string]string{"role": "proxy"}},
		{Method: "aws", Options: map[string]string{"role": "proxy", "type": "ec2"}},
		{Method: "gcp", Options: map[string]string{"role": "proxy", "type": "iam", "service_account": "a@b"}},
	} {
		_, err := newCache(t, Config{Vault: record(t), Identity: &cfg}).Identity().Token(t.Context(), "one")
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "getting credentials of "+cfg.Method+": ") {
			t.Errorf("%v", err)
		}
	}
}

func TestVaultsRefusalOfACloudLoginIsVaults(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", planted)
	r := record(t)
	r.code = http.StatusBadRequest
	_, err := newCache(t, Config{Vault: r, Identity: &IdentityConfig{Method: "aws", Options: map[string]string{"role": "proxy"}}}).Identity().Token(t.Context(), "one")
	if !errors.Is(err, ErrSessionLost) || !strings.Contains(err.Error(), "role is not allowed here") || leaks(err.Error()) {
		t.Errorf("%v", err)
	}
}
