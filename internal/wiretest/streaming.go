package wiretest

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

func (s *suite) streaming(t *testing.T) {
	t.Run("answers as they come", s.answersAsTheyCome)
	t.Run("client gone", s.clientGone)
	t.Run("uploads as they come", s.uploadsAsTheyCome)
	t.Run("upload breaks off", s.uploadBreaksOff)
	t.Run("answer breaks off", s.answerBreaksOff)
	t.Run("websocket", s.websocket)
	t.Run("websocket refused", s.websocketRefused)
}

// answersAsTheyCome: each line is read before the next is written.
func (s *suite) answersAsTheyCome(t *testing.T) {
	t.Run("chunked", func(t *testing.T) { s.asItComes(t, "Transfer-Encoding: chunked", "%x\r\n%s\r\n", "0\r\n\r\n") })
	t.Run("to the end", func(t *testing.T) { s.asItComes(t, "Connection: close", "%[2]s", "") })
}

func (s *suite) asItComes(t *testing.T, framing, format, last string) {
	lines := make(chan string)
	s.up.On("/v1/sys/monitor", func(e *Exchange) bool {
		e.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing + "\r\n\r\n")
		for l := range lines {
			e.Write(fmt.Sprintf(format, len(l), l))
		}
		e.Write(last)
		return false
	})
	c := s.dial(t)
	c.send("GET /v1/sys/monitor HTTP/1.1\r\nHost: h\r\nX-Vrproxy-Cluster: one\r\nConnection: close\r\n\r\n")
	m, err := readHead(c.r) // the head of an endless answer comes before its first line
	if err != nil || m.Status() != 200 {
		t.Fatalf("%v %s", err, m)
	}
	body := bufio.NewReader(m.content(c.r, true))
	for _, want := range []string{"data: 1\n", "data: 2\n"} {
		lines <- want
		if got, err := body.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q %v", got, err)
		}
	}
	close(lines)
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("%q %v at the end", rest, err)
	}
}

// clientGone: a client that goes away ends its request upstream, whether the answer has
// begun or not.
func (s *suite) clientGone(t *testing.T) {
	for name, begun := range map[string]string{"begun": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "awaited": ""} {
		t.Run(name, func(t *testing.T) {
			here, gone := make(chan struct{}), make(chan struct{})
			s.up.On("/v1/gone", func(e *Exchange) bool {
				e.Write(begun)
				close(here)
				_, _ = io.Copy(io.Discard, e.R) // until the other side is gone
				close(gone)
				return false
			})
			c := s.dial(t)
			c.send("GET /v1/gone HTTP/1.1\r\nHost: h\r\n\r\n")
			s.wait(t, here, "the request did not arrive")
			_ = c.Close()
			s.wait(t, gone, "the upstream request goes on without its client")
		})
	}
}

// uploadsAsTheyCome: the upstream has the beginning before the client sends the end.
func (s *suite) uploadsAsTheyCome(t *testing.T) {
	const half = 200_000
	begun := make(chan struct{})
	s.up.On("/v1/upload", func(e *Exchange) bool {
		if _, err := io.CopyN(io.Discard, e.Body(), half/2); err != nil {
			return false
		}
		close(begun)
		_, err := io.CopyN(io.Discard, e.R, half+half/2)
		if err == nil {
			e.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		return err == nil
	})
	c := s.dial(t)
	c.send(fmt.Sprintf("PUT /v1/upload HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 2*half, strings.Repeat("x", half)))
	s.wait(t, begun, "the first half did not arrive")
	c.send(strings.Repeat("x", half))
	if m, _, err := c.answer("PUT"); err != nil || m.Status() != 200 {
		t.Errorf("%v %s", err, m)
	}
}

// uploadBreaksOff: half a body must never look like a whole one.
func (s *suite) uploadBreaksOff(t *testing.T) {
	for name, request := range map[string]string{
		"length":        " HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 200_000),
		"chunked":       " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", 200_000, strings.Repeat("x", 200_000)),
		"bad chunk":     " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\nno size\r\n\r\n", 200_000, strings.Repeat("x", 200_000)),
		"small":         " HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\nhalf",
		"small chunked": " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		path := "/v1/half/" + strings.ReplaceAll(name, " ", "-")
		broken := make(chan error, 1)
		s.up.On(path, func(e *Exchange) bool {
			broken <- e.Request.readBody(e.R, false)
			return false
		})
		c := s.dial(t)
		c.send("PUT " + path + request)
		if strings.HasPrefix(name, "small") {
			_ = c.Close()
			s.untouched(t)
			select {
			case err := <-broken:
				t.Errorf("%s: it was sent on (%v)", name, err)
			default:
			}
			continue
		}
		if name != "bad chunk" {
			_ = c.Close()
		}
		select {
		case err := <-broken:
			if err == nil {
				t.Errorf("%s: half a body was taken for a whole one", name)
			}
		case <-t.Context().Done():
		}
	}
}

// answerBreaksOff: half an answer must never look like a whole one.
func (s *suite) answerBreaksOff(t *testing.T) {
	for name, answer := range map[string]string{
		"length":     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"chunked":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"bad chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nno size\r\n",
		"JSON":       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half",
		"large JSON": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"half",
	} {
		s.up.On("/v1/broken", func(e *Exchange) bool { Say(answer)(e); return false })
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			c := s.dial(t)
			c.send("GET /v1/broken " + version + "\r\nHost: h\r\n\r\n")
			m, _, err := c.answer("GET")
			if version == "HTTP/1.0" && name != "length" && !strings.Contains(name, "JSON") {
				continue // HTTP/1.0 has no way to tell
			}
			if err == nil && m.Get("X-Vrproxy-Error") == "" {
				t.Errorf("%s: half an answer was taken for a whole one: %s", name, m)
			}
		}
	}
}

const upgrade = " HTTP/1.1\r\nHost: h\r\nX-Vault-Token: hvs.client\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"

func (s *suite) websocket(t *testing.T) {
	gone := make(chan struct{})
	s.up.On("/v1/sys/events/subscribe/kv", func(e *Exchange) bool { echo(e, gone); return false })
	t.Run("the upstream ends", func(t *testing.T) {
		c := s.talk(t)
		c.send("bye\n")
		if !c.closed() {
			t.Error("the client's end stays open")
		}
	})
	t.Run("the client ends", func(t *testing.T) {
		_ = s.talk(t).Close()
		s.wait(t, gone, "the upstream's end stays open")
	})
	got := s.up.Got("/v1/sys/events/subscribe/kv")
	if len(got) != 2 || got[0].Get("X-Vault-Token") != "hvs.client" || got[0].Get("Sec-WebSocket-Key") != "x" {
		t.Errorf("%v", got)
	}
}

// echo agrees to the upgrade and says each line again, until one says bye; it tells when
// the other side is gone.
func echo(e *Exchange, gone chan<- struct{}) {
	e.Record()
	e.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhello\n")
	for {
		line, err := e.R.ReadString('\n')
		if err != nil {
			close(gone)
			return
		}
		if line == "bye\n" {
			return
		}
		e.Write("echo " + line)
	}
}

// talk opens a websocket and exchanges lines that are no HTTP, and some that look like
// it; the first before it was agreed to.
func (s *suite) talk(t *testing.T) *client {
	t.Helper()
	c := s.dial(t)
	c.send("GET /v1/sys/events/subscribe/kv" + upgrade + "early\x00\n")
	m, err := readHead(c.r)
	if err != nil || m.Status() != 101 || m.Get("Sec-WebSocket-Accept") != "y" || m.Get("X-Vrproxy-Cluster") != "one" || !strings.EqualFold(m.Get("Upgrade"), "websocket") {
		t.Fatalf("%v %s", err, m)
	}
	for _, want := range []string{"hello\n", "echo early\x00\n"} {
		if got, err := c.r.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q %v", got, err)
		}
	}
	c.send("GET / HTTP/1.1\n")
	if got, err := c.r.ReadString('\n'); err != nil || got != "echo GET / HTTP/1.1\n" {
		t.Fatalf("%q %v", got, err)
	}
	return c
}

// websocketRefused: what a client sends behind an upgrade that comes to nothing is not
// taken for a request.
func (s *suite) websocketRefused(t *testing.T) {
	s.up.On("/v1/sys/events/subscribe/no", Say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
	c := s.dial(t)
	c.send("GET /v1/sys/events/subscribe/no" + upgrade + "GET /v1/evil HTTP/1.1\r\nHost: h\r\n\r\n")
	if m, _, err := c.answer("GET"); err != nil || m.Status() != 403 || !c.closed() {
		t.Errorf("%v %s", err, m)
	}
	if got := s.up.Got("/v1/evil"); len(got) > 0 {
		t.Errorf("served: %v", got)
	}
}

// untouched: an ordinary request is served as ever.
func (s *suite) untouched(t testing.TB) {
	t.Helper()
	if m := s.ask(t, "GET", "GET /v1/ordinary HTTP/1.1\r\nHost: h\r\n\r\n"); m.Status() != 204 {
		t.Errorf("an ordinary request: %s", m)
	}
}

func (s *suite) wait(t testing.TB, done <-chan struct{}, text string) {
	t.Helper()
	c := s.dial(t) // its deadline is the patience here
	defer c.Close()
	over := make(chan struct{})
	go func() { _, _ = c.r.ReadByte(); close(over) }()
	select {
	case <-done:
		_ = c.Close()
	case <-over:
		t.Fatal(text)
	}
	<-over
}

// Large carries a body of this size both ways and wants the heap to stay as it is. It
// must not run beside other tests.
func Large(t *testing.T, start Start, size int64) {
	up := NewUpstream(t, nil)
	s := &suite{front: start(t, up.URL), up: up}
	for _, path := range []string{"/v1/sys/storage/raft/snapshot", "/v1/large"} {
		up.On(path, func(e *Exchange) bool {
			if e.Request.method() == "GET" {
				e.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size))
				_, err := io.CopyN(e.Conn, zeros{}, size)
				return err == nil
			}
			n, _ := io.Copy(io.Discard, e.Body())
			e.Write(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Size: %d\r\nContent-Length: 0\r\n\r\n", n))
			return false
		})
	}
	t.Run("down", func(t *testing.T) {
		c := s.dial(t)
		c.send("GET /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: h\r\nX-Vrproxy-Cluster: one\r\n\r\n")
		m, err := readHead(c.r)
		if err != nil {
			t.Fatal(err)
		}
		flat(t, size, func() (int64, error) { return io.Copy(io.Discard, m.content(c.r, true)) })
	})
	t.Run("up", func(t *testing.T) {
		c := s.dial(t)
		c.send(fmt.Sprintf("PUT /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: h\r\nX-Vrproxy-Cluster: one\r\nContent-Length: %d\r\n\r\n", size))
		flat(t, size, func() (int64, error) { return io.CopyN(c.Conn, zeros{}, size) })
		if m, _, err := c.answer("PUT"); err != nil || m.Get("X-Size") != fmt.Sprint(size) {
			t.Errorf("%v %s", err, m)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil } // whatever was there

// flat runs a transfer of a known size; all that it allocates on the way, also what is
// collected again, has to be little.
func flat(t *testing.T, size int64, transfer func() (int64, error)) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := transfer()
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MiB were allocated for a body of %d MiB", grown>>20, size>>20)
	}
	t.Logf("%d MiB: %d KiB allocated", size>>20, (after.TotalAlloc-before.TotalAlloc)>>10)
}
