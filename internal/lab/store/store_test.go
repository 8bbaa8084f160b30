package store

import (
	"errors"
	"slices"
	"testing"
)

func shared() Bucket { return Bucket{Name: "b"} }

func local() Bucket { return Bucket{Name: "b", Local: true} }

func put(t *testing.T, s *Store, b Bucket, key string) {
	t.Helper()
	if err := s.Put(b, key, []byte(`"v"`)); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := New(nil)
	put(t, s, shared(), "a")
	s.SetWritable(false)
	if err := s.Put(shared(), "a", nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("put: %v", err)
	}
	if err := s.Delete(shared(), "missing"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("delete: %v", err)
	}
	put(t, s, local(), "a")
	if p := s.Position(); p.Local != 2 || p.Replicated != 1 {
		t.Errorf("position %+v", p)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	src, secondary, dr := New(nil), New(nil), New(nil)
	put(t, src, shared(), "a")
	put(t, src, local(), "mine")
	at := secondary.CopyFrom(src, false)
	dr.CopyFrom(src, true)
	put(t, src, shared(), "b")
	if err := src.Delete(shared(), "a"); err != nil {
		t.Fatal(err)
	}
	put(t, src, local(), "more")
	entries, ok := src.Since(at)
	if !ok || len(entries) != 3 {
		t.Fatalf("%d entries, %v", len(entries), ok)
	}
	for _, e := range entries {
		secondary.Apply(e, false)
		dr.Apply(e, true)
	}
	if got := secondary.Keys(shared(), ""); !slices.Equal(got, []string{"b"}) {
		t.Errorf("secondary has %v", got)
	}
	if got := secondary.Keys(local(), ""); len(got) != 0 {
		t.Errorf("secondary has local %v", got)
	}
	if got := dr.Keys(local(), ""); !slices.Equal(got, []string{"mine", "more"}) {
		t.Errorf("dr has local %v", got)
	}
	if dr.Position() != src.Position() || secondary.Position().Replicated != src.Position().Replicated {
		t.Errorf("positions %+v %+v %+v", src.Position(), secondary.Position(), dr.Position())
	}
	if _, ok := src.Since(99); ok {
		t.Error("the future is in the log")
	}
	if _, ok := secondary.Since(0); ok {
		t.Error("the log reaches back behind a copy")
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	s := New(nil)
	for range 2*logLimit + 1 {
		put(t, s, shared(), "a")
	}
	if len(s.log) != logLimit {
		t.Errorf("%d entries", len(s.log))
	}
	if _, ok := s.Since(1); ok {
		t.Error("entries that are gone")
	}
	if e, ok := s.Since(2*logLimit + 1 - 5); !ok || len(e) != 5 {
		t.Errorf("%d entries, %v", len(e), ok)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	tx := &Tx{Store: New(nil)}
	v := tx.Shared("b")
	for _, k := range []string{"a", "a/b", "a/c", "d/e/f", "a-x"} {
		if err := v.Put(k, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.List(""); !slices.Equal(got, []string{"a", "a-x", "a/", "d/"}) {
		t.Errorf("list %v", got)
	}
	if got := v.List("a/"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("list %v", got)
	}
	if err := v.Delete("none"); err != nil || tx.Writes != 5 {
		t.Errorf("deleting nothing: %v, %d writes", err, tx.Writes)
	}
}
