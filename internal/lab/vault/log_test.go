package vault

import (
	"encoding/json"
	"errors"
	"testing"
)

func write(path string) statement { return statement{Request: Request{Method: "POST", Path: path}} }

func TestLogsAreFollowed(t *testing.T) {
	t.Parallel()
	var source, follower log
	source.add(write("a"))
	source.add(write("b"))
	missing, err := follower.after(&source)
	if err != nil || len(missing) != 2 || missing[0].Path != "a" || missing[0].ID == "" || missing[0].Time.IsZero() {
		t.Fatalf("%+v, %v", missing, err)
	}
	follower.add(missing[0])
	missing, err = follower.after(&source)
	if err != nil || len(missing) != 1 || missing[0].Path != "b" {
		t.Fatalf("%+v, %v", missing, err)
	}
	follower.add(missing[0])
	if missing, err = follower.after(&source); err != nil || len(missing) != 0 {
		t.Errorf("%+v, %v", missing, err)
	}
}

func TestLogsDiverge(t *testing.T) {
	t.Parallel()
	var source, follower log
	source.add(write("a"))
	follower.add(write("a")) // its own, not the source's
	if _, err := follower.after(&source); !errors.Is(err, ErrDiverged) {
		t.Errorf("error %v", err)
	}
	var longer log
	longer.add(write("a"))
	longer.add(write("b"))
	if _, err := longer.after(&source); !errors.Is(err, ErrDiverged) {
		t.Errorf("error %v", err)
	}
}

func TestSecretIDIsCarried(t *testing.T) {
	t.Parallel()
	s := statement{Request: Request{Method: "POST", Path: "auth/approle/role/r/secret-id", Body: []byte(`{"ttl":"1h"}`)}}
	s, err := withSecretID(s, &Response{Body: []byte(`{"data":{"secret_id":"made"}}`)})
	if err != nil || s.Path != "auth/approle/role/r/custom-secret-id" {
		t.Fatalf("%q, %v", s.Path, err)
	}
	var body map[string]string
	if err := json.Unmarshal(s.Body, &body); err != nil || body["secret_id"] != "made" || body["ttl"] != "1h" {
		t.Errorf("%s, %v", s.Body, err)
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	e := New(Config{ID: "here", Key: []byte("key")})
	e.log.add(write("a"))
	other := New(Config{ID: "there", Key: []byte("key")})
	stranger := New(Config{ID: "there", Key: []byte("other key")})
	for name, c := range map[string]struct {
		index   string
		present bool
		wrong   bool
	}{
		"its own":           {e.index(1, 1), true, false},
		"of another":        {other.index(7, 1), true, false},
		"not yet here":      {other.index(7, 2), false, false},
		"of a stranger":     {stranger.index(1, 1), false, true},
		"nothing of a kind": {"nonsense", false, true},
	} {
		present, err := e.present(c.index)
		if present != c.present || (err != nil) != c.wrong {
			t.Errorf("%s: %v, %v", name, present, err)
		}
	}
}
