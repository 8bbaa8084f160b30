package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// upstream is what a simulated Vault knows that is healthy. It does the least that
// answering takes, so that it is not what is measured; the answers to reads are made once.
type upstream struct {
	small, large, written, health, mounts []byte
}

func newUpstream(mounts int) *upstream {
	return &upstream{
		small:   answer(secret(600)),
		large:   answer(secret(64 << 10)),
		written: answer(`{"data":{"version":1}}`),
		health:  answer(`{"initialized":true,"sealed":false,"standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","cluster_name":"c","cluster_id":"c"}`),
		mounts:  answer(mountTable(mounts)),
	}
}

// serveUpstream serves until it is stopped.
func serveUpstream(dir string, mounts int) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	plain, err := new(net.ListenConfig).Listen(context.Background(), "tcp", stage.PlainUpstream)
	if err != nil {
		return err
	}
	// HTTP/1.1 only: HAProxy and nginx speak nothing else to their upstreams here.
	secure, err := tls.Listen("tcp", stage.TLSUpstream, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	u := newUpstream(mounts)
	failed := make(chan error, 2)
	go func() { failed <- u.accept(plain) }()
	go func() { failed <- u.accept(secure) }()
	return <-failed
}

func (u *upstream) accept(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go u.converse(conn)
	}
}

// converse answers what comes over one connection until it is closed.
func (u *upstream) converse(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		top, err := stage.Head(in)
		if err != nil {
			return
		}
		said := u.answerTo(top)
		if bytes.HasPrefix(top, []byte("HEAD ")) {
			said = said[:bytes.Index(said, []byte("\r\n\r\n"))+4]
		}
		if err := stage.Skip(in, top); err != nil {
			return
		}
		if _, err := conn.Write(said); err != nil {
			return
		}
	}
}

func (u *upstream) answerTo(head []byte) []byte {
	path := pathOf(head)
	switch {
	case bytes.HasSuffix(path, []byte("/data/small")):
		return u.small
	case string(path) == stage.LargePath:
		return u.large
	case string(path) == "/v1/sys/health":
		return u.health
	case string(path) == "/v1/sys/internal/ui/mounts":
		return u.mounts
	case bytes.HasPrefix(path, []byte(stage.LeasePath)):
		return answer(lease())
	case bytes.HasPrefix(path, []byte(stage.LoginPath)):
		return answer(fmt.Sprintf(`{"auth":{"client_token":"%s","accessor":"a-%[1]s","policies":["default"],"lease_duration":2764800,"renewable":true}}`, stage.TokenOf(string(path[len(stage.LoginPath):]))))
	case string(path) == "/v1/auth/token/lookup-self":
		return answer(fmt.Sprintf(`{"data":{"id":"%s","accessor":"a-%[1]s","ttl":2764800,"type":"service","policies":["default"]}}`, stage.Field(head, "X-Vault-Token")))
	}
	return u.written
}

// pathOf is what a request names, without its query.
func pathOf(head []byte) []byte {
	_, rest, _ := bytes.Cut(head, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	return path
}

func answer(body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// mountTable lists what is mounted always, and so many more.
func mountTable(more int) string {
	var b strings.Builder
	b.WriteString(`{"data":{"secret":{"secret/":{"type":"kv","options":{"version":"2"}},"database/":{"type":"database"}`)
	for i := range more {
		fmt.Fprintf(&b, `,"%s/":{"type":"kv","options":{"version":"2"}}`, stage.MountName(i))
	}
	b.WriteString(`},"auth":{"token/":{"type":"token"},"userpass/":{"type":"userpass"}}}}`)
	return b.String()
}

// lease is an answer with a lease of its own.
func lease() string {
	return fmt.Sprintf(`{"request_id":"9b7a3f0e-0000-0000-0000-000000000000","lease_id":"database/creds/app/%s","renewable":true,"lease_duration":3600,"data":{"password":"p","username":"v-app"},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"database"}`, rand.Text())
}

func secret(size int) string {
	const frame = `{"request_id":"9b7a3f0e-0000-0000-0000-000000000000","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"value":"%s"},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`
	return fmt.Sprintf(frame, strings.Repeat("x", size-len(frame)+2))
}
