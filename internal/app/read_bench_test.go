//go:build unix

package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// vaultOfBytes answers what the proxy asks when it starts, logins, and any number of reads
// without allocating anything for them.
func vaultOfBytes(tb testing.TB) (url string) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerBytes(c)
		}
	}()
	return "http://" + l.Addr().String()
}

func answerBytes(c net.Conn) {
	defer c.Close()
	ok := func(body string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	answers := []struct{ path, answer []byte }{
		{[]byte(" /v1/secret/"), ok(`{"data":{"data":{"value":"` + strings.Repeat("x", 500) + `"},"metadata":{"version":1}},"auth":null}`)},
		{[]byte(" /v1/sys/health"), ok(`{"initialized":true,"sealed":false,"standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","cluster_name":"c","cluster_id":"c"}`)},
		{[]byte("/sys/internal/ui/mounts"), ok(`{"data":{"secret":{"secret/":{"type":"kv","options":{"version":"2"}}},"auth":{"token/":{"type":"token"},"userpass/":{"type":"userpass"}}}}`)},
		{[]byte("/login/"), ok(`{"auth":{"client_token":"hvs.bench","accessor":"a","policies":["default"],"lease_duration":2764800,"renewable":true}}`)},
		{nil, ok(`{"data":{"id":"hvs.bench","accessor":"a","ttl":2764800,"type":"service","policies":["default"]}}`)},
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		for _, a := range answers {
			if bytes.Contains(buf[:n], a.path) {
				_, _ = c.Write(a.answer)
				break
			}
		}
	}
}

// warmRead gives what makes one read with a known session, over a connection that is kept.
func warmRead(tb testing.TB, address string) (read func()) {
	tb.Helper()
	conn, err := dialListener(context.Background(), "plain", address, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	buf := make([]byte, 4<<10)
	ask := func(raw []byte) {
		if _, err := conn.Write(raw); err != nil {
			tb.Fatal(err)
		}
		if n, err := io.ReadAtLeast(conn, buf, 200); err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
			tb.Fatalf("%v %q", err, buf[:n])
		}
	}
	ask([]byte("POST /v1/auth/userpass/login/u HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n{\"password\":\"p\"}"))
	raw := []byte("GET /v1/secret/data/app HTTP/1.1\r\nHost: 127.0.0.1:8200\r\nUser-Agent: Go-http-client/1.1\r\nX-Vault-Request: true\r\nX-Vault-Token: hvs.bench\r\nAccept-Encoding: gzip\r\n\r\n")
	read = func() { ask(raw) }
	for range 300 {
		read()
	}
	return read
}

// BenchmarkRead is one read, over real sockets, with the CPU time of the client and of what
// stands for Vault: directly, where nothing is allocated, and through a listener.
func BenchmarkRead(b *testing.B) {
	vault := vaultOfBytes(b)
	for name, address := range map[string]string{"direct": strings.TrimPrefix(vault, "http://"), "proxy": startBefore(b, vault, `address: "127.0.0.1:0"`)} {
		b.Run(name, func(b *testing.B) {
			read := warmRead(b, address)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAllocationsOfARead: the head of the request and that of the answer, their values, the
// answer and the attempt. What the process does beside it is a part of one in 500 reads.
func TestAllocationsOfARead(t *testing.T) {
	const budget = 7
	read := warmRead(t, startBefore(t, vaultOfBytes(t), `address: "127.0.0.1:0"`))
	n := testing.AllocsPerRun(500, read)
	if raced {
		t.Logf("%v allocations, not judged: under the race detector, pools forget at random; make test counts without it, too", n)
		return
	}
	if n > budget {
		t.Errorf("%v allocations for a read, want %d at most", n, budget)
	}
}
