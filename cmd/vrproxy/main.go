// Command vrproxy is a region-aware routing proxy for HashiCorp Vault.
package main

import (
	"os"

	"github.com/vrproxy/vrproxy/internal/app"
)

func main() {
	os.Exit(app.Main(os.Args[1:], app.Process{
		Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Signals: app.OSSignals(), Files: app.PassedFiles(),
	}))
}
