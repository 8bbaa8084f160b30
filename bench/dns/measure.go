package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/vrproxy/vrproxy/bench/peer"
)

// What vrproxy needs beside itself: a Vault that is healthy, and a resolver.
const (
	fakeVault    = "http://127.0.0.1:15820"
	fakeUpstream = "127.0.0.1:15354"
)

// result is what one server did.
type result struct {
	name string
	rate float64 // answers a second
	cpu  float64 // µs of the server's CPU time per answer
	lost int
}

// measure runs one server under dnsperf. The warm-up lets vrproxy probe and all servers
// fill their caches.
func measure(ctx context.Context, dir string, p contender, d time.Duration) (r result, err error) {
	stop, err := serveFakes()
	if err != nil {
		return r, err
	}
	defer stop()
	s, err := startServer(ctx, dir, p)
	if err != nil {
		return r, err
	}
	defer s.Stop()
	if _, err := s.perf(ctx, "-l", "1"); err != nil {
		return r, err
	}
	before, err := s.CPU()
	if err != nil {
		return r, err
	}
	out, err := s.perf(ctx, "-l", strconv.Itoa(int(d/time.Second)))
	if err != nil {
		return r, err
	}
	after, err := s.CPU()
	if err != nil {
		return r, err
	}
	done := peer.Number(out, `Queries completed:\s+(\d+)`)
	if done == 0 {
		return r, fmt.Errorf("nothing was answered:\n%s", out)
	}
	if good := peer.Number(out, `NOERROR (\d+)`); good < done {
		return r, fmt.Errorf("%.0f of %.0f answers were errors:\n%s", done-good, done, out)
	}
	return result{p.name, peer.Number(out, `Queries per second:\s+([\d.]+)`), float64((after - before).Microseconds()) / done, int(peer.Number(out, `Queries lost:\s+(\d+)`))}, nil
}

// server is a running peer.
type server struct {
	*peer.Process
	names string // dnsperf's file of questions
}

func startServer(ctx context.Context, dir string, p contender) (*server, error) {
	var questions strings.Builder
	for _, n := range p.names {
		fmt.Fprintf(&questions, "%s A\n", n)
	}
	names := filepath.Join(dir, "questions")
	files := map[string]string{names: questions.String()}
	for name, text := range p.files {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	process, err := peer.Start(ctx, p.args, "GOMAXPROCS=1")
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, p.names[0]); err != nil {
		process.Stop()
		return nil, fmt.Errorf("it does not answer: %w\n%s", err, process.Said())
	}
	return &server{process, names}, nil
}

// answers returns when the first name is answered.
func answers(ctx context.Context, name string) error {
	c := dns.Client{Timeout: time.Second}
	return peer.Poll(ctx, 15*time.Second, func(ctx context.Context) bool {
		resp, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), fmt.Sprintf("%s:%d", host, port))
		return err == nil && len(resp.Answer) == 1
	})
}

func (s *server) perf(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"-s", host, "-p", strconv.Itoa(port), "-d", s.names, "-c", "4", "-q", "100", "-t", "2"}, args...)
	out, err := exec.CommandContext(ctx, "dnsperf", all...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	return string(out), nil
}

// memory looks whether a million questions, in the zone and forwarded, make vrproxy grow.
func memory(ctx context.Context, dir string, questions int) error {
	for _, p := range contenders(dir) {
		if !strings.HasPrefix(p.name, "vrproxy") {
			continue
		}
		if err := grows(ctx, dir, p, questions); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func grows(ctx context.Context, dir string, p contender, questions int) (err error) {
	stop, err := serveFakes()
	if err != nil {
		return err
	}
	defer stop()
	s, err := startServer(ctx, dir, p)
	if err != nil {
		return err
	}
	defer s.Stop()
	asked := func(n int) (float64, error) {
		if _, err := s.perf(ctx, "-n", strconv.Itoa(n/len(p.names))); err != nil {
			return 0, err
		}
		return s.Resident()
	}
	warm, err := asked(questions / 10)
	if err != nil {
		return err
	}
	after, err := asked(questions)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB resident after %d questions, %.1f MB after %d more\n", p.name, warm/1024, questions/10, after/1024, questions)
	const slack = 8 * 1024 // KB: what the runtime takes or returns as it likes
	if after > warm*1.25+slack {
		return errors.New("it grows")
	}
	return nil
}

// serveFakes serves the healthy Vault and the resolver.
func serveFakes() (stop func(), err error) {
	vault := &http.Server{
		Addr: strings.TrimPrefix(fakeVault, "http://"), ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"initialized":true,"sealed":false,"standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","cluster_name":"c","cluster_id":"c"}`)
		}),
	}
	resolver := &dns.Server{Addr: fakeUpstream, Net: "udp", Handler: dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		resp := new(dns.Msg).SetReply(req)
		rr, err := dns.NewRR(req.Question[0].Name + " 3600 A " + answer)
		if err == nil {
			resp.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(resp)
	})}
	started, failed := make(chan struct{}), make(chan error, 2)
	resolver.NotifyStartedFunc = func() { close(started) }
	go func() { failed <- resolver.ListenAndServe() }()
	go func() { failed <- vault.ListenAndServe() }()
	stop = func() {
		_ = vault.Close()
		_ = resolver.Shutdown()
		<-failed
		<-failed
	}
	select {
	case <-started:
		return stop, nil
	case err := <-failed:
		_ = vault.Close()
		return nil, err
	}
}
