package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/vrproxy/vrproxy/bench/http/stage"
	"github.com/vrproxy/vrproxy/bench/peer"
)

// fixedRate is in requests a second, for latency that load does not distort.
const fixedRate = 2000

// group is trials whose figures are compared. Their rounds alternate.
type group struct {
	name   string
	trials []trial
	layout layout
	often  int // times the rounds of others, where a small difference matters; 0: as they
}

// trial is one proxy at one thing.
type trial struct {
	name, base  string // base: the trial of the group whose figures are 1
	proxy       contender
	mounts      int // that the upstream has
	connections int
	requests    func() [][]byte
	steps       []step
}

type step func(*round, context.Context) error

// round is one round of a trial.
type round struct {
	trial
	o       options
	process *peer.Process // nil: there is no proxy
	began   time.Time     // its start
	figures figures
}

// underLoad are the steps that compare proxies at work.
func underLoad() []step { return []step{(*round).warm, (*round).saturate, (*round).steady} }

func (g group) measure(ctx context.Context, o options) ([]figures, error) {
	rounds := make([][]figures, len(g.trials))
	for range o.rounds * max(1, g.often) {
		for i, t := range g.trials {
			f, err := t.once(ctx, o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			rounds[i] = append(rounds[i], f)
		}
	}
	var out []figures
	for i, t := range g.trials {
		f := median(rounds[i])
		f.group, f.name, f.base = g.name, t.name, t.base
		out = append(out, f)
	}
	shareOut(out)
	return out, nil
}

// shareOut works out what one thing more takes in memory, from trials with many and few.
func shareOut(all []figures) {
	for i := range all {
		f := &all[i]
		base, ok := one(all, f.group, f.base)
		if f.group == scaleGroup && ok && base.name != f.name {
			f.each = (f.idle - base.idle) / (many - few)
		}
	}
}

// once starts an upstream and the proxy, which is new to everything in each round.
func (t trial) once(ctx context.Context, o options) (f figures, err error) {
	up, err := peer.Start(ctx, []string{o.site(false).at("parts"), "-upstream", "-dir", o.dir, "-mounts", strconv.Itoa(t.mounts)})
	if err != nil {
		return f, err
	}
	defer up.Stop()
	if err := peer.Poll(ctx, 10*time.Second, func(ctx context.Context) bool { return hangUp(dialTCP(stage.PlainUpstream)(ctx)) }); err != nil {
		return f, fmt.Errorf("the upstream does not start: %w", err)
	}
	r := round{trial: t, o: o}
	if err := r.start(ctx); err != nil {
		return f, err
	}
	defer func() {
		if r.process == nil {
			return
		}
		r.process.Stop()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, r.process.Said())
		}
	}()
	return r.walk(ctx)
}

// start starts the proxy, if there is one.
func (r *round) start(ctx context.Context) (err error) {
	if len(r.proxy.args) == 0 {
		return nil
	}
	for name, text := range r.proxy.files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	r.began = time.Now()
	r.process, err = peer.Start(ctx, r.proxy.args)
	return err
}

func (r *round) walk(ctx context.Context) (figures, error) {
	if err := peer.Poll(ctx, 30*time.Second, r.answers); err != nil {
		return r.figures, fmt.Errorf("it does not answer: %w", err)
	}
	if r.process != nil {
		r.figures.ready = micros(time.Since(r.began))
	}
	if err := r.weigh(&r.figures.idle); err != nil {
		return r.figures, err
	}
	for _, step := range r.steps {
		if err := step(r, ctx); err != nil {
			return r.figures, err
		}
	}
	return r.figures, nil
}

// hangUp reports whether a connection came about.
func hangUp(conn net.Conn, err error) bool {
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// answers reports whether the proxy serves, logging in first: vrproxy learns the session
// by that, and the others pass it on.
func (r *round) answers(ctx context.Context) bool {
	return r.send(ctx, [][]byte{login("u"), read(stage.SmallPath, stage.Token)}) == nil
}

// send sends each request once, over one connection.
func (r *round) send(ctx context.Context, requests [][]byte) error {
	conn, err := r.proxy.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 128<<10)
	for _, raw := range requests {
		if _, err := conn.Write(raw); err != nil {
			return err
		}
		if err := readAnswer(in); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) load(lasts time.Duration, rate int) load {
	return load{dial: r.proxy.dial, requests: r.requests(), connections: r.connections, lasts: lasts, rate: rate}
}

func (r *round) warm(ctx context.Context) error {
	_, err := r.load(r.o.seconds/3, 0).run(ctx)
	return err
}

func (r *round) saturate(ctx context.Context) error {
	l := r.load(r.o.seconds, 0)
	before, err := r.cpu()
	if err != nil {
		return err
	}
	profiled := r.profile(ctx)
	began := time.Now()
	got, err := l.run(ctx)
	took := time.Since(began)
	if err := errors.Join(err, <-profiled); err != nil {
		return err
	}
	after, err := r.cpu()
	if err != nil {
		return err
	}
	if got.requests == 0 {
		return errors.New("no request was answered in time")
	}
	f := &r.figures
	f.cpu, f.rate = micros(after-before)/float64(got.requests), float64(got.requests)/took.Seconds()
	f.p50, f.p99, f.p999 = micros(got.quantile(.5)), micros(got.quantile(.99)), micros(got.quantile(.999))
	return r.weigh(&f.loaded)
}

func (r *round) steady(ctx context.Context) error {
	before, err := r.cpu()
	if err != nil {
		return err
	}
	got, err := r.load(r.o.seconds, fixedRate).run(ctx)
	if err != nil {
		return err
	}
	after, err := r.cpu()
	f := &r.figures
	f.steadyCPU = micros(after-before) / float64(max(1, got.requests))
	f.steady50, f.steady99, f.steady999 = micros(got.quantile(.5)), micros(got.quantile(.99)), micros(got.quantile(.999))
	return err
}

// crowd weighs a thousand connections that have sent one request and nothing since.
func (r *round) crowd(ctx context.Context) error {
	const crowd = 1000
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	raw, in := read(stage.SmallPath, stage.Token), bufio.NewReader(nil)
	for range crowd {
		c, err := r.proxy.dial(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if _, err := c.Write(raw); err != nil {
			return err
		}
		in.Reset(c)
		if err := readAnswer(in); err != nil {
			return err
		}
	}
	if err := r.weigh(&r.figures.crowded); err != nil {
		return err
	}
	r.figures.each = (r.figures.crowded - r.figures.idle) / crowd
	return nil
}

func (r *round) cpu() (time.Duration, error) {
	if r.process == nil {
		return 0, nil
	}
	return r.process.CPU()
}

// weigh tells the memory in use, in KiB.
func (r *round) weigh(out *float64) (err error) {
	if r.process == nil {
		return nil
	}
	*out, err = r.process.Resident()
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// figures are those of one trial: of one round, or medians over the rounds. 0: it was not
// measured. Times are in µs, memory is in KiB.
type figures struct {
	group, name, base             string
	cpu                           float64 // of the proxy, per request
	rate                          float64 // requests a second, as fast as they are answered
	p50, p99, p999                float64
	steadyCPU                     float64 // at fixedRate
	steady50, steady99, steady999 float64
	ready                         float64 // from its start to its first answers
	idle, loaded, crowded         float64 // just ready; under load; with 1,000 idle connections
	each                          float64 // of what there are many of: a connection, a mount, a session, a lease
	binary                        float64 // its file
}

// column is one figure, with its name in the CSV file.
type column struct {
	name  string
	value *float64
}

func (f *figures) columns() []column {
	return []column{
		{"cpu_us_per_request", &f.cpu}, {"requests_per_second", &f.rate},
		{"p50_us", &f.p50}, {"p99_us", &f.p99}, {"p999_us", &f.p999},
		{"cpu_us_at_2000", &f.steadyCPU}, {"p50_us_at_2000", &f.steady50}, {"p99_us_at_2000", &f.steady99}, {"p999_us_at_2000", &f.steady999},
		{"ready_us", &f.ready}, {"idle_kib", &f.idle}, {"loaded_kib", &f.loaded}, {"with_1000_connections_kib", &f.crowded}, {"each_kib", &f.each}, {"binary_kib", &f.binary},
	}
}

// median takes each figure for itself.
func median(rounds []figures) (out figures) {
	for i, c := range out.columns() {
		values := make([]float64, len(rounds))
		for j := range rounds {
			values[j] = *rounds[j].columns()[i].value
		}
		*c.value = middle(values)
	}
	return out
}

// middle is the median.
func middle[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}
