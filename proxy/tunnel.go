package proxy

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// tunnel carries a websocket: after Vault agreed to the upgrade, bytes go both
// ways until either side closes.
func (x *exchange) tunnel(a *answer) {
	upstream, ok := a.resp.Body.(io.ReadWriteCloser)
	if !ok {
		x.refuse(&failure{code: outcomeUnknown, text: "the cluster switched protocols without a connection to carry it"})
		return
	}
	h := x.w.Header()
	for name, values := range a.resp.Header {
		h[name] = values
	}
	x.head(a.cluster.Name)
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.refuse(&failure{code: outcomeUnknown, text: "this listener cannot carry a websocket (HTTP/2)"})
		return
	}
	x.observe(a.cluster.Name, a.resp.StatusCode)
	a.resp.Body = nil // the head only
	a.resp.Header = h
	if err := errors.Join(a.resp.Write(buffered), buffered.Flush()); err != nil {
		_ = conn.Close()
		a.resp.Body = upstream
		return
	}
	a.resp.Body = upstream
	var g errgroup.Group
	closeBoth := func() { _ = conn.Close(); _ = upstream.Close() }
	g.Go(func() error { defer closeBoth(); _, err := io.Copy(upstream, buffered); return err })
	g.Go(func() error { defer closeBoth(); _, err := io.Copy(conn, upstream); return err })
	_ = g.Wait() // both ends are closed; how the stream ended is the clients' matter
}
