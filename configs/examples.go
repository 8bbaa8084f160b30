package configs

import "embed"

// Examples holds the example files, below examples/. vrproxy.yaml among them
// is the reference: it names every key.
//
//go:embed examples/*.yaml
var Examples embed.FS
