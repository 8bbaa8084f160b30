package configs_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"github.com/vrproxy/vrproxy/configs"
)

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	const value = "hunter2hunter2"
	s := configs.NewSecret(value)
	options := configs.Options{SecretID: s, Password: s, Nonce: s}
	shown := []string{s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprint(&s)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s", "%x", "%X", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, options), fmt.Sprintf(verb, &options))
	}
	for _, v := range []any{s, &s, options, &options, map[string]configs.Secret{"k": s}} {
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		y, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		line, err := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).
			EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Any("v", v)})
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(j), string(y), line.String())
	}
	hexed := fmt.Sprintf("%x", value)
	for _, text := range shown {
		if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hexed) {
			t.Errorf("the secret shows in %s", text)
		}
	}
	if s.Reveal() != value {
		t.Errorf("Reveal() = %q", s.Reveal())
	}
}

func TestSecretsStayOutOfProblems(t *testing.T) {
	t.Parallel()
	const value = "hunter2hunter2"
	_, err := configs.Parse("v.yaml", []byte(`
clusters:
  - { name: a, addresses: ["https://user:hunter2hunter2@h", "http://h:hunter2hunter2"] }
identity: { method: userpass, options: { secret_id: hunter2hunter2, password: hunter2hunter2, password_file: x, nonce: hunter2hunter2 } }
`), noEnv)
	if err == nil || strings.Contains(err.Error(), value) {
		t.Errorf("problems show a secret: %v", err)
	}
}
