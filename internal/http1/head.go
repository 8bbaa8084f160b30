package http1

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// framing is what the fields of a message say of its end, and of that of the connection.
type framing struct {
	length    int64 // of the body; -1: not told
	chunked   bool
	unknown   bool // a transfer coding that is not chunked
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
	trailer   bool // trailers are announced
	hosts     int
	host      string
}

// readFields takes the lines of a head apart, into h, without Host. Names get their canonical
// spelling. A length that comes twice, or beside a coding, is none.
func readFields(text string, h http.Header) (framing, error) {
	f := framing{length: -1}
	values := make([]string, 0, strings.Count(text, "\n"))
	for text != "\r\n" {
		line, rest, _ := strings.Cut(text, "\r\n")
		name, value, ok := splitField(line)
		if !ok {
			return f, errFraming
		}
		if err := f.see(name, value); err != nil {
			return f, err
		}
		switch before := h[name]; {
		case name == "Host" || name == "Transfer-Encoding":
		case before == nil:
			values = append(values, value)
			h[name] = values[len(values)-1 : len(values) : len(values)]
		default:
			h[name] = append(before, value)
		}
		text = rest
	}
	return f, nil
}

// splitField takes a line apart, of a head or of the trailers; false: it is none.
func splitField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	value = trim(value)
	name, ok = canonical(name, ok)
	return name, value, ok && httpguts.ValidHeaderFieldValue(value)
}

// canonical checks a name, and spells it as Go does. Most come so.
func canonical(name string, ok bool) (string, bool) {
	upper, is := true, ok && name != ""
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z':
			is = is && !upper
		case 'A' <= c && c <= 'Z':
			is = is && upper
		case '0' <= c && c <= '9', c == '-':
		default:
			is = false
		}
		upper = c == '-'
	}
	if is {
		return name, true
	}
	return textproto.CanonicalMIMEHeaderKey(name), ok && httpguts.ValidHeaderFieldName(name)
}

// trim takes blanks off both ends.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// see notes what a field says.
func (f *framing) see(name, value string) (err error) {
	switch name {
	case "Content-Length":
		if f.length >= 0 || f.chunked || f.unknown {
			return errFraming
		}
		f.length, err = number(value, 10, 18)
	case "Transfer-Encoding":
		if f.length >= 0 || f.chunked || f.unknown || value == "" {
			return errFraming
		}
		f.chunked = strings.EqualFold(value, "chunked")
		f.unknown = !f.chunked
	case "Connection":
		f.close = f.close || hasToken(value, "close")
		f.keepAlive = f.keepAlive || hasToken(value, "keep-alive")
	case "Trailer":
		f.trailer = true
	case "Host":
		f.hosts++
		f.host = value
	}
	return err
}

// hasToken finds one in a list, in any spelling.
func hasToken(list, token string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(trim(one), token) {
			return true
		}
	}
	return false
}

// number takes digits and nothing else.
func number(s string, base, digits int) (int64, error) {
	if s == "" || len(s) > digits || strings.ContainsAny(s, "+-_") {
		return 0, errFraming
	}
	n, err := strconv.ParseInt(s, base, 64)
	if err != nil {
		return 0, errFraming
	}
	return n, nil
}

// announced takes the names of the trailers out of a header (RFC 9110 6.6.2).
func announced(h http.Header) (http.Header, error) {
	out := make(http.Header)
	for _, line := range h["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(trim(name))
			if framesMessages(name) {
				return nil, errFraming
			}
			if name != "" {
				out[name] = nil
			}
		}
	}
	delete(h, "Trailer")
	return out, nil
}

// framesMessages finds fields that mean something at the head of a message only.
func framesMessages(name string) bool {
	return name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer"
}
