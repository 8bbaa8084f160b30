package wiretest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Difference is something that can be seen of a front between a client and Vault. All
// together are the only ones that there may be: the property tests allow no others, and
// docs/fidelity.md shows them.
type Difference struct {
	Name string
	Text string // for the document
	// request makes of what left the client what has to arrive.
	request func(m *Message)
	// answer makes of what Vault said, to a request, what has to arrive.
	answer func(req, m *Message)
	// both makes equal what need not be told apart, on both sides of the comparison.
	both func(m *Message)
}

// Differences are all of them. Those without functions show where the property tests do
// not go: they are about which cluster answers, and when.
func Differences() []Difference {
	return slices.Concat(ofMessages(), ofRequests(), ofAnswers(), ofOutcomes())
}

func ofMessages() []Difference {
	return []Difference{
		{
			Name: "spelling of header names",
			Text: "Header names arrive in their canonical spelling (`X-Vault-Mfa`), without blanks around the values. Lines of one name keep their order; the order of different names does not.",
			both: canonical,
		},
		{
			Name: "hop-by-hop headers",
			Text: "`Connection`, `Proxy-Connection`, `Keep-Alive`, `Proxy-Authenticate`, `Proxy-Authorization`, `TE` (save `trailers`), `Transfer-Encoding` and `Upgrade` (save `websocket`) end at the proxy, both ways, and so does what `Connection` names; but nobody can name away what is for the other end: `Authorization`, `Cookie`, `X-Vault-*`, `X-Forwarded-*`, `Content-*`, `Accept*` and the like pass nevertheless.",
			request: func(m *Message) {
				trailers := takesTrailers(m)
				hopByHop(m)
				if trailers {
					m.add("Te", "trailers")
				}
			},
			answer: func(_, m *Message) { hopByHop(m) },
		},
		{
			Name: "framing",
			Text: "What has a `Content-Length` keeps it and what is chunked stays chunked, but chunks are cut anew and their extensions dropped. A request without a body may come with `Content-Length: 0` or with an empty chunked body, or with neither. An answer that ends with the connection comes chunked; to an HTTP/1.0 client a chunked one ends with the connection.",
			both: func(m *Message) {
				if len(m.Body) == 0 && !m.isAnswer() {
					m.drop("Content-Length")
					m.Chunked = false
				}
			},
		},
		{
			Name: "trailers",
			Text: "Trailers pass both ways; the `Trailer` header is made anew. Those of a request that are not announced there are dropped when its body is above 64 KiB, those of any request whose body is empty, and those of an answer to HTTP/1.0.",
			both: func(m *Message) { m.drop("Trailer") },
			request: func(m *Message) {
				if len(m.Body) == 0 {
					m.Trailer = nil
				}
			},
		},
		{
			Name: "Pragma",
			Text: "`Pragma: no-cache` without a `Cache-Control` may get `Cache-Control: no-cache` beside it, both ways: where it goes by HTTP/2, or a body is streamed.",
			both: func(m *Message) {
				if m.Get("Pragma") == "no-cache" && !m.has("Cache-Control") {
					m.add("Cache-Control", "no-cache")
				}
			},
		},
		{
			Name: "HTTP version",
			Text: "Each side speaks its own: HTTP/1.1 to Vault, or HTTP/2 over TLS, whatever the client speaks.",
			both: func(m *Message) {
				m.Line = strings.Replace(strings.TrimSuffix(m.Line, " HTTP/1.0"), "HTTP/1.0 ", "HTTP/1.1 ", 1)
				m.Line = strings.TrimSuffix(m.Line, " HTTP/1.1")
			},
		},
	}
}

func ofRequests() []Difference {
	return []Difference{
		{
			Name:    "Host",
			Text:    "`Host` is the address of the node that is asked.",
			request: func(m *Message) { m.drop("Host") },
			both: func(m *Message) {
				if !m.isAnswer() {
					m.drop("Host")
				}
			},
		},
		{
			Name:    "the proxy's own request headers",
			Text:    "`X-Vrproxy-Cluster` and `X-Vrproxy-Session` are taken off.",
			request: func(m *Message) { m.drop("X-Vrproxy-Cluster", "X-Vrproxy-Session") },
		},
		{
			Name: "User-Agent",
			Text: "An empty `User-Agent` is left out, and of several the first is taken. The proxy adds none of its own, nor `Accept-Encoding`, `X-Forwarded-For` or `Via`.",
			request: func(m *Message) {
				first := m.Get("User-Agent")
				m.drop("User-Agent")
				if first != "" {
					m.add("User-Agent", first)
				}
			},
		},
		{
			Name: "token",
			Text: "At another cluster than the one that issued the client's token, and where the listener lends the identity, the token is another: in `X-Vault-Token`, or in the client's `Authorization: Bearer` where it came in one. An `Authorization` of another kind passes. With a token exchanged, `Accept-Encoding` is taken off `lookup-self` and `renew-self`, whose answers have to be read.",
		},
		{
			Name: "forwarding",
			Text: "What may not be repeated is sent to a standby with `X-Vault-No-Request-Forwarding: true` when the active node is known.",
		},
		{
			Name: "consistency",
			Text: "With `routing.consistency: session`, a read that depends on a write of its session carries `X-Vault-Index`, where the client sends neither that nor `X-Vault-Forward` or `X-Vault-Inconsistent`.",
		},
		{
			Name: "Expect",
			Text: "`Expect: 100-continue` passes. With a body of up to 64 KiB the proxy asks for the body itself; for a larger one it waits for Vault's 100, one second at most.",
		},
		{
			Name: "refusals",
			Text: "Refused with 400, in Vault's error shape, though Vault would serve them: a folded header line, a line ending in LF alone, a space where none belongs, `Content-Length` more than once or beside `Transfer-Encoding`, `Transfer-Encoding` in HTTP/1.0, an absolute URL, CONNECT, and paths that don't begin with `/v1/`, or leave it with `..`. Headers of more than 64 KiB are refused with 431. Upgrades other than to a websocket (h2c) are ignored.",
		},
		{
			Name: "slow clients",
			Text: "A body of up to 64 KiB has to arrive within 30 s, a larger one may not stall for a minute, and an answer has to be taken up without a pause of five.",
		},
	}
}

func ofAnswers() []Difference {
	return []Difference{
		{
			Name:   "the proxy's own response headers",
			Text:   "`X-Vrproxy-Cluster`, `X-Vrproxy-Class`, `X-Vrproxy-Attempts`; on errors of its own `X-Vrproxy-Error` and `X-Vrproxy-Request-Id`.",
			answer: func(_, m *Message) { m.drop("X-Vrproxy-Cluster", "X-Vrproxy-Class", "X-Vrproxy-Attempts") },
			both: func(m *Message) {
				if m.isAnswer() {
					m.drop("X-Vrproxy-Cluster", "X-Vrproxy-Class", "X-Vrproxy-Attempts")
				}
			},
		},
		{
			Name: "reason phrase",
			Text: "The words behind the status code are those of Go's standard library, as Vault's are.",
			answer: func(_, m *Message) {
				text := http.StatusText(m.Status())
				if text == "" {
					text = fmt.Sprintf("status code %d", m.Status())
				}
				m.Line = fmt.Sprintf("HTTP/1.1 %d %s", m.Status(), text)
			},
		},
		{
			Name: "Date",
			Text: "An answer without a `Date` gets one (RFC 9110 6.6.1). Vault's own stays.",
			answer: func(_, m *Message) {
				if !m.has("Date") {
					m.add("Date", "(added)")
				}
			},
		},
		{
			Name: "answers without a body",
			Text: "204 and 304 come without `Content-Length`, 304 also without `Content-Type`.",
			answer: func(_, m *Message) {
				switch m.Status() {
				case http.StatusNotModified:
					m.drop("Content-Length", "Content-Type")
				case http.StatusNoContent:
					m.drop("Content-Length")
				}
			},
		},
		{
			Name: "framing of answers",
			Text: "See *framing* above.",
			answer: func(req, m *Message) {
				bodyless := req.method() == http.MethodHead || m.Status() == http.StatusNoContent || m.Status() == http.StatusNotModified
				m.Chunked = !m.has("Content-Length") && !bodyless && !strings.HasSuffix(req.Line, "HTTP/1.0")
				if !m.Chunked {
					m.Trailer = nil
				}
				if bodyless {
					m.Body = []byte{}
				}
			},
		},
	}
}

// ofOutcomes are about which answers there are, and when.
func ofOutcomes() []Difference {
	return []Difference{
		{
			Name: "interim answers",
			Text: "100 is said by the proxy itself. Others (103) pass, also from a cluster that then does not answer; more than 32 of them fail the attempt.",
		},
		{
			Name: "held answers",
			Text: "A JSON answer of up to 64 KiB is passed on when it has come as a whole; everything else as it comes.",
		},
		{
			Name: "broken answers",
			Text: "A read whose JSON answer breaks off is asked elsewhere; a write gets 502 `outcome-unknown`. Any other answer that breaks off upstream breaks off for the client.",
		},
		{
			Name: "answers that name the proxy's token",
			Text: "`lookup-self` and `renew-self` show the client's token, accessor and remaining life where another token was used; that JSON is written anew.",
		},
		{
			Name: "answers that nobody sees",
			Text: "When another cluster can serve the request, it does, and these answers of the first are not shown: sealed, no leader, DR copy, read-only, an index that is not there yet, a refused token that can be had anew, a 307 to a known node of its cluster; for reads also 502, 503 and 504 without JSON, and no handler for a route at a secondary. With nothing else left, a read gets 503 `no-healthy-cluster` in place of the last three.",
		},
		{
			Name: "answers that are no HTTP",
			Text: "A status below 100, a protocol switched without being asked, headers of more than 256 KiB, or a length that can't be are failures of the cluster, not answers.",
		},
		{
			Name: "the proxy's own errors",
			Text: "See [routing](routing.md): they all have `X-Vrproxy-Error`. After an upgrade to a websocket that Vault refuses, the connection is closed.",
		},
	}
}

// canonical spells names as Go does and sorts them, lines of one name in their order.
func canonical(m *Message) {
	for _, fields := range []*[]Field{&m.Fields, &m.Trailer} {
		out := slices.Clone(*fields)
		for i := range out {
			out[i] = Field{http.CanonicalHeaderKey(out[i].Name), strings.Trim(out[i].Value, " \t")}
		}
		slices.SortStableFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
		*fields = out
	}
}

// hopByHop takes off what is for one connection.
func hopByHop(m *Message) {
	for _, f := range m.Fields {
		if !strings.EqualFold(f.Name, "Connection") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if name = strings.TrimSpace(name); strings.HasPrefix(strings.ToLower(name), "x-hop-") {
				m.drop(name)
			}
		}
	}
	m.drop("Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Transfer-Encoding", "Upgrade")
}

func takesTrailers(m *Message) bool {
	return slices.ContainsFunc(m.Fields, func(f Field) bool {
		return strings.EqualFold(f.Name, "TE") && strings.Contains(f.Value, "trailers")
	})
}

// expectRequest is what has to arrive of a request.
func expectRequest(sent *Message) *Message {
	m := sent.clone()
	canonical(m)
	for _, d := range Differences() {
		if d.request != nil {
			d.request(m)
		}
	}
	return m
}

// expectAnswer is what has to arrive of an answer.
func expectAnswer(req, said *Message) *Message {
	m := said.clone()
	canonical(m)
	for _, d := range Differences() {
		if d.answer != nil {
			d.answer(req, m)
		}
	}
	return m
}

// same compares what should have arrived with what did; empty if nothing differs.
func same(want, got *Message) string {
	want, got = want.clone(), got.clone()
	for _, m := range []*Message{want, got} {
		m.drop("Connection", "Transfer-Encoding") // of this connection
		for _, d := range Differences() {
			if d.both != nil {
				d.both(m)
			}
		}
	}
	canonical(want)
	canonical(got)
	if want.Get("Date") == "(added)" && got.has("Date") {
		want.drop("Date")
		got.drop("Date")
	}
	if want.Line != got.Line || !slices.Equal(want.Fields, got.Fields) || string(want.Body) != string(got.Body) ||
		want.Chunked != got.Chunked || !slices.Equal(want.Trailer, got.Trailer) {
		return fmt.Sprintf("wanted:\n%s\n\narrived:\n%s", want, got)
	}
	return ""
}
