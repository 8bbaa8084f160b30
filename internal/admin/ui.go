package admin

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

// The page needs nothing from outside: it has to work when everything else does
// not.
//
//go:embed ui/index.html ui/app.js ui/map.js ui/words.js ui/style.css
var pageFiles embed.FS

// page serves the web page and tells it which buttons make sense here.
func (s *Server) page(mux *http.ServeMux) {
	read(mux, "/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/ui", http.StatusFound)
	})
	read(mux, "/ui", file("index.html", "text/html; charset=utf-8"))
	read(mux, "/ui/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/ui", http.StatusFound)
	})
	read(mux, "/ui/app.js", file("app.js", "text/javascript; charset=utf-8"))
	read(mux, "/ui/map.js", file("map.js", "text/javascript; charset=utf-8"))
	read(mux, "/ui/words.js", file("words.js", "text/javascript; charset=utf-8"))
	read(mux, "/ui/style.css", file("style.css", "text/css; charset=utf-8"))
	read(mux, "/ui/features", s.serveFeatures)
}

func file(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content, err := pageFiles.ReadFile("ui/" + name)
		if err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", contentType)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}
}

// features is what the page may offer.
type features struct {
	Drain   bool     `json:"drain"`
	Explain bool     `json:"explain"`
	Mounts  bool     `json:"mounts"`
	Lab     []string `json:"lab"` // actions; empty without a laboratory
}

func (s *Server) serveFeatures(w http.ResponseWriter, _ *http.Request) {
	f := features{Drain: s.cfg.Drainer != nil, Explain: s.cfg.Explain != nil, Mounts: s.cfg.Mounts != nil, Lab: []string{}}
	if s.cfg.Lab != nil {
		f.Lab = s.cfg.Lab.Actions()
	}
	reply(w, http.StatusOK, f)
}
