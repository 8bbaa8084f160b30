// Package monitoring holds the dashboard and the alerts of deploy/ to Prometheus' own
// parser and engine, and to what a running proxy shows. It is nothing but tests, and a
// module of its own, because Prometheus brings much with it.
package monitoring
