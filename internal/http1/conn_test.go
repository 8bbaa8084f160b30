package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener for connections within the process.
type pipes struct {
	in   chan net.Conn
	over chan struct{}
	end  func()
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.end(); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// house is a server and those who are connected to it.
type house struct {
	*Server
	t      *testing.T
	l      *pipes
	served chan error
	states sync.Map // net.Conn: the last state
}

// start runs a server within a bubble; it ends with it.
func start(t *testing.T, cfg Config) *house {
	t.Helper()
	h := &house{t: t, l: &pipes{in: make(chan net.Conn), over: make(chan struct{})}, served: make(chan error, 1)}
	h.l.end = sync.OnceFunc(func() { close(h.l.over) })
	cfg.State = func(c net.Conn, s http.ConnState) { h.states.Store(c, s) }
	h.Server = NewServer(cfg)
	go func() { h.served <- h.Serve(h.l) }()
	t.Cleanup(func() {
		_ = h.Close()
		if err := <-h.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving: %v", err)
		}
		h.running.Wait()
	})
	return h
}

// client is a connection to a server.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (h *house) dial() *client {
	h.t.Helper()
	ours, theirs := net.Pipe()
	select {
	case h.l.in <- theirs:
	case <-h.l.over:
		h.t.Fatal("nobody accepts")
	}
	h.t.Cleanup(func() { _ = ours.Close() })
	return &client{ours, h.t, bufio.NewReader(ours)}
}

func (c *client) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("%q: %v", s, err)
	}
}

// hear reads an answer.
func (c *client) hear() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// ended wants nothing more to come.
func (c *client) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Errorf("%q %v where the connection should end", rest, err)
	}
}

const get = "GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n"

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s", r.RequestURI, body)
}

// One connection carries one request after the other, also those that come ahead of time.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Handler: http.HandlerFunc(echo)}).dial()
		for i := range 500 {
			c.say(fmt.Sprintf("PUT /v1/%d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", i))
			if resp, body := c.hear(); resp.StatusCode != 200 || body != fmt.Sprintf("/v1/%d hello", i) || resp.Close {
				t.Fatalf("%v %q", resp, body)
			}
		}
		go func() {
			for i := range 100 {
				c.say(fmt.Sprintf("PUT /v1/%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /v1/%d/b HTTP/1.1\r\nHost: h\r\n\r\n", i, i))
			}
		}()
		for i := range 100 {
			for _, want := range []string{fmt.Sprintf("/v1/%d hello", i), fmt.Sprintf("/v1/%d/b ", i)} {
				if _, body := c.hear(); body != want {
					t.Fatalf("%q, want %q", body, want)
				}
			}
		}
		c.say("GET /v1/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if resp, _ := c.hear(); !resp.Close {
			t.Error("the end is not told")
		}
		c.ended()
	})
}

// after measures how long a client is borne.
func (c *client) after(least, most time.Duration) {
	c.t.Helper()
	begin := time.Now()
	c.ended()
	if d := time.Since(begin); d < least || d > most {
		c.t.Errorf("the connection ended after %v, not between %v and %v", d, least, most)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	cfg := Config{Handler: http.NotFoundHandler(), HeaderTimeout: 10 * time.Second, IdleTimeout: 100 * time.Second}
	for name, f := range map[string]func(*house){
		"nothing":     func(h *house) { h.dial().after(10*time.Second, 10*time.Second) },
		"half a head": func(h *house) { c := h.dial(); c.say("GET /v1/x HTTP"); c.after(10*time.Second, 10*time.Second) },
		"idle":        func(h *house) { c := h.dial(); c.say(get); c.hear(); c.after(75*time.Second, 100*time.Second) },
		"half a head of the second": func(h *house) {
			c := h.dial()
			c.say(get)
			c.hear()
			c.say(get[:20])
			c.after(10*time.Second, 10*time.Second)
		},
		"half a head, drop by drop": func(h *house) {
			c := h.dial()
			c.say(get)
			c.hear()
			drop := time.NewTicker(3 * time.Second)
			defer drop.Stop()
			c.say("GET /v1/x HTTP/1.1\r\n")
			for range 3 {
				<-drop.C
				c.say("X: y\r\n")
			}
			c.after(time.Second, time.Second)
		},
		"half a head ahead of time": func(h *house) {
			c := h.dial()
			c.say(get + get[:20])
			c.hear()
			c.after(10*time.Second, 10*time.Second)
		},
		"never idle for long": func(h *house) { // the deadline is moved only where that makes a difference
			c := h.dial()
			for i := range 100 {
				c.say(get)
				c.hear()
				<-time.After(time.Duration(i%75) * time.Second)
			}
			c.say(get)
			c.hear()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(start(t, cfg)) })
		})
	}
}

// A handler bounds the reads of its body.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]string{"length": "Content-Length: 10\r\n\r\nhalf", "chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "trailer": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second)); err != nil {
						t.Error(err)
					}
					body, err := io.ReadAll(r.Body)
					if string(body) != "half" || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%q %v", body, err)
					}
					w.WriteHeader(http.StatusRequestTimeout)
				})}).dial()
				c.say(head + half)
				if resp, _ := c.hear(); resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
					t.Errorf("%v", resp)
				}
				c.after(0, 0)
			})
		})
	}
}

// The time that a head had, or the request before, is not that of a body.
func TestBodiesHaveTheirOwnTime(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{"fresh": "", "ahead of time": "GET /v1/bounds HTTP/1.1\r\nHost: h\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Config{HeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.RequestURI == "/v1/bounds" {
						_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
						<-time.After(time.Minute)
					}
					echo(w, r)
				})}).dial()
				c.say(before + head + "Content-Length: 5\r\n\r\nhe")
				if before != "" {
					c.hear()
				}
				<-time.After(time.Hour)
				go func() { _, _ = io.WriteString(c, "llo") }() // to nobody, perhaps
				if resp, body := c.hear(); resp.StatusCode != 200 || body != "/v1/x hello" {
					t.Errorf("%v %q", resp, body)
				}
			})
		})
	}
}

const expects = "PUT /v1/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"

func TestContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Refuse") == "" {
				echo(w, r)
			}
		})})
		c := h.dial()
		for range 2 { // it is said when the handler reads, each time
			c.say(expects)
			if resp, _ := c.hear(); resp.StatusCode != http.StatusContinue {
				t.Fatalf("%v", resp)
			}
			c.say("hello")
			if resp, body := c.hear(); body != "/v1/x hello" || resp.Close {
				t.Errorf("%v %q", resp, body)
			}
		}
		c.say(strings.Replace(expects, "\r\n", "\r\nX-Refuse: 1\r\n", 1))
		if resp, _ := c.hear(); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("of a body that nobody wants: %v", resp)
		}
		c.ended()
		old := h.dial()
		old.say(strings.Replace(expects, "HTTP/1.1", "HTTP/1.0", 1) + "hello")
		if _, body := old.hear(); body != "/v1/x hello" {
			t.Errorf("HTTP/1.0: %q", body)
		}
	})
}

// An early answer to a large upload arrives: the connection ends behind it, and is not reset
// before it could be read.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{"length": "Content-Length: 20000000\r\n\r\n", "chunked": "Transfer-Encoding: chunked\r\n\r\n1312d00\r\n"} {
		ours, theirs := connected(t)
		var both sync.WaitGroup
		both.Go(func() {
			serve(theirs, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
		})
		both.Go(func() {
			_, _ = io.WriteString(ours, head+framing)
			_, _ = io.CopyN(ours, zeros{}, 20_000_000) // as much as is read
		})
		c := &client{ours, t, bufio.NewReader(ours)}
		if resp, _ := c.hear(); resp.StatusCode != http.StatusForbidden || !resp.Close {
			t.Errorf("%s: %v", name, resp)
		}
		c.ended()
		_ = ours.Close()
		both.Wait()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil } // whatever was there

// A client that goes away while its request waits ends the request's context.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{"no body": get, "body": head + "Content-Length: 5\r\n\r\nhello"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan time.Duration, 1)
				h := start(t, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					begin := time.Now()
					<-r.Context().Done()
					gone <- time.Since(begin)
				})})
				c := h.dial()
				c.say(request)
				synctest.Wait()
				<-time.After(time.Hour) // it may take its time
				_ = c.Close()
				if d := <-gone; d < time.Hour || d > time.Hour+time.Second {
					t.Errorf("it was told after %v", d)
				}
				h.running.Wait()
			})
		})
	}
}

// One that sends the next request meanwhile has not gone, and gets both answers.
func TestClientAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("it has gone")
			case <-time.After(time.Minute):
			}
			echo(w, r)
		})}).dial()
		c.say(get)
		<-time.After(10 * time.Second)
		c.say(head + "Content-Length: 5\r\n\r\n") // the watch reads this
		go c.say("hello")
		for _, want := range []string{"/v1/x ", "/v1/x hello"} {
			if _, body := c.hear(); body != want {
				t.Errorf("%q, want %q", body, want)
			}
		}
	})
}

// A request may take any time without the watch, or a deadline that it left, being in the way
// of the next one.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-time.After(time.Duration(len(r.RequestURI)) * 30 * time.Millisecond)
			echo(w, r)
		}), HeaderTimeout: time.Second, IdleTimeout: 10 * time.Second})
		c := h.dial()
		for i := range 200 {
			path := "/" + strings.Repeat("x", i)
			c.say("PUT " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok")
			if _, body := c.hear(); body != path+" ok" {
				t.Fatalf("%q", body)
			}
			<-time.After(time.Duration(i%8) * time.Second)
		}
	})
}

// A streamed answer ends with its client, and with one that does not read it.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	for name, goes := range map[string]bool{"gone": true, "stalled": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				over := make(chan error, 1)
				h := start(t, Config{WriteTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					for {
						_, err := io.WriteString(w, "data\n")
						if err := errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
							over <- err
							return
						}
						<-time.After(time.Second)
					}
				})})
				c := h.dial()
				c.say(get)
				if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
					t.Fatalf("%q %v", line, err)
				}
				begin := time.Now()
				if goes {
					_ = c.Close()
				}
				if err := <-over; goes != !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v", err)
				}
				if d := time.Since(begin); goes && d > 2*time.Second || d > 62*time.Second {
					t.Errorf("it went on for %v", d)
				}
				h.running.Wait()
			})
		})
	}
}

// Shutdown cuts nothing, and lets nobody in.
func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.RequestURI {
			case "/wait":
				<-release
			case "/hijack":
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
				return
			}
			echo(w, r)
		})})
		silent, first, idle, active, half, tunnel := h.dial(), h.dial(), h.dial(), h.dial(), h.dial(), h.dial()
		idle.say(get)
		idle.hear()
		active.say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		half.say(get[:20])
		tunnel.say("GET /hijack HTTP/1.1\r\nHost: h\r\n\r\n")
		synctest.Wait()

		down := make(chan error, 1)
		go func() { down <- h.Shutdown(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-down:
			t.Fatalf("it is down with requests under way: %v", err)
		case <-h.l.over:
		}
		idle.after(0, 0)
		<-time.After(freshGrace / 2)
		first.say(get)
		half.say(get[20:])
		for _, c := range []*client{first, half} {
			if resp, body := c.hear(); body != "/v1/x " || !resp.Close {
				t.Errorf("%v %q", resp, body)
			}
			c.after(0, 0)
		}
		silent.after(freshGrace/2, freshGrace/2)
		<-time.After(time.Hour)
		close(release)
		if resp, body := active.hear(); body != "/wait " || !resp.Close {
			t.Errorf("%v %q", resp, body)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
		_ = h.Close()
		tunnel.say("hello")
		if _, err := io.ReadFull(tunnel, make([]byte, 5)); err != nil {
			t.Errorf("a tunnel was cut: %v", err)
		}
		_ = tunnel.Close()
		late, theirs := net.Pipe()
		h.start(theirs)
		if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("somebody was let in: %v", err)
		}
	})
}

// hooked is a connection that does something before the next deadline of its reads is set.
type hooked struct {
	net.Conn
	next chan func()
	last atomic.Pointer[time.Time] // deadline
}

func (h *hooked) SetReadDeadline(t time.Time) error {
	select {
	case f := <-h.next:
		f()
	default:
	}
	h.last.Store(&t)
	return h.Conn.SetReadDeadline(t)
}

// A connection whose first request comes while it is given its moment has all the time that
// others have.
func TestShutdownMeetsARequest(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	raw, entered, begun := &hooked{Conn: theirs, next: make(chan func(), 1)}, make(chan struct{}), make(chan struct{})
	s := NewServer(Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		_, _ = io.Copy(io.Discard, r.Body)
	})})
	raw.next <- func() { close(begun) }
	s.start(raw)
	<-begun // its own deadline is set
	raw.next <- func() {
		_, _ = io.WriteString(ours, head+"Content-Length: 10\r\n\r\nhalf")
		early := time.NewTimer(50 * time.Millisecond) // for a request that does not wait
		defer early.Stop()
		select {
		case <-entered:
		case <-early.C:
		}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if err := s.Shutdown(left); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-entered
	if by := raw.last.Load(); !by.IsZero() {
		t.Errorf("its body has to come until %v", by)
	}
	_ = s.Close()
	s.running.Wait()
}

// unlocked is a connection whose end must not be waited for with a lock held.
type unlocked struct {
	net.Conn
	t      testing.TB
	mu     *sync.Mutex
	closed int
}

func (u *unlocked) Close() error {
	u.closed++
	if !u.mu.TryLock() {
		u.t.Error("the lock is held while it closes")
		return nil
	}
	u.mu.Unlock()
	return nil
}

// Others go on while what is closed takes its time.
func TestClosesWithoutTheLock(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*Server) error{"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) }, "Close": (*Server).Close} {
		s := NewServer(Config{})
		raw := &unlocked{t: t, mu: &s.mu}
		s.enter(&pipes{end: func() { _ = raw.Close() }})
		c := &conn{s: s, raw: raw}
		c.state.Store(idle)
		s.conns[c] = struct{}{}
		if err := leave(s); err != nil || raw.closed != 2 {
			t.Errorf("%s: %v, %d of 2 closed", name, err, raw.closed)
		}
	}
}

func TestShutdownWithinTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
		c := h.dial()
		c.say(get)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		c.ended()
		h.running.Wait() // its context has ended
		if err := h.Serve(h.l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%v", err)
		}
	})
}

// What becomes of connections is told as by net/http.
func TestStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-time.After(time.Second)
			if r.RequestURI == "/hijack" {
				conn, _, _ := http.NewResponseController(w).Hijack()
				_ = conn.Close()
			}
		})})
		is := func(want http.ConnState) {
			t.Helper()
			synctest.Wait()
			var got []http.ConnState
			h.states.Range(func(_, s any) bool { got = append(got, s.(http.ConnState)); return true })
			if len(got) != 1 || got[0] != want {
				t.Errorf("%v, want %v", got, want)
			}
		}
		c := h.dial()
		is(http.StateNew)
		for range 2 {
			c.say(get)
			is(http.StateActive)
			c.hear()
			is(http.StateIdle)
		}
		_ = c.Close()
		is(http.StateClosed)
		h.states.Clear()
		c = h.dial()
		c.say("GET /hijack HTTP/1.1\r\nHost: h\r\n\r\n")
		c.ended()
		is(http.StateHijacked)
	})
}

// failing is a listener that fails, for a time.
type failing struct {
	*pipes
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.pipes.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

type passing struct{ error }

func (passing) Timeout() bool   { return false }
func (passing) Temporary() bool { return true }

func TestAcceptFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full, broken := passing{errors.New("no file left")}, errors.New("broken")
		over := make(chan struct{})
		close(over)
		l := &failing{&pipes{over: over, end: func() {}}, []error{full, full, full, broken}}
		s := NewServer(Config{Handler: http.NotFoundHandler()})
		if err := s.Serve(l); !errors.Is(err, broken) || len(l.errs) > 0 {
			t.Errorf("%v, %d errors to come", err, len(l.errs))
		}
	})
}

// Who still reads a body when its handler has answered is told so, and holds nobody up.
func TestBodyReaderOutlivesItsHandler(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			told := make(chan error, 1)
			h := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begun, body, deadlines := make(chan struct{}), r.Body, http.NewResponseController(w)
				go func() {
					for i := 0; ; i++ {
						_ = deadlines.SetReadDeadline(time.Now().Add(time.Hour))
						if _, err := body.Read(make([]byte, 10)); err != nil {
							told <- err
							return
						}
						if i == 100 {
							close(begun)
						}
					}
				}()
				<-begun
			})})
			c := h.dial()
			go func() {
				_, _ = io.WriteString(c, head+"Content-Length: 10000000\r\n\r\n")
				_, _ = io.CopyN(c, zeros{}, 5_000) // and then it stalls
			}()
			if resp, _ := c.hear(); resp.StatusCode != 200 || !resp.Close {
				t.Errorf("%v", resp)
			}
			c.after(0, time.Second)
			if err := <-told; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, http.ErrBodyReadAfterClose) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Nor does it bound the reads of what comes next, or unbound them.
func TestDeadlinesEndWithTheirRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		later := make(chan *http.ResponseController, 1)
		c := start(t, Config{IdleTimeout: 100 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			echo(w, r)
			later <- http.NewResponseController(w)
		})}).dial()
		c.say(head + "Content-Length: 5\r\n\r\nhello")
		c.hear()
		synctest.Wait() // for the next request
		if err := (<-later).SetReadDeadline(time.Time{}); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("%v", err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		c.after(75*time.Second, 100*time.Second)
	})
}
