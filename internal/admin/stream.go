package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	keepAlive    = 15 * time.Second // a sign of life, so that proxies keep the stream open
	pictureEvery = time.Second
	eventTimeout = 5 * time.Second // for one write to a slow client
)

// serveEvents streams what was remembered and then what happens, as server-sent
// events, until the client goes, falls behind, or the server stops.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // absent or odd: from the start
	missed, ch, err := s.cfg.Events.listen(after)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.cfg.Events.leave(ch)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := eventWriter{w: w, rc: http.NewResponseController(w)}
	if err := out.send("retry: 1000\n\n"); err != nil {
		return
	}
	for _, n := range missed {
		if err := out.event(n); err != nil {
			return
		}
	}
	if !r.URL.Query().Has("status") {
		out.follow(r, ch, nil)
		return
	}
	if err := out.picture(s.status()); err != nil {
		return
	}
	out.follow(r, ch, s.status)
}

// eventWriter writes server-sent events to one client.
type eventWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// follow sends what happens; with a status also the picture, each second and after
// each event.
func (o eventWriter) follow(r *http.Request, ch <-chan numbered, status func() Status) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	var pulse <-chan time.Time
	if status != nil {
		second := time.NewTicker(pictureEvery)
		defer second.Stop()
		pulse = second.C
	}
	var err error
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case n, ok := <-ch:
			if !ok {
				return
			}
			if err = o.event(n); err == nil && status != nil && len(ch) == 0 {
				err = o.picture(status())
			}
		case <-pulse:
			err = o.picture(status())
		case <-tick.C:
			err = o.send(": alive\n\n")
		}
	}
}

// event needs no care for line breaks: JSON has none.
func (o eventWriter) event(n numbered) error {
	data, err := json.Marshal(n.event)
	if err != nil {
		return err
	}
	return o.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", n.id, n.event.Kind, data))
}

// picture has no id: it is not kept, and a client that comes back gets the newest.
func (o eventWriter) picture(s Status) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return o.send(fmt.Sprintf("event: status\ndata: %s\n\n", data))
}

func (o eventWriter) send(text string) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(o.w, text); err != nil {
		return err
	}
	return o.rc.Flush()
}
