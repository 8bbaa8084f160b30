package tokencache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"
)

// SinkConfig says where the identity's own token is to be written.
type SinkConfig struct {
	Path string
	Mode fs.FileMode
	// Home names the home on which the token is to be valid; empty while there is
	// none. It may change its mind at any time.
	Home func() string
}

const (
	sinkEvery   = time.Second      // how often a sink looks whether the token changed
	sinkAtMost  = 30 * time.Second // the longest wait after failures
	sinkAtLeast = time.Second
)

var errNoHome = errors.New("no cluster can serve")

// Sink keeps a file that holds the identity's token on one home, for programs that
// want one. It logs in ahead of need and replaces the file whenever the token
// changes. The file is never removed: a program that reads it may outlive the proxy.
type Sink struct {
	hidden
	cfg     SinkConfig
	session *Session
	logger  *zap.Logger

	written Token  // what the file holds
	home    string // for which it was written, or tried last
	failing string // the failure that was logged last; empty when all is well
	wait    time.Duration
	next    time.Time // not tried before, unless home changes
}

// NewSink makes a sink of the cache's identity, which must have one. It does nothing
// before Run.
func (c *Cache) NewSink(cfg SinkConfig) *Sink {
	return &Sink{cfg: cfg, session: c.identity, logger: c.cfg.Logger}
}

// Run writes until ctx ends.
func (s *Sink) Run(ctx context.Context) error {
	tick := time.NewTicker(sinkEvery)
	defer tick.Stop()
	for {
		s.refresh(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// refresh brings the file up to date, unless it is too early after a failure.
func (s *Sink) refresh(ctx context.Context) {
	home, now := s.cfg.Home(), time.Now()
	if home == s.home && now.Before(s.next) {
		return
	}
	s.home = home
	err := s.write(ctx, home)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.failed(err, now)
	default:
		s.wait, s.next, s.failing = 0, time.Time{}, ""
	}
}

func (s *Sink) write(ctx context.Context, home string) error {
	if home == "" {
		return errNoHome
	}
	t, err := s.session.lasting(ctx, home)
	if err != nil {
		return fmt.Errorf("logging in at %s: %w", home, err)
	}
	if t == s.written {
		return nil
	}
	// Without a newline: readers take the whole.
	if err := replaceFile(s.cfg.Path, s.cfg.Mode, []byte(t.Reveal())); err != nil {
		return fmt.Errorf("writing the token: %w", err)
	}
	s.written = t
	s.logger.Info("token written", zap.String("path", s.cfg.Path), zap.String("home", home))
	return nil
}

// failed plans the next try. A failure is logged when it is another than before.
func (s *Sink) failed(err error, now time.Time) {
	s.wait = min(max(2*s.wait, sinkAtLeast), sinkAtMost)
	s.next = now.Add(s.wait)
	kind := describe(err)
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		kind = path.Op + " " + path.Err.Error() // the name of the temporary file differs each time
	}
	if kind == s.failing {
		return
	}
	s.failing = kind
	s.logger.Warn("token not written; trying again", zap.String("path", s.cfg.Path), zap.Error(err))
}
