// Command dns compares vrproxy's DNS server with dnsmasq, unbound and CoreDNS: answers a
// second and CPU time per answer under dnsperf, each for the same names from its own
// data, one after the other on one machine. What counts is the ratio to dnsmasq.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/vrproxy/vrproxy/bench/peer"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/dns:", err)
		os.Exit(1)
	}
}

func run() error {
	seconds := flag.Int("seconds", 5, "how long each server is asked")
	million := flag.Int("million", 1_000_000, "questions of the run that looks at vrproxy's memory; 0: none")
	maxRatio := flag.Float64("max-ratio", 0, "fail if vrproxy takes more CPU per answer than CoreDNS, times this; 0: only tell")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "vrproxy-bench-dns-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := prepare(ctx, dir); err != nil {
		return err
	}
	results, err := compare(ctx, dir, time.Duration(*seconds)*time.Second)
	if err != nil {
		return err
	}
	table(results)
	if *million > 0 {
		if err := memory(ctx, dir, *million); err != nil {
			return err
		}
	}
	return judge(results, *maxRatio)
}

// prepare checks the programs and builds vrproxy and CoreDNS.
func prepare(ctx context.Context, dir string) error {
	if err := peer.Missing(map[string]string{"dnsperf": "dnsperf", "dnsmasq": "dnsmasq-base", "unbound": "unbound"}); err != nil {
		return err
	}
	root, err := peer.Root()
	if err != nil {
		return err
	}
	if err := peer.Build(ctx, root, "./cmd/vrproxy", filepath.Join(dir, "vrproxy")); err != nil {
		return err
	}
	return peer.Build(ctx, filepath.Join(root, "e2e", "coredns"), ".", filepath.Join(dir, "coredns"))
}

func compare(ctx context.Context, dir string, d time.Duration) ([]result, error) {
	var results []result
	for _, p := range contenders(dir) {
		r, err := measure(ctx, dir, p, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func table(results []result) {
	base := find(results, "dnsmasq").cpu
	fmt.Printf("%-28s %12s %14s %10s %9s\n", "", "answers/s", "CPU µs/answer", "× dnsmasq", "lost")
	for _, r := range results {
		fmt.Printf("%-28s %12.0f %14.2f %10.2f %9d\n", r.name, r.rate, r.cpu, r.cpu/base, r.lost)
	}
}

func find(results []result, name string) result {
	for _, r := range results {
		if r.name == name {
			return r
		}
	}
	return result{}
}

func judge(results []result, maxRatio float64) error {
	own, other := find(results, "vrproxy").cpu, find(results, "CoreDNS").cpu
	if maxRatio > 0 && own > other*maxRatio {
		return fmt.Errorf("vrproxy takes %.2f µs of CPU per answer, CoreDNS %.2f", own, other)
	}
	return nil
}
