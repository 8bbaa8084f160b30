package lab_test

import (
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// TestVaultClient uses HashiCorp's own client.
func TestVaultClient(t *testing.T) {
	t.Parallel()
	l := start(t)
	cfg := vault.DefaultConfig()
	cfg.Address = l.Cluster("eu-west").Address()
	c, err := vault.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cfg.HttpClient.CloseIdleConnections)
	secret, err := c.Logical().Write("auth/userpass/login/demo", map[string]any{"password": "demo"})
	if err != nil {
		t.Fatal(err)
	}
	c.SetToken(secret.Auth.ClientToken)
	if _, err := c.KVv2("secret").Put(t.Context(), "client", map[string]any{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the write comes back", func() bool {
		kv, err := c.KVv2("secret").Get(t.Context(), "client")
		return err == nil && kv.Data["a"] == "b" && kv.VersionMetadata.Version == 1
	})
	health, err := c.Sys().Health()
	if err != nil || health.ClusterID != l.Cluster("eu-west").ID() || health.ReplicationPerformanceMode != "secondary" {
		t.Errorf("health %+v, %v", health, err)
	}
	status, err := c.Sys().ReplicationStatus()
	if err != nil || status.Performance.Mode != "secondary" || len(status.Performance.Primaries) != 1 {
		t.Errorf("replication %+v, %v", status, err)
	}
}
