package tokencache

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func demo() *IdentityConfig {
	return &IdentityConfig{Method: "userpass", Options: map[string]string{"username": "demo", "password": "demo"}}
}

// content is what a file holds; empty while there is none.
func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func TestASinkFollowsItsHomeAndToken(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := newCache(t, Config{Vault: r, Identity: demo()})
	name := filepath.Join(t.TempDir(), "token")
	var home atomic.Value
	home.Store("")
	sink := c.NewSink(SinkConfig{Path: name, Mode: 0o640, Home: func() string { return home.Load().(string) }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	for _, h := range []string{"b", "c", "b"} {
		home.Store(h)
		eventually(t, "the token of "+h, func() bool { text := content(t, name); return text != "" && r.knows(h, NewToken(text)) })
	}
	old := content(t, name)
	c.Identity().Rejected("b", NewToken(old))
	eventually(t, "a new token of b", func() bool { text := content(t, name); return text != old && r.knows("b", NewToken(text)) })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if strings.ContainsAny(content(t, name), "\r\n ") {
		t.Error("not the token alone")
	}
	if files, err := os.ReadDir(filepath.Dir(name)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
}

func TestASinkTellsEachFailureOnce(t *testing.T) {
	t.Parallel()
	r := start(t)
	core, logs := observer.New(zapcore.WarnLevel)
	folder := filepath.Join(t.TempDir(), "later")
	name, home := filepath.Join(folder, "token"), ""
	sink := newCache(t, Config{Vault: r, Identity: demo(), Logger: zap.New(core)}).NewSink(SinkConfig{Path: name, Mode: 0o600, Home: func() string { return home }})
	tries := func(n int, want string, logged int) {
		t.Helper()
		for range n {
			sink.next = time.Time{}
			sink.refresh(t.Context())
		}
		if !strings.Contains(sink.failing, want) || logs.Len() != logged {
			t.Errorf("failing with %q, %d lines: %v", sink.failing, logs.Len(), logs.All())
		}
	}
	tries(3, "no cluster can serve", 1)
	home = "b"
	tries(3, "no such file", 2)
	if sink.wait != sinkAtMost {
		t.Errorf("waits %s", sink.wait)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	sink.next = time.Now().Add(time.Hour)
	sink.refresh(t.Context())
	if content(t, name) != "" {
		t.Error("tried too early")
	}
	tries(1, "", 2)
	if !r.knows("b", NewToken(content(t, name))) || sink.wait != 0 {
		t.Errorf("not written; waits %s", sink.wait)
	}
	home = "elsewhere"
	tries(2, "no cluster is up", 3)
	if !r.knows("b", NewToken(content(t, name))) {
		t.Error("the old token is gone")
	}
}

// TestASinkReplacesATokenBeforeItEnds: who reads the file can't ask for another.
func TestASinkReplacesATokenBeforeItEnds(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.user("short", map[string]any{"token_ttl": "1h", "token_max_ttl": "1h"})
	c := newCache(t, Config{Vault: r, Identity: &IdentityConfig{Method: "userpass", Options: map[string]string{"username": "short", "password": "pw-short"}}})
	s := c.Identity()
	name := filepath.Join(t.TempDir(), "token")
	sink := c.NewSink(SinkConfig{Path: name, Mode: 0o600, Home: func() string { return "b" }})
	sink.refresh(t.Context())
	first := content(t, name)
	age := func(by time.Duration) {
		s.mu.Lock()
		h := s.tokens.on("b")
		h.since = h.since.Add(-by)
		s.mu.Unlock()
	}
	age(50 * time.Minute)
	sink.refresh(t.Context())
	if first == "" || content(t, name) != first {
		t.Error("replaced long before its end")
	}
	age(5 * time.Minute)
	if token(t, s, "b").Reveal() != first {
		t.Error("requests need no other token yet")
	}
	sink.refresh(t.Context())
	if second := content(t, name); second == first || token(t, s, "b").Reveal() != second || !r.knows("b", NewToken(second)) || !r.knows("b", NewToken(first)) {
		t.Error("not replaced, or the old one was revoked")
	}
}

func TestATokenFileIsReplacedInOneStep(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	name := filepath.Join(folder, "token")
	if err := os.WriteFile(name, []byte("older and longer than the new one"), 0o644); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := replaceFile(name, 0o604, []byte("new")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(open.Name())
	info, _ := os.Stat(name)
	old, _ := open.Stat()
	if string(before) != "new" || info.Mode() != 0o604 || old.Size() == info.Size() {
		t.Errorf("%s %v: the file was written into", before, info.Mode())
	}
	if err := replaceFile(folder, 0o600, []byte(planted)); err == nil || leaks(err.Error()) {
		t.Errorf("%v", err)
	}
	if files, _ := os.ReadDir(filepath.Dir(folder)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}
