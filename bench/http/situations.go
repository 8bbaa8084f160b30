package main

import (
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

func read(path, token string) []byte {
	return request{method: "GET", path: path, token: token}.bytes()
}

func login(name string) []byte {
	return request{method: "POST", path: stage.LoginPath + name, body: `{"password":"p"}`}.bytes()
}

// situation is what the proxies are compared at.
type situation struct {
	name        string
	secure      bool // to the upstream
	connections int
	request     []byte
}

// The situations that targets are set for.
const (
	plainSmall = "plain upstream, 600 B, 32 connections"
	tlsSmall   = "TLS upstream, 600 B, 32 connections"
)

func situations() []situation {
	small, large := read(stage.SmallPath, stage.Token), read(stage.LargePath, stage.Token)
	write := request{method: "POST", path: stage.WritePath, token: stage.Token, body: `{"data":{"v":"1"}}`}.bytes()
	return []situation{
		{plainSmall, false, 32, small},
		{"plain upstream, 600 B, 1 connection", false, 1, small},
		{"plain upstream, 64 KiB, 32 connections", false, 32, large},
		{"plain upstream, 64 KiB, 1 connection", false, 1, large},
		{"plain upstream, writes, 32 connections", false, 32, write},
		{tlsSmall, true, 32, small},
		{"TLS upstream, 600 B, 1 connection", true, 1, small},
		{"TLS upstream, 64 KiB, 32 connections", true, 32, large},
		{"TLS upstream, 64 KiB, 1 connection", true, 1, large},
		{"TLS upstream, writes, 32 connections", true, 32, write},
	}
}

// groups are what is measured, as the options choose.
func groups(o options) ([]group, error) {
	var out []group
	for _, s := range situations() {
		g, err := s.group(o)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	atRest, err := rest(o)
	if err != nil {
		return nil, err
	}
	many, err := scale(o)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(out, atRest, many), func(g group) bool { return !o.wants(g) }), nil
}

func (o options) wants(g group) bool {
	switch {
	case len(g.trials) == 0:
		return false
	case o.smoke:
		return g.name == plainSmall
	case g.name == scaleGroup && !slices.Contains(o.only, vrproxy):
		return false
	}
	return strings.Contains(strings.ToLower(g.name), strings.ToLower(o.situation))
}

func (s situation) group(o options) (group, error) {
	g := group{name: s.name, layout: loadLayout()}
	proxies, err := o.site(s.secure).contenders(o.only)
	steps := underLoad()
	if o.smoke {
		steps = []step{(*round).warm, (*round).saturate}
	}
	for _, c := range proxies {
		if o.smoke && c.name == direct {
			continue
		}
		g.trials = append(g.trials, trial{
			name: c.name, base: haproxy, proxy: c, connections: s.connections, steps: steps,
			requests: func() [][]byte { return [][]byte{s.request} },
		})
	}
	return g, err
}
