// Command http compares vrproxy with what users would put in its place: HAProxy, nginx,
// Go's own httputil.ReverseProxy and `vault proxy`. Each in turn stands between one load
// and one upstream on loopback, in rounds that alternate. What counts is the CPU time of
// the proxy per request, as a ratio to HAProxy's in the same run.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/vrproxy/vrproxy/bench/peer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/http:", err)
		os.Exit(1)
	}
}

// options are what the command is told.
type options struct {
	seconds  time.Duration
	rounds   int
	vault    string
	csv      string
	maxRatio float64
	smoke    bool
}

func run() error {
	var o options
	flag.DurationVar(&o.seconds, "time", 3*time.Second, "how long one proxy is under load, in each round")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds")
	flag.StringVar(&o.vault, "vault", os.Getenv("VRPROXY_E2E_VAULT"), "a vault binary, to compare with `vault proxy` too")
	flag.StringVar(&o.csv, "csv", "", "write the figures to this file as well")
	flag.Float64Var(&o.maxRatio, "max-ratio", 0, "fail if vrproxy takes more CPU per small read, plain to plain, times httputil.ReverseProxy's; 0: only tell")
	flag.BoolVar(&o.smoke, "smoke", false, "plain, small reads over 32 connections only")
	upstream := flag.Bool("upstream", false, "be the upstream (used by the command itself)")
	reverse := flag.String("reverse", "", "be a ReverseProxy before this URL (used by the command itself)")
	dir := flag.String("dir", "", "with -upstream and -reverse: where the certificate is")
	flag.Parse()
	switch {
	case *upstream:
		return serveUpstream(*dir)
	case *reverse != "":
		return serveReverse(*reverse, *dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return compare(ctx, o)
}

// serveReverse is the least that Go needs to be a proxy.
func serveReverse(to, dir string) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p := httputil.NewSingleHostReverseProxy(target)
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	p.ModifyResponse = func(r *http.Response) error { r.Header.Set("X-Bench", "1"); return nil }
	return (&http.Server{Addr: frontAddress, Handler: p, ReadHeaderTimeout: time.Minute}).ListenAndServe()
}

func compare(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "vrproxy-bench-http-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := prepare(ctx, dir); err != nil {
		return err
	}
	up, err := peer.Start(ctx, []string{os.Args[0], "-upstream", "-dir", dir})
	if err != nil {
		return err
	}
	defer up.Stop()
	if o.vault == "" {
		fmt.Println("vault proxy is left out: give its binary with -vault or in VRPROXY_E2E_VAULT (make e2e builds one)")
	}
	var all []figures
	for _, s := range situations(o.smoke) {
		f, err := s.measure(ctx, dir, o)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		table(s, f)
		all = append(all, f...)
	}
	return errors.Join(writeCSV(o.csv, all), judge(all, o.maxRatio))
}

// prepare checks the programs, builds vrproxy and makes a certificate.
func prepare(ctx context.Context, dir string) error {
	if err := peer.Missing(map[string]string{"haproxy": "haproxy", "nginx": "nginx-light"}); err != nil {
		return err
	}
	root, err := peer.Root()
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "nginx"), 0o777); err != nil {
		return err
	}
	if err := certificate(dir); err != nil {
		return err
	}
	return peer.Build(ctx, root, "./cmd/vrproxy", filepath.Join(dir, "vrproxy"))
}
