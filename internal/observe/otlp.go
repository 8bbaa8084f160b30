package observe

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	firstPause = time.Second // before spans that a collector has no room for are sent again,
	lastPause  = time.Minute // then twice as long each time, until the batch's time is over
	errorText  = 1 << 10     // of a collector's answer that is told
)

// uploader sends spans by OTLP over HTTP (protobuf). It takes the place of OpenTelemetry's
// client for that, which brings gRPC without using it: that costs every process 4 MB.
type uploader struct {
	endpoint string
	header   http.Header
	client   *http.Client
	stop     sync.Once
	stopped  chan struct{}
}

func newUploader(endpoint string, t *tls.Config) (*uploader, error) {
	header, err := headersOf(os.Getenv("OTEL_EXPORTER_OTLP_HEADERS"), os.Getenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS"))
	if err != nil {
		return nil, err
	}
	header.Set("Content-Type", "application/x-protobuf")
	return &uploader{endpoint: endpoint, header: header, stopped: make(chan struct{}), client: &http.Client{Timeout: exportTimeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: exportTimeout, IdleConnTimeout: time.Minute,
	}}}, nil
}

// headersOf reads what the OpenTelemetry specification has as "key=value,key=value", with
// values escaped as in URLs. Later lists win.
func headersOf(lists ...string) (http.Header, error) {
	h := make(http.Header)
	for _, list := range lists {
		for i, pair := range strings.Split(list, ",") {
			if strings.TrimSpace(pair) == "" {
				continue
			}
			key, value, ok := strings.Cut(pair, "=")
			value, err := url.PathUnescape(strings.TrimSpace(value))
			if !ok || err != nil { // which may be a secret
				return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: entry %d is not KEY=VALUE with VALUE escaped as in a URL", i+1)
			}
			h.Set(strings.TrimSpace(key), value)
		}
	}
	return h, nil
}

// Start implements otlptrace.Client.
func (*uploader) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client: it ends what is under way.
func (u *uploader) Stop(context.Context) error {
	u.stop.Do(func() { close(u.stopped) })
	u.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client: it sends a batch, again and again while the
// collector says that it may.
func (u *uploader) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	// It is encoded as ExportTraceServiceRequest is.
	body, err := proto.Marshal(&otlp.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-u.stopped:
		}
	}()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		wait, err := u.send(ctx, body)
		if err == nil || wait < 0 {
			return err
		}
		timer := time.NewTimer(max(wait, pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// send sends a batch once. After an error, again is how long the collector wants to be left
// alone; negative: for good.
func (u *uploader) send(ctx context.Context, body []byte) (again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.endpoint, bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("the collector's address: %w", err)
	}
	req.Header = u.header.Clone()
	resp, err := u.client.Do(req)
	if err != nil {
		return -1, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, errorText)) // as much as there is
	err = fmt.Errorf("the collector answered %s: %s", resp.Status, bytes.TrimSpace(text))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date is as good as nothing
		return time.Duration(max(seconds, 0)) * time.Second, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return -1, err
	}
	return 0, nil
}
