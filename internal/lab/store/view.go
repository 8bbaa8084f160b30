package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Tx counts the writes of one request. It belongs to one goroutine.
type Tx struct {
	Store  *Store
	Writes int
}

// View returns the bucket as seen by this request.
func (t *Tx) View(b Bucket) View { return View{tx: t, bucket: b} }

// Shared is the replicated bucket of that name.
func (t *Tx) Shared(name string) View { return t.View(Bucket{Name: name}) }

// Local is the local bucket of that name.
func (t *Tx) Local(name string) View { return t.View(Bucket{Name: name, Local: true}) }

// View reads and writes JSON values in one bucket.
type View struct {
	tx     *Tx
	bucket Bucket
}

// Get decodes the value of key into v and reports whether it exists.
func (v View) Get(key string, into any) bool {
	raw, ok := v.tx.Store.Get(v.bucket, key)
	return ok && json.Unmarshal(raw, into) == nil
}

// Has reports whether key exists.
func (v View) Has(key string) bool {
	_, ok := v.tx.Store.Get(v.bucket, key)
	return ok
}

// Put stores a value under key.
func (v View) Put(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	if err := v.tx.Store.Put(v.bucket, key, raw); err != nil {
		return err
	}
	v.tx.Writes++
	return nil
}

// Delete removes key. On storage that another cluster owns it is refused,
// whether or not the key exists.
func (v View) Delete(key string) error {
	before := v.tx.Store.Version(v.bucket)
	if err := v.tx.Store.Delete(v.bucket, key); err != nil {
		return err
	}
	if v.tx.Store.Version(v.bucket) != before {
		v.tx.Writes++
	}
	return nil
}

// Keys returns all keys that begin with prefix.
func (v View) Keys(prefix string) []string { return v.tx.Store.Keys(v.bucket, prefix) }

// List returns what lies directly below prefix, folders with a slash, the way
// Vault lists.
func (v View) List(prefix string) []string {
	var out []string
	for _, k := range v.Keys(prefix) {
		name := strings.TrimPrefix(k, prefix)
		if i := strings.IndexByte(name, '/'); i >= 0 {
			name = name[:i+1]
		}
		if len(out) == 0 || out[len(out)-1] != name {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
