// Command coredns is CoreDNS with the plugins that the tests and the benchmark use.
// All of them would bring the clients of three clouds and of Kubernetes along.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	// The order in which plugins see a question, as in CoreDNS's own plugin.cfg.
	dnsserver.Directives = []string{"reload", "bind", "errors", "cache", "file", "loop", "forward"}
	coremain.Run()
}
