package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/e2e/slapd"
)

// method is a way to log in.
type method struct {
	name  string
	setUp [][2]string // writes at the primary
	path  string      // of the login
	body  string
	shows string // the display name of its tokens
}

// methods are all that take their credential in the body, so that the proxy can log
// in again.
func (w *world) methods(reviewer *tokenReview) []method {
	w.t.Helper()
	return []method{
		{"approle", nil, "auth/approle/login", `{"role_id":"demo","secret_id":"demo"}`, "approle"},
		{"userpass", nil, "auth/userpass/login/demo", `{"password":"demo"}`, "userpass-demo"},
		w.ldap(),
		w.jwt(),
		w.kubernetes(reviewer),
	}
}

// ldap lets a real directory check the password and tell the groups.
func (w *world) ldap() method {
	w.t.Helper()
	directory, err := slapd.Start(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := directory.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	config := fmt.Sprintf(`{"url":%q,"binddn":%q,"bindpass":%q,"userdn":%q,"userattr":"uid","groupdn":%q,"groupfilter":"(member={{.UserDN}})","groupattr":"cn"}`,
		directory.URL, slapd.Bind, slapd.BindPassword, slapd.People, slapd.Groups)
	return method{"ldap", [][2]string{
		{"sys/auth/ldap", `{"type":"ldap"}`},
		{"auth/ldap/config", config},
		{"auth/ldap/groups/" + slapd.Group, `{"policies":"demo"}`},
	}, "auth/ldap/login/" + slapd.User, `{"password":"` + slapd.Password + `"}`, "ldap-" + slapd.User}
}

// jwt gives Vault the public key of who issues the tokens.
func (w *world) jwt() method {
	w.t.Helper()
	issuer := newIssuer(w.t)
	credential := issuer.sign(map[string]any{"sub": "job-7", "aud": "vrproxy-e2e"})
	return method{"jwt", [][2]string{
		{"sys/auth/jwt", `{"type":"jwt"}`},
		{"auth/jwt/config", fmt.Sprintf(`{"jwt_validation_pubkeys":[%q]}`, issuer.public())},
		{"auth/jwt/role/job", `{"role_type":"jwt","user_claim":"sub","bound_audiences":["vrproxy-e2e"],"token_policies":["demo"]}`},
	}, "auth/jwt/login", `{"role":"job","jwt":"` + credential + `"}`, "jwt-job-7"}
}

// kubernetes lets a stand-in for the API server review the service account's token.
func (w *world) kubernetes(reviewer *tokenReview) method {
	w.t.Helper()
	config := fmt.Sprintf(`{"kubernetes_host":%q,"token_reviewer_jwt":%q,"disable_local_ca_jwt":true,"disable_iss_validation":true}`, reviewer.URL, reviewer.own)
	return method{"kubernetes", [][2]string{
		{"sys/auth/kubernetes", `{"type":"kubernetes"}`},
		{"auth/kubernetes/config", config},
		{"auth/kubernetes/role/basket", `{"bound_service_account_names":["basket"],"bound_service_account_namespaces":["shop"],"audience":"vault","token_policies":["demo"]}`},
	}, "auth/kubernetes/login", `{"role":"basket","jwt":"` + reviewer.account + `"}`, "kubernetes-shop-basket"}
}

// tokenReview is the one part of a Kubernetes API server that Vault asks.
type tokenReview struct {
	*httptest.Server
	own     string // Vault's own token
	account string // the token that it knows
	reviews atomic.Int64
}

const accountName, accountUID = "system:serviceaccount:shop:basket", "5c1f3c6e-0000-4000-8000-000000000001"

func newTokenReview(t *testing.T) *tokenReview {
	t.Helper()
	issuer := newIssuer(t)
	k := &tokenReview{own: issuer.sign(map[string]any{"sub": "system:serviceaccount:vault:vault"})}
	k.account = issuer.sign(map[string]any{"sub": accountName, "aud": []string{"vault"}, "kubernetes.io": map[string]any{
		"namespace": "shop", "serviceaccount": map[string]string{"name": "basket", "uid": accountUID},
	}})
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *tokenReview) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var asked struct {
		Spec struct{ Token string }
	}
	switch err := json.NewDecoder(r.Body).Decode(&asked); {
	case r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || err != nil:
		http.Error(rw, "not served here", http.StatusNotFound)
		return
	case r.Header.Get("Authorization") != "Bearer "+k.own:
		http.Error(rw, "who are you?", http.StatusUnauthorized)
		return
	}
	k.reviews.Add(1)
	status := map[string]any{"authenticated": false}
	if asked.Spec.Token == k.account {
		status = map[string]any{"authenticated": true, "audiences": []string{"vault"}, "user": map[string]any{
			"username": accountName, "uid": accountUID, "groups": []string{"system:serviceaccounts"},
		}}
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(rw).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}) // Vault would tell
}

// issuer signs JSON web tokens.
type issuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{t, key}
}

// sign adds the times to the claims and signs with ES256.
func (i issuer) sign(claims map[string]any) string {
	i.t.Helper()
	now := time.Now()
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Add(-time.Minute).Unix(), now.Add(time.Hour).Unix()
	raw, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encode(raw)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		i.t.Fatal(err)
	}
	signature := make([]byte, 64) // both numbers at full length, one after the other
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

func (i issuer) public() string {
	i.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
