package proxy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// Of an answer about a token nothing changes but how long it lives, and that only
// downwards.
func FuzzShorten(f *testing.F) {
	f.Add([]byte(`{"data":{"id":"hvs.x","ttl":3600,"expire_time":"2026-01-01T00:00:00Z","num":1e400,"t":"<&\u2028"},"auth":null}`), int64(60))
	f.Add([]byte(`{"auth":{"lease_duration":7200,"policies":["a"]},"warnings":null,"lease_id":""}`), int64(0))
	f.Add([]byte(`{"data":{"ttl":0}}`), int64(-5))
	f.Add([]byte(`{"data":[1],"auth":"x"} `), int64(9))
	f.Fuzz(func(t *testing.T, raw []byte, seconds int64) {
		seconds %= 1 << 31
		out := shorten(raw, time.Duration(seconds)*time.Second)
		if bytes.Equal(out, raw) {
			return
		}
		before, after := decode(t, raw), decode(t, out)
		for part, key := range map[string]string{"data": "ttl", "auth": "lease_duration"} {
			was, _ := before[part].(map[string]any)
			is, _ := after[part].(map[string]any)
			if was == nil {
				continue
			}
			if got, ok := is[key].(json.Number); ok && got != was[key] {
				if n, err := got.Int64(); err != nil || n != max(seconds, 0) {
					t.Errorf("%s.%s is %v after %v, wanted at most %d", part, key, got, was[key], seconds)
				}
			}
			for _, m := range []map[string]any{was, is} {
				delete(m, key)
				delete(m, "expire_time")
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s became %s", raw, out)
		}
	})
}

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return m
}
