package tokencache

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const planted = "hvs.PLANTED"

// leaks looks for the planted secret in every form in which fmt and encoders may
// show it.
func leaks(text string) bool {
	inHex := hex.EncodeToString([]byte(planted))
	inDecimal := strings.Trim(fmt.Sprintf("%d", []byte(planted)), "[]")
	for _, form := range []string{"PLANTED", inHex, strings.ToUpper(inHex), inDecimal, "UExBTlRFR", "BMQU5URU", "QTEFOVEVE"} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// TestSecretsAreNeverPrinted prints every type of the package that holds one, by
// itself and as an unexported field, where fmt does not ask for its methods.
func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	id := IdentityConfig{Method: "userpass", Options: map[string]string{"password": planted},
		PerHome: map[string]IdentityOverride{"a": {Options: map[string]string{"password": planted}}}}
	c := newCache(t, Config{Vault: nowhere{}, Replay: true, Identity: &id})
	l := Login{Home: "a", Path: "/v1/auth/x/login", Body: []byte(planted), Auth: &api.SecretAuth{ClientToken: planted}}
	tok := NewToken(planted)
	u := c.identity.creds.(*configured).unwrapper
	u.kept = append(u.kept, unwrapped{wrapping: tok, secretID: tok})
	sink := c.NewSink(SinkConfig{Path: "/run/token"})
	sink.written = tok
	own := newConfigured(IdentityConfig{Method: "aws", Options: map[string]string{"nonce": planted}}, nil)
	own.nonce = tok
	s := c.Adopt(Login{Home: "a", Body: []byte(planted), Auth: &api.SecretAuth{ClientToken: planted}})
	for _, v := range []any{
		tok, &tok, struct{ t Token }{tok}, &struct{ t Token }{tok}, map[string]Token{"a": tok}, []Token{tok},
		s, struct{ s *Session }{s}, c, struct{ c *Cache }{c}, c.Identity(), c.cfg, &c.cfg,
		id, &id, struct{ I IdentityConfig }{id}, id.PerHome, id.PerHome["a"],
		l, &l, struct{ L Login }{l}, []Login{l},
		s.creds, c.identity.creds, write{path: "auth/x/login", data: map[string]any{"password": planted}},
		u, *u, u.kept, u.kept[0], struct{ u *unwrapper }{u}, sink, *sink, struct{ s *Sink }{sink}, struct{ s Sink }{*sink},
		own, struct{ c *configured }{own},
		s.tokens, s.tokens.at("a"), doomed{home: "a", token: tok},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s", "%x", "%X", "%d"} {
			if text := fmt.Sprintf(verb, v); leaks(text) {
				t.Errorf("%T with %s shows %s", v, verb, text)
			}
		}
		if text, _ := json.Marshal(v); leaks(string(text)) {
			t.Errorf("%T in JSON shows %s", v, text)
		}
		var out strings.Builder
		encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
		zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zapcore.DebugLevel)).Info("x", zap.Any("v", v), zap.Reflect("r", v))
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if leaks(out.String()) {
			t.Errorf("%T in logs shows %s", v, out.String())
		}
	}
}

func TestTokensCompareByValue(t *testing.T) {
	t.Parallel()
	one, same := NewToken(planted), NewToken(strings.Clone(planted))
	if one != same || one == NewToken("other") {
		t.Error("tokens have to compare by value")
	}
	if !NewToken("").IsZero() || NewToken("") != (Token{}) || (Token{}).Reveal() != "" || NewToken(planted).Reveal() != planted {
		t.Error("the empty token is none")
	}
}

func TestErrorsAndLogsOfLoginsNameNoSecret(t *testing.T) {
	t.Parallel()
	r := start(t)
	core, logs := observer.New(zapcore.DebugLevel)
	login := func(o map[string]string, method string) *Session {
		return newCache(t, Config{Vault: r, Logger: zap.New(core), LoginTimeout: 200 * time.Millisecond, Identity: &IdentityConfig{Method: method, Options: o}}).Identity()
	}
	secret := file(t, planted)
	sessions := map[string]*Session{
		"userpass": login(map[string]string{"username": "demo", "password": planted}, "userpass"),
		"approle":  login(map[string]string{"role_id": "demo", "secret_id": planted}, "approle"),
		"wrapped": newCache(t, Config{Vault: r, Logger: zap.New(core), LoginTimeout: 200 * time.Millisecond, Identity: &IdentityConfig{Method: "approle", Homes: abc,
			Options: map[string]string{"role_id": "demo", "secret_id": planted, "secret_id_wrapped": "true"}}}).Identity(),
		"token file": login(map[string]string{"path": secret}, "token_file"),
		"jwt":        login(map[string]string{"role": "x", "path": secret}, "jwt"),
		"replay": newCache(t, Config{Vault: r, Replay: true, Logger: zap.New(core)}).Adopt(Login{Home: "a", Method: "PUT", Path: "/v1/auth/userpass/login/demo",
			Body: []byte(`{"password":"` + planted + `"}`), Auth: &api.SecretAuth{ClientToken: planted}}),
	}
	for _, breaks := range []func(){func() {}, r.Cluster("b").Seal, r.Cluster("b").Stall, func() { _ = r.Cluster("b").Restart(); r.Cluster("b").ResetBefore(100) }} {
		breaks()
		for name, s := range sessions {
			s.mu.Lock()
			s.refused = nil
			s.mu.Unlock()
			_, err := s.Token(t.Context(), "b")
			if err == nil || leaks(err.Error()) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	c := newCache(t, Config{Vault: r})
	_, err := c.Valid(t.Context(), "", "b", NewToken(planted))
	if err == nil || leaks(err.Error()) {
		t.Errorf("%v", err)
	}
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, e := range logs.All() {
		if leaks(fmt.Sprint(e.Message, e.ContextMap())) {
			t.Errorf("logged %s %v", e.Message, e.ContextMap())
		}
	}
}
