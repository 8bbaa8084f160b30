package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"

	"github.com/vrproxy/vrproxy/internal/replication"
	"github.com/vrproxy/vrproxy/internal/replication/operate"
)

// asker finds secrets: in the environment, else by asking on a terminal. No flag takes
// one, because others see the flags of a process.
type asker struct {
	ctx   context.Context //nolint:containedctx // one command's; a question ends with it
	p     Process
	given map[string]replication.Secret
}

func (a *asker) token(cluster string) (replication.Secret, error) {
	own := operate.TokenVariable(cluster)
	for _, name := range []string{own, "VAULT_TOKEN"} {
		if v := strings.TrimSpace(a.p.Getenv(name)); v != "" {
			return replication.NewSecret(v), nil
		}
	}
	return a.ask("Vault token for "+cluster, own+" or VAULT_TOKEN")
}

func (a *asker) operationToken(cluster string) (replication.Secret, error) {
	const name = "VRPROXY_DR_OPERATION_TOKEN"
	if v := strings.TrimSpace(a.p.Getenv(name)); v != "" {
		return replication.NewSecret(v), nil
	}
	return a.ask("DR operation token for "+cluster, name+" (vrproxy replication generate-operation-token "+cluster+")")
}

// share asks for one share of a key; where there is no terminal it is one line of stdin.
func (a *asker) share(have, of int) (replication.Secret, error) {
	what := fmt.Sprintf("Unseal or recovery key of the primary (%d of %d)", have+1, of)
	if _, ok := askable(a.p.Stdin); ok {
		return a.prompt(what)
	}
	line, err := readLine(a.p.Stdin)
	if err != nil {
		return replication.Secret{}, &exitError{exitUsage, fmt.Errorf("%s: reading it from stdin: %w", what, err)}
	}
	return replication.NewSecret(line), nil
}

// ask asks once for each secret.
func (a *asker) ask(what, variable string) (replication.Secret, error) {
	if s, ok := a.given[what]; ok {
		return s, nil
	}
	if _, ok := askable(a.p.Stdin); !ok {
		return replication.Secret{}, &exitError{exitUsage, fmt.Errorf("no %s: set %s", what, variable)}
	}
	s, err := a.prompt(what)
	if err == nil {
		a.given[what] = s
	}
	return s, err
}

// prompt reads a line that is not shown. The read can't be interrupted, so it is left
// behind when the command ends first.
func (a *asker) prompt(what string) (replication.Secret, error) {
	fd, _ := askable(a.p.Stdin)
	before, err := term.GetState(fd)
	if err != nil {
		return replication.Secret{}, fmt.Errorf("asking for the %s: %w", what, err)
	}
	_, _ = fmt.Fprintf(a.p.Stderr, "%s: ", what)
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		got <- answer{line, err}
	}()
	select {
	case <-a.ctx.Done():
		return replication.Secret{}, errors.Join(a.ctx.Err(), term.Restore(fd, before))
	case in := <-got:
		_, _ = fmt.Fprintln(a.p.Stderr)
		if in.err != nil {
			return replication.Secret{}, fmt.Errorf("asking for the %s: %w", what, in.err)
		}
		return replication.NewSecret(strings.TrimSpace(string(in.line))), nil
	}
}

// askable reports whether somebody sits at the other end.
func askable(in io.Reader) (int, bool) {
	f, ok := in.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return 0, false
	}
	return int(f.Fd()), true //nolint:gosec // file descriptors are small
}

var errNoLine = errors.New("it ended")

// readLine reads one line byte by byte, so that what follows is left for the next.
func readLine(in io.Reader) (string, error) {
	if in == nil {
		return "", errNoLine
	}
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := in.Read(b)
		if n == 1 && b[0] != '\n' {
			line = append(line, b[0])
			continue
		}
		text := strings.TrimSpace(string(line))
		switch {
		case text != "":
			return text, nil
		case err != nil:
			return "", errNoLine
		}
		line = nil // an empty line
	}
}

// progress tells what an order does: on a terminal the last line changes in place,
// elsewhere one is written when something is new, or every ten seconds.
type progress struct {
	out  io.Writer
	live bool
	last string
	at   time.Time
	open bool // the last line may be replaced
}

// newProgress writes to stdout, or to stderr where stdout is for what a command gives.
func newProgress(p Process, quiet bool) *progress {
	out := p.Stdout
	if quiet {
		out = p.Stderr
	}
	return &progress{out: out, live: terminal(out)}
}

const repeatEvery = 10 * time.Second

// Say writes a line that stays.
func (w *progress) Say(line string) {
	if w.open {
		_, _ = fmt.Fprintln(w.out)
	}
	w.open, w.last = false, ""
	_, _ = fmt.Fprintln(w.out, line)
}

// Progress writes a line that the next may replace. What stands behind the last comma
// is the time, and no news by itself.
func (w *progress) Progress(line string) {
	if w.live {
		w.open = true
		_, _ = fmt.Fprintf(w.out, "\r\x1b[K  %s", line)
		return
	}
	news := line[:max(0, strings.LastIndexByte(line, ','))]
	if news == w.last && time.Since(w.at) < repeatEvery {
		return
	}
	w.last, w.at = news, time.Now()
	_, _ = fmt.Fprintln(w.out, "  "+line)
}
