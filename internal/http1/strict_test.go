package http1

import (
	"io"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func BenchmarkStrict(b *testing.B) {
	in := []byte("GET /v1/secret/data/app HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nUser-Agent: Go-http-client/1.1\r\nX-Vault-Request: true\r\nX-Vault-Token: hvs.xxxxxxxxxxxxxxxxxxxxxxxx\r\nAccept-Encoding: gzip\r\n\r\n")
	b.ReportAllocs()
	var s strict
	for b.Loop() {
		if _, err := s.feed(in); err != nil {
			b.Fatal(err)
		}
	}
}
