package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"pgregory.net/rapid"
)

// once is a listener with one connection.
type once struct {
	conn chan net.Conn
	over chan struct{}
	end  func()
}

func newOnce(c net.Conn) *once {
	l := &once{conn: make(chan net.Conn, 1), over: make(chan struct{})}
	l.conn <- c
	l.end = sync.OnceFunc(func() { close(l.over) })
	return l
}

func (l *once) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *once) Close() error   { l.end(); return nil }
func (l *once) Addr() net.Addr { return &net.UnixAddr{Name: "once"} }

// standardly serves a connection by net/http, to its end.
func standardly(raw net.Conn, h http.Handler) {
	l := newOnce(raw)
	s := &http.Server{Handler: h, ErrorLog: zap.NewStdLog(zap.NewNop()), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed || s == http.StateHijacked {
			_ = l.Close()
		}
	}}
	_ = s.Serve(l)
}

// read is an answer as a client reads it.
type read struct {
	Status  int
	Length  int64
	Header  http.Header
	Body    string
	Trailer http.Header
	Broken  bool // it came to no end
	Close   bool
}

const last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

// ask sends a request, and another one behind it, and reads all that is answered.
func ask(server func(net.Conn, http.Handler), h http.HandlerFunc, method, request string) (got []read, raw string) {
	client, front := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() {
		server(front, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil // nothing is guessed here
			if r.URL.Path == "/last" || r.RequestURI == "/last" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			h(w, r)
		}))
	})
	both.Go(func() { _, _ = io.WriteString(client, request+last) }) // as far as it is read
	out, err := io.ReadAll(client)
	_ = client.Close()
	both.Wait()
	if err != nil {
		panic(err)
	}
	r := bufio.NewReader(strings.NewReader(string(out)))
	for {
		asked := &http.Request{Method: method}
		if len(got) > 0 && got[len(got)-1].Status >= 200 {
			asked.Method = http.MethodGet
		}
		resp, err := http.ReadResponse(r, asked)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				panic(fmt.Sprintf("%v in %q", err, out))
			}
			return got, string(out)
		}
		body, err := io.ReadAll(resp.Body)
		delete(resp.Header, "Date")
		delete(resp.Header, "Connection") // Close says it
		a := read{resp.StatusCode, resp.ContentLength, resp.Header, string(body), resp.Trailer, err != nil, resp.Close}
		if len(a.Trailer) == 0 {
			a.Trailer = nil
		}
		got = append(got, a)
	}
}

// whole leaves out answers that came to no end: how much of them came is chance.
func whole(got []read) []read {
	if n := len(got); n > 0 && got[n-1].Broken {
		return got[:n-1]
	}
	return got
}

func isSame(t rapid.TB, h http.HandlerFunc, method, request string) []read {
	t.Helper()
	want, rawWant := ask(standardly, h, method, request)
	got, raw := ask(serve, h, method, request)
	if !reflect.DeepEqual(whole(got), whole(want)) {
		t.Fatalf("%q:\n%+v\n%q\nnet/http:\n%+v\n%q", request, got, raw, want, rawWant)
	}
	return got
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	text := func(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] }
	write := func(parts ...int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, n := range parts {
				_, _ = io.WriteString(w, text(n))
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"nothing":           func(http.ResponseWriter, *http.Request) {},
		"nothing, created":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) },
		"empty":             write(0),
		"small":             write(5),
		"small parts":       write(5, 0, 7),
		"all that is held":  write(heldBody-3, 3),
		"a byte more":       write(heldBody-3, 4),
		"a buffer":          write(outputBuffer),
		"large":             write(1 << 20),
		"large parts":       write(10_000, 3, 100_000, 1),
		"small, then large": write(10, 100_000),
		"204":               func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"a body with 204":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204); write(5)(w, r) },
		"a length with 204": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
		},
		"a body with 304": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(304); write(5)(w, r) },
		"a header of 304": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "x")
			w.Header().Set("Etag", "y")
			w.WriteHeader(304)
		},
		"a status of no name": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
		"two statuses":        func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); w.WriteHeader(500); write(5)(w, r) },
		"length":              func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "5"); write(2, 3)(w, r) },
		"length, large": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "50000")
			write(20000, 30000)(w, r)
		},
		"length 0": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(200)
		},
		"too long a length":  func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "6"); write(5)(w, r) },
		"too short a length": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "5"); write(5, 1)(w, r) },
		"a gap": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			write(5, 6, 5)(w, r)
		},
		"close": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close"); write(5)(w, r) },
		"close, large": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			write(50000)(w, r)
		},
		"a list":    func(w http.ResponseWriter, _ *http.Request) { w.Header()["X-List"] = []string{"a", "b", ""} },
		"line ends": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Value", "a\r\nX-Evil: b\n\nc\rd") },
		"names that are none": func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"", "X Y", "X:", "X-Evil: a\r\nX-Other", "Ü", ":status"} {
				w.Header()[name] = []string{"a"}
			}
			w.Header().Set("!x", "b")
		},
		"trailers without a name": func(w http.ResponseWriter, r *http.Request) {
			w.Header()[http.TrailerPrefix] = []string{"a"}
			write(5)(w, r)
		},
		"trailers whose names are none": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X Y, X-Sum")
			write(5000)(w, r)
			for _, name := range []string{"X Y", http.TrailerPrefix + "X\r\nX-Evil", "X-Sum"} {
				w.Header()[name] = []string{"a"}
			}
		},
		"its date": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT") },
		"interim": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "x")
			w.WriteHeader(103)
			w.WriteHeader(102)
			w.Header().Del("Link")
			write(5)(w, r)
		},
		"flush first": func(w http.ResponseWriter, r *http.Request) { flush(w); write(5)(w, r) },
		"flush between": func(w http.ResponseWriter, r *http.Request) {
			write(5)(w, r)
			flush(w)
			write(6)(w, r)
			flush(w)
			flush(w)
			write(50000)(w, r)
		},
		"flush a length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			write(5)(w, r)
			flush(w)
			write(5)(w, r)
		},
		"announced trailers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum, x-other")
			w.Header().Add("Trailer", "X-None")
			write(5000)(w, r)
			w.Header()["X-Sum"] = []string{"1", "a\r\nb"}
			w.Header().Set("X-Other", "2")
			w.Header().Set("X-Not-Announced", "3")
		},
		"announced trailers of a small one": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			write(5)(w, r)
			w.Header().Set("X-Sum", "1")
		},
		"announced trailers of nothing": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(200)
			w.Header().Set("X-Sum", "1")
		},
		"announced trailers behind a length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("Content-Length", "5")
			write(5)(w, r)
			w.Header().Set("X-Sum", "1")
		},
		"trailers by their name": func(w http.ResponseWriter, r *http.Request) {
			write(5000)(w, r)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		},
		"trailers by their name, before": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
			write(5)(w, r)
		},
		"trailers by their name, flushed": func(w http.ResponseWriter, r *http.Request) {
			flush(w)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		},
		"abort":               func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"panic":               func(http.ResponseWriter, *http.Request) { panic("x") },
		"abort behind a part": func(w http.ResponseWriter, r *http.Request) { write(5)(w, r); flush(w); panic(http.ErrAbortHandler) },
		"abort a length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			write(5)(w, r)
			flush(w)
			panic(http.ErrAbortHandler)
		},
	} {
		for _, method := range []string{"GET", "HEAD", "PUT"} {
			for _, rest := range []string{"HTTP/1.1\r\nHost: h\r\n", "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"} {
				t.Run(fmt.Sprintf("%s/%s %q", name, method, rest), func(t *testing.T) {
					t.Parallel()
					if old := strings.HasPrefix(rest, "HTTP/1.0"); old && (name == "interim" || strings.HasPrefix(name, "abort behind")) {
						t.Skip("HTTP/1.0 has no interim answers, which net/http sends nevertheless, and can't tell half an answer")
					}
					isSame(t, h, method, method+" / "+rest+"\r\n")
				})
			}
		}
	}
}

func flush(w http.ResponseWriter) { w.(http.Flusher).Flush() }

// step is something that a handler does.
type step struct {
	What string
	N    int
}

func (s step) do(w http.ResponseWriter) {
	switch s.What {
	case "write":
		_, _ = io.WriteString(w, strings.Repeat("x", s.N))
	case "flush":
		flush(w)
	case "status":
		w.WriteHeader([]int{200, 201, 204, 304, 404, 503}[s.N%6])
	case "length":
		w.Header().Set("Content-Length", fmt.Sprint(s.N))
	case "announce":
		w.Header().Add("Trailer", []string{"X-One", "X-Two", "X-One, X-Two"}[s.N%3])
	case "trailer":
		w.Header().Set([]string{"X-One", "X-Two", http.TrailerPrefix + "X-Three"}[s.N%3], fmt.Sprint(s.N))
	case "header":
		w.Header().Add("X-Some", fmt.Sprint(s.N))
	case "close":
		w.Header().Set("Connection", "close")
	}
}

// What a client reads is the same from both servers, whatever the handler does.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			what := rapid.SampledFrom([]string{"write", "write", "write", "flush", "status", "length", "announce", "trailer", "header", "close"}).Draw(t, "what")
			return step{what, rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(2000, 2100), rapid.IntRange(3900, 4200), rapid.IntRange(0, 20000)).Draw(t, "n")}
		}), 0, 8).Draw(t, "steps")
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(t, "method")
		rest := rapid.SampledFrom([]string{"HTTP/1.1\r\nHost: h", "HTTP/1.1\r\nHost: h\r\nConnection: close", "HTTP/1.0", "HTTP/1.0\r\nConnection: keep-alive"}).Draw(t, "rest")
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, s := range steps {
				s.do(w)
			}
		})
		isSame(t, h, method, method+" / "+rest+"\r\n\r\n")
	})
}

func TestHijack(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(net.Conn, http.Handler){"this": serve, "net/http": standardly} {
		for _, early := range []string{"", "early", strings.Repeat("early", 1000)} {
			client, front := net.Pipe()
			got := make(chan error, 1)
			go server(front, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- hijacks(w, early)
			}))
			var sent sync.WaitGroup
			sent.Go(func() {
				_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+early)
				_, _ = io.WriteString(client, "late")
			})
			said, err := io.ReadAll(client)
			if string(said) != "hello" || err != nil {
				t.Errorf("%s: %q %v", name, said, err)
			}
			if err := <-got; err != nil {
				t.Errorf("%s, %d bytes: %v", name, len(early), err)
			}
			sent.Wait()
			_ = client.Close()
		}
	}
}

// hijacks takes the connection, on which there is something already, and leaves it.
func hijacks(w http.ResponseWriter, early string) error {
	c := http.NewResponseController(w)
	conn, buffered, err := c.Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	var errs []error
	if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
		errs = append(errs, fmt.Errorf("writing: %w", err))
	}
	w.WriteHeader(http.StatusOK)
	if _, ours := w.(*writer); ours { // net/http's panics
		if err := c.Flush(); !errors.Is(err, http.ErrHijacked) {
			errs = append(errs, fmt.Errorf("flushing: %w", err))
		}
	}
	if _, _, err := c.Hijack(); !errors.Is(err, http.ErrHijacked) {
		errs = append(errs, fmt.Errorf("hijacking again: %w", err))
	}
	if buffered.Reader.Buffered() == 0 && early != "" && len(early) < smallBuffer/2 {
		errs = append(errs, errors.New("what came behind the request is not told of"))
	}
	got := make([]byte, len(early)+len("late"))
	if _, err := io.ReadFull(buffered, got); err != nil || string(got) != early+"late" {
		errs = append(errs, fmt.Errorf("%.20q: %w", got, err))
	}
	_, _ = buffered.WriteString("hello")
	return errors.Join(append(errs, buffered.Flush())...)
}

// How an answer is framed is the server's matter.
func TestFramingIsTheServers(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"Content-Length", "-5"}, {"Content-Length", "5, 5"}, {"Content-Length", "x"}, {"Transfer-Encoding", "chunked"}, {"Connection", "upgrade"}} {
		got, raw := ask(serve, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(c[0], c[1])
			_, _ = io.WriteString(w, "01234")
		}, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		if len(got) != 2 || got[0].Length != 5 || got[0].Body != "01234" || strings.Contains(raw, c[1]+"\r\n") {
			t.Errorf("%v: %q", c, raw)
		}
	}
}

// A header that the handler changes behind the beginning of its answer is nobody's.
func TestHeaderIsThatOfTheBeginning(t *testing.T) {
	t.Parallel()
	var once http.Header
	got := isSame(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Early", "1")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("X-Late", "1")
		once = maps.Clone(w.Header())
	}, "GET", "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if once.Get("X-Late") == "" || len(got) != 2 || got[0].Header.Get("X-Early") == "" || got[0].Header.Get("X-Late") != "" || got[1].Header.Get("X-Early") != "" {
		t.Errorf("%v", got)
	}
}
