package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/vrproxy/vrproxy/bench/http/stage"
	"github.com/vrproxy/vrproxy/bench/peer"
)

// What there may be few or many of.
const (
	few  = 10
	many = 10_000
)

// The names of the groups that are not situations.
const (
	scaleGroup = "vrproxy with 10 and with 10,000 of each, plain upstream, 600 B, 32 connections"
	restGroup  = "from the start, and at rest"
)

// stock is what vrproxy is to hold many of, and how it comes to hold them.
type stock struct {
	name     string
	mounts   int
	requests [][]byte // sent once to make it hold them; as many and as large for few as for many
	load     [][]byte
	count    func(context.Context) (int, error) // how many it says it holds
	held     int
}

// stocks are in pairs, few and many of a kind, so that they are measured soon after
// each other.
func stocks() []stock {
	return []stock{mountsOf(few), mountsOf(many), sessionsOf(few), sessionsOf(many), leasesOf(few), leasesOf(many)}
}

// mountsOf spreads reads over mounts. One answer of Vault tells vrproxy all of them.
func mountsOf(n int) stock {
	reads := spread(n, func(i int) []byte { return read("/v1/"+stage.MountName(i)+"/data/small", stage.Token) })
	return stock{name: label(n, "mounts"), mounts: n, requests: reads, load: reads, held: n, count: func(ctx context.Context) (int, error) {
		known, err := knows(ctx, stage.MountName(n-1))
		if err != nil || !known {
			return 0, err
		}
		return n, nil
	}}
}

// sessionsOf logs in, and spreads reads over the tokens.
func sessionsOf(n int) stock {
	user := func(i int) string { return fmt.Sprintf("u%05d", i) }
	return stock{
		name: label(n, "sessions"), held: n,
		requests: spread(n, func(i int) []byte { return login(user(i)) }),
		load:     spread(n, func(i int) []byte { return read(stage.SmallPath, stage.TokenOf(user(i))) }),
		count: func(ctx context.Context) (int, error) {
			s, err := statusOf(ctx)
			return s.Sessions, err
		},
	}
}

// leasesOf takes leases, and reads what has none.
func leasesOf(n int) stock {
	return stock{
		name: label(n, "leases"), held: n, load: [][]byte{read(stage.SmallPath, stage.Token)},
		requests: spread(many, func(i int) []byte {
			if i < n {
				return read(stage.LeasePath, stage.Token)
			}
			return read(stage.SmallPath, stage.Token)
		}),
		count: func(ctx context.Context) (int, error) {
			s, err := statusOf(ctx)
			if err != nil || len(s.Clusters) == 0 {
				return 0, err
			}
			return s.Clusters[0].Leases, nil
		},
	}
}

// spread makes always the same number of requests, over so many things in turn.
func spread(n int, request func(int) []byte) [][]byte {
	out := make([][]byte, many)
	for i := range out {
		out[i] = request(i % n)
	}
	return out
}

func label(n int, things string) string {
	if n == few {
		return strconv.Itoa(n) + " " + things
	}
	return "10,000 " + things
}

// scale compares vrproxy with itself.
func scale(o options) (group, error) {
	proxies, err := o.site(false).contenders([]string{vrproxy})
	g := group{name: scaleGroup, layout: scaleLayout(), often: 2}
	if err != nil {
		return g, err
	}
	for i, s := range stocks() {
		base := stocks()[i&^1].name // the first of the pair
		g.trials = append(g.trials, trial{
			name: s.name, base: base, proxy: proxies[0], mounts: s.mounts, connections: 32,
			requests: func() [][]byte { return s.load },
			steps:    []step{s.fill, (*round).warm, (*round).saturate},
		})
	}
	return g, nil
}

// fill makes the proxy hold what it is to hold, and weighs it again.
func (s stock) fill(r *round, ctx context.Context) error {
	if err := r.send(ctx, s.requests); err != nil {
		return err
	}
	var got int
	var failed error
	enough := func(ctx context.Context) bool {
		// One session is that of the login that asked whether it is ready.
		got, failed = s.count(ctx)
		return failed == nil && (got == s.held || got == s.held+1)
	}
	if err := peer.Poll(ctx, 10*time.Second, enough); err != nil {
		return fmt.Errorf("it holds %d where %s are meant: %w", got, s.name, cause(failed, err))
	}
	return r.weigh(&r.figures.idle)
}

func cause(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// status is what is read of vrproxy's.
type status struct {
	Sessions int `json:"sessions"`
	Clusters []struct {
		Leases int `json:"leases"`
	} `json:"clusters"`
}

func statusOf(ctx context.Context) (s status, err error) {
	return s, ask(ctx, "/status", &s)
}

// knows reports whether vrproxy knows a mount.
func knows(ctx context.Context, mount string) (bool, error) {
	var e struct {
		Mount string `json:"mount"`
	}
	err := ask(ctx, "/explain?method=GET&path="+url.QueryEscape("/v1/"+mount+"/data/small"), &e)
	return e.Mount == mount+"/", err
}

func ask(ctx context.Context, path string, into any) error {
	raw, err := fetch(ctx, "http://"+adminAddress+path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// rest compares the proxies before any load: how soon they are there, and what they take.
func rest(o options) (group, error) {
	g := group{name: restGroup, layout: restLayout()}
	proxies, err := o.site(false).contenders(o.only)
	for _, c := range proxies {
		if c.name != direct {
			g.trials = append(g.trials, trial{name: c.name, base: haproxy, proxy: c, steps: []step{(*round).crowd, (*round).size}})
		}
	}
	return g, err
}

// size is that of the program's file, if it is to be told.
func (r *round) size(context.Context) error {
	if r.proxy.binary == "" {
		return nil
	}
	file, err := exec.LookPath(r.proxy.binary)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	r.figures.binary = float64(info.Size()) / 1024
	return nil
}
