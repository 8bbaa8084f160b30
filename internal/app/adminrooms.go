package app

import "github.com/vrproxy/vrproxy/tokencache"

// counts shows the token cache by cluster; a DR pair shares its numbers, which
// stand with the cluster that serves.
type counts struct {
	tokens *tokencache.Cache
	cores  *current
}

func (c counts) Sessions() int { return c.tokens.Sessions() }

func (c counts) Tokens(cluster string) int { return c.of(cluster, c.tokens.Tokens) }

func (c counts) Leases(cluster string) int { return c.of(cluster, c.tokens.Leases) }

func (c counts) of(cluster string, count func(home string) int) int {
	t := c.cores.topology()
	home := t.HomeOf(cluster)
	for _, m := range t.Members(home) {
		if m.Usable() || m.Name == home {
			if m.Name == cluster {
				return count(home)
			}
			if m.Usable() {
				return 0
			}
		}
	}
	return 0
}

// drainer drains clusters of the core that is current.
type drainer struct{ cores *current }

func (d drainer) Drain(cluster string) error   { return d.cores.p.Load().checker.Drain(cluster) }
func (d drainer) Undrain(cluster string) error { return d.cores.p.Load().checker.Undrain(cluster) }
