//go:build unix

package app

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vrproxy/vrproxy/configs"
	"github.com/vrproxy/vrproxy/internal/lab"
)

// socket makes one as systemd does, and the file that is passed.
func socket(t *testing.T, network, address, name string) (*os.File, string) {
	t.Helper()
	var lc net.ListenConfig
	var file func() (*os.File, error)
	var at net.Addr
	switch network {
	case "tcp", "unix":
		l, err := lc.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		file, at = l.(interface{ File() (*os.File, error) }).File, l.Addr()
	default:
		l, err := lc.ListenPacket(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		file, at = l.(interface{ File() (*os.File, error) }).File, l.LocalAddr()
	}
	f, err := file()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return os.NewFile(uintptr(fd), name), at.String()
}

// TestWhichListenerTakesWhichSocket: by name, by address, then in order.
func TestWhichListenerTakesWhichSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	free, address := socket(t, "tcp", "127.0.0.1:0", "free")
	named, _ := socket(t, "tcp", "127.0.0.1:0", "vault")
	unix, _ := socket(t, "unix", path, "LISTEN_FD_5")
	other, _ := socket(t, "tcp", "127.0.0.1:0", "LISTEN_FD_6")
	admin, _ := socket(t, "tcp", "127.0.0.1:0", "admin")
	p, err := newPassedSockets([]*os.File{other, free, admin, named, unix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.close() })
	names := map[string]string{}
	for _, s := range p.left {
		names[s.addr().String()] = s.name
	}
	got, err := p.assign([]configs.Listener{{Address: "127.0.0.1:1"}, {Address: "127.0.0.1:2"}, {Address: "unix://" + path}, {Address: "systemd:vault"}, {Address: address}})
	if err != nil {
		t.Fatal(err)
	}
	for listener, want := range map[string]string{"127.0.0.1:1": "LISTEN_FD_6", "unix://" + path: "LISTEN_FD_5", "systemd:vault": "vault", address: "free"} {
		if l := got[listener]; l == nil || names[l.Addr().String()] != want {
			t.Errorf("%s took %v, want %s", listener, l, want)
		} else {
			_ = l.Close()
		}
	}
	if got["127.0.0.1:2"] != nil {
		t.Error("a listener took the socket of another room")
	}
	if err := p.unused(); err == nil || !strings.Contains(err.Error(), "admin (tcp 127.0.0.1:") {
		t.Errorf("a socket that nobody takes: %v", err)
	}
	if _, err := p.assign([]configs.Listener{{Address: "systemd:nobody"}}); err == nil || !strings.Contains(err.Error(), "FileDescriptorName=nobody") {
		t.Errorf("a name that nobody passed: %v", err)
	}
}

func TestBoundTo(t *testing.T) {
	t.Parallel()
	at := func(s string) net.Addr {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(port)
		return &net.TCPAddr{IP: net.ParseIP(host), Port: n}
	}
	for _, c := range []struct {
		bound net.Addr
		want  string
		is    bool
	}{
		{at("127.0.0.1:8200"), "127.0.0.1:8200", true},
		{at("127.0.0.1:8200"), "localhost:8200", true},
		{at("[::]:8200"), ":8200", true},
		{at("[::]:8200"), "0.0.0.0:8200", true},
		{at("127.0.0.1:8200"), "0.0.0.0:8200", false},
		{at("0.0.0.0:8200"), "127.0.0.1:8200", false},
		{at("127.0.0.1:8200"), "127.0.0.1:8201", false},
		{at("127.0.0.1:8200"), "127.0.0.1:0", false},
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}, "127.0.0.1:53", true},
		{&net.UnixAddr{Net: "unix", Name: "/s"}, "unix:///s", true},
		{&net.UnixAddr{Net: "unix", Name: "/s"}, "unix:///t", false},
		{&net.UnixAddr{Net: "unix", Name: "/s"}, "127.0.0.1:53", false},
	} {
		if got := boundTo(c.bound, c.want); got != c.is {
			t.Errorf("%s for %s: %v", c.bound, c.want, got)
		}
	}
}

// TestPassedSocketsAreServed by all rooms, and outlive the proxy.
func TestPassedSocketsAreServed(t *testing.T) {
	t.Parallel()
	data, _ := socket(t, "tcp", "127.0.0.1:0", "vault")
	adm, adminAddress := socket(t, "tcp", "127.0.0.1:0", "admin")
	tcp, dnsAddress := socket(t, "tcp", "127.0.0.1:0", "dns")
	udp, _ := socket(t, "udp", dnsAddress, "dns")
	w := newWorldOn(t, lab.Config{}, "listeners: [{address: \"systemd:vault\"}]\ndns: {address: \"127.0.0.1:1\"}", data, adm, tcp, udp)
	w.want(w.do("GET", "secret/data/hello", ""), 200, "eu-west")
	if w.app.AdminAddress() != adminAddress || w.app.DNSAddress() != dnsAddress {
		t.Errorf("admin at %s, dns at %s", w.app.AdminAddress(), w.app.DNSAddress())
	}
	w.http.CloseIdleConnections()
	at := w.app.Addresses()[0]
	w.stop()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatalf("the socket ended with the proxy, so the next one would miss connections: %v", err)
	}
	_ = c.Close()
}

func TestAPassedSocketBeyondLoopbackNeedsTLS(t *testing.T) {
	t.Parallel()
	data, _ := socket(t, "tcp", "0.0.0.0:0", "vault")
	w := &world{tb: t, lab: newWorld(t, "").lab}
	_, err := New(context.Background(), Options{Config: w.config("listeners: [{address: \"systemd:vault\"}]"), Files: []*os.File{data}})
	if err == nil || !strings.Contains(err.Error(), "allow_plaintext") {
		t.Errorf("%v", err)
	}
}

// TestReloadOfListeners: what is new is bound, what stays follows the file, what is gone
// ends; an address that can't be had changes nothing.
func TestReloadOfListeners(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	lines := func(second string) string {
		return "listeners: [{address: \"127.0.0.1:0\"}, {address: \"unix://" + first + "\", mode: \"0600\"}" + second + "]"
	}
	w := newWorld(t, lines(""))
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	kept := w.app.Addresses()[0]
	busy, _ := socket(t, "tcp", "127.0.0.1:0", "busy")
	defer busy.Close()
	taken, err := syscall.Getsockname(int(busy.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(taken.(*syscall.SockaddrInet4).Port)
	if err := w.app.Reload(t.Context(), w.config(lines(", {address: \"unix://"+second+"\"}, {address: \"127.0.0.1:"+port+"\"}"))); err == nil || !strings.Contains(err.Error(), "127.0.0.1:"+port) {
		t.Fatalf("an address in use: %v", err)
	}
	if _, err := os.Stat(second); err == nil {
		t.Error("a listener of a file that was refused is still there")
	}
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")

	next := "listeners: [{address: \"127.0.0.1:0\", require_request_header: true}, {address: \"unix://" + second + "\", mode: \"0640\"}]"
	if err := w.app.Reload(t.Context(), w.config(next)); err != nil {
		t.Fatal(err)
	}
	if w.app.Addresses()[0] != kept {
		t.Errorf("the listener moved from %s to %s", kept, w.app.Addresses()[0])
	}
	w.want(w.do("GET", "secret/data/hello", ""), 412, "")
	w.want(w.do("GET", "secret/data/hello", "", "X-Vault-Request", "true"), 200, "")
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", second)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://vault/v1/sys/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the new listener: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	eventually(t, "the old one is gone", func() bool { _, err := os.Stat(first); return err != nil })
	if err := w.app.Reload(t.Context(), w.config(strings.Replace(next, "0640", "0600", 1))); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(second); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new mode: %v, %v", info, err)
	}
}

func TestTheOwnerOfAUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "vault.sock")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65534, 65534
	}
	newWorld(t, fmt.Sprintf("listeners: [{address: \"127.0.0.1:0\"}, {address: \"unix://%s\", mode: \"0620\", user: \"%d\", group: \"%d\"}]", path, uid, gid))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := info.Sys().(*syscall.Stat_t)
	if int(s.Uid) != uid || int(s.Gid) != gid || info.Mode().Perm() != 0o620 {
		t.Errorf("%d:%d %v", s.Uid, s.Gid, info.Mode())
	}
	if _, _, err := owner(configs.Listener{User: "nobody-of-that-name"}); err == nil || !strings.Contains(err.Error(), "nobody-of-that-name") {
		t.Errorf("an unknown user: %v", err)
	}
	if uid, _, err := owner(configs.Listener{User: "root"}); err != nil || uid != 0 {
		t.Errorf("root is %d, %v", uid, err)
	}
}

// TestIdleConnectionsMakeRoom: those who keep connections for nothing shut nobody out,
// with TLS and without; those with requests keep theirs.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server", 2)
	pair := fmt.Sprintf("{cert_file: %q, key_file: %q}", filepath.Join(a.dir, "server.pem"), filepath.Join(a.dir, "server.key"))
	w := newWorld(t, "limits: {connections: 8}\nlisteners: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:00\", tls: "+pair+"}]")
	for i, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
		},
		func() (net.Conn, error) {
			d := tls.Dialer{Config: a.client().Transport.(*http.Transport).TLSClientConfig}
			return d.DialContext(t.Context(), "tcp", w.app.Addresses()[1])
		},
	} {
		label := "listener=" + w.app.listeners()[i].address
		var kept []net.Conn
		for n := range 40 {
			c, err := dial()
			if err != nil {
				t.Fatalf("connection %d: %v", n, err)
			}
			defer c.Close()
			kept = append(kept, c)
			_, _ = io.WriteString(c, "GET /v1/sys/health HTTP/1.1\r\nHost: h\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("connection %d: %v, %v", n, resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			eventually(t, "it is idle", func() bool { return w.idle(i) == min(n+1, 8) })
		}
		if open := w.metric("vrproxy_connections", label); open != 8 {
			t.Errorf("%v connections are open", open)
		}
		if closed := w.metric("vrproxy_connections_beyond_limit_total", label, "outcome=idle_closed"); closed != 32 {
			t.Errorf("%v were closed for others", closed)
		}
		if _, err := kept[0].Read(make([]byte, 1)); err == nil {
			t.Error("the longest idle connection is still there")
		}
	}
}

// idle counts the idle connections of a listener.
func (w *world) idle(i int) (n int) {
	g := w.app.listeners()[i].gate
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if c.idleSince.Load() != 0 {
			n++
		}
	}
	return n
}

// TestConnectionsWithoutRequestsAreRefusedBeyondTheLimit in Vault's shape.
func TestConnectionsWithoutRequestsAreRefusedBeyondTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {connections: 2}")
	var d net.Dialer
	for range 2 { // they say nothing, so they are not idle: they are slow
		c, err := d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := decoded(resp)
	_ = resp.Body.Close()
	if err != nil || r.status != 503 || r.code() != "overloaded" || !strings.Contains(r.body, "vrproxy: too many connections") {
		t.Errorf("%+v, %v", r, err)
	}
	if n := w.metric("vrproxy_connections_beyond_limit_total", "outcome=refused"); n != 1 {
		t.Errorf("%v were refused", n)
	}
}

func TestRequestsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {in_flight: 1}")
	if !w.app.front.metrics.flight.enter() {
		t.Fatal("the first was refused")
	}
	r := w.do("GET", "secret/data/hello", "")
	if r.status != 503 || r.code() != "overloaded" || r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, "limits.in_flight") {
		t.Errorf("%+v", r)
	}
	if n := w.metric("vrproxy_requests_beyond_limit_total"); n != 1 {
		t.Errorf("%v were counted", n)
	}
	w.app.front.metrics.flight.leave()
	w.want(w.do("GET", "secret/data/hello", ""), 200, "")
	if n := w.metric("vrproxy_requests_in_flight"); n != 0 {
		t.Errorf("%v are in flight", n)
	}
}

// TestThousandsOfIdleConnections do not hurt those with requests.
func TestThousandsOfIdleConnections(t *testing.T) { // not in parallel: it would hurt tests that measure
	w := newWorld(t, "limits: {connections: 2000}\nhealth: {interval: 5s, timeout: 5s}")
	var d net.Dialer
	for range 2500 {
		c, err := d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /v1/sys/seal-status HTTP/1.1\r\nHost: h\r\n\r\n") // then it is idle, once answered
	}
	eventually(t, "most are idle", func() bool { return w.idle(0) > 1500 })
	for range 50 {
		w.want(w.do("GET", "secret/data/hello", ""), 200, "")
		w.http.CloseIdleConnections() // each needs room anew
	}
	if open := w.metric("vrproxy_connections"); open > 2000 {
		t.Errorf("%v connections are open", open)
	}
}

// TestTunnelsAreCutAtTheEnd: a websocket has no end of its own, so it is cut when the
// time to drain is over, and counted.
func TestTunnelsAreCutAtTheEnd(t *testing.T) {
	t.Parallel()
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, `{"initialized":true,"sealed":false,"standby":false,"replication_performance_mode":"disabled","replication_dr_mode":"disabled","version":"1.21.1","data":{"mode":"disabled"}}`)
			return
		}
		c, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(c, buffered)
	}))
	t.Cleanup(vault.Close)
	w := &world{tb: t, logs: &syncBuffer{}, http: &http.Client{Transport: &http.Transport{}}}
	w.yamlOf = fmt.Sprintf("region: a\nadmin: {address: \"127.0.0.1:0\"}\nlisteners: [{address: \"127.0.0.1:0\"}]\nshutdown: {drain_timeout: 200ms}\nclusters: [{name: a, region: a, addresses: [%q], role: primary}]\n", vault.URL)
	w.run("")
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", w.app.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /v1/sys/events/subscribe/kv HTTP/1.1\r\nHost: h\r\nX-Vault-Token: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	_, _ = io.WriteString(c, "x")
	if b, err := in.ReadByte(); err != nil || b != 'x' {
		t.Fatalf("%c, %v", b, err)
	}
	w.stop()
	if _, err := in.ReadByte(); err == nil {
		t.Error("the tunnel is still there")
	}
	if !strings.Contains(w.logs.String(), `"msg":"stopped","requests_cut":1`) {
		t.Errorf("it was not counted: %s", w.logs.String())
	}
}

// TestWhoAsksWhileDrainingIsToldToGo: so that the end of the delay cuts nobody.
func TestWhoAsksWhileDrainingIsToldToGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "shutdown: {drain_delay: 3s}")
	if r := w.do("GET", "secret/data/hello", ""); r.header.Get("Connection") == "close" {
		t.Error("told to go before the end")
	}
	done := make(chan error, 1)
	go func() { done <- w.app.Stop(context.Background()) }()
	eventually(t, "it is told to go", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+w.app.Addresses()[0]+"/v1/sys/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.Close && resp.StatusCode == 200
	})
	w.http.CloseIdleConnections()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
