package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// request is one as clients of Vault send it.
type request struct {
	method, path, body, token string
}

func (r request) bytes() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nX-Vault-Request: true\r\n", r.method, r.path)
	if r.token != "" {
		b.WriteString("X-Vault-Token: " + r.token + "\r\n")
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	return []byte(b.String() + "\r\n" + r.body)
}

// dialer opens a connection to what is measured.
type dialer func(context.Context) (net.Conn, error)

// load is requests, one after the other and over and over, on so many connections for a
// while: each as fast as it is answered, or together at a rate.
type load struct {
	dial        dialer
	requests    [][]byte
	connections int
	lasts       time.Duration
	rate        int // requests a second; 0: as fast as they are answered
}

// outcome is what a load saw.
type outcome struct {
	requests int
	took     []time.Duration // sorted
}

func (o outcome) quantile(q float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	return o.took[min(len(o.took)-1, int(q*float64(len(o.took))))]
}

func (l load) run(ctx context.Context) (outcome, error) {
	results := make([]outcome, l.connections)
	errs := make([]error, l.connections)
	var all sync.WaitGroup
	for i := range l.connections {
		all.Go(func() { results[i], errs[i] = l.one(ctx, i) })
	}
	all.Wait()
	var out outcome
	for _, o := range results {
		out.requests += o.requests
		out.took = append(out.took, o.took...)
	}
	slices.Sort(out.took)
	return out, errors.Join(errs...)
}

// one is what one connection sends. The connections begin at different requests.
func (l load) one(ctx context.Context, i int) (o outcome, err error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return o, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	gap, due := l.pace(i)
	end := time.Now().Add(l.lasts)
	if err := conn.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return o, err
	}
	in := bufio.NewReaderSize(conn, 128<<10)
	for next := len(l.requests) * i / l.connections; ; next++ {
		began := await(due, gap)
		if began.After(end) {
			return o, nil
		}
		if _, err := conn.Write(l.requests[next%len(l.requests)]); err != nil {
			return o, err
		}
		if err := readAnswer(in); err != nil {
			return o, err
		}
		o.requests++
		o.took = append(o.took, time.Since(began))
		due = due.Add(gap)
	}
}

// pace is the time between two requests of a connection, and when its first one is due.
func (l load) pace(i int) (gap time.Duration, due time.Time) {
	if l.rate == 0 {
		return 0, time.Time{}
	}
	gap = time.Second * time.Duration(l.connections) / time.Duration(l.rate)
	return gap, time.Now().Add(gap * time.Duration(i) / time.Duration(l.connections))
}

// await returns when a request may be sent, with the time that its latency counts from:
// now, or when it was due, if the answer before it came too late for that. A pause of the
// proxy is not forgotten so, and one of this process's timers (they may be 1 ms late) is.
func await(due time.Time, gap time.Duration) time.Time {
	now := time.Now()
	if gap == 0 {
		return now
	}
	early := due.Sub(now)
	if early <= 0 {
		return due
	}
	time.Sleep(early)
	return time.Now()
}

// readAnswer reads one answer, which must be a 200. It does no more than that takes: this
// process shares the machine's cores with the proxy.
func readAnswer(in *bufio.Reader) error {
	top, err := stage.Head(in)
	if err != nil {
		return err
	}
	if len(top) < 12 || string(top[9:12]) != "200" {
		said, _ := in.Peek(min(in.Buffered(), len(top)+500))
		return fmt.Errorf("not a 200: %s", said)
	}
	return stage.Skip(in, top)
}
