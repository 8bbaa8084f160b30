package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/store"
)

// demoPolicy is broad enough to try everything.
const demoPolicy = `
path "secret/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "kv/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "database/creds/*" { capabilities = ["read"] }
path "transit/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "pki/issue/*" { capabilities = ["create", "update"] }
path "pki/cert/*" { capabilities = ["read"] }
path "sys/leases/*" { capabilities = ["create", "read", "update", "list"] }
path "sys/internal/ui/mounts/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["create", "update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/renew" { capabilities = ["update"] }
path "auth/token/revoke" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/lookup" { capabilities = ["update"] }
path "sys/tools/*" { capabilities = ["update"] }
`

// statement is one write.
type statement struct{ path, body string }

// content is what the primary is told before the lab starts.
func content() []statement {
	return []statement{
		{"sys/policies/acl/demo", fmt.Sprintf(`{"policy":%q}`, demoPolicy)},
		{"sys/mounts/secret", `{"type":"kv","options":{"version":"2"},"description":"key/value secret storage"}`},
		{"sys/mounts/kv", `{"type":"kv","options":{"version":"1"}}`},
		{"sys/mounts/database", `{"type":"database"}`},
		{"sys/mounts/transit", `{"type":"transit"}`},
		{"sys/mounts/pki", `{"type":"pki"}`},
		{"sys/auth/userpass", `{"type":"userpass"}`},
		{"sys/auth/approle", `{"type":"approle"}`},
		{"sys/policies/acl/replication", `{"policy":"path \"sys/replication/*\" { capabilities = [\"create\", \"update\", \"sudo\"] }"}`},
		{"auth/userpass/users/demo", `{"password":"demo","token_policies":["demo"]}`},
		{"auth/approle/role/demo", `{"token_policies":["demo"]}`},
		{"auth/approle/role/demo/role-id", `{"role_id":"demo"}`},
		{"auth/approle/role/demo/custom-secret-id", `{"secret_id":"demo"}`},
		{"auth/approle/role/operator", `{"token_policies":["replication"]}`},
		{"auth/approle/role/operator/role-id", `{"role_id":"operator"}`},
		{"auth/approle/role/operator/custom-secret-id", `{"secret_id":"operator"}`},
		{"database/config/demo", `{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","connection_url":"postgresql://lab"}`},
		{"database/roles/readonly", `{"db_name":"demo","default_ttl":"1h","max_ttl":"24h","creation_statements":["CREATE ROLE \"{{name}}\""]}`},
		{"transit/keys/demo", `{}`},
		{"pki/root/generate/internal", `{"common_name":"lab.example.com","ttl":"87600h","key_type":"ec"}`},
		{"pki/roles/demo", `{"allow_any_name":true,"max_ttl":"72h","key_type":"ec"}`},
		{"secret/data/hello", `{"data":{"greeting":"hello from us-east"}}`},
	}
}

// fill gives the primary its content and copies it to the others.
func (l *Lab) fill() error {
	first := l.primary(nil)
	if first == nil && len(l.clusters) > 0 {
		first = l.clusters[0]
	}
	if first == nil {
		return nil
	}
	if l.cfg.VaultBin != "" {
		return l.fillReal(first)
	}
	b := first.backend.(*simulated)
	if err := b.core.Bootstrap(); err != nil {
		return err
	}
	if err := b.core.AddRoot(RootToken); err != nil {
		return err
	}
	if err := fillOne(b); err != nil {
		return err
	}
	if l.cfg.Bare {
		return l.fillBare(first)
	}
	return l.spread(first)
}

// fillBare gives every other cluster the little that a new Vault has, and one of them
// something to lose.
func (l *Lab) fillBare(first *Cluster) error {
	for i, c := range l.clusters {
		if c == first {
			continue
		}
		b := c.backend.(*simulated)
		if err := errors.Join(b.core.Bootstrap(), b.core.AddRoot(RootToken)); err != nil {
			return err
		}
		if i != 1 {
			continue
		}
		if err := write(b, []statement{
			{"sys/mounts/team-a", `{"type":"kv","options":{"version":"2"}}`},
			{"team-a/data/old", `{"data":{"from":"before replication"}}`},
			{"sys/policies/acl/team-a", `{"policy":"path \"team-a/*\" { capabilities = [\"read\"] }"}`},
		}); err != nil {
			return err
		}
	}
	return nil
}

func fillOne(b *simulated) error { return write(b, content()) }

func write(b *simulated, list []statement) error {
	for _, s := range list {
		reply := b.execute(context.Background(), &core.Call{
			Method: http.MethodPost, Path: s.path, Query: url.Values{}, Body: []byte(s.body),
			Header: http.Header{"X-Vault-Token": {RootToken}},
		}, nil)
		if reply.Status >= http.StatusBadRequest {
			return fmt.Errorf("writing %s: %s", s.path, reply.Body)
		}
	}
	return nil
}

// spread copies the first cluster to all others, performance secondaries
// before DR secondaries, which copy them.
func (l *Lab) spread(first *Cluster) error {
	for _, c := range l.clusters {
		if c == first || c.role == roleDR {
			continue
		}
		l.copyFrom(c, first, false)
		if err := c.backend.(*simulated).core.AddRoot(RootToken); err != nil {
			return err
		}
		c.upstream = first
	}
	for i, c := range l.clusters {
		if c.role == roleDR {
			c.drOf = l.Cluster(l.cfg.Clusters[i].DROf)
			c.drOf.repl.drOn = true
			l.copyFrom(c, c.drOf, true)
		}
	}
	for _, c := range l.clusters {
		c.backend.setWritable(c.role == rolePrimary)
	}
	return nil
}

func (l *Lab) copyFrom(c, from *Cluster, local bool) {
	b, src := c.backend.(*simulated), from.backend.(*simulated).store
	b.sync(src, local)
	at, _ := b.reached(src)
	c.remote = store.Position{Local: at, Replicated: src.Position().Replicated}
}
