// Package scale simulates thousands of proxies before few Vault clusters, in virtual time:
// the real health, tokencache and routing code, and a model of everything else. It is
// nothing but tests; docs/scale.md tells what they found.
package scale
