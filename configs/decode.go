package configs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds the work that a file of nested aliases can cause.
const maxValues = 20_000

// decoder fills a Config from a YAML tree. It goes on after a problem, and it
// notes the line of every key that it passes.
type decoder struct {
	*report
	dir  string // what relative file names are relative to
	env  func(string) string
	seen int // values so far
}

// defaulter is a block whose keys have defaults once the block is given.
type defaulter interface{ setDefaults() }

// value decodes node into v. The tree of Go types is finite and its keys are
// known, so no recursion in the file can make this one endless.
func (d *decoder) value(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if d.seen++; d.seen > maxValues {
		d.failed[path] = true
		return
	}
	if node.ShortTag() == "!!null" {
		d.fail(path, "no value is given; give one or remove the key")
		return
	}
	if isScalar(v) {
		d.scalar(node, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.pointer(node, v, path)
	case reflect.Struct:
		d.structure(node, v, path)
	case reflect.Map:
		d.mapping(node, v, path)
	case reflect.Slice:
		d.sequence(node, v, path)
	default:
		panic(fmt.Sprintf("configs: no way to decode %s at %s", v.Type(), path))
	}
}

func (d *decoder) pointer(node *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.New(v.Type().Elem()))
	if block, ok := v.Interface().(defaulter); ok {
		block.setDefaults()
	}
	d.value(node, v.Elem(), path)
}

func (d *decoder) structure(node *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	for key, value := range d.entries(node, path) {
		field, ok := fields[key.Value]
		if !ok {
			d.at(key.Line, "%s", unknownKey(key.Value, path, fields))
			continue
		}
		at := join(path, key.Value)
		d.value(value, v.FieldByIndex(field.Index), at)
		if field.Tag.Get("file") != "" {
			d.resolve(v.FieldByIndex(field.Index))
		}
	}
}

// resolve makes a file name relative to the configuration's folder usable.
func (d *decoder) resolve(v reflect.Value) {
	if name := v.String(); name != "" && !filepath.IsAbs(name) {
		v.SetString(filepath.Join(d.dir, name))
	}
}

func (d *decoder) mapping(node *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	for key, value := range d.entries(node, path) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(value, element, join(path, key.Value))
		v.SetMapIndex(reflect.ValueOf(key.Value), element)
	}
}

func (d *decoder) sequence(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.SequenceNode {
		d.fail(path, "a list is expected, not %s; put the value in [ ] or after a dash", kindOf(node))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		d.value(item, list.Index(i), at)
	}
	v.Set(list)
}

// entries yields the keys and values of a mapping once each, and notes their
// lines.
func (d *decoder) entries(node *yaml.Node, path string) func(func(*yaml.Node, *yaml.Node) bool) {
	return func(yield func(*yaml.Node, *yaml.Node) bool) {
		if node.Kind != yaml.MappingNode {
			d.fail(path, "keys with values are expected, not %s; see examples/vrproxy.yaml", kindOf(node))
			return
		}
		first := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if !d.goodKey(key, path, first) {
				continue
			}
			first[key.Value] = key.Line
			d.lines[join(path, key.Value)] = key.Line
			if !yield(key, node.Content[i+1]) {
				return
			}
		}
	}
}

// goodKey reports whether key may be used; first holds the lines of those
// before it.
func (d *decoder) goodKey(key *yaml.Node, path string, first map[string]int) bool {
	line, twice := first[key.Value]
	switch {
	case key.Kind != yaml.ScalarNode:
		d.at(key.Line, "a key of %s must be a plain word, not %s", place(path), kindOf(key))
	case key.ShortTag() == "!!merge":
		d.at(key.Line, "merging with << is not supported; write the keys of %s out", place(path))
	case twice:
		d.at(key.Line, "duplicate key %q in %s, first given on line %d; keep one of them", key.Value, place(path), line)
	default:
		return true
	}
	return false
}

func (d *decoder) scalar(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.ScalarNode {
		d.fail(path, "a single value is expected, not %s", kindOf(node))
		return
	}
	text, err := expand(node.Value, d.env)
	if err == nil {
		err = setScalar(v, text)
	}
	if err != nil {
		d.fail(path, "%v", err)
	}
}

// fieldsOf returns the fields of a struct by their key in the file.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for _, field := range reflect.VisibleFields(t) {
		if key := field.Tag.Get("yaml"); key != "" {
			fields[key] = field
		}
	}
	return fields
}

func unknownKey(key, path string, fields map[string]reflect.StructField) string {
	var known []string
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	hint := suggest(key, known)
	if hint == "" {
		hint = "; the keys here are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("unknown key %q in %s%s", shorten(key), place(path), hint)
}

func place(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return "a single value"
	}
}

// shorten keeps a message readable when the file is not what it should be.
func shorten(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
