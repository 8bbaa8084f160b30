package machines

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul-template/config"
)

func TestConsulTemplate(t *testing.T) {
	t.Parallel()
	text := string(read(t, "../injection/consul-template.hcl"))
	c, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if *c.Vault.Address != "http://127.0.0.1:8200" || *c.Vault.RenewToken || len(*c.Templates) != 1 || !*c.Vault.Retry.Enabled {
		t.Errorf("%s", c.GoString())
	}
	if _, err := config.Parse(strings.Replace(text, "renew_token", "renew_tokens", 1)); err == nil {
		t.Error("an unknown key is not refused, so nothing was checked")
	}
}
