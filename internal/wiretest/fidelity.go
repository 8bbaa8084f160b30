package wiretest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fidelity: what left the client is what arrived, and the same for answers, save the
// differences.
func (s *suite) fidelity(t *testing.T) {
	t.Run("requests", func(t *testing.T) { rapid.Check(t, s.requestArrives) })
	t.Run("answers", func(t *testing.T) { rapid.Check(t, s.answerArrives) })
	t.Run("bodies", s.bodies)
	t.Run("interim answers", s.interimAnswers)
	t.Run("continue", s.continues)
	t.Run("one connection", s.oneConnection)
}

func pieces(all ...string) *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(all), 0, 8), func(p []string) string { return strings.Join(p, "") })
}

func path() *rapid.Generator[string] {
	return pieces("a", "B", "0", "%2F", "%2f", "%20", "%C3%BC", "ü", "/", "//", "/../", "/./", "%2e%2e", "..", "+", "~", "!", "$", "&", "'", "(", ")", "*", ",", ";", "=", ":", "@", "-", "_", "|", "{", "\"", "^", "`", "<", "#", "[")
}

func query() *rapid.Generator[string] {
	return pieces("?", "a", "=", "&", ";", "%zz", "%2F", "+", "version=2", "list=true", "//", "ü", "'", "#", "\\")
}

func fields(random string) *rapid.Generator[[]Field] {
	known := []string{"Accept", "accept-encoding", "CONTENT-TYPE", "User-Agent", "Cookie", "Authorization", "X-Vault-Request", "x-vault-mfa",
		"X-Forwarded-For", "Range", "If-None-Match", "Pragma", "TE", "Keep-Alive", "Proxy-Connection", "X-Vrproxy-Session", "Via", "Forwarded",
		"Idempotency-Key", "Etag", "Set-Cookie", "Date", "Location", "X-Vault-Index", "Warning", "Link", random}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Field {
		name := rapid.SampledFrom(known).Draw(t, "name")
		if name == random {
			name += rapid.StringMatching("[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,8}").Draw(t, "rest of the name")
		}
		value := rapid.StringMatching("[ \t]{0,2}([!-~ü]([ -~]{0,10}[!-~])?)?[ \t]{0,2}").Draw(t, "value")
		switch name {
		case "TE":
			value = rapid.SampledFrom([]string{"trailers", "gzip", "gzip, trailers"}).Draw(t, "te")
		case "Authorization":
			value = "Basic " + strings.TrimSpace(value)
		case "Pragma":
			value = "no-cache"
		}
		return Field{name, value}
	}), 0, 8)
}

// shape gives a message a body, or none.
func shape(t *rapid.T, m *Message, framings ...string) (framing string, cuts []int) {
	size := rapid.OneOf(rapid.IntRange(0, 300), rapid.SampledFrom([]int{64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000})).Draw(t, "size")
	framing = rapid.SampledFrom(framings).Draw(t, "framing")
	if framing == "none" {
		size = 0
	}
	m.Body = bytes.Repeat([]byte{0, '\r', '\n', 0xff, '0'}, size/5+1)[:size]
	switch framing {
	case "length":
		m.add("Content-Length", fmt.Sprint(size))
	case "chunked":
		m.add("Transfer-Encoding", "chunked")
		m.Chunked = true
		cuts = rapid.SliceOfN(rapid.IntRange(1, 40_000), 0, 4).Draw(t, "cuts")
		if rapid.Bool().Draw(t, "with a trailer") {
			m.add("Trailer", "X-Sum")
			m.Trailer = []Field{{"X-Sum", "42"}}
		}
	}
	return framing, cuts
}

// hopByName adds a Connection header that names one that may go and one that may not.
func hopByName(t *rapid.T, m *Message) {
	if !rapid.Bool().Draw(t, "names hop-by-hop headers") {
		return
	}
	m.add("Connection", rapid.SampledFrom([]string{"x-hop-a, X-Vault-Token", "X-HOP-A", "authorization,  x-hop-a ,user-agent", "keep-alive, X-Forwarded-For, x-hop-a"}).Draw(t, "connection"))
	m.add("X-Hop-A", "1")
}

func (s *suite) requestArrives(t *rapid.T) {
	version := rapid.SampledFrom([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}).Draw(t, "version")
	where := "/v1/a/b/c/d/e/f/g/h/i" + path().Draw(t, "path")
	target := where
	if rapid.Bool().Draw(t, "with a query") {
		target += "?" + query().Draw(t, "query")
	}
	method := rapid.SampledFrom([]string{"GET", "LIST", "PUT", "POST", "PATCH", "DELETE", "SCAN", "HEAD", "OPTIONS", "M-x!"}).Draw(t, "method")
	m := &Message{Line: method + " " + target + " " + version, Fields: []Field{{"Host", "h"}}}
	m.Fields = append(m.Fields, fields("X-R-").Draw(t, "fields")...)
	hopByName(t, m)
	framings := []string{"none", "length", "chunked"}
	if version == "HTTP/1.0" {
		framings = framings[:2]
	}
	_, cuts := shape(t, m, framings...)
	before := len(s.up.Got(where))
	said := s.roundTrip(t, method, m.wire(cuts...))
	got := s.up.Got(where)
	if len(got) != before+1 {
		t.Fatalf("it arrived %d times: %s", len(got)-before, said)
	}
	if d := same(expectRequest(m), got[before]); d != "" {
		t.Fatal(d)
	}
}

// roundTrip is ask for rapid.
func (s *suite) roundTrip(t *rapid.T, method string, raw []byte) *Message {
	c, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.send(string(raw))
	m, _, err := c.answer(method)
	if err != nil {
		t.Fatalf("%v: %.300q", err, raw)
	}
	return m
}

func (s *suite) answerArrives(t *rapid.T) {
	status := rapid.SampledFrom([]int{200, 200, 201, 202, 204, 206, 302, 304, 400, 403, 404, 405, 412, 418, 429, 472, 473, 500, 599}).Draw(t, "status")
	method := rapid.SampledFrom([]string{"GET", "PUT", "HEAD"}).Draw(t, "method")
	version := rapid.SampledFrom([]string{"HTTP/1.1", "HTTP/1.0"}).Draw(t, "version")
	said := &Message{Line: fmt.Sprintf("HTTP/1.1 %d Whatever it is", status), Fields: fields("X-R-").Draw(t, "fields")}
	hopByName(t, said)
	bodyless := method == "HEAD" || status == 204 || status == 304
	var framing string
	var cuts []int
	if bodyless {
		framing, _ = shape(t, said, "length", "none")
		said.Body = nil
	} else {
		framing, cuts = shape(t, said, "length", "chunked", "close")
	}
	raw := string(said.wire(cuts...))
	s.up.On("/v1/answer", func(e *Exchange) bool { Say(raw)(e); return framing != "close" })
	req := &Message{Line: method + " /v1/answer " + version, Fields: []Field{{"Host", "h"}}}
	got := s.roundTrip(t, method, req.wire())
	if d := same(expectAnswer(req, said), got); d != "" {
		t.Fatal(d)
	}
}

// bodies that nobody here understands pass as they are, both ways.
func (s *suite) bodies(t *testing.T) {
	for kind, body := range map[string]string{
		"application/pkix-cert":      "0\x82\x01\x0a\x00\xff\xfeDER",
		"application/x-tar":          strings.Repeat("a.txt\x00\x00ustar", 100),
		"application/gzip":           "\x1f\x8b\x08\x00not really",
		"application/ocsp-request":   "0\x03\x01\x02\x03",
		"application/json":           `{"a" : 1.0e5, "a":2,"b":"<\u003c>"}`,
		"application/x-ndjson":       "{}\n{}\n",
		"text/plain; version=0.0.4":  "# HELP a\na 1\n",
		"application/octet-stream; ": "\x00\x01\x02",
	} {
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
		s.up.On("/v1/bodies", Say(answer))
		got := s.ask(t, "POST", fmt.Sprintf("POST /v1/bodies HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body))
		all := s.up.Got("/v1/bodies")
		sent := all[len(all)-1]
		if string(got.Body) != body || string(sent.Body) != body || got.Get("Content-Encoding") != "gzip" || got.Get("Content-Type") != strings.TrimSpace(kind) {
			t.Errorf("%s:\n%s\n\n%s", kind, sent, got)
		}
	}
	s.up.On("/v1/bodies", Say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"))
	if got := s.ask(t, "GET", "GET /v1/bodies HTTP/1.1\r\nHost: h\r\n\r\n"); got.has("Content-Type") {
		t.Errorf("a type was guessed: %s", got)
	}
}

func (s *suite) interimAnswers(t *testing.T) {
	s.up.On("/v1/interim", Say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	c := s.dial(t)
	c.send("GET /v1/interim HTTP/1.1\r\nHost: h\r\n\r\n")
	m, interim, err := c.answer("GET")
	if err != nil || string(m.Body) != "ok" || m.has("Link") {
		t.Fatalf("%v %s", err, m)
	}
	if len(interim) != 2 || interim[0].Status() != 103 || interim[0].Get("Link") != "</a>" || interim[1].Status() != 102 || interim[1].has("Link") {
		t.Errorf("%v", interim)
	}
	if old := s.ask(t, "GET", "GET /v1/interim HTTP/1.0\r\n\r\n"); old.Status() != 200 {
		t.Errorf("in HTTP/1.0: %s", old)
	}
}

// continues: who asks before sending a large body is answered by Vault: its refusal
// comes before the body, its 100 makes the body come.
func (s *suite) continues(t *testing.T) {
	const size = 100_000
	head := fmt.Sprintf(" HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", size)
	s.up.On("/v1/no", func(e *Exchange) bool {
		e.Write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return false
	})
	c := s.dial(t)
	c.send("POST /v1/no" + head)
	if m, interim, err := c.answer("POST"); err != nil || m.Status() != 413 || len(interim) > 0 {
		t.Errorf("refused: %v %s %v", err, m, interim)
	}
	s.up.On("/v1/yes", func(e *Exchange) bool {
		e.Write("HTTP/1.1 100 Continue\r\n\r\n")
		return Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(e)
	})
	c = s.dial(t)
	c.send("POST /v1/yes" + head)
	hundred, err := readHead(c.r)
	if err != nil || hundred.Status() != 100 {
		t.Fatalf("%v %v", err, hundred)
	}
	c.send(strings.Repeat("x", size))
	if m, _, err := c.answer("POST"); err != nil || m.Status() != 200 {
		t.Errorf("%v %s", err, m)
	}
	if got := s.up.Got("/v1/yes"); len(got) != 1 || len(got[0].Body) != size || got[0].Get("Expect") != "100-continue" {
		t.Errorf("%v", got)
	}
}

// oneConnection sends requests of all kinds one behind the other, also before their
// answers are read.
func (s *suite) oneConnection(t *testing.T) {
	all := "GET /v1/p/1 HTTP/1.1\r\nHost: h\r\n\r\n" +
		"POST /v1/p/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /v1/p/3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" +
		"HEAD /v1/p/4 HTTP/1.1\r\nHost: h\r\n\r\n" +
		"GET /v1/p/5 HTTP/1.1\r\nHost: h\r\n\r\n"
	c := s.dial(t)
	c.send(all)
	for i := range 5 {
		if m, _, err := c.answer("GET"); err != nil || m.Status() != 204 {
			t.Fatalf("answer %d: %v %v", i+1, err, m)
		}
		if got := s.up.Got(fmt.Sprintf("/v1/p/%d", i+1)); len(got) != 1 {
			t.Errorf("request %d arrived %d times", i+1, len(got))
		}
	}
}
