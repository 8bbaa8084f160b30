// Package observe watches the proxy's requests: the log line of each, spans for
// tracing, and the flight recorder with the last decisions. What it costs while
// debug logging and tracing are off is one copy of a record.
package observe

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vrproxy/vrproxy/proxy"
)

// Observer is the proxy's observer: it outlives reloads.
type Observer struct {
	log      *zap.Logger
	traces   *Traces // nil: off
	flight   *Flight
	refusals Quiet
}

// New makes an observer. traces may be nil; without a logger nothing is logged.
func New(logger *zap.Logger, traces *Traces) *Observer {
	if logger == nil {
		logger = zap.NewNop()
	}
	return &Observer{log: logger, traces: traces, flight: NewFlight(Decisions)}
}

// Flight is the recorder of the last decisions.
func (o *Observer) Flight() *Flight { return o.flight }

// Begin implements proxy.Observer.
func (o *Observer) Begin(r *http.Request) context.Context {
	if o.traces == nil {
		return r.Context()
	}
	return o.traces.request(r)
}

// Attempt implements proxy.Observer.
func (o *Observer) Attempt(ctx context.Context, cluster, address string, h http.Header) func(proxy.Tried) {
	if o.traces == nil {
		return nil
	}
	return o.traces.attempt(ctx, cluster, address, h)
}

// Done implements proxy.Observer.
func (o *Observer) Done(ctx context.Context, r *proxy.Record) {
	o.flight.add(r)
	if o.traces != nil {
		o.traces.done(ctx, r)
	}
	if r.Code != "" {
		o.refused(ctx, r)
	}
	if line := o.log.Check(zap.DebugLevel, "request"); line != nil {
		line.Write(o.fields(ctx, r)...)
	}
}

// refused writes one line a second for each kind of refusal.
func (o *Observer) refused(ctx context.Context, r *proxy.Record) {
	due, left := o.refusals.Due(r.Code+" "+r.Class, time.Now())
	if !due {
		return
	}
	o.log.Info("request refused", append(o.fields(ctx, r), zap.Int("left_out", left))...)
}

// fields are those of a request's wide line.
func (o *Observer) fields(ctx context.Context, r *proxy.Record) []zap.Field {
	out := []zap.Field{
		zap.String("request_id", r.ID()), zap.String("method", r.Method), zap.String("namespace", r.Namespace),
		zap.String("mount", r.Mount), zap.String("engine", r.Engine), zap.String("class", r.Class), zap.String("reason", r.Reason),
		zap.String("rule", r.Rule), zap.String("cluster", r.Cluster), zap.Int("status", r.Status), zap.String("code", r.Code),
		zap.String("why", r.Why), zap.Int("attempts", r.Attempts), zap.Array("tried", tries(r.Tried[:])),
		zap.Uint64("topology", r.Generation), zap.Duration("took", r.Took),
	}
	if o.traces != nil {
		out = append(out, zap.String("trace_id", traceID(ctx)))
	}
	return out
}

// tries are the attempts of a line: "eu-west next, us-east done".
type tries []proxy.Tried

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (t tries) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, one := range t {
		if one.Cluster != "" {
			enc.AppendString(one.Cluster + " " + one.Verdict)
		}
	}
	return nil
}
