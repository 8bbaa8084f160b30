package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

const (
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
)

// routes is the whole listener. Paths of things that are switched off are not
// there at all and give 404.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.probes(mux)
	s.pictures(mux)
	s.actions(mux)
	s.page(mux)
	if s.cfg.Pprof {
		profiles(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "nothing here at "+r.URL.Path)
	})
	return secured(s.guarded(mux))
}

func (s *Server) probes(mux *http.ServeMux) {
	read(mux, "/startup", probe(s.cfg.Started))
	read(mux, "/readiness", probe(s.cfg.Ready))
	// Liveness asks for a restart of this process, and that mends nothing outside of
	// it: whoever can answer is alive.
	read(mux, "/liveness", probe(nil))
}

// probe answers 200, or 503 with the reason.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if check != nil {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintln(w, err)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok")
	}
}

func (s *Server) pictures(mux *http.ServeMux) {
	read(mux, "/status", s.serveStatus)
	stream(mux, "/events", s.serveEvents)
	if s.cfg.Explain != nil {
		read(mux, "/explain", s.serveExplain)
	}
	if s.cfg.Mounts != nil {
		read(mux, "/mounts", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.cfg.Mounts()) })
	}
	if s.cfg.Decisions != nil {
		read(mux, "/debug/decisions", s.serveDecisions)
	}
	metrics := promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		ErrorHandling:       promhttp.ContinueOnError, // one broken collector must not blind the others
		ErrorLog:            zap.NewStdLog(s.cfg.Logger),
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTimeout,
	})
	read(mux, "/metrics", metrics.ServeHTTP)
}

func (s *Server) serveExplain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	method, path := strings.ToUpper(q.Get("method")), q.Get("path")
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		fail(w, http.StatusBadRequest, "the parameter path is missing")
		return
	}
	answer, err := s.cfg.Explain(method, path, q.Get("namespace"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusOK, answer)
}

// serveDecisions answers with lines of JSON, oldest first.
func (s *Server) serveDecisions(w http.ResponseWriter, r *http.Request) {
	n := 0
	if text := r.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			fail(w, http.StatusBadRequest, "the parameter n wants a number of decisions, 1 or more")
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	_ = s.cfg.Decisions(w, n) // a client that is gone needs no answer
}

// profiles are streams: a CPU profile takes as long as its caller wants.
func profiles(mux *http.ServeMux) {
	stream(mux, "/debug/pprof/", pprof.Index)
	stream(mux, "/debug/pprof/cmdline", pprof.Cmdline)
	stream(mux, "/debug/pprof/profile", pprof.Profile)
	stream(mux, "/debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/pprof/symbol", only(pprof.Symbol, http.MethodGet, http.MethodHead, http.MethodPost))
}

func read(mux *http.ServeMux, path string, h http.HandlerFunc) {
	mux.Handle(path, bounded(only(h, http.MethodGet, http.MethodHead)))
}

// write routes a call that changes something. What it may come from is checked in
// guarded.
func write(mux *http.ServeMux, path string, h http.HandlerFunc) {
	mux.Handle(path, bounded(only(h, http.MethodPost)))
}

// stream routes an answer that may take longer than answerTimeout.
func stream(mux *http.ServeMux, path string, h http.HandlerFunc) {
	mux.Handle(path, only(h, http.MethodGet))
}

// only refuses all other methods, naming the right ones.
func only(h http.HandlerFunc, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			fail(w, http.StatusMethodNotAllowed, "use "+strings.Join(methods, " or "))
			return
		}
		h(w, r)
	})
}

// bounded limits the time for an answer. It is done per request because the
// server-wide limit would cut the streams.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the connection is gone
		}
		h.ServeHTTP(w, r)
	})
}

// reply sends v as JSON.
func reply(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer cannot be shown: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// fail sends an error in Vault's shape.
func fail(w http.ResponseWriter, code int, message string) {
	reply(w, code, map[string][]string{"errors": {message}})
}
