package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/vrproxy/vrproxy/internal/replication"
)

// readWithin bounds all questions to one cluster.
const readWithin = 5 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// Facts asks all clusters, at the same time. It needs no token.
func (o *Operator) Facts(ctx context.Context) []replication.Facts {
	out := make([]replication.Facts, len(o.cfg.Clusters))
	var work sync.WaitGroup
	for i, c := range o.cfg.Clusters {
		work.Go(func() { out[i] = o.ask(ctx, c) })
	}
	work.Wait()
	return out
}

// node is what one address of a cluster says.
type node struct {
	client  *api.Client
	address string
	health  replication.Health
	err     error
}

func (o *Operator) ask(ctx context.Context, c Cluster) replication.Facts {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	f := replication.Facts{Name: c.Name, Region: c.Region, DROf: c.DROf, Addresses: c.Addresses}
	if len(c.Addresses) == 0 {
		f.Unreachable = "it has no address"
		return f
	}
	nodes := o.nodes(ctx, c)
	best := spokesman(nodes)
	if best.err != nil {
		f.Unreachable = scrub(cause(best.err))
		return f
	}
	f.Active, f.Health = best.address, best.health
	for _, n := range nodes {
		if n.err == nil && n.health.ClusterID != "" && n.health.ClusterID != best.health.ClusterID {
			f.Strangers = append(f.Strangers, n.address)
		}
	}
	if f.Health.Sealed || !f.Health.Initialized {
		return f
	}
	f.Status, f.StatusKnown = status(ctx, best.client)
	f.ClusterAddress = clusterAddress(ctx, best.client)
	return f
}

func (o *Operator) nodes(ctx context.Context, c Cluster) []node {
	out := make([]node, len(c.Addresses))
	var work sync.WaitGroup
	for i, a := range c.Addresses {
		work.Go(func() { out[i] = o.node(ctx, c.Name, a) })
	}
	work.Wait()
	return out
}

// spokesman is the node whose word counts: the active one, else one that answers.
func spokesman(nodes []node) node {
	best := nodes[0]
	for _, n := range nodes {
		switch {
		case n.err != nil:
		case best.err != nil, rank(n.health) > rank(best.health):
			best = n
		}
	}
	return best
}

func rank(h replication.Health) int {
	switch {
	case !h.Initialized:
		return 0
	case h.Sealed:
		return 1
	case h.Standby:
		return 2
	default:
		return 3
	}
}

func (o *Operator) node(ctx context.Context, cluster, address string) node {
	n := node{address: address}
	if n.client, n.err = o.cfg.Vaults.Client(cluster, address); n.err != nil {
		return n
	}
	// Any state is an answer: every code is asked to be one that means success.
	q := url.Values{}
	for _, code := range []string{"standbycode", "drsecondarycode", "performancestandbycode", "sealedcode", "uninitcode", "haunhealthycode", "removedcode"} {
		q.Set(code, "200")
	}
	var body []byte
	if body, n.err = get(ctx, n.client, "sys/health", q); n.err != nil {
		return n
	}
	var h struct {
		replication.Health
		Initialized *bool `json:"initialized"`
	}
	if err := json.Unmarshal(body, &h); err != nil || h.Initialized == nil {
		n.err = errNotVault
		return n
	}
	n.health = h.Health
	n.health.Initialized = *h.Initialized
	return n
}

var errNotVault = errors.New("what answers there is not Vault")

// get reads one JSON document.
func get(ctx context.Context, client *api.Client, path string, q url.Values) ([]byte, error) {
	resp, err := client.Logical().ReadRawWithDataWithContext(ctx, path, q)
	if resp != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return body, nil
}

// status asks for both kinds at once, and for each where a listener allows only that.
func status(ctx context.Context, client *api.Client) (replication.Status, bool) {
	if body, err := get(ctx, client, "sys/replication/status", nil); err == nil {
		if s, err := replication.Decode(body); err == nil {
			return s, true
		}
	}
	var s replication.Status
	for kind, mode := range map[replication.Kind]*replication.Mode{replication.Performance: &s.Performance, replication.DR: &s.DR} {
		body, err := get(ctx, client, path(kind, "status"), nil)
		if err == nil {
			*mode, err = replication.DecodeMode(body)
		}
		if err != nil {
			return replication.Status{}, false
		}
	}
	return s, true
}

// clusterAddress is where other clusters find this one; empty where it does not tell.
func clusterAddress(ctx context.Context, client *api.Client) string {
	var leader struct {
		Address string `json:"leader_cluster_address"`
	}
	body, err := get(ctx, client, "sys/leader", nil)
	if err != nil || json.Unmarshal(body, &leader) != nil {
		return ""
	}
	return leader.Address
}

// Use counts what a cluster holds, as far as the token for it may see.
func (o *Operator) Use(ctx context.Context, f replication.Facts) replication.Use {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	token, err := o.cfg.Token(f.Name)
	if err != nil {
		return replication.Use{}
	}
	client, err := o.cfg.Vaults.Client(f.Name, f.Active)
	if err != nil {
		return replication.Use{}
	}
	client.SetToken(token.Reveal())
	return replication.Use{
		Mounts:      table(ctx, client, "sys/mounts", "sys/", "identity/", "cubbyhole/", "agent-registry/"),
		AuthMethods: table(ctx, client, "sys/auth", "token/"),
		Policies:    list(ctx, client, "sys/policies/acl", "root", "default"),
		Entities:    list(ctx, client, "identity/entity/id"),
		Namespaces:  list(ctx, client, "sys/namespaces"),
	}
}

// table counts the entries of a mount table, without what every Vault has.
func table(ctx context.Context, client *api.Client, path string, builtin ...string) replication.Count {
	s, err := client.Logical().ReadWithContext(ctx, path)
	if err != nil || s == nil {
		return replication.Count{}
	}
	n := 0
	for name, v := range s.Data {
		if _, entry := v.(map[string]any); entry && !contains(builtin, name) {
			n++
		}
	}
	return replication.Count{N: n, Known: true}
}

// list counts the keys of a list; where there is nothing to list, Vault answers 404.
func list(ctx context.Context, client *api.Client, path string, builtin ...string) replication.Count {
	s, err := client.Logical().ListWithContext(ctx, path)
	if err != nil {
		return replication.Count{}
	}
	n := 0
	if s != nil {
		keys, _ := s.Data["keys"].([]any)
		for _, k := range keys {
			if name, _ := k.(string); !contains(builtin, name) {
				n++
			}
		}
	}
	return replication.Count{N: n, Known: true}
}

func contains(list []string, name string) bool {
	for _, s := range list {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}
