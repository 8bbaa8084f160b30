package machines

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomad "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"

	"github.com/vrproxy/vrproxy/configs"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sound parses a configuration as vrproxy does.
func sound(t *testing.T, text []byte) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("vrproxy.yaml", text, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestConsul(t *testing.T) {
	t.Parallel()
	strict := func(name string, into any) {
		d := json.NewDecoder(bytes.NewReader(read(t, "../consul/"+name)))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var proxy, vault consul.AgentServiceRegistration
	strict("vrproxy.service.json", &proxy)
	strict("vault.service.json", &vault)
	for _, s := range []consul.AgentServiceRegistration{proxy, vault} {
		if len(s.Checks) != 1 || s.Checks[0].HTTP == "" {
			t.Errorf("%s is not checked", s.ID)
			continue
		}
		if _, err := time.ParseDuration(s.Checks[0].Interval); err != nil {
			t.Error(err)
		}
	}
	var query consul.PreparedQueryDefinition
	strict("vault-nearest.query.json", &query)
	if query.Service.Service != vault.Name || query.Service.Failover.NearestN == 0 || !query.Service.OnlyPassing {
		t.Errorf("%+v", query)
	}
	cfg := sound(t, read(t, "../consul/vrproxy.yaml"))
	for _, c := range cfg.Clusters {
		if want := "srv+https://_" + vault.Name + "._tcp.service." + c.Region + ".consul"; c.Addresses[0] != want {
			t.Errorf("%s, want %s", c.Addresses[0], want)
		}
	}
}

// The job is compared with Nomad's own types, field by field: its parser is in a module
// that can't be had from a module proxy.
func TestNomad(t *testing.T) {
	t.Parallel()
	const name = "../nomad/vrproxy.nomad.hcl"
	file, problems := hclsyntax.ParseConfig(read(t, name), name, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	var job *hclsyntax.Block
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "job" {
			job = b
		}
	}
	if job == nil {
		t.Fatal("no job")
	}
	fits(t, "job", job.Body, reflect.TypeFor[nomad.Job]())
	for kind, want := range map[string]string{"type": nomad.JobTypeSystem} {
		if v, problems := job.Body.Attributes[kind].Expr.Value(nil); problems.HasErrors() || v.AsString() != want {
			t.Errorf("%s is %#v, want %s", kind, v, want)
		}
	}
	text := template(t, job.Body)
	cfg := sound(t, []byte(text))
	if cfg.Identity != nil {
		t.Error("a proxy for all tasks has an identity")
	}
	for _, l := range cfg.Listeners {
		if l.Identity != configs.UseNever {
			t.Errorf("%s may lend an identity", l.Address)
		}
	}
}

// fits compares a body with the type that Nomad decodes it into.
func fits(t *testing.T, at string, body *hclsyntax.Body, into reflect.Type) {
	t.Helper()
	for into.Kind() == reflect.Pointer || into.Kind() == reflect.Slice {
		into = into.Elem()
	}
	if into.Kind() == reflect.Map {
		return // config, env, options: free
	}
	for name, a := range body.Attributes {
		field, ok := fieldOf(into, name, false)
		if !ok {
			t.Errorf("%s: %s has no attribute %s", a.NameRange, at, name)
			continue
		}
		holds(t, at+"."+name, a.Expr, field)
	}
	for _, b := range body.Blocks {
		field, ok := fieldOf(into, b.Type, true)
		if !ok {
			t.Errorf("%s: %s has no block %s", b.TypeRange, at, b.Type)
			continue
		}
		fits(t, at+"."+b.Type, b.Body, field)
	}
}

// byHand are the names that Nomad's parser knows without a tag.
func byHand() map[string]string {
	return map[string]string{"port": "DynamicPorts", "static": "Value", "to": "To", "host_network": "HostNetwork", "check": "Checks", "options": "GetterOptions", "constraint": "Constraints"}
}

func fieldOf(in reflect.Type, name string, block bool) (reflect.Type, bool) {
	for i := range in.NumField() {
		tag, kind, _ := strings.Cut(in.Field(i).Tag.Get("hcl"), ",")
		if tag == name && (kind == "block") == block {
			return in.Field(i).Type, true
		}
	}
	if f, ok := in.FieldByName(byHand()[name]); ok {
		return f.Type, true
	}
	return nil, false
}

// holds compares a literal with the kind of its field. What has variables in it is a text.
func holds(t *testing.T, at string, expr hclsyntax.Expression, field reflect.Type) {
	t.Helper()
	for field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	kind := cty.String
	if len(expr.Variables()) == 0 {
		v, problems := expr.Value(nil)
		if problems.HasErrors() {
			t.Errorf("%s: %v", at, problems)
			return
		}
		kind = v.Type()
	}
	if field == reflect.TypeFor[time.Duration]() {
		v, _ := expr.Value(nil)
		if _, err := time.ParseDuration(v.AsString()); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		return
	}
	want := map[reflect.Kind]cty.Type{reflect.String: cty.String, reflect.Int: cty.Number, reflect.Int64: cty.Number, reflect.Uint64: cty.Number, reflect.Bool: cty.Bool}[field.Kind()]
	switch {
	case field.Kind() == reflect.Map, field.Kind() == reflect.Slice && kind.IsTupleType():
	case want == cty.NilType || !kind.Equals(want):
		t.Errorf("%s is a %s, want %s", at, kind.FriendlyName(), field)
	}
}

// template finds the configuration in the job.
func template(t *testing.T, body *hclsyntax.Body) string {
	t.Helper()
	for _, b := range body.Blocks {
		if b.Type == "template" {
			v, problems := b.Body.Attributes["data"].Expr.Value(nil)
			if problems.HasErrors() {
				t.Fatal(problems)
			}
			return v.AsString()
		}
		if b.Type == "group" || b.Type == "task" {
			return template(t, b.Body)
		}
	}
	t.Fatal("no template")
	return ""
}
