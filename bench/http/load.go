package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// request is what is sent over and over.
type request struct {
	method, path, body string
	token              bool
}

func (r request) bytes() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Vault-Request: true\r\n", r.method, r.path)
	if r.token {
		b.WriteString("X-Vault-Token: " + token + "\r\n")
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	return []byte(b.String() + "\r\n" + r.body)
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

// drive sends a request over so many connections for a while: each as fast as it is
// answered, or together at a rate. Latency at a rate counts from when a request was due,
// so that a pause is not forgotten.
func drive(ctx context.Context, address string, r request, connections int, d time.Duration, rate int) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	results := make([]outcome, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() { results[i], errs[i] = one(ctx, address, r, pace(rate, connections, i)) })
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

// pace is the time between two requests of one connection, and its first delay.
func pace(rate, connections, i int) (p [2]time.Duration) {
	if rate > 0 {
		p[0] = time.Second * time.Duration(connections) / time.Duration(rate)
		p[1] = p[0] * time.Duration(i) / time.Duration(connections)
	}
	return p
}

func one(ctx context.Context, address string, r request, pace [2]time.Duration) (o outcome, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return o, err
	}
	defer conn.Close()
	raw, in := r.bytes(), bufio.NewReaderSize(conn, 128<<10)
	due := time.Now().Add(pace[1])
	for {
		if pace[0] == 0 {
			due = time.Now()
		} else if !until(ctx, due) {
			return o, nil
		}
		if ctx.Err() != nil {
			return o, nil
		}
		if _, err := conn.Write(raw); err != nil {
			return o, err
		}
		if err := read(in); err != nil {
			return o, err
		}
		o.requests++
		o.took = append(o.took, time.Since(due))
		due = due.Add(pace[0])
	}
}

func until(ctx context.Context, due time.Time) bool {
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func read(in *bufio.Reader) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
