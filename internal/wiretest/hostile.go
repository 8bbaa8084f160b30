package wiretest

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

func (s *suite) hostile(t *testing.T) {
	t.Run("requests", s.hostileRequests)
	t.Run("hop-by-hop", s.tokenNamedHopByHop)
	t.Run("h2c", s.h2c)
	t.Run("many connections", s.manyConnections)
	t.Run("answers", s.hostileAnswers)
	t.Run("excess", s.excess)
}

const (
	get    = "GET /v1/evil HTTP/1.1\r\nHost: h\r\n"
	post   = "POST /v1/evil HTTP/1.1\r\nHost: h\r\n"
	inside = "GET /v1/evil HTTP/1.1\r\nHost: h\r\n\r\n" // smuggled
)

// attack is a request that has to be refused with one of these statuses.
type attack struct{ name, status, bytes string }

// framings are requests that end elsewhere for one reader than for another.
func framings() []attack {
	return []attack{
		{"CL.TE", "400", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE.CL", "400", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + inside + "0\r\n\r\n"},
		{"TE.TE", "400", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + inside},
		{"TE twice", "400", post + "Transfer-Encoding: chunked\r\nTransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"unknown TE", "501", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inside},
		{"list of TE", "501", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE with a space before the colon", "400", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE with a tab", "501", post + "Transfer-Encoding: chunked\t;\r\n\r\n0\r\n\r\n" + inside},
		{"TE in a folded line", "400", post + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE behind a bare LF", "400", post + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE behind a bare CR", "400", post + "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"TE in HTTP/1.0", "400", "POST /v1/evil HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside},
		{"two lengths", "400", post + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + inside},
		{"one length twice", "400", post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + inside},
		{"a list of lengths", "400", post + "Content-Length: 0, 44\r\n\r\n" + inside},
		{"a signed length", "400", post + "Content-Length: +0\r\n\r\n" + inside},
		{"a negative length", "400", post + "Content-Length: -1\r\n\r\n" + inside},
		{"a length in hexadecimal", "400", post + "Content-Length: 0x2c\r\n\r\n" + inside},
		{"a huge length", "400", post + "Content-Length: 99999999999999999999999\r\n\r\n" + inside},
		{"an empty length", "400", post + "Content-Length:\r\n\r\n" + inside},
		{"a bad chunk", "400", post + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n" + inside},
		{"a chunk longer than said", "400", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n" + inside},
		{"a chunk size with a sign", "400", post + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n" + inside},
		{"a huge chunk size", "400", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n" + inside},
		{"a bare LF in a chunk extension", "400", post + "Transfer-Encoding: chunked\r\n\r\n1;\nx\r\n0\r\n\r\n" + inside},
		{"a length in the trailer", "400", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n" + inside},
	}
}

// malformed are requests that are wrong in other ways, or not for a Vault.
func (s *suite) malformed() []attack {
	return []attack{
		{"obs-fold", "400", get + "X: a\r\n\tb\r\n\r\n"},
		{"bare LF", "400", "GET /v1/evil HTTP/1.1\nHost: h\n\n"},
		{"space before the first header", "400", "GET /v1/evil HTTP/1.1\r\n Host: h\r\n\r\n"},
		{"NUL in a header", "400", get + "X: a\x00b\r\n\r\n"},
		{"CR in a header", "400", get + "X: a\rX-Vault-Token: b\r\n\r\n"},
		{"a header without a name", "400", get + ": b\r\n\r\n"},
		{"a header without a colon", "400", get + "nonsense\r\n\r\n"},
		{"a header name with a space", "400", get + "X Y: b\r\n\r\n"},
		{"no Host", "400", "GET /v1/evil HTTP/1.1\r\n\r\n"},
		{"two Hosts", "400", get + "Host: i\r\n\r\n"},
		{"a bad Host", "400", "GET /v1/evil HTTP/1.1\r\nHost: a b/c\r\n\r\n"},
		{"CONNECT", "400", "CONNECT vault:8200 HTTP/1.1\r\nHost: vault:8200\r\n\r\n"},
		{"absolute form", "400", "GET http://elsewhere/v1/evil HTTP/1.1\r\nHost: elsewhere\r\n\r\n"},
		{"absolute path of another host", "400", "GET //elsewhere/v1/evil HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"asterisk form", "400", "GET * HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"out of the API", "400", "GET /v1/../ui/ HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"another path", "400", "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"NUL in the path", "400", "GET /v1/evil%00 HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"bad encoding", "400", "GET /v1/evil%zz HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"a space in the path", "400", "GET /v1/evil HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"two spaces", "400", "GET  /v1/evil HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"HTTP/0.9", "400", "GET /v1/evil\r\n\r\n"},
		{"HTTP/2 preface", "400 505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"HTTP/9", "400 505", "GET /v1/evil HTTP/9.9\r\nHost: h\r\n\r\n"},
		{"no HTTP", "400", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"},
		{"a bad method", "400", "G@T /v1/evil HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"another expectation", "417", post + "Expect: miracles\r\nContent-Length: 0\r\n\r\n"},
		{"a long header", "431", get + "X: " + strings.Repeat("x", s.front.HeaderLimit) + "\r\n\r\n"},
		{"many headers", "431", get + strings.Repeat("X: xxxxxxxxxxxx\r\n", s.front.HeaderLimit/16) + "\r\n"},
		{"a long path", "431", "GET /v1/evil" + strings.Repeat("x", s.front.HeaderLimit) + " HTTP/1.1\r\nHost: h\r\n\r\n"},
	}
}

// hostileRequests get a clean refusal, reach nobody, and end their connection.
func (s *suite) hostileRequests(t *testing.T) {
	for _, c := range append(framings(), s.malformed()...) {
		conn := s.dial(t)
		conn.send(c.bytes)
		m, _, err := conn.answer("GET")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !strings.Contains(c.status, fmt.Sprint(m.Status())) || strings.Contains(m.Line, "417") != (len(m.Body) == 0) {
			t.Errorf("%s: %s", c.name, m)
		}
		if len(m.Body) > 0 && (!strings.HasPrefix(string(m.Body), `{"errors":["vrproxy: `) || m.Get("X-Vrproxy-Error") != "bad-request") {
			t.Errorf("%s is not refused in Vault's shape: %s", c.name, m)
		}
		if n := len(s.up.Got("/v1/evil")); n > 0 {
			t.Fatalf("%s: %d requests arrived", c.name, n)
		}
		if m.Get("Connection") == "close" && !conn.closed() {
			t.Errorf("%s: the connection goes on", c.name)
		}
		_ = conn.Close()
	}
	s.untouched(t)
}

// tokenNamedHopByHop: nobody names away what is for Vault.
func (s *suite) tokenNamedHopByHop(t *testing.T) {
	s.ask(t, "GET", "GET /v1/named HTTP/1.1\r\nHost: h\r\nConnection: X-Vault-Token, x-vault-namespace, AUTHORIZATION\r\nConnection: X-Forwarded-For, Content-Type, close, X-Mine\r\n"+
		"X-Vault-Token: hvs.client\r\nX-Vault-Namespace: n\r\nAuthorization: Basic x\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Type: text/plain\r\nX-Mine: 1\r\n\r\n")
	got := s.up.Got("/v1/named")
	if len(got) != 1 {
		t.Fatalf("it arrived %d times", len(got))
	}
	for _, name := range []string{"X-Vault-Token", "X-Vault-Namespace", "Authorization", "X-Forwarded-For", "Content-Type"} {
		if !got[0].has(name) {
			t.Errorf("%s was dropped: %s", name, got[0])
		}
	}
	if got[0].has("X-Mine") || got[0].has("Connection") {
		t.Errorf("hop-by-hop headers arrived: %s", got[0])
	}
}

// h2c is served as if nobody had asked for it, and the connection stays HTTP/1.1.
func (s *suite) h2c(t *testing.T) {
	c := s.dial(t)
	for range 2 {
		c.send("GET /v1/h2c HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
		if m, _, err := c.answer("GET"); err != nil || m.Status() != 204 {
			t.Fatalf("%v %s", err, m)
		}
	}
	if got := s.up.Got("/v1/h2c"); len(got) != 2 || got[0].has("Upgrade") || got[0].has("HTTP2-Settings") {
		t.Errorf("%v", got)
	}
}

// manyConnections: those who say nothing, half a header or half a body are in nobody's
// way.
func (s *suite) manyConnections(t *testing.T) {
	for i := range s.front.Crowd {
		s.dial(t).send([]string{"", "GET /v1/ordinary HTTP/1.1\r\nHost", post + "Content-Length: 100\r\n\r\nhalf"}[i%3])
	}
	for range 20 {
		s.untouched(t)
	}
}

// hostileAnswers of an upstream are no answers. A read is refused, of a write nobody
// knows; nobody hangs, and others are served.
func (s *suite) hostileAnswers(t *testing.T) {
	for name, raw := range map[string]string{
		"nothing":               "",
		"no HTTP":               "nonsense\r\n\r\n",
		"half a header":         "HTTP/1.1 200 OK\r\nContent-Le",
		"a status that is none": "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
		"a long status":         "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"two lengths":           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"a negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"an unknown coding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nxx",
		"a protocol of its own": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"endless headers":       "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 100_000),
		"one endless header":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 3<<20),
		"a flood of 1xx":        strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 10_000),
		"an endless 1xx":        "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("X: xxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 100_000),
	} {
		s.up.On("/v1/hostile", func(e *Exchange) bool {
			if e.Request.readBody(e.R, false) == nil {
				e.Write(raw)
			}
			return false
		})
		for method, code := range map[string]string{"GET": "no-healthy-cluster", "PUT": "outcome-unknown"} {
			m := s.ask(t, method, method+" /v1/hostile HTTP/1.1\r\nHost: h\r\n\r\n")
			if m.Get("X-Vrproxy-Error") != code {
				t.Errorf("%s, %s: %s", name, method, m)
			}
		}
		s.untouched(t)
	}
}

// excess: an answer that is longer than it says does not become the answer to anybody
// else's request.
func (s *suite) excess(t *testing.T) {
	stolen := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
	honest := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	s.up.On("/v1/excess", Say(honest+stolen))
	s.up.On("/v1/excess/apart", func(e *Exchange) bool { e.WriteAtOnce(honest, stolen); return true })
	s.up.On("/v1/excess/none", Say("HTTP/1.1 204 No Content\r\n\r\n"+stolen))
	s.up.On("/v1/excess/json", Say(document("{}")+stolen))
	var g errgroup.Group
	for i := range 10 {
		path := []string{"/v1/excess", "/v1/excess/apart", "/v1/excess/none", "/v1/excess/json", "/v1/ordinary"}[i%5]
		g.Go(func() error {
			for range 20 {
				c, err := s.connect()
				if err != nil {
					return err
				}
				c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
				m, _, err := c.answer("GET")
				_ = c.Close()
				if err == nil && string(m.Body) == "stolen" {
					return fmt.Errorf("%s got the answer to another request", path)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
