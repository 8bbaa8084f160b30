package observe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/proxy"
)

const (
	exportTimeout = 10 * time.Second
	flushTimeout  = 5 * time.Second
)

// TraceConfig says where spans go.
type TraceConfig struct {
	Endpoint string      // OTLP over HTTP: a URL; without a path, /v1/traces
	TLS      *tls.Config // nil: the system's authorities
	// Sample is the share of traces that begin here; whoever called may have decided.
	Sample          float64
	Region, Version string
	Logger          *zap.Logger
}

// Traces makes a span of each request and of each of its attempts, and sends them by
// OTLP. The trace context is taken from the client (W3C traceparent) and handed on to
// Vault.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	w3c      propagation.TraceContext
}

// NewTraces prepares the export; nothing is dialled yet. Whoever makes one calls Close.
func NewTraces(ctx context.Context, cfg TraceConfig) (*Traces, error) {
	endpoint := cfg.Endpoint
	if scheme, rest, _ := strings.Cut(endpoint, "://"); !strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		endpoint = scheme + "://" + strings.TrimSuffix(rest, "/") + "/v1/traces"
	}
	uploader, err := newUploader(endpoint, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	exporter, err := otlptrace.New(ctx, uploader)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	// The SDK tells of failed exports in no other way than through this global.
	var quiet Quiet
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if due, left := quiet.Due("", time.Now()); due {
			cfg.Logger.Warn("tracing: spans are lost", zap.Error(err), zap.Int("left_out", left))
		}
	}))
	about := resource.NewSchemaless(attribute.String("service.name", "vrproxy"), attribute.String("service.version", cfg.Version),
		attribute.String("cloud.region", cfg.Region))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Sample))),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("github.com/vrproxy/vrproxy")}, nil
}

// Close sends what is left. That a collector does not take it is said in the log, and is
// no failure of a stop.
func (t *Traces) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
	return nil
}

// request begins the span of a request.
func (t *Traces) request(r *http.Request) context.Context {
	ctx := t.w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, _ = t.tracer.Start(ctx, "vault request", trace.WithSpanKind(trace.SpanKindServer)) // named and ended by done
	return ctx
}

// attempt begins the span of an attempt and tells Vault of it.
func (t *Traces) attempt(ctx context.Context, cluster, address string, h http.Header) func(proxy.Tried) {
	ctx, span := t.tracer.Start(ctx, "attempt "+cluster, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("vrproxy.cluster", cluster), attribute.String("server.address", address)))
	h.Del("Tracestate") // of the parent; what belongs to this span follows
	t.w3c.Inject(ctx, propagation.HeaderCarrier(h))
	return func(tried proxy.Tried) {
		span.SetAttributes(attribute.String("vrproxy.verdict", tried.Verdict))
		if tried.Status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", tried.Status))
		}
		if tried.Verdict != "done" {
			span.SetStatus(codes.Error, tried.Verdict)
		}
		span.End()
	}
}

// done ends the span of a request. Its name has few values: paths may be anything.
func (t *Traces) done(ctx context.Context, r *proxy.Record) {
	span := trace.SpanFromContext(ctx)
	span.SetName(strings.TrimSpace(r.Method + " " + r.Engine))
	span.SetAttributes(
		attribute.String("vrproxy.request_id", r.ID()), attribute.String("vrproxy.class", r.Class), attribute.String("vrproxy.reason", r.Reason),
		attribute.String("vrproxy.mount", r.Mount), attribute.String("vrproxy.cluster", r.Cluster), attribute.Int("vrproxy.attempts", r.Attempts),
		attribute.String("http.request.method", r.Method), attribute.Int("http.response.status_code", r.Status),
	)
	if r.Code != "" {
		span.SetAttributes(attribute.String("vrproxy.error", r.Code))
	}
	if r.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, r.Code)
	}
	span.End()
}

func traceID(ctx context.Context) string {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}
