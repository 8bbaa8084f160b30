package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is one thing that goes wrong for a while. mend undoes it.
type fault struct {
	kind, cluster string
	after, lasts  time.Duration // after the one before
}

func (f fault) String() string {
	return fmt.Sprintf("%s %s for %v", f.kind, f.cluster, f.lasts.Round(time.Millisecond))
}

// mends are what undoes the faults of a cluster that the laboratory has.
func mends() map[string]string {
	return map[string]string{
		"kill": "restart", "seal": "unseal", "stall": "resume", "blackhole": "heal", "slow": "heal",
		"partition": "heal", "mute": "heal", "deafen": "heal",
	}
}

// clocks are jumps of a cluster's clock. By the first its leases are over, by the second
// its tokens as well.
func clocks() map[string]time.Duration {
	return map[string]time.Duration{"clock ahead": 2 * time.Hour, "clock far ahead": 40 * 24 * time.Hour, "clock behind": -2 * time.Hour}
}

// toxics are what is done to a line, in toxiproxy's words.
func toxics() map[string]string {
	return map[string]string{
		"line slow":            `{"name":"x","type":"latency","stream":"downstream","attributes":{"latency":80,"jitter":60}}`,
		"line thin":            `{"name":"x","type":"bandwidth","stream":"downstream","attributes":{"rate":20}}`,
		"line resets":          `{"name":"x","type":"reset_peer","stream":"upstream","attributes":{"timeout":20}}`,
		"line dead":            `{"name":"x","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`,
		"line dead to Vault":   `{"name":"x","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`,
		"line dead from Vault": `{"name":"x","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`,
		"line cuts answers":    `{"name":"x","type":"limit_data","stream":"downstream","attributes":{"bytes":900}}`,
	}
}

// plan makes the schedule of a seed: one fault after another, now and then two at a
// time, at clusters other than the one that has to be well.
func plan(seed uint64, length time.Duration) []fault {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // it has to be the same for the same seed
	names := kindNames()
	var out []fault
	for total := time.Duration(0); total < length; {
		f := fault{
			kind:    names[random.IntN(len(names))],
			cluster: []string{"eu-west", "eu-west", "us-east", "us-east", "us-west"}[random.IntN(5)],
			after:   time.Duration(100+random.IntN(500)) * time.Millisecond,
			lasts:   time.Duration(200+random.IntN(1500)) * time.Millisecond,
		}
		total += f.after + f.lasts/2
		out = append(out, f)
	}
	switch random.IntN(3) { // once in a run at most, the primary changes
	case 0:
		out = append(out, fault{kind: "promote the DR copy", cluster: "us-east", after: 200 * time.Millisecond})
	case 1:
		out = append(out, fault{kind: "switch over to us-west", cluster: "us-east", after: 200 * time.Millisecond})
	}
	return out
}

func kindNames() []string {
	return []string{
		"kill", "kill", "seal", "stall", "blackhole", "partition", "slow", "reset before receipt", "reset after receipt", "reset after receipt",
		"line slow", "line thin", "line resets", "line dead", "line dead to Vault", "line dead from Vault", "line cuts answers",
		"mute", "deafen", "clock ahead", "clock far ahead", "clock behind",
	}
}

// trouble is what is wrong now, and when what was wrong.
type trouble struct {
	mu    sync.Mutex
	since map[string]time.Time // by cluster: of the fault that is on
	past  []span
}

type span struct {
	cluster    string
	fault      string
	began, end time.Time
}

func (x *trouble) begin(cluster string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.since[cluster] = time.Now()
}

func (x *trouble) over(f fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.past = append(x.past, span{f.cluster, f.kind, x.since[f.cluster], time.Now()})
	delete(x.since, f.cluster)
}

// busy reports whether a cluster may be broken now: it is well, and another would be.
func (x *trouble) busy(cluster string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, broken := x.since[cluster]
	return broken || len(x.since) >= 2
}

// recovery is how long after a fault its consequences may last: rising, holding back,
// following a new primary.
const recovery = 4 * time.Second

// lossy reports whether an answer came while the primary changed, or so shortly before
// that Vault need not have replicated it: what is lost then, Vault lost.
func (x *trouble) lossy(began, ended time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	const lag = 250 * time.Millisecond
	return slices.ContainsFunc(x.past, func(s span) bool {
		return changesPrimary(s.fault) && began.Before(s.end.Add(lag)) && ended.After(s.began.Add(-lag))
	})
}

// jumped reports whether the clock of a cluster was wrong at some time after a moment.
func (x *trouble) jumped(cluster string, after time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.ContainsFunc(x.past, func(s span) bool {
		_, clock := clocks()[s.fault]
		return clock && s.cluster == cluster && s.end.After(after)
	})
}

func changesPrimary(kind string) bool {
	return strings.HasPrefix(kind, "promote") || strings.HasPrefix(kind, "switch")
}

// justified reports whether something was wrong while a request was under way, at one
// of these clusters; none: at any.
func (x *trouble) justified(began, ended time.Time, clusters ...string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	concerns := func(c string) bool { return len(clusters) == 0 || slices.Contains(clusters, c) }
	for c, since := range x.since {
		if concerns(c) && since.Before(ended) {
			return true
		}
	}
	for _, s := range x.past {
		if concerns(s.cluster) && s.began.Before(ended) && s.end.Add(recovery).After(began) {
			return true
		}
	}
	return false
}

// torment runs a schedule.
func (w *world) torment(ctx context.Context, faults []fault, x *trouble, log func(string, ...any)) {
	var on sync.WaitGroup
	defer on.Wait()
	for _, f := range faults {
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.after):
		}
		if changesPrimary(f.kind) {
			on.Wait() // everything is well again
			x.begin(f.cluster)
			if err := w.changePrimary(ctx, f); err != nil {
				log("%s: %v", f.kind, err)
			}
			x.over(f)
			continue
		}
		if x.busy(f.cluster) {
			continue
		}
		x.begin(f.cluster)
		w.set(f, true, log)
		on.Go(func() {
			defer x.over(f)
			select {
			case <-ctx.Done():
			case <-time.After(f.lasts):
			}
			w.set(f, false, log)
		})
	}
}

// set breaks or mends.
func (w *world) set(f fault, broken bool, log func(string, ...any)) {
	if toxic, ok := toxics()[f.kind]; ok {
		line, err := w.lines[f.cluster], error(nil)
		if broken {
			_, err = line.Toxics.AddToxicJson(strings.NewReader(toxic))
		} else {
			err = line.Toxics.RemoveToxic(context.Background(), "x")
		}
		if err != nil {
			log("%v: %v", f, err)
		}
		return
	}
	if ahead, ok := clocks()[f.kind]; ok {
		if !broken {
			ahead = 0
		}
		w.lab.Cluster(f.cluster).SetClock(ahead)
		return
	}
	switch {
	case f.kind == "reset before receipt" && broken:
		w.lab.Cluster(f.cluster).ResetBefore(3)
	case f.kind == "reset after receipt" && broken:
		w.lab.Cluster(f.cluster).ResetAfter(3)
	case strings.HasPrefix(f.kind, "reset"):
		w.lab.Cluster(f.cluster).ResetBefore(0)
		w.lab.Cluster(f.cluster).ResetAfter(0)
	default:
		action := f.kind
		if !broken {
			action = mends()[f.kind]
		}
		if err := w.lab.Do(f.cluster, action); err != nil {
			log("%v: %v", f, err)
		}
	}
}

// changePrimary makes another cluster primary the way an operator does it: when the new
// one has all that the old one has. What is written in the moment of the change may be
// lost, by Vault.
func (w *world) changePrimary(ctx context.Context, f fault) error {
	if strings.HasPrefix(f.kind, "switch") {
		if err := w.caughtUp(ctx, "us-west", "performance", "last_performance_wal"); err != nil {
			return err
		}
		return errors.Join(w.lab.Do("us-east", "demote"), w.lab.Do("us-west", "promote"))
	}
	if err := w.caughtUp(ctx, "us-east-dr", "dr", "last_dr_wal"); err != nil {
		return err
	}
	w.lab.Cluster("us-east").Kill()
	return w.lab.Do("us-east-dr", "promote")
}

// caughtUp waits until a cluster has what us-east has now.
func (w *world) caughtUp(ctx context.Context, cluster, mode, wal string) error {
	_, there := w.ask(ctx, "us-east", "GET", "sys/replication/"+mode+"/status", "")
	want, _ := there[wal].(float64)
	for range 500 {
		_, here := w.ask(ctx, cluster, "GET", "sys/replication/"+mode+"/status", "")
		if got, _ := here["last_remote_wal"].(float64); got >= want && want > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not catch up with us-east", cluster)
}
