package explain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vrproxy/vrproxy/internal/mounts"
	"github.com/vrproxy/vrproxy/routing"
)

// maxLine bounds one line of a list or a log; Vault itself takes bodies of 32 MiB,
// which an audit log holds hashed.
const maxLine = 64 << 20

// ErrMalformed says that lines of the input were no requests. Each was answered with
// the careful class, and is named in the error's text.
var ErrMalformed = errors.New("not all lines are requests")

// Mounts reads a mount table: the data object of Vault's GET sys/internal/ui/mounts,
// or the whole answer, with an optional member "namespaces" of such objects by
// namespace.
func Mounts(raw []byte) (*routing.Table, error) {
	type listing struct {
		Secret map[string]map[string]any `json:"secret"`
		Auth   map[string]map[string]any `json:"auth"`
	}
	var file struct {
		listing
		Namespaces map[string]listing `json:"namespaces"`
		Data       *json.RawMessage   `json:"data"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("this is not the JSON of sys/internal/ui/mounts: %w", err)
	}
	if file.Data != nil {
		return Mounts(*file.Data)
	}
	if file.Secret == nil && file.Auth == nil && file.Namespaces == nil {
		return nil, errors.New(`there is neither "secret" nor "auth" nor "namespaces" in it; take the data of: vault read -format=json sys/internal/ui/mounts`)
	}
	table := &routing.Table{}
	if file.Secret != nil || file.Auth != nil {
		table = table.With("", mounts.List(file.Secret, file.Auth))
	}
	for name, l := range file.Namespaces {
		table = table.With(routing.NormalNamespace(name), mounts.List(l.Secret, l.Auth))
	}
	return table, nil
}

// Batch explains a list: each input line is METHOD, a path with its query, and
// headers as "Name: value", separated by tabs; each output line is class and reason.
// No line is dropped. The error is ErrMalformed when lines were no requests.
func (e Explainer) Batch(in io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	var bad []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		class, reason, err := e.line(strings.TrimSuffix(lines.Text(), "\r"))
		if err != nil {
			class, reason = string(routing.Operator), "refused with 400: "+err.Error()
			bad = append(bad, fmt.Sprintf("line %d: %v", n, err))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\n", class, reason) // Flush tells
	}
	if err := errors.Join(lines.Err(), w.Flush()); err != nil {
		return fmt.Errorf("explaining the list: %w", err)
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w:\n  %s", ErrMalformed, strings.Join(bad[:min(len(bad), 20)], "\n  "))
	}
	return nil
}

func (e Explainer) line(text string) (class, reason string, err error) {
	fields := strings.Split(text, "\t")
	if len(fields) < 2 || fields[0] == "" {
		return "", "", errors.New("want METHOD, a tab, and /v1/PATH")
	}
	req := Request(strings.ToUpper(fields[0]), fields[1])
	for _, header := range fields[2:] {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return "", "", errors.New("a header has to be Name: value")
		}
		req.SetHeader(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	a, err := e.Explain(req, "")
	return a.Class, a.Reason, err
}
