package core

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// finish completes the reply: positions, common headers, X-Vault-Index.
func (c *Core) finish(j *job, r *Reply) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Cache-Control", "no-store")
	r.Position = c.cfg.Store.Position()
	if j.Request == nil || j.Tx == nil {
		return
	}
	r.Writes = j.Tx.Writes
	if c.cfg.NoIndex || r.Writes+j.passed == 0 || j.call.Caller != nil {
		return
	}
	r.Header.Set("X-Vault-Index", c.index(r.Position.Local, max(r.Position.Replicated, j.primary)))
}

// index is the state that a later request may require.
func (c *Core) index(local, replicated uint64) string {
	s := fmt.Sprintf("v1:%s:%d:%d", c.cfg.ID, local, replicated)
	return base64.StdEncoding.EncodeToString([]byte(s + ":" + c.sign(s)))
}

// checkIndex refuses a request whose required state is not here yet. Of a
// state that another cluster named only the replicated part can be compared.
func (c *Core) checkIndex(required []string) error {
	for _, r := range required {
		cluster, local, replicated, err := c.parseIndex(r)
		if err != nil {
			return engine.BadRequest("error parsing required index state: %v", err)
		}
		if c.cfg.OwnIdx && cluster != c.cfg.ID {
			continue
		}
		have := c.cfg.Store.Position()
		if replicated > have.Replicated || cluster == c.cfg.ID && local > have.Local {
			return engine.Errorf(http.StatusPreconditionFailed, "required index state not present")
		}
	}
	return nil
}

func (c *Core) parseIndex(s string) (cluster string, local, replicated uint64, err error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", 0, 0, fmt.Errorf("decoding: %w", err)
	}
	parts := strings.Split(string(raw), ":")
	if len(parts) != 5 || parts[0] != "v1" {
		return "", 0, 0, fmt.Errorf("invalid full state: %q", raw)
	}
	if c.sign(strings.Join(parts[:4], ":")) != parts[4] {
		return "", 0, 0, fmt.Errorf("invalid state signature")
	}
	_, err = fmt.Sscanf(parts[2]+" "+parts[3], "%d %d", &local, &replicated)
	return parts[1], local, replicated, err
}
