package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/configs"
)

// checkEvery is how often certificate files are looked at. They are polled, not
// subscribed to: what is at a name changes without an event there, where Kubernetes
// swaps the link of a folder far above it.
const checkEvery = 500 * time.Millisecond

// fileWatch reads files again when they change.
type fileWatch struct {
	key   string // of the configuration
	files func() []string
	apply func() error // puts them to use; an error leaves what was in use
	tell  func(key string, err error)

	seen []os.FileInfo // as applied, or as found unusable; nil where there is no file
}

// newFileWatch remembers the files as they are; it is made before they are read, so
// that no change is missed.
func newFileWatch(key string, files func() []string, apply func() error, tell func(string, error)) *fileWatch {
	return &fileWatch{key: key, files: files, apply: apply, tell: tell, seen: stat(files())}
}

// Run watches until ctx ends. A change is applied once the files have rested for one
// look: certificate and key are seldom written in one step.
func (w *fileWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	last := w.seen
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := stat(w.files())
		if rests, changed := sameFiles(now, last), !sameFiles(now, w.seen); rests && changed {
			w.seen = now
			w.tell(w.key, w.apply())
		}
		last = now
	}
}

func stat(files []string) []os.FileInfo {
	out := make([]os.FileInfo, len(files))
	for i, f := range files {
		out[i], _ = os.Stat(f) // nil: not there, which reading it will say
	}
	return out
}

func sameFiles(a, b []os.FileInfo) bool {
	return slices.EqualFunc(a, b, func(x, y os.FileInfo) bool {
		if x == nil || y == nil {
			return x == y
		}
		return os.SameFile(x, y) && x.Size() == y.Size() && x.ModTime().Equal(y.ModTime())
	})
}

// reloadTeller logs and counts what became of changed files.
func reloadTeller(logger *zap.Logger, reloads *prometheus.CounterVec) func(string, error) {
	return func(key string, err error) {
		if err != nil {
			reloads.WithLabelValues("error").Inc()
			logger.Error("changed files can't be used; the old ones stay in use", zap.String("key", key), zap.Error(err))
			return
		}
		reloads.WithLabelValues("ok").Inc()
		logger.Info("changed files read", zap.String("key", key))
	}
}

func serverFiles(c *configs.ServerTLS) []string {
	if c == nil {
		return nil
	}
	return given(c.CertFile, c.KeyFile, c.ClientCAFile)
}

func clientFiles(c *configs.ClientTLS) []string {
	if c == nil {
		return nil
	}
	return given(c.CertFile, c.KeyFile, c.CAFile)
}

func given(files ...string) []string {
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

func clientTLS(c *configs.ClientTLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // no TLS settings is not an error
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify} //nolint:gosec // the operator's explicit choice, warned about at start
	if c.CAFile != "" {
		pool, err := certPool(c.CAFile)
		if err != nil {
			return nil, err
		}
		t.RootCAs = pool
	}
	if c.CertFile != "" {
		pair, err := keyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		// Shown whatever authorities the node says it wants: it may say nothing useful.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return t, nil
}

func serverTLS(c *configs.ServerTLS) (*tls.Config, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // a plain listener is not an error
	}
	pair, err := keyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{*pair}}
	if c.ClientCAFile != "" {
		pool, err := certPool(c.ClientCAFile)
		if err != nil {
			return nil, err
		}
		t.ClientCAs, t.ClientAuth = pool, tls.RequireAndVerifyClientCert
		t.SessionTicketsDisabled = true // or who has one gets in when the authority has gone
	}
	return t, nil
}

func keyPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("reading certificate and key: %w", err)
	}
	return &pair, nil
}

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}
