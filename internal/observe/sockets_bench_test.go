//go:build unix

package observe

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/proxy"
)

// BenchmarkOverSockets is one read with the client's connection to the proxy; the CPU of
// both ends is counted.
func BenchmarkOverSockets(b *testing.B) {
	for _, c := range []struct {
		name string
		o    proxy.Observer
	}{{"unwatched", nil}, {"watched", New(logging(zap.InfoLevel), nil)}} {
		b.Run(c.name, func(b *testing.B) {
			server := httptest.NewServer(inMemory(b, c.o))
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			before := cpu(b)
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/v1/secret/data/app", strings.NewReader(""))
				if err != nil {
					b.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
