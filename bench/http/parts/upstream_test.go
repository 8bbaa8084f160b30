package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/bench/http/stage"
)

// exchange sends a request as net/http does, over one connection.
func exchange(t *testing.T, method, path, body string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go newUpstream(2).converse(server)
	req, err := http.NewRequest(method, "http://upstream"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", "t")
	go func() { _ = req.Write(client) }() // a failure shows in the answer
	resp, err := http.ReadResponse(bufio.NewReader(client), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
	}
	return raw
}

func TestTheUpstreamAnswersLikeVault(t *testing.T) {
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", stage.SmallPath + "?version=1", "", `"mount_type":"kv"`},
		{"GET", "/v1/" + stage.MountName(1) + "/data/small", "", `"mount_type":"kv"`},
		{"GET", "/v1/sys/health?standbyok=true", "", `"initialized":true`},
		{"GET", "/v1/sys/internal/ui/mounts", "", `"` + stage.MountName(1) + `/"`},
		{"POST", stage.LoginPath + "u1", `{"password":"p"}`, `"client_token":"` + stage.TokenOf("u1") + `"`},
		{"GET", "/v1/auth/token/lookup-self", "", `"id":"t"`},
		{"GET", stage.LeasePath, "", `"lease_id":"database/creds/app/`},
		{"POST", stage.WritePath, `{"data":{}}`, `"version":1`},
	} {
		got := exchange(t, c.method, c.path, c.body)
		if !json.Valid(got) || !bytes.Contains(got, []byte(c.want)) {
			t.Errorf("%s %s: %s; want %s in it", c.method, c.path, got, c.want)
		}
	}
}

func TestTheAnswersAreAsLargeAsTheySay(t *testing.T) {
	if n := len(exchange(t, "GET", stage.SmallPath, "")); n != 600 {
		t.Errorf("small: %d bytes", n)
	}
	if n := len(exchange(t, "GET", stage.LargePath, "")); n != 64<<10 {
		t.Errorf("large: %d bytes", n)
	}
}

func TestEachLeaseIsAnother(t *testing.T) {
	if a, b := exchange(t, "GET", stage.LeasePath, ""), exchange(t, "GET", stage.LeasePath, ""); bytes.Equal(a, b) {
		t.Errorf("twice %s", a)
	}
}
