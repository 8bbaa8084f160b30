package main

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// serving answers each request over a pipe, and tells what was asked.
func serving(asked func(head string), answer string) dialer {
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for in := bufio.NewReader(server); ; {
				top, err := stage.Head(in)
				if err != nil {
					return
				}
				asked(string(top))
				if stage.Skip(in, top) != nil {
					return
				}
				if _, err := server.Write([]byte(answer)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}
}

func TestALoadCountsWhatIsAnswered(t *testing.T) {
	var asked [2]atomic.Int64
	dial := serving(func(head string) {
		if strings.HasPrefix(head, "GET /a ") {
			asked[0].Add(1)
			return
		}
		asked[1].Add(1)
	}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	l := load{dial: dial, requests: [][]byte{read("/a", "t"), read("/b", "t")}, connections: 2, lasts: 20 * time.Millisecond}
	got, err := l.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := asked[0].Load(), asked[1].Load(); int64(got.requests) != a+b || a == 0 || b == 0 || len(got.took) != got.requests {
		t.Errorf("counted %d with %d times, where %d and %d were asked", got.requests, len(got.took), a, b)
	}
}

func TestARefusalEndsTheLoad(t *testing.T) {
	dial := serving(func(string) {}, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
	l := load{dial: dial, requests: [][]byte{read("/a", "t")}, connections: 1, lasts: time.Minute}
	if _, err := l.run(t.Context()); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("got %v; want what the proxy said", err)
	}
}

func TestQuantiles(t *testing.T) {
	var o outcome
	if got := o.quantile(.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 1000 {
		o.took = append(o.took, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 0, .5: 500, .99: 990, .999: 999, 1: 999} {
		if got := o.quantile(q); got != want {
			t.Errorf("%v: %v; want %v", q, got, want)
		}
	}
}

func TestALateRequestCountsFromWhenItWasDue(t *testing.T) {
	due := time.Now().Add(-time.Second)
	if got := await(due, time.Millisecond); !got.Equal(due) {
		t.Errorf("late: %v; want %v", got, due)
	}
	if got := await(due, 0); got.Before(due.Add(time.Second)) {
		t.Errorf("without a rate: %v, from before it was sent", got)
	}
	due = time.Now().Add(time.Millisecond)
	if got := await(due, time.Millisecond); got.Before(due) {
		t.Errorf("early: %v, before it was due", got)
	}
}
