// Command parts is what the benchmark measures against: a simulated Vault, and the least
// proxies that can be made with Go's libraries. It is a program of its own so that it
// weighs no more than it must.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		os.Exit(1)
	}
}

func run() error {
	upstream := flag.Bool("upstream", false, "be the simulated Vault")
	mounts := flag.Int("mounts", 0, "with -upstream: so many mounts")
	reverse := flag.String("reverse", "", "be an httputil.ReverseProxy before this URL")
	fast := flag.String("fasthttp", "", "be a proxy of fasthttp before this URL")
	dir := flag.String("dir", "", "where the certificate is")
	flag.Parse()
	switch {
	case *upstream:
		return serveUpstream(*dir, *mounts)
	case *reverse != "":
		return serveReverse(*reverse, *dir)
	case *fast != "":
		return serveFast(*fast, *dir)
	}
	return fmt.Errorf("one of -upstream, -reverse, -fasthttp must be given")
}
