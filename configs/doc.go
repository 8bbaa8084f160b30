// Package configs is the configuration file of vrproxy: what it may say, what
// it means when it says nothing, and every problem in it, all at once and each
// with its line.
//
// [Load] reads a file in two passes. One strict decode walks the YAML tree and
// fills a [Config] that already holds the defaults; it notes unknown keys, wrong
// types and unset variables instead of stopping at them. One validation then
// judges the whole, so that rules across keys live in one place. The result is
// either a usable Config or a [*Problems].
//
// The commented reference is examples/vrproxy.yaml, also available as [Examples].
package configs
