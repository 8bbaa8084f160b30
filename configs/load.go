package configs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxSize is far above any configuration and far below what hurts.
const maxSize = 1 << 20

// Load reads the configuration at path. env gives the environment, as os.Getenv
// does; VRPROXY_REGION and VRPROXY_LOG_LEVEL in it override the file. A flag
// that overrides both is best given as an env that answers with the flag. The
// error is a [*Problems].
func Load(path string, env func(string) string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		r := newReport(path)
		r.at(1, "the file can't be read (%v); give a readable file with -c or VRPROXY_CONFIG", cause(err))
		return nil, r.err()
	}
	return parse(path, data, env, overrideFromEnv)
}

// Parse is [Load] for a file that is at hand; name is used in problems, and
// its folder for relative file names. The file's ${VARIABLES} come from env,
// but no VRPROXY_ variable overrides a key.
func Parse(name string, data []byte, env func(string) string) (*Config, error) {
	return parse(name, data, env, func(*Config, *report, func(string) string) {})
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// cause drops the file's name from err: the problem names it already.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func parse(name string, data []byte, env func(string) string, overrides func(*Config, *report, func(string) string)) (*Config, error) {
	r := newReport(name)
	root := document(data, r)
	if root == nil {
		return nil, r.err()
	}
	c := Default()
	c.file, c.lines = name, r.lines
	c.Listeners[0].Identity = "" // identity.use decides, once it is known
	r.lines[""] = root.Line
	d := &decoder{report: r, dir: filepath.Dir(name), env: env}
	d.value(root, reflect.ValueOf(c).Elem(), "")
	if d.seen > maxValues {
		r.at(root.Line, "the file holds too many values once its aliases are followed; write it out")
		return nil, r.err()
	}
	overrides(c, r, env)
	c.normalise(r)
	validate(c, r)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// document returns the root of the only document in data, or nil and problems.
func document(data []byte, r *report) *yaml.Node {
	if len(data) > maxSize {
		r.at(1, "the file is larger than 1 MiB; this can't be a vrproxy configuration")
		return nil
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isEmpty(&doc):
		r.at(1, "the file is empty; give at least region and clusters")
		return nil
	case err != nil:
		r.at(syntaxLine(err, data), "not valid YAML: %s; check indentation and quotes here and on the lines above", syntaxMessage(err))
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.at(second.Line, "a second document starts here; keep one and remove the --- line")
	case !errors.Is(err, io.EOF):
		r.at(syntaxLine(err, data), "not valid YAML: %s; only one document is expected", syntaxMessage(err))
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		r.at(root.Line, "keys with values are expected, not %s; start with region: and clusters:", kindOf(root))
		return nil
	}
	return root
}

func isEmpty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null"
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '(.+)' referenced`)
)

// syntaxLine finds the line that a YAML error is about. The library counts
// from 0 in parser errors ("did not find expected"), from 1 in others, and
// names none for some.
func syntaxLine(err error, data []byte) int {
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m[1] != "" {
		line, _ := strconv.Atoi(m[1])
		if strings.Contains(text, "did not find expected") {
			line++
		}
		return min(line, 1+bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n")))
	}
	var offset int
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		offset = bytes.Index(data, []byte("*"+m[1]))
	} else {
		offset = bytes.IndexFunc(data, func(c rune) bool { return c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == '\uFFFD' })
	}
	return 1 + bytes.Count(data[:max(offset, 0)], []byte("\n"))
}

func syntaxMessage(err error) string {
	text := err.Error()
	return text[len(yamlLine.FindString(text)):]
}

// overrideFromEnv applies the variables that override the file.
func overrideFromEnv(c *Config, r *report, env func(string) string) {
	if region := env("VRPROXY_REGION"); region != "" {
		c.Region = region
	}
	if level := env("VRPROXY_LOG_LEVEL"); level != "" {
		if err := setEnum(reflect.ValueOf(&c.Log.Level).Elem(), level); err != nil {
			r.add("log.level", "VRPROXY_LOG_LEVEL: %v", err)
		}
	}
}
