package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// keyPair is a certificate and key in files, read again when they change. A pair
// that cannot be read keeps the last good one in use.
type keyPair struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time // newest modification of the two files, when loaded
	checked time.Time
}

// checkEvery bounds how often the files are looked at.
const checkEvery = time.Second

func (p *keyPair) load() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded != nil && time.Since(p.checked) < checkEvery {
		return p.loaded, nil
	}
	p.checked = time.Now()
	changed, err := newest(p.cert, p.key)
	if p.loaded != nil && (err != nil || changed.Equal(p.changed)) {
		return p.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		if p.loaded != nil {
			return p.loaded, nil
		}
		return nil, fmt.Errorf("reading certificate and key: %w", err)
	}
	p.loaded, p.changed = &pair, changed
	return p.loaded, nil
}

func newest(files ...string) (time.Time, error) {
	var t time.Time
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return t, err
		}
		if info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t, nil
}
