package tokencache

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// kept is a place for a state file, with a key.
func keptIn(t *testing.T, credentials bool) StateConfig {
	t.Helper()
	dir := t.TempDir()
	s := StateConfig{File: filepath.Join(dir, "state"), KeyFile: filepath.Join(dir, "key"), Credentials: credentials}
	if err := os.WriteFile(s.KeyFile, []byte("a key of more than sixteen bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	r := start(t)
	state := keptIn(t, true)
	var before, after outcomes
	c := newCache(t, Config{Vault: r, Replay: true, State: state, OnLogin: before.add})
	stop := running(t, c)
	s, l := r.login(c, "a", "demo")
	onB := token(t, s, "b")
	c.NoteLease("b", "database/creds/x/1")
	s.Owns("b", time.Hour)
	c.Settle("c", "hvs.foreign")
	ended, _ := r.login(c, "a", "demo")
	c.drop(ended)
	stop()
	raw, err := os.ReadFile(state.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{l.Auth.ClientToken, onB.Reveal(), "password", "hvs.foreign", "database/creds"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("%q is in the file as it is", secret)
		}
	}
	if info, _ := os.Stat(state.File); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}

	c = newCache(t, Config{Vault: r, Replay: true, State: state, OnLogin: after.add})
	back, ok := c.Known(l.Auth.ClientToken)
	if !ok || back.Home() != "a" || !back.Roams() || token(t, back, "b") != onB || after.of("b", "ok") != 0 {
		t.Fatalf("the session is not what it was: %v", ok)
	}
	token(t, back, "c") // its login can still be repeated
	if after.of("c", "ok") != 1 {
		t.Error("no login on c")
	}
	if home, _ := c.HomeOf("database/creds/x/1"); home != "b" || c.Leases("b") != 1 {
		t.Errorf("the lease lives on %q", home)
	}
	if f, ok := c.Known("hvs.foreign"); !ok || f.Home() != "c" {
		t.Error("the foreign token's home is forgotten")
	}
	if _, ok := c.Known(ended.Client().Reveal()); ok {
		t.Error("an ended session came back")
	}
}

// Without credentials, the file knows where a token belongs, and no token.
func TestHomesSurviveARestart(t *testing.T) {
	t.Parallel()
	r := start(t)
	state := keptIn(t, false)
	c := newCache(t, Config{Vault: r, Replay: true, State: state})
	stop := running(t, c)
	_, l := r.login(c, "b", "demo")
	stop()
	c = newCache(t, Config{Vault: r, Replay: true, State: state})
	s, ok := c.Known(l.Auth.ClientToken)
	if !ok || s.Home() != "b" || s.Roams() {
		t.Errorf("%v", ok)
	}
	if home, _ := c.HomeOf(l.Auth.Accessor); home != "b" {
		t.Errorf("its accessor lives on %q", home)
	}
	secret, err := readKey(state.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(state.File)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := openState(secret, raw)
	if err != nil || bytes.Contains(plain, []byte("hvs.")) || bytes.Contains(plain, []byte("demo")) {
		t.Errorf("%v, or a secret in it", err)
	}
}

// A file that can't be used is put aside and said so; the proxy starts.
func TestAnUnusableStateIsPutAside(t *testing.T) {
	t.Parallel()
	good := keptIn(t, true)
	c := newCache(t, Config{Vault: nowhere{}, Replay: true, State: good})
	c.Adopt(Login{Home: "a", Body: []byte("{}"), Auth: &api.SecretAuth{ClientToken: planted}})
	c.save()
	raw, err := os.ReadFile(good.File)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(raw)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{
		"truncated": raw[:len(raw)/2], "cut in the head": raw[:20], "damaged": flipped, "empty": {}, "something else": []byte("region: eu-west\n"), "with a tail": append(bytes.Clone(raw), 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := keptIn(t, true)
			if err := os.WriteFile(state.File, content, 0o600); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zapcore.InfoLevel)
			c := newCache(t, Config{Vault: nowhere{}, State: state, Logger: zap.New(core)})
			if c.Sessions() != 0 || logs.Len() != 1 || !strings.Contains(logs.All()[0].Message, "put aside") {
				t.Errorf("%d sessions, %v", c.Sessions(), logs.All())
			}
			aside, err := filepath.Glob(state.File + ".unusable-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("%v, %v", aside, err)
			}
			if got, _ := os.ReadFile(aside[0]); !bytes.Equal(got, content) {
				t.Error("what was put aside is not what was there")
			}
		})
	}
	other := keptIn(t, true)
	if err := os.WriteFile(other.KeyFile, []byte("another key of more than sixteen"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.File, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := newCache(t, Config{Vault: nowhere{}, State: other}); c.Sessions() != 0 {
		t.Error("opened with another key")
	}
}

func TestAStateWithoutAKeyIsAnError(t *testing.T) {
	t.Parallel()
	state := keptIn(t, true)
	for content, want := range map[string]string{"short": "shorter than 16 bytes", "": "shorter"} {
		if err := os.WriteFile(state.KeyFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Vault: nowhere{}, State: state}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
	state.KeyFile += ".missing"
	if _, err := New(Config{Vault: nowhere{}, State: state}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}
