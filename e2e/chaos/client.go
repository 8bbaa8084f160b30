package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// event is one request and what became of it.
type event struct {
	client       int
	op, key      string
	value        string // written or read
	began, ended time.Time
	status       int    // 0: no answer
	code         string // of the proxy's own error
	cluster      string
	text         string // of an error
}

func (e event) String() string {
	return fmt.Sprintf("client %d %s %s: %d %s from %q after %v %s", e.client, e.op, e.key, e.status, e.code, e.cluster, e.ended.Sub(e.began).Round(time.Millisecond), e.text)
}

// history is what all clients saw.
type history struct {
	mu     sync.Mutex
	events []event
}

func (h *history) add(e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// client is one application with a token of its own.
type client struct {
	number int
	run    uint64 // names what it writes, in a world that runs more than once
	url    string
	http   *http.Client
	random *rand.Rand
	h      *history
	token  string
	leases []string
	writes int
}

const strongKeys = 4

// work does one thing after another until ctx ends.
func (c *client) work(ctx context.Context) {
	for ctx.Err() == nil {
		switch n := c.random.IntN(100); {
		case c.token == "":
			c.login(ctx)
		case n < 30:
			c.do(ctx, "read", "GET", "secret/data/hello", "")
		case n < 34:
			c.ownWrite(ctx)
		case n < 40:
			c.ownRead(ctx)
		case n < 55:
			c.strongRead(ctx)
		case n < 65:
			c.strongWrite(ctx)
		case n < 80:
			c.onceWrite(ctx)
		case n < 86:
			c.do(ctx, "self", "GET", "auth/token/lookup-self", "")
		case n < 91:
			c.credential(ctx)
		case n < 95:
			c.renew(ctx)
		case n < 97:
			c.revoke(ctx)
		default:
			c.do(ctx, "encrypt", "POST", "transit/encrypt/demo", `{"plaintext":"aGk="}`)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(c.random.IntN(15)) * time.Millisecond):
		}
	}
}

// answer is what of a body anybody looks at.
type answer struct {
	LeaseID string `json:"lease_id"`
	Auth    struct {
		Token string `json:"client_token"`
	} `json:"auth"`
	Data struct {
		ID   string         `json:"id"`
		Data map[string]any `json:"data"`
	} `json:"data"`
	Errors []string `json:"errors"`
}

func (c *client) do(ctx context.Context, op, method, path, body string) (event, answer) {
	e, a := c.send(ctx, op, method, path, body)
	if op == "self" {
		e.value = a.Data.ID
		if e.status == http.StatusOK && a.Data.ID != c.token {
			e.text = "somebody else's token is shown"
		}
	}
	c.h.add(e)
	return e, a
}

func (c *client) send(ctx context.Context, op, method, path, body string) (event, answer) {
	e := event{client: c.number, op: op, key: path, began: time.Now()}
	var a answer
	// What was begun is waited for, also at the end: its outcome matters.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, c.url+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		panic(err) // a mistake of this program
	}
	if c.token != "" {
		req.Header.Set("X-Vault-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		var raw []byte
		raw, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		_ = json.Unmarshal(raw, &a) // no content is fine
		e.status, e.code, e.cluster = resp.StatusCode, resp.Header.Get("X-Vrproxy-Error"), resp.Header.Get("X-Vrproxy-Cluster")
		e.text = strings.Join(a.Errors, "; ")
	}
	if err != nil {
		e.status, e.text = 0, err.Error()
	}
	e.ended = time.Now()
	return e, a
}

func (c *client) login(ctx context.Context) {
	e, a := c.send(ctx, "login", "POST", "auth/userpass/login/demo", `{"password":"demo"}`)
	c.token = a.Auth.Token
	c.h.add(e)
}

func (c *client) strongRead(ctx context.Context) {
	e, a := c.send(ctx, "strong read", "GET", c.strongKey(), "")
	e.value, _ = a.Data.Data["v"].(string)
	c.h.add(e)
}

func (c *client) strongWrite(ctx context.Context) {
	c.writes++
	value := fmt.Sprintf("%d-%d-%d", c.run, c.number, c.writes)
	e, _ := c.send(ctx, "strong write", "POST", c.strongKey(), fmt.Sprintf(`{"data":{"v":%q}}`, value))
	e.value = value
	c.h.add(e)
}

func (c *client) strongKey() string {
	return fmt.Sprintf("secret/data/strong/%d-%d", c.run, c.random.IntN(strongKeys))
}

// ownWrite writes what nobody else does, with a number that grows.
func (c *client) ownWrite(ctx context.Context) {
	c.writes++
	value := fmt.Sprint(c.writes)
	e, _ := c.send(ctx, "own write", "POST", c.ownKey(), fmt.Sprintf(`{"data":{"v":%q}}`, value))
	e.value = value
	c.h.add(e)
}

// ownRead reads it, through whatever cluster is near.
func (c *client) ownRead(ctx context.Context) {
	e, a := c.send(ctx, "own read", "GET", c.ownKey(), "")
	e.value, _ = a.Data.Data["v"].(string)
	c.h.add(e)
}

func (c *client) ownKey() string {
	return fmt.Sprintf("secret/data/own/%d-%d-%d", c.run, c.number, c.random.IntN(2))
}

// onceWrite writes what nobody else does, so that at the end it can be seen how often
// it was written.
func (c *client) onceWrite(ctx context.Context) {
	c.writes++
	c.do(ctx, "once", "POST", fmt.Sprintf("secret/data/once/%d-%d-%d", c.run, c.number, c.writes), `{"data":{"v":"1"}}`)
}

func (c *client) credential(ctx context.Context) {
	e, a := c.send(ctx, "credential", "GET", "database/creds/readonly", "")
	e.value = a.LeaseID
	c.h.add(e)
	if a.LeaseID != "" {
		c.leases = append(c.leases, a.LeaseID)
	}
}

func (c *client) renew(ctx context.Context) {
	if len(c.leases) == 0 {
		return
	}
	lease := c.leases[c.random.IntN(len(c.leases))]
	e, _ := c.send(ctx, "renew", "PUT", "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, lease))
	e.value = lease
	c.h.add(e)
}

// revoke revokes the oldest lease, and does not touch it again.
func (c *client) revoke(ctx context.Context) {
	if len(c.leases) == 0 {
		return
	}
	lease := c.leases[0]
	c.leases = c.leases[1:]
	e, _ := c.send(ctx, "revoke", "PUT", "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, lease))
	e.value = lease
	c.h.add(e)
}
