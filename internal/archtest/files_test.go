package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// A file above wanted is named by go test -v; above most, the test fails.
const (
	wanted = 400
	most   = 500
)

func TestFilesStayShort(t *testing.T) {
	t.Parallel()
	for _, p := range rooms(t) {
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if isGenerated(data) {
				continue
			}
			switch lines := bytes.Count(data, []byte("\n")); {
			case lines > most:
				t.Errorf("%s/%s has %d lines; split it by concern, to %d or fewer", p.room(), name, lines, wanted)
			case lines > wanted:
				t.Logf("%s/%s has %d lines; think of splitting it", p.room(), name, lines)
			}
		}
	}
}

func isGenerated(data []byte) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", data, parser.PackageClauseOnly|parser.ParseComments)
	return err == nil && ast.IsGenerated(file)
}

func TestEachPackageHasOneComment(t *testing.T) {
	t.Parallel()
	for _, p := range rooms(t) {
		var with []string
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil {
				with = append(with, name)
			}
		}
		if len(p.GoFiles) > 0 && len(with) != 1 {
			t.Errorf("%s has %d package comments %v; have exactly one, which says what the package is for", p.room(), len(with), with)
		}
	}
}
