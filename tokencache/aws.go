package tokencache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/hashicorp/vault/api"
)

// awsRegion is what signatures are for, unless told otherwise: Vault's own default.
const awsRegion = "us-east-1"

// aws logs in to Vault's aws method. It takes the place of Vault's module for that, which
// is built on the first version of Amazon's SDK: that is not maintained any more, heeds no
// deadline, and costs every process 6 MB.
type aws struct {
	hidden
	role, path string
	region     string // iam: that the request is signed for
	header     string // iam: X-Vault-AWS-IAM-Server-ID
	ec2        bool
	signature  string // ec2: which one of the instance's
	nonce      string // ec2: the same at each login, or Vault refuses the instance
	regional   bool   // iam: never to the global address of STS
}

func (c *configured) aws(home string) aws {
	return aws{
		role: c.option(home, "role"), path: "auth/" + c.mount(home) + "/login", region: cmp.Or(c.option(home, "region"), awsRegion),
		header: c.option(home, "header_value"), ec2: c.option(home, "type") == "ec2", signature: c.option(home, "signature"),
		nonce: cmp.Or(c.option(home, "nonce"), c.nonce.Reveal()), regional: os.Getenv("AWS_STS_REGIONAL_ENDPOINTS") == "regional",
	}
}

// Login proves who the machine is.
func (a aws) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(awsRegion))
	if err != nil {
		return nil, err
	}
	proof := a.iam
	if a.ec2 {
		proof = a.instance
	}
	data, err := proof(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if a.role != "" { // else Vault takes the name of the principal or the image
		data["role"] = a.role
	}
	secret, err := write{path: a.path, data: data}.Login(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("unable to log in with AWS auth: %w", err)
	}
	return secret, nil
}

// iam signs a request to STS that tells whose credentials these are. Vault sends it.
func (a aws) iam(ctx context.Context, cfg sdk.Config) (map[string]any, error) {
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	req, err := a.callerIdentity(ctx, body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), "sts", a.region, time.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	headers, err := json.Marshal(req.Header)
	if err != nil {
		return nil, fmt.Errorf("encoding the signed headers: %w", err)
	}
	return map[string]any{
		"iam_http_request_method": req.Method,
		"iam_request_url":         base64.StdEncoding.EncodeToString([]byte(req.URL.String())),
		"iam_request_headers":     base64.StdEncoding.EncodeToString(headers),
		"iam_request_body":        base64.StdEncoding.EncodeToString([]byte(body)),
	}, nil
}

// callerIdentity is that request. For the older regions it goes to the global address,
// where Vault sends it unless it is told of another (sts_endpoint).
func (a aws) callerIdentity(ctx context.Context, body string) (*http.Request, error) {
	endpoint, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{
		Region: sdk.String(a.region), UseGlobalEndpoint: sdk.Bool(!a.regional), UseDualStack: sdk.Bool(false), UseFIPS: sdk.Bool(false),
	})
	if err != nil {
		return nil, fmt.Errorf("the address of STS in %q: %w", a.region, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint.URI.String(), "/")+"/", strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the address of STS in %q: %w", a.region, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Header.Set("Content-Length", strconv.Itoa(len(body)))
	if a.header != "" {
		req.Header.Set("X-Vault-AWS-IAM-Server-ID", a.header)
	}
	return req, nil
}

// instance shows what the metadata service signed of the instance.
func (a aws) instance(ctx context.Context, cfg sdk.Config) (map[string]any, error) {
	want := map[string]string{"pkcs7": "pkcs7"}
	switch a.signature {
	case "identity":
		want = map[string]string{"identity": "document", "signature": "signature"}
	case "rsa2048":
		want["pkcs7"] = "rsa2048"
	}
	service, data := imds.NewFromConfig(cfg), map[string]any{"nonce": a.nonce}
	for key, name := range want {
		text, err := dynamicData(ctx, service, name)
		if err != nil {
			return nil, err
		}
		if name == "document" {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		data[key] = text
	}
	return data, nil
}

func dynamicData(ctx context.Context, service *imds.Client, name string) (string, error) {
	out, err := service.GetDynamicData(ctx, &imds.GetDynamicDataInput{Path: "instance-identity/" + name})
	if err != nil {
		return "", err
	}
	defer func() { _ = out.Content.Close() }()
	text, err := io.ReadAll(out.Content)
	if err != nil {
		return "", fmt.Errorf("reading the metadata: %w", err)
	}
	if name == "document" || name == "signature" {
		return string(text), nil
	}
	return strings.TrimSpace(string(text)), nil
}
