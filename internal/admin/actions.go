package admin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/vrproxy/vrproxy/health"
)

var errUnknownCluster = errors.New("unknown cluster")

// actions are the calls that change something.
func (s *Server) actions(mux *http.ServeMux) {
	if d := s.cfg.Drainer; d != nil {
		write(mux, "/drain", s.serveDrain(d.Drain, true))
		write(mux, "/undrain", s.serveDrain(d.Undrain, false))
	}
	if s.cfg.Quit {
		write(mux, "/quit", s.serveQuit)
	}
	if s.cfg.Lab != nil {
		write(mux, "/lab/{cluster}/{action}", s.serveLab)
	}
}

func (s *Server) serveDrain(do func(string) error, drained bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("cluster")
		if name == "" {
			fail(w, http.StatusBadRequest, "the parameter cluster is missing")
			return
		}
		if err := s.known(name); err != nil {
			fail(w, http.StatusNotFound, err.Error())
			return
		}
		if err := do(name); err != nil {
			fail(w, http.StatusInternalServerError, err.Error())
			return
		}
		s.cfg.Logger.Info("admin: an operator changed a cluster", zap.String("cluster", name), zap.Bool("drained", drained))
		reply(w, http.StatusOK, map[string]any{"cluster": name, "drained": drained})
	}
}

// known fails with the names that would have been right.
func (s *Server) known(name string) error {
	var names []string
	for _, c := range s.clusters() {
		if c.Name == name {
			return nil
		}
		names = append(names, c.Name)
	}
	return fmt.Errorf("%w %q; there are: %s", errUnknownCluster, name, strings.Join(names, ", "))
}

func (s *Server) clusters() []health.Cluster {
	t := s.cfg.Topology()
	if t == nil {
		return nil
	}
	return t.Clusters
}

// serveQuit answers before it acts: once the process stops, the answer might not
// get through.
func (s *Server) serveQuit(w http.ResponseWriter, _ *http.Request) {
	s.cfg.Logger.Info("admin: asked to quit")
	reply(w, http.StatusOK, map[string]bool{"quitting": true})
	_ = http.NewResponseController(w).Flush() // unsupported only by recorders
	if s.cfg.OnQuit != nil {
		s.cfg.OnQuit()
	}
}

func (s *Server) serveLab(w http.ResponseWriter, r *http.Request) {
	cluster, action := r.PathValue("cluster"), r.PathValue("action")
	if err := s.known(cluster); err != nil {
		fail(w, http.StatusNotFound, err.Error())
		return
	}
	if all := s.cfg.Lab.Actions(); !slices.Contains(all, action) {
		fail(w, http.StatusNotFound, fmt.Sprintf("unknown action %q; there are: %s", action, strings.Join(all, ", ")))
		return
	}
	if err := s.cfg.Lab.Do(cluster, action); err != nil {
		fail(w, http.StatusConflict, err.Error())
		return
	}
	s.cfg.Logger.Info("admin: laboratory", zap.String("cluster", cluster), zap.String("action", action))
	s.cfg.Events.Publish(Event{Kind: KindLab, Cluster: cluster, Reason: action})
	reply(w, http.StatusOK, map[string]string{"cluster": cluster, "action": action})
}
