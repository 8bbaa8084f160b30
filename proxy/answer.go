package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/routing"
	"github.com/vrproxy/vrproxy/tokencache"
)

// learnBody is the largest answer that is looked into; logins, leases and wrapping
// tokens are a few KiB.
const learnBody = 1 << 20

// answer passes Vault's answer to the client and notes what it taught.
func (x *exchange) answer(a *answer) {
	defer a.close()
	x.interim.end()
	if x.attempts > 1 && x.from != "" && x.from != a.cluster.Name {
		x.p.cfg.Metrics.failover(x.from, a.cluster.Name)
		x.p.cfg.Failover(x.from, a.cluster.Name, reasonOf(x.lastErr))
	}
	if a.resp.StatusCode == http.StatusSwitchingProtocols {
		x.tunnel(a)
		return
	}
	if x.wanders && a.resp.StatusCode < http.StatusInternalServerError && a != x.denied {
		x.settle(a.cluster.Home())
	}
	if x.teaches(a) {
		x.learnFrom(a)
	}
	x.remember(a)
	x.tendMounts(a)
	x.copyAnswer(a)
	x.observe(a.cluster.Name, a.resp.StatusCode)
}

// reasonOf is the end of an error chain, which says what went wrong without the
// URL that net/http puts in front.
func reasonOf(err error) string {
	if err == nil {
		return "unknown"
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// head adds the proxy's own response headers.
func (x *exchange) head(cluster string) {
	h := x.w.Header()
	if cluster != "" {
		x.set(h, HeaderCluster, cluster)
	}
	if x.decision.Class != "" {
		x.set(h, HeaderClass, string(x.decision.Class))
	}
	x.set(h, HeaderAttempts, strconv.Itoa(x.attempts))
	if asksForWebsocket(x.r.Header) {
		h.Set("Connection", "close") // what may follow is not looked at (internal/http1)
	}
}

// copyAnswer streams the answer as it comes. An answer that breaks off upstream
// breaks off for the client too, so that it is not taken for whole.
func (x *exchange) copyAnswer(a *answer) {
	h := x.w.Header()
	passOn(h, a.resp.Header)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
	announced := maps.Clone(a.resp.Trailer)
	for name := range announced {
		h.Add("Trailer", name)
	}
	x.head(a.cluster.Name)
	x.w.WriteHeader(a.resp.StatusCode)
	if err := x.stream(a.resp); err != nil {
		x.observe(a.cluster.Name, a.resp.StatusCode)
		x.p.cfg.Logger.Debug("answer broke off", zap.String("cluster", a.cluster.Name), zap.String("error", "upstream or client closed the connection"))
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.resp.Trailer {
		if _, ok := announced[name]; !ok {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// stream copies the body; one of unknown length is flushed as it comes. A client has to
// take some of it now and then.
func (x *exchange) stream(resp *http.Response) error {
	client := http.NewResponseController(x.w)
	defer func() { _ = client.SetWriteDeadline(time.Time{}) }() // not every connection has deadlines
	if small, ok := resp.Body.(*gathered); ok {
		_ = client.SetWriteDeadline(time.Now().Add(stalledTaking))
		_, err := small.WriteTo(x.w)
		return err //nolint:wrapcheck // the caller knows enough
	}
	endless := resp.ContentLength < 0
	if endless {
		_ = client.Flush() // the header of an endless stream must not wait for its first line
	}
	buf, _ := x.p.buffers.Get().(*[copyBuffer]byte)
	defer x.p.buffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			_ = client.SetWriteDeadline(time.Now().Add(stalledTaking))
			if _, werr := x.w.Write(buf[:n]); werr != nil {
				return werr
			}
			if endless {
				_ = client.Flush()
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// teaches reports whether the answer has to be looked into.
func (x *exchange) teaches(a *answer) bool {
	d := x.decision
	return a.resp.StatusCode < 300 && x.r.Method != http.MethodHead && first(a.resp.Header, "Content-Encoding") == "" &&
		(d.Learns || d.Special != routing.Plain || (d.Class == routing.Owner && d.Subject != routing.NoSubject))
}

// lesson is the part of Vault's answers that says something about tokens and
// leases.
type lesson struct {
	LeaseID string     `json:"lease_id"`
	Seconds int        `json:"lease_duration"`
	Auth    *authBlock `json:"auth"`
	Code    string     `json:"code"` // of an authorization by Vault's OIDC provider
	Data    struct {
		Serial  string `json:"serial_number"` // pki
		ID      string `json:"id"`            // pki: an EAB key
		Key     string `json:"key"`           // ssh: a one-time password, if KeyType says so
		KeyType string `json:"key_type"`
		AuthURL string `json:"auth_url"` // jwt: the start of an OIDC login
	} `json:"data"`
	WrapInfo *struct {
		Token           string `json:"token"`
		Accessor        string `json:"accessor"`
		WrappedAccessor string `json:"wrapped_accessor"`
	} `json:"wrap_info"`
}

// authBlock is a new token.
type authBlock struct {
	api.SecretAuth
	NumUses int `json:"num_uses"`
}

// learnFrom notes homes and sessions, and puts the client's token back where the
// answer names the one the proxy used.
func (x *exchange) learnFrom(a *answer) {
	x.endRevoked()
	raw, ok := whole(a.resp)
	if !ok || len(raw) == 0 {
		return
	}
	var l lesson
	_ = json.Unmarshal(raw, &l) // an answer without these members teaches nothing
	home, tokens := a.cluster.Home(), x.p.cfg.Tokens
	if l.LeaseID != "" {
		tokens.NoteLease(home, l.LeaseID)
		x.owns(home, l.Seconds)
	}
	for _, name := range x.names(a, l) {
		tokens.NoteHome(home, name)
	}
	x.learnAuth(home, l)
	replaceBody(a.resp, x.restoreToken(a, raw))
}

func (x *exchange) learnAuth(home string, l lesson) {
	switch {
	case l.Auth == nil:
	case x.decision.Special == routing.Login && l.Auth.MFARequirement == nil:
		x.bequeath(x.p.cfg.Tokens.Adopt(tokencache.Login{
			Home: home, Method: x.r.Method, Path: "/v1/" + x.decision.Mount + x.decision.Path,
			Namespace: strings.TrimSuffix(x.decision.Namespace, "/"), Body: x.replayBody(l.Auth.NumUses), Auth: &l.Auth.SecretAuth,
		}))
	case x.decision.Special == routing.SelfLookup && x.session != nil:
		x.session.Extend(time.Duration(l.Auth.LeaseDuration) * time.Second)
	case x.decision.Special != routing.SelfLookup:
		x.bequeath(x.p.cfg.Tokens.Child(home, &l.Auth.SecretAuth))
		x.owns(home, l.Auth.LeaseDuration)
	}
}

// owns notes that something hangs on the session's token at a home.
func (x *exchange) owns(home string, seconds int) {
	if x.session != nil {
		x.session.Owns(home, time.Duration(seconds)*time.Second)
	}
}

// restoreToken replaces the proxy's token and accessor by the client's. Of the
// proxy's own identity, nothing is shown.
func (x *exchange) restoreToken(a *answer, raw []byte) []byte {
	if x.session == nil || a.token.IsZero() || x.decision.Special != routing.SelfLookup {
		return raw
	}
	client, home := x.session.Client(), a.cluster.Home()
	if a.token == client {
		return raw
	}
	raw = bytes.ReplaceAll(raw, []byte(a.token.Reveal()), []byte(client.Reveal()))
	if accessor := x.session.Accessor(home); accessor != "" {
		raw = bytes.ReplaceAll(raw, []byte(accessor), []byte(x.session.Accessor(x.session.Home())))
	}
	if life, ok := x.session.Life(); ok {
		raw = shorten(raw, life)
	}
	return raw
}

// endRevoked ends what the client has just revoked.
func (x *exchange) endRevoked() {
	d, tokens := x.decision, x.p.cfg.Tokens
	switch {
	case d.Special == routing.RevokeSelf && x.token.value != "":
		tokens.End(x.token.value)
	case d.Special != routing.Revoke:
	case d.Subject == routing.BodyToken:
		tokens.End(x.fields.Token)
	case d.Subject == routing.BodyAccessor:
		tokens.EndAccessor(x.fields.Accessor)
	case d.Subject == routing.BodyLease:
		tokens.ForgetLease(x.leaseID())
	}
}

// tendMounts keeps the mount table right: it drops mounts that were changed, or that
// Vault says are not there, and lets those be asked for again that are old.
func (x *exchange) tendMounts(a *answer) {
	d, status := x.decision, a.resp.StatusCode
	switch {
	case d.Special == routing.MountsEdit && status < 300, d.Engine != "" && noRoute(a.out):
		x.p.cfg.Mounts.Forget(d.Namespace)
	case status < 300 && x.wanders:
		x.p.cfg.Mounts.Refresh(d.Namespace, a.cluster.Home(), x.token.value)
	case status < 300 && !a.token.IsZero():
		x.p.cfg.Mounts.Refresh(d.Namespace, a.cluster.Home(), a.token.Reveal())
	}
}

// whole reads a small JSON body; ok is false, and the body untouched in effect,
// when it is something else.
func whole(resp *http.Response) (raw []byte, ok bool) {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") || resp.ContentLength > learnBody {
		return nil, false
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, learnBody+1))
	if err != nil || len(raw) > learnBody {
		putBack(resp, raw, err)
		return nil, false
	}
	replaceBody(resp, raw)
	return raw, true
}

// replaceBody gives the answer a new body. Its length header follows only where
// there was one.
func replaceBody(resp *http.Response, raw []byte) {
	closer := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(raw), closer}
	if resp.ContentLength >= 0 {
		resp.ContentLength = int64(len(raw))
		resp.Header.Set("Content-Length", strconv.Itoa(len(raw)))
	}
}
