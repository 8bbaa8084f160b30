package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/bench/peer"
)

// fixedRate is in requests a second, for latency that load does not distort.
const fixedRate = 2000

// situation is one thing to compare the proxies at.
type situation struct {
	name        string
	secure      bool // to the upstream
	connections int
	request     request
}

func situations(smoke bool) []situation {
	read := request{method: "GET", path: smallPath, token: true}
	all := []situation{{"plain upstream, 600 B, 32 connections", false, 32, read}}
	if smoke {
		return all
	}
	return append(all,
		situation{"plain upstream, 600 B, 1 connection", false, 1, read},
		situation{"plain upstream, 64 KiB, 32 connections", false, 32, request{method: "GET", path: largePath, token: true}},
		situation{"plain upstream, writes, 32 connections", false, 32, request{method: "POST", path: writePath, token: true, body: `{"data":{"v":"1"}}`}},
		situation{"TLS upstream, 600 B, 32 connections", true, 32, read},
		situation{"TLS upstream, 64 KiB, 32 connections", true, 32, request{method: "GET", path: largePath, token: true}},
	)
}

// figures are those of one proxy in one situation: medians over the rounds.
type figures struct {
	situation, name         string
	cpu                     float64 // µs of the proxy's CPU time per request
	rate                    float64 // requests a second, as fast as they are answered
	p50, p99, p999          time.Duration
	rate50, rate99, rate999 time.Duration // at fixedRate
	idle, loaded, with1000  float64       // MiB resident: just ready, under load, with 1,000 idle connections
	ready                   time.Duration // from its start to its first answer
}

func (s situation) measure(ctx context.Context, dir string, o options) ([]figures, error) {
	peers := contenders(dir, o.vault, s.secure)
	rounds := make([][]figures, len(peers))
	for range o.rounds {
		for i, c := range peers {
			f, err := s.once(ctx, c, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			rounds[i] = append(rounds[i], f)
		}
	}
	var out []figures
	for i, c := range peers {
		out = append(out, median(s.name, c.name, rounds[i]))
	}
	return out, nil
}

// once is one round of one proxy.
func (s situation) once(ctx context.Context, c contender, o options) (f figures, err error) {
	for name, text := range c.files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return f, err
		}
	}
	began := time.Now()
	p, err := peer.Start(ctx, c.args)
	if err != nil {
		return f, err
	}
	defer func() {
		p.Stop()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, p.Said())
		}
	}()
	if err := peer.Poll(ctx, 30*time.Second, s.answers); err != nil {
		return f, fmt.Errorf("it does not answer: %w", err)
	}
	f.ready = time.Since(began)
	if f.idle, err = p.Resident(); err != nil {
		return f, err
	}
	if _, err := drive(ctx, frontAddress, s.request, s.connections, o.seconds/3, 0); err != nil { // it warms up
		return f, err
	}
	return f, errors.Join(s.saturate(ctx, p, o, &f), s.steady(ctx, o, &f), crowd(ctx, p, &f))
}

func (s situation) saturate(ctx context.Context, p *peer.Process, o options, f *figures) error {
	before, err := p.CPU()
	if err != nil {
		return err
	}
	began := time.Now()
	got, err := drive(ctx, frontAddress, s.request, s.connections, o.seconds, 0)
	took := time.Since(began)
	if err != nil {
		return err
	}
	after, err := p.CPU()
	if err != nil {
		return err
	}
	f.cpu, f.rate = float64((after-before).Microseconds())/float64(got.requests), float64(got.requests)/took.Seconds()
	f.p50, f.p99, f.p999 = got.quantile(.5), got.quantile(.99), got.quantile(.999)
	f.loaded, err = p.Resident()
	return err
}

func (s situation) steady(ctx context.Context, o options, f *figures) error {
	got, err := drive(ctx, frontAddress, s.request, s.connections, o.seconds, fixedRate)
	f.rate50, f.rate99, f.rate999 = got.quantile(.5), got.quantile(.99), got.quantile(.999)
	return err
}

// crowd weighs a thousand connections that have sent one request and nothing since.
func crowd(ctx context.Context, p *peer.Process, f *figures) error {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	raw := request{method: "GET", path: smallPath, token: true}.bytes()
	buf := make([]byte, 8<<10)
	for range 1000 {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", frontAddress)
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if _, err := c.Write(raw); err != nil {
			return err
		}
		for n := 0; !bytes.HasSuffix(buf[:n], []byte(`"mount_type":"kv"}`)); {
			more, err := c.Read(buf[n:])
			if err != nil {
				return err
			}
			n += more
		}
	}
	var err error
	f.with1000, err = p.Resident()
	return err
}

// answers reports whether the proxy serves, logging in first: vrproxy learns the session
// by that, and the others pass it on.
func (s situation) answers(ctx context.Context) bool {
	send := func(method, path, body string) bool {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+frontAddress+path, strings.NewReader(body))
		if err != nil {
			return false
		}
		req.Header.Set("X-Vault-Token", token)
		req.Header.Set("X-Vault-Request", "true")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	return send("POST", "/v1/auth/userpass/login/u", `{"password":"p"}`) && send("GET", smallPath, "")
}

// median takes each figure for itself.
func median(situation, name string, rounds []figures) figures {
	out := figures{situation: situation, name: name}
	for _, get := range []func(*figures) *float64{
		func(f *figures) *float64 { return &f.cpu }, func(f *figures) *float64 { return &f.rate },
		func(f *figures) *float64 { return &f.idle }, func(f *figures) *float64 { return &f.loaded }, func(f *figures) *float64 { return &f.with1000 },
	} {
		*get(&out) = middle(rounds, get)
	}
	for _, get := range []func(*figures) *time.Duration{
		func(f *figures) *time.Duration { return &f.p50 }, func(f *figures) *time.Duration { return &f.p99 }, func(f *figures) *time.Duration { return &f.p999 },
		func(f *figures) *time.Duration { return &f.rate50 }, func(f *figures) *time.Duration { return &f.rate99 }, func(f *figures) *time.Duration { return &f.rate999 },
		func(f *figures) *time.Duration { return &f.ready },
	} {
		*get(&out) = middle(rounds, get)
	}
	return out
}

func middle[T float64 | time.Duration](rounds []figures, get func(*figures) *T) T {
	values := make([]T, len(rounds))
	for i := range rounds {
		values[i] = *get(&rounds[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func table(s situation, all []figures) {
	fmt.Printf("\n%s\n%-22s %10s %6s %10s %8s %8s %8s | %7s %7s | %6s %6s %6s | %7s\n", s.name,
		"", "CPU µs/req", "ratio", "req/s", "p50", "p99", "p99.9", "p50@2k", "p99@2k", "idle", "load", "+1000c", "ready")
	for _, f := range all {
		fmt.Printf("%-22s %10.1f %6.2f %10.0f %8s %8s %8s | %7s %7s | %6.1f %6.1f %6.1f | %7s\n", f.name, f.cpu, f.cpu/all[0].cpu, f.rate,
			us(f.p50), us(f.p99), us(f.p999), us(f.rate50), us(f.rate99), f.idle/1024, f.loaded/1024, f.with1000/1024, f.ready.Round(time.Millisecond))
	}
}

func us(d time.Duration) string { return d.Round(time.Microsecond).String() }

func writeCSV(file string, all []figures) error {
	if file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	_ = w.Write([]string{"situation", "proxy", "cpu_us_per_request", "requests_per_second", "p50_us", "p99_us", "p999_us", "p50_us_at_2000", "p99_us_at_2000", "p999_us_at_2000", "idle_kib", "loaded_kib", "with_1000_connections_kib", "ready_ms"}) // Flush and Error tell
	for _, g := range all {
		row := []string{g.situation, g.name, fmt.Sprintf("%.2f", g.cpu), fmt.Sprintf("%.0f", g.rate)}
		for _, d := range []time.Duration{g.p50, g.p99, g.p999, g.rate50, g.rate99, g.rate999} {
			row = append(row, fmt.Sprint(d.Microseconds()))
		}
		_ = w.Write(append(row, fmt.Sprintf("%.0f", g.idle), fmt.Sprintf("%.0f", g.loaded), fmt.Sprintf("%.0f", g.with1000), fmt.Sprint(g.ready.Milliseconds())))
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

// judge holds vrproxy to what it may take, in the first situation.
func judge(all []figures, maxRatio float64) error {
	if maxRatio <= 0 {
		return nil
	}
	cpu := make(map[string]float64)
	for _, f := range all {
		if f.situation == all[0].situation {
			cpu[f.name] = f.cpu
		}
	}
	if ratio := cpu["vrproxy"] / cpu["httputil.ReverseProxy"]; ratio > maxRatio {
		return fmt.Errorf("vrproxy takes %.2f times the CPU of httputil.ReverseProxy, and may take %.2f", ratio, maxRatio)
	}
	return nil
}
