package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHomes is about what only the cluster knows that made it.
func TestHomes(t *testing.T) {
	w := newWorld(t, "")
	t.Run("wrapped at one cluster, unwrapped from elsewhere", func(t *testing.T) { w.in(t).wrappedElsewhere() })
	t.Run("a wrapped login", func(t *testing.T) { w.in(t).wrappedLogin() })
	t.Run("cubbyhole", func(t *testing.T) { w.in(t).cubbyhole() })
	t.Run("child tokens", func(t *testing.T) { w.in(t).children() })
}

// session logs in through the proxy.
func (w *world) session() string {
	w.t.Helper()
	return w.parse(w.via("", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`, http.StatusOK, nearest).body).text("auth", "client_token")
}

// via sends a request through the proxy and wants a status of a cluster, in an
// answer of Vault's own.
func (w *world) via(token, method, path, body string, status int, cluster string, header ...string) reply {
	w.t.Helper()
	r := w.do(w.proxy, token, method, path, body, header...)
	if r.err != nil || r.status != status || r.cluster != cluster || r.code != "" {
		w.t.Errorf("%s %s: %+v, want %d of %s", method, path, r, status, cluster)
	}
	return r
}

// pin is the header that names a cluster.
func pin(cluster string) []string { return []string{"X-Vrproxy-Cluster", cluster} }

// wrappedElsewhere wraps at us-west and unwraps through proxies near other clusters,
// of which one has seen the wrapping and one has to look for it.
func (w *world) wrappedElsewhere() {
	token, other := w.session(), w.proxyIn("us-east")
	foreign := other.parse(other.do(other.proxy, "", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`).body).text("auth", "client_token")
	for _, c := range []struct {
		name  string
		from  *world
		token string // of who unwraps; empty: the wrapping token is the token
	}{
		{"seen, in the body", w, token},
		{"seen, as the token", w, ""},
		{"not seen, in the body", other, foreign},
		{"not seen, as the token", other, ""},
	} {
		from := *c.from
		w.t.Run(c.name, func(t *testing.T) {
			wrapped := w.in(t).via(token, http.MethodGet, "secret/data/hello", "", http.StatusOK, "us-west", append(pin("us-west"), "X-Vault-Wrap-TTL", "1m")...)
			secret := w.parse(wrapped.body).text("wrap_info", "token")
			user, body := secret, ""
			if c.token != "" {
				user, body = c.token, fmt.Sprintf(`{"token":%q}`, secret)
			}
			from := from.in(t)
			from.via(c.token, http.MethodPost, "sys/wrapping/lookup", fmt.Sprintf(`{"token":%q}`, secret), http.StatusOK, "us-west")
			from.want(from.via(user, http.MethodPost, "sys/wrapping/unwrap", body, http.StatusOK, "us-west"), http.StatusOK, "hello from us-east")
			r := from.do(from.proxy, user, http.MethodPost, "sys/wrapping/unwrap", body)
			if r.status != http.StatusBadRequest || r.code != "" || !strings.Contains(r.body, "wrapping token is not valid or does not exist") {
				t.Errorf("unwrapped twice: %+v", r)
			}
		})
	}
}

// wrappedLogin hands a login over in a wrapping: what comes out lives where it was
// made.
func (w *world) wrappedLogin() {
	wrapped := w.via("", http.MethodPost, "auth/userpass/login/demo", `{"password":"demo"}`, http.StatusOK, "us-west", append(pin("us-west"), "X-Vault-Wrap-TTL", "1m")...)
	secret := w.parse(wrapped.body).text("wrap_info", "token")
	out := w.via(secret, http.MethodPost, "sys/wrapping/unwrap", "", http.StatusOK, "us-west")
	token := w.parse(out.body).text("auth", "client_token")
	w.via(token, http.MethodGet, "secret/data/hello", "", http.StatusOK, "us-west")
	w.want(w.via(token, http.MethodGet, "auth/token/lookup-self", "", http.StatusOK, "us-west"), http.StatusOK, token)
}

// cubbyhole belongs to the client's own token, whatever tokens the session has
// elsewhere.
func (w *world) cubbyhole() {
	token := w.session()
	w.via(token, http.MethodPost, "cubbyhole/mine", `{"a":"1"}`, http.StatusNoContent, nearest)
	w.via(token, http.MethodPost, "secret/data/between", `{"data":{}}`, http.StatusOK, "us-east")
	w.via(token, http.MethodGet, "secret/data/hello", "", http.StatusOK, "us-west", pin("us-west")...)
	w.via(token, http.MethodPost, "cubbyhole/deep/er", `{"b":"2"}`, http.StatusNoContent, nearest)
	w.want(w.via(token, http.MethodGet, "cubbyhole/mine", "", http.StatusOK, nearest), http.StatusOK, `"a":"1"`)
	w.want(w.via(token, "LIST", "cubbyhole/", "", http.StatusOK, nearest), http.StatusOK, `"keys":["deep/","mine"]`)
	// Past the proxy: it is the client's own token that holds it.
	w.want(w.at(nearest, token, http.MethodGet, "cubbyhole/deep/er", ""), http.StatusOK, `"b":"2"`)
	w.via(token, http.MethodDelete, "cubbyhole/mine", "", http.StatusNoContent, nearest)
	w.via(token, http.MethodGet, "cubbyhole/mine", "", http.StatusNotFound, nearest)

	there := w.proxyIn("us-west")
	there.want(there.via(token, http.MethodGet, "cubbyhole/deep/er", "", http.StatusOK, nearest), http.StatusOK, `"b":"2"`)
}

// children makes tokens at two clusters and rules them by their accessors.
func (w *world) children() {
	parent := w.session()
	for _, home := range []string{nearest, "us-west"} {
		w.t.Run(home, func(t *testing.T) {
			w := w.in(t)
			child, accessor := w.child(parent, home)
			name := fmt.Sprintf(`{"accessor":%q}`, accessor)
			w.want(w.via(parent, http.MethodPost, "auth/token/lookup-accessor", name, http.StatusOK, home), http.StatusOK, `"job":"nightly"`)
			w.via(child, http.MethodGet, "secret/data/hello", "", http.StatusOK, home)
			w.want(w.via(child, http.MethodGet, "auth/token/lookup-self", "", http.StatusOK, home), http.StatusOK, accessor)
			w.via(child, http.MethodPost, "secret/data/by-child", `{"data":{}}`, http.StatusOK, home)
			w.via(parent, http.MethodPost, "auth/token/revoke-accessor", name, http.StatusNoContent, home)
			w.want(w.at(home, child, http.MethodGet, "secret/data/hello", ""), http.StatusForbidden, "permission denied")
			w.want(w.do(w.proxy, child, http.MethodGet, "secret/data/hello", ""), http.StatusForbidden, "permission denied")
		})
	}
	w.end(parent)
}

// child makes a token of a parent at a cluster, which is named unless the request goes
// there anyway.
func (w *world) child(parent, home string) (token, accessor string) {
	w.t.Helper()
	var header []string
	if home != nearest {
		header = pin(home)
	}
	made := w.parse(w.via(parent, http.MethodPost, "auth/token/create", `{"policies":["demo"],"ttl":"30m","meta":{"job":"nightly"}}`, http.StatusOK, home, header...).body)
	return made.text("auth", "client_token"), made.text("auth", "accessor")
}

// end revokes a parent: its children go with it at once where it lives, and soon
// where the proxy had made a token for it.
func (w *world) end(parent string) {
	w.t.Helper()
	here, _ := w.child(parent, nearest)
	there, _ := w.child(parent, "us-west")
	w.via(parent, http.MethodPost, "auth/token/revoke-self", "", http.StatusNoContent, nearest)
	began := time.Now()
	w.want(w.at(nearest, here, http.MethodGet, "secret/data/hello", ""), http.StatusForbidden, "permission denied")
	w.eventually("the child elsewhere ends too", func() bool {
		return w.at("us-west", there, http.MethodGet, "secret/data/hello", "").status == http.StatusForbidden
	})
	summarise(w.t, "a parent revoked: its child at another cluster ended %s later", time.Since(began).Round(10*time.Millisecond))
}
