package proxy

import "testing"

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		invalid = `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`
		denied  = `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`
		bare    = `{"errors":["permission denied"]}`
	)
	for _, tc := range []struct {
		name string
		out  outcome
		want verdict
	}{
		{"refused connection, a write", outcome{failed: true}, next},
		{"refused connection, a read", outcome{failed: true, repeatable: true}, next},
		{"lost after sending, a read", outcome{failed: true, sent: true, repeatable: true}, next},
		{"lost after sending, a write", outcome{failed: true, sent: true}, unknown},
		{"answered", outcome{status: 200, json: true}, done},
		{"answered without content", outcome{status: 204}, done},
		{"redirect", outcome{status: 307}, done},
		{"missing", outcome{status: 404, json: true, text: `{"errors":[]}`}, done},
		{"nothing mounted there", outcome{status: 404, json: true, text: `{"errors":["no handler for route \"app/x\". route entry not found."]}`}, absent},
		{"token invalid", outcome{status: 403, json: true, text: invalid}, relogin},
		{"bad token", outcome{status: 403, json: true, text: `{"errors":["bad token"]}`}, relogin},
		{"denied by policy", outcome{status: 403, json: true, text: denied}, done},
		{"denied for a reason not told", outcome{status: 403, json: true, text: bare}, confirm},
		{"quota", outcome{status: 429, json: true, text: `{"errors":["request path \"x\": rate limit quota exceeded"]}`, repeatable: true}, done},
		{"sealed, a write", outcome{status: 503, json: true, text: `{"errors":["Vault is sealed"]}`}, next},
		{"namespace locked by an administrator", outcome{status: 503, json: true, text: `{"errors":["API access to this namespace has been locked by an administrator"]}`, repeatable: true}, done},
		{"overloaded", outcome{status: 503, json: true, text: `{"errors":["server overloaded, try again later"]}`, repeatable: true}, done},
		{"election", outcome{status: 500, json: true, text: `{"errors":["local node not active but active cluster node not found"]}`}, next},
		{"no leader", outcome{status: 503, json: true, text: `{"errors":["no active Vault instance found"]}`}, next},
		{"DR secondary", outcome{status: 400, json: true, text: `{"errors":["path disabled in replication DR secondary mode"]}`}, next},
		{"secondary that cannot write", outcome{status: 405, json: true, text: `{"errors":["cannot write to readonly storage"]}`}, next},
		{"secondary that cannot reach its primary", outcome{status: 500, json: true, text: `{"errors":["1 error occurred:\n\t* rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial tcp 10.0.0.1:8201: connect: connection refused\"\n\n"]}`}, next},
		{"forward that broke off", outcome{status: 500, json: true, text: `{"errors":["rpc error: code = Unavailable desc = error reading from server: EOF"]}`}, done},
		{"bad request", outcome{status: 400, json: true, text: `{"errors":["missing data"]}`, repeatable: true}, done},
		{"internal error", outcome{status: 500, json: true, text: `{"errors":["internal error"]}`, repeatable: true}, done},
		{"index not here yet", outcome{status: 412, json: true, text: `{"errors":["required index state not present"]}`}, lagging},
		{"another proxy misses a header", outcome{status: 412, json: true, text: `{"errors":["missing \"X-Vault-Request\" header"]}`}, done},
		{"load balancer without a backend, a read", outcome{status: 503, text: "<html>", repeatable: true}, next},
		{"load balancer without a backend, a write", outcome{status: 503, text: "<html>"}, done},
		{"control group or plugin error", outcome{status: 502, json: true, text: `{"errors":["upstream"]}`, repeatable: true}, done},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := judge(tc.out); got != tc.want {
				t.Errorf("judge = %v, want %v", got, tc.want)
			}
		})
	}
}
