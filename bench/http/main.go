// Command http compares vrproxy with what users would put in its place: HAProxy, nginx,
// Go's own httputil.ReverseProxy and `vault proxy`. Each in turn stands between one load
// and one upstream on loopback, in rounds that alternate. What counts is the CPU time of
// the proxy per request, as a ratio to HAProxy's in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/bench/http/stage"
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
	seconds              time.Duration
	rounds               int
	only                 []string
	situation            string
	vault                string
	out                  string
	docs                 bool
	profile              string
	maxRatio, maxHAProxy float64
	smoke                bool
	dir                  string // of this run
}

func (o options) site(secure bool) site {
	return site{dir: o.dir, vault: o.vault, secure: secure, pprof: o.profile != ""}
}

func run() error {
	var o options
	flag.DurationVar(&o.seconds, "time", 600*time.Millisecond, "how long one proxy is under load, in each round")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds")
	only := flag.String("only", "", "measure these alone, separated by commas: "+strings.Join(names(), ", "))
	flag.StringVar(&o.situation, "situation", "", "measure only the situations with this in their names")
	flag.StringVar(&o.vault, "vault", "", "a vault binary; default: that of VRPROXY_E2E_VAULT, or the one that make e2e has built")
	flag.StringVar(&o.out, "out", "", "write the figures to this path and .csv, and a picture to it and .png and .svg")
	flag.BoolVar(&o.docs, "docs", false, "write the tables into the document of that path and .md as well, below its marker")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of vrproxy under load to this file")
	flag.Float64Var(&o.maxRatio, "max-ratio", 0, "fail if vrproxy takes more CPU per small read, plain to plain, times httputil.ReverseProxy's; 0: only tell")
	flag.Float64Var(&o.maxHAProxy, "max-haproxy", 0, "the same, times HAProxy's")
	flag.BoolVar(&o.smoke, "smoke", false, "plain, small reads as fast as they are answered, over 32 connections, only; and without vault proxy")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return o.compare(ctx, *only)
}

func (o options) compare(ctx context.Context, only string) (err error) {
	if o.rounds < 1 || o.seconds <= 0 {
		return errors.New("-rounds and -time must be more than nothing")
	}
	if o.docs && (only != "" || o.situation != "" || o.smoke) {
		return errors.New("-docs: a document has everything; leave out -only, -situation and -smoke")
	}
	if o.only, err = chosen(only); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "vrproxy-bench-http-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if err := o.prepare(ctx); err != nil {
		return err
	}
	results, err := o.measure(ctx)
	if err != nil {
		return err
	}
	return o.report(ctx, results)
}

// report writes what was asked for, and fails if vrproxy takes more than it may.
func (o options) report(ctx context.Context, results []result) error {
	all := flat(results)
	if !o.smoke {
		printTargets(os.Stdout, targets(all))
	}
	err := judge(os.Stdout, all, o)
	if o.out == "" {
		return err
	}
	err = errors.Join(err, os.MkdirAll(filepath.Dir(o.out), 0o755), writeCSV(o.out+".csv", all), writePlots(o.out, all))
	if o.docs {
		err = errors.Join(err, o.document(ctx, o.out+".md", results))
	}
	return err
}

func (o options) measure(ctx context.Context) ([]result, error) {
	chosen, err := groups(o)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-situation: none has %q in its name", o.situation)
	}
	var out []result
	for _, g := range chosen {
		f, err := g.measure(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
		r := result{g, f}
		if err := r.print(os.Stdout); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// prepare checks the programs, builds what is to be built and makes a certificate.
func (o *options) prepare(ctx context.Context) error {
	if err := peer.Missing(map[string]string{"haproxy": "haproxy", "nginx": "nginx-light"}); err != nil {
		return err
	}
	if err := free(ctx, stage.PlainUpstream, stage.TLSUpstream, stage.Front, adminAddress); err != nil {
		return err
	}
	if err := o.chooseVault(); err != nil {
		return err
	}
	root, err := peer.Root()
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(o.dir, "nginx"), 0o777); err != nil {
		return err
	}
	if err := certificate(o.dir); err != nil {
		return err
	}
	return errors.Join(
		peer.Build(ctx, root, "./cmd/vrproxy", filepath.Join(o.dir, "vrproxy")),
		peer.Build(ctx, filepath.Join(root, "bench"), "./http/parts", filepath.Join(o.dir, "parts")),
	)
}

// free checks that nobody listens where the run is to take place.
func free(ctx context.Context, addresses ...string) error {
	for _, address := range addresses {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("another run may be going on: %w", err)
		}
		_ = l.Close()
	}
	return nil
}

func (o *options) chooseVault() (err error) {
	if o.smoke {
		o.vault = ""
		return nil
	}
	if o.vault, err = findVault(o.vault, os.Getenv); err != nil {
		return err
	}
	if o.vault == "" {
		fmt.Println("*** vault proxy is LEFT OUT: no vault binary found; make e2e builds one, -vault or VRPROXY_E2E_VAULT name one ***")
	}
	return nil
}
