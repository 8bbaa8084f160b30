package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
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
func measure(ctx context.Context, dir string, p peer, d time.Duration) (r result, err error) {
	stop, err := serveFakes()
	if err != nil {
		return r, err
	}
	defer stop()
	s, err := startServer(ctx, dir, p)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := s.perf(ctx, "-l", "1"); err != nil {
		return r, err
	}
	before, err := s.cpu()
	if err != nil {
		return r, err
	}
	out, err := s.perf(ctx, "-l", strconv.Itoa(int(d/time.Second)))
	if err != nil {
		return r, err
	}
	after, err := s.cpu()
	if err != nil {
		return r, err
	}
	done := number(out, `Queries completed:\s+(\d+)`)
	if done == 0 {
		return r, fmt.Errorf("nothing was answered:\n%s", out)
	}
	if good := number(out, `NOERROR (\d+)`); good < done {
		return r, fmt.Errorf("%.0f of %.0f answers were errors:\n%s", done-good, done, out)
	}
	return result{p.name, number(out, `Queries per second:\s+([\d.]+)`), float64((after - before).Microseconds()) / done, int(number(out, `Queries lost:\s+(\d+)`))}, nil
}

func number(text, pattern string) float64 {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(found[1], 64) // the pattern has digits only
	return n
}

// server is a running peer.
type server struct {
	cmd   *exec.Cmd
	said  bytes.Buffer
	names string // dnsperf's file of questions
}

func startServer(ctx context.Context, dir string, p peer) (*server, error) {
	var questions strings.Builder
	for _, n := range p.names {
		fmt.Fprintf(&questions, "%s A\n", n)
	}
	s := &server{cmd: exec.CommandContext(ctx, p.args[0], p.args[1:]...), names: filepath.Join(dir, "questions")}
	files := map[string]string{s.names: questions.String()}
	for name, text := range p.files {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.wait(ctx, p.names[0]); err != nil {
		return nil, errors.Join(err, s.stop(), errors.New(s.said.String()))
	}
	return s, nil
}

// wait returns when the first name is answered.
func (s *server) wait(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	c := dns.Client{Timeout: time.Second}
	for {
		resp, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), fmt.Sprintf("%s:%d", host, port))
		if err == nil && len(resp.Answer) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w, %v", err, resp)
		case <-tick.C:
		}
	}
}

func (s *server) perf(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"-s", host, "-p", strconv.Itoa(port), "-d", s.names, "-c", "4", "-q", "100", "-t", "2"}, args...)
	out, err := exec.CommandContext(ctx, "dnsperf", all...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	return string(out), nil
}

// cpu is the time that the server has spent, in user and kernel mode.
func (s *server) cpu() (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	const user, kernel, ticksPerSecond = 11, 12, 100
	if len(fields) <= kernel {
		return 0, fmt.Errorf("unexpected /proc/PID/stat: %s", raw)
	}
	u, errU := strconv.Atoi(fields[user])
	k, errK := strconv.Atoi(fields[kernel])
	return time.Duration(u+k) * time.Second / ticksPerSecond, errors.Join(errU, errK)
}

// resident is the memory in use, in KB.
func (s *server) resident() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	return number(string(raw), `VmRSS:\s+(\d+)`), err
}

func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it only fails when it has ended
	kill := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait() // some end with a code of their own after SIGTERM
	return nil
}

// memory looks whether a million questions, in the zone and forwarded, make vrproxy grow.
func memory(ctx context.Context, dir string, questions int) error {
	for _, p := range peers(dir) {
		if !strings.HasPrefix(p.name, "vrproxy") {
			continue
		}
		if err := grows(ctx, dir, p, questions); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func grows(ctx context.Context, dir string, p peer, questions int) (err error) {
	stop, err := serveFakes()
	if err != nil {
		return err
	}
	defer stop()
	s, err := startServer(ctx, dir, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	asked := func(n int) (float64, error) {
		if _, err := s.perf(ctx, "-n", strconv.Itoa(n/len(p.names))); err != nil {
			return 0, err
		}
		return s.resident()
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
