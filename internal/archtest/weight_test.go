package archtest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// heavy are modules that cost every process memory at its start, whether they are used
// there or not.
func heavy() map[string]string {
	return map[string]string{
		"google.golang.org/grpc":     "nothing here speaks gRPC; it is 6 MB of program",
		"github.com/aws/aws-sdk-go/": "it is not maintained any more, and makes 2 MB of tables at each start; aws-sdk-go-v2 is there",
	}
}

func TestTheProgramIsLight(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/vrproxy")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, dep := range strings.Fields(string(out)) {
		for prefix, why := range heavy() {
			if strings.HasPrefix(dep+"/", prefix) {
				t.Errorf("vrproxy must not be built with %s: %s", dep, why)
			}
		}
	}
}
