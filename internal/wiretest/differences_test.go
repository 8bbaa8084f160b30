package wiretest

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the differences into docs/fidelity.md") //nolint:gochecknoglobals // a flag of the test binary

const (
	fidelityDoc = "../../docs/fidelity.md"
	table       = "<!-- the rest is written by `make docs` -->\n\n| | what differs |\n|---|---|\n"
)

func TestTheDocumentHasTheDifferences(t *testing.T) {
	raw, err := os.ReadFile(fidelityDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(raw), table)
	if !found {
		t.Fatalf("%s has no table", fidelityDoc)
	}
	want := head + table
	for _, d := range Differences() {
		want += fmt.Sprintf("| %s | %s |\n", d.Name, d.Text)
	}
	if !*update {
		if string(raw) != want {
			t.Errorf("%s does not show the differences; run `make docs`", fidelityDoc)
		}
		return
	}
	if err := os.WriteFile(fidelityDoc, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}
