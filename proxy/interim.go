package proxy

import (
	"errors"
	"maps"
	"net/http"
	"net/textproto"
	"sync"
)

// maxInterim bounds the 1xx answers to one attempt: net/http leaves that to whoever
// looks at them.
const maxInterim = 32

var errInterims = errors.New("too many interim (1xx) answers")

// interim passes 1xx answers on. They come on goroutines of the transport, so they have
// to know when the final answer has begun.
type interim struct {
	mu    sync.Mutex
	count int
	over  bool
}

// end is called before anything of the final answer is touched.
func (i *interim) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}

// passInterim passes one on. 100 is between two neighbours only: net/http says it to the
// client when the body is wanted.
func (x *exchange) passInterim(status int, h textproto.MIMEHeader) error {
	x.interim.mu.Lock()
	defer x.interim.mu.Unlock()
	x.interim.count++
	if x.interim.count > maxInterim {
		return errInterims
	}
	if x.interim.over || status == http.StatusContinue || !x.r.ProtoAtLeast(1, 1) {
		return nil
	}
	out := x.w.Header()
	kept := out.Clone()
	clear(out)
	passOn(out, http.Header(h))
	x.w.WriteHeader(status)
	clear(out)
	maps.Copy(out, kept)
	return nil
}
