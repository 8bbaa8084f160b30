package configs_test

import (
	"strings"
	"testing"

	"github.com/vrproxy/vrproxy/configs"
)

// Each file starts with smallest (lines 1 to 5), so what is appended starts at
// line 6. Each wanted line is the beginning of one printed problem, in order.
func TestProblemsBesideASmallestFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "lisners: []\n", []string{`v.yaml:6: unknown key "lisners" in the file; did you mean "listeners"?`}},
		{"unknown key below", "health:\n  interval: 1s\n  fal: 2\n", []string{`v.yaml:8: unknown key "fal" in health; did you mean "fall"?`}},
		{"unknown key like nothing", "log: { destination: x }\n", []string{`v.yaml:6: unknown key "destination" in log; the keys here are format, level`}},
		{"duplicate key", "region: x\n", []string{`v.yaml:6: duplicate key "region" in the file, first given on line 1; keep one`}},
		{"duplicate key below", "log:\n  level: info\n  level: warn\n", []string{`v.yaml:8: duplicate key "level" in log, first given on line 7`}},
		{"two documents", "---\nregion: x\n", []string{`v.yaml:6: a second document starts here; keep one`}},
		{"no value", "dns:\n", []string{`v.yaml:6: dns: no value is given; give one or remove the key`}},
		{"merge key", "log: { <<: {} }\n", []string{`v.yaml:6: merging with << is not supported; write the keys of log out`}},
		{"list for a word", "log: { level: [info] }\n", []string{`v.yaml:6: log.level: a single value is expected, not a list`}},
		{"word for a list", "routing: { never: us-east }\n", []string{`v.yaml:6: routing.never: a list is expected, not a single value; put the value in [ ]`}},
		{"word for keys", "health: fast\n", []string{`v.yaml:6: health: keys with values are expected, not a single value`}},
		{"word for a number", "sessions: { max: many }\n", []string{`v.yaml:6: sessions.max: "many" is not a whole number; write digits only`}},
		{"word for a switch", "sessions: { replay: yes }\n", []string{`v.yaml:6: sessions.replay: "yes" is not a switch; use true or false`}},
		{"duration without a unit", "health: { interval: 2 }\n", []string{`v.yaml:6: health.interval: "2" is a duration without a unit; write 2s`}},
		{"not a duration", "health: { interval: 2d }\n", []string{`v.yaml:6: health.interval: "2d" is not a duration; write a number and a unit`}},
		{"enum", "log: { level: wran }\n", []string{`v.yaml:6: log.level: "wran" is not known; use debug, info, warn or error; did you mean "warn"?`}},
		{"unset variable", "log:\n  level: ${LEVEL}\n", []string{`v.yaml:7: log.level: the environment variable LEVEL is not set or empty; set it, or write $${LEVEL}`}},
		{"broken variable", "log: { level: \"${a-b}\" }\n", []string{`v.yaml:6: log.level: ${ starts no variable name; write ${NAME}, or $${`}},

		{"no listener", "listeners: []\n", []string{`v.yaml:6: listeners: at least one is required`}},
		{"listener without address", "listeners: [{}]\n", []string{`v.yaml:6: listeners[0].address: it is required`}},
		{"listener without port", "listeners:\n  - address: localhost\n", []string{`v.yaml:7: listeners[0].address: "localhost" is not an address; write host:port`}},
		{"port out of range", "listeners: [address: \"127.0.0.1:70000\"]\n", []string{`v.yaml:6: listeners[0].address: "127.0.0.1:70000" is not an address`}},
		{"plain text beyond loopback", "listeners:\n  - address: \"0.0.0.0:8243\"\n", []string{`v.yaml:7: listeners[0].address: tokens and secrets would cross the network in plain text; give the listener tls, or accept that with allow_plaintext: true`}},
		{"every interface", "listeners: [{ address: \":8243\" }]\n", []string{`v.yaml:6: listeners[0].address: tokens and secrets`}},
		{"relative socket", "listeners: [{ address: \"unix://run/v.sock\" }]\n", []string{`v.yaml:6: listeners[0].address: the socket's path must be absolute`}},
		{"mode on tcp", "listeners:\n  - address: 127.0.0.1:1\n    mode: \"0660\"\n", []string{`v.yaml:8: listeners[0].mode: only a unix socket has a mode`}},
		{"mode not octal", "listeners:\n  - address: unix:///s\n    mode: rw\n", []string{`v.yaml:8: listeners[0].mode: "rw" is not an octal file mode; write it like "0660"`}},
		{"owner on tcp", "listeners:\n  - address: 127.0.0.1:1\n    user: root\n", []string{`v.yaml:8: listeners[0].user: only a unix socket has a user`}},
		{"nameless socket of systemd", "listeners:\n  - address: \"systemd:\"\n", []string{`v.yaml:7: listeners[0].address: "" is no name of a socket; write systemd:NAME`}},
		{"mode of a socket of systemd", "listeners:\n  - address: systemd:vault\n    mode: \"0600\"\n", []string{`v.yaml:8: listeners[0].mode: systemd makes the socket; set it in the socket unit`}},
		{"same socket of systemd", "listeners:\n  - address: systemd:vault\n  - address: systemd:vault\n", []string{`v.yaml:8: listeners[1].address: listeners[0].address wants systemd:vault too`}},
		{"limits", "limits:\n  connections: 0\n  in_flight: 0\n  repeat_body: 0\n  header_bytes: 10\n  header_timeout: 0s\n  idle_timeout: 0s\n", []string{
			`v.yaml:7: limits.connections: 0 is too small`, `v.yaml:8: limits.in_flight: 0 is too small`, `v.yaml:9: limits.repeat_body: 0 is out of range; give 4096 to`,
			`v.yaml:10: limits.header_bytes: 10 is out of range; give 4096 to`, `v.yaml:11: limits.header_timeout: 0s is too short`, `v.yaml:12: limits.idle_timeout: 0s is too short`}},
		{"connections", "connections: { per_node: 0, idle_per_node: 0, idle_timeout: 0s, lifetime: -1s }\n", []string{
			`v.yaml:6: connections.idle_per_node: 0`, `v.yaml:6: connections.idle_timeout: 0s`, `v.yaml:6: connections.lifetime: -1s`, `v.yaml:6: connections.per_node: 0`}},
		{"tls half", "listeners:\n  - address: 0.0.0.0:1\n    tls: { cert_file: a }\n", []string{`v.yaml:8: listeners[0].tls.key_file: it is required; give the PEM file`}},
		{"listener lends nothing", "listeners:\n  - address: 127.0.0.1:1\n    identity: force\n", []string{`v.yaml:8: listeners[0].identity: force lends out the proxy's identity, but there is none`}},
		{"same address", "listeners:\n  - address: 127.0.0.1:1\n  - address: localhost:1\n", []string{`v.yaml:8: listeners[1].address: listeners[0].address wants 127.0.0.1:1 too; give one of them another address`}},
		{"admin port", "listeners:\n  - address: 127.0.0.1:8210\n", []string{`v.yaml:7: listeners[0].address: admin.address wants 127.0.0.1:8210 too`}},
		{"dns port", "dns: { address: \"0.0.0.0:8210\" }\n", []string{`v.yaml:6: dns.address: admin.address wants 127.0.0.1:8210 too`}},
		{"same socket", "listeners:\n  - address: unix:///s\n  - address: unix:///s\n", []string{`v.yaml:8: listeners[1].address: listeners[0].address wants unix:///s too`}},
		{"admin beyond loopback", "admin:\n  address: \"0.0.0.0:8210\"\n", []string{`v.yaml:7: admin.address: anyone on the network could drain clusters; give admin.tls, or listen at 127.0.0.1:8210`}},
		{"admin tls half", "admin: { tls: { key_file: k } }\n", []string{`v.yaml:6: admin.tls.cert_file: it is required`}},

		{"failover to nowhere", "routing:\n  failover: [us-east, us-eats]\n", []string{`v.yaml:7: routing.failover[1]: no cluster runs in "us-eats"; did you mean "us-east"?`}},
		{"never somewhere unknown", "routing:\n  never:\n    - mars\n", []string{`v.yaml:8: routing.never[0]: no cluster runs in "mars"; the regions are us-east`}},
		{"never anywhere", "routing: { never: [us-east] }\n", []string{`v.yaml:6: routing.never: it excludes every cluster; leave at least one region`}},
		{"rule without all", "routing: { rules: [{}] }\n", []string{`v.yaml:6: routing.rules[0].path: it is required`, `v.yaml:6: routing.rules[0].to: it is required; use nearest, primary, cluster:NAME or refuse`}},
		{"rule below v1", "routing:\n  rules:\n    - path: /v1/secret/*\n      to: nearest\n", []string{`v.yaml:8: routing.rules[0].path: paths here are below /v1/; write "secret/*"`}},
		{"rule with slash", "routing: { rules: [{ path: /secret, to: nearest }] }\n", []string{`v.yaml:6: routing.rules[0].path: paths here have no slash in front; write "secret"`}},
		{"star inside", "routing: { rules: [{ path: a/*/b, to: nearest }] }\n", []string{`v.yaml:6: routing.rules[0].path: "*" matches any rest and may only be the last character; use +`}},
		{"plus inside", "routing: { rules: [{ path: a/x+/b, to: nearest }] }\n", []string{`v.yaml:6: routing.rules[0].path: "+" stands for one whole segment`}},
		{"rule method", "routing: { rules: [{ path: a, methods: [get], to: nearest }] }\n", []string{`v.yaml:6: routing.rules[0].methods[0]: "get" is not a method; use GET, LIST, SCAN, POST, PUT, PATCH, DELETE or HEAD; did you mean "GET"?`}},
		{"rule to nowhere", "routing: { rules: [{ path: a, to: secondary }] }\n", []string{`v.yaml:6: routing.rules[0].to: "secondary" is not a target; use nearest, primary, cluster:NAME or refuse`}},
		{"rule to unknown", "routing: { rules: [{ path: a, to: \"cluster:us-west\" }] }\n", []string{`v.yaml:6: routing.rules[0].to: "us-west" is not a cluster of this file; did you mean "us-east"?`}},

		{"timeout above interval", "health:\n  interval: 1s\n  timeout: 2s\n", []string{`v.yaml:8: health.timeout: 2s is longer than the interval of 1s`}},
		{"health numbers", "health:\n  interval: 0s\n  fall: 0\n  rise: -1\n", []string{`v.yaml:7: health.interval: 0s is too short`, `v.yaml:8: health.fall: 0 is too small; give 1 or more`, `v.yaml:9: health.rise: -1 is too small`}},
		{"sessions", "sessions: { max: 0, idle: -1h }\n", []string{`v.yaml:6: sessions.idle: -1h0m0s is too short`, `v.yaml:6: sessions.max: 0 is too small`}},
		{"negative durations", "shutdown: { drain_delay: -1s }\nrouting: { primary_wait: -1s }\n", []string{`v.yaml:6: shutdown.drain_delay: -1s is negative; give 0s or more`, `v.yaml:7: routing.primary_wait: -1s is negative`}},
		{"dns numbers", "dns:\n  negative_ttl: -1s\n  serve_stale: 25h\n  cache_size: 2000000\n  rate_limit: -1\n", []string{
			`v.yaml:7: dns.negative_ttl: -1s is out of range; give 0s to 1h`, `v.yaml:8: dns.serve_stale: 25h0m0s is out of range; give 0s to 24h`,
			`v.yaml:9: dns.cache_size: 2000000 is out of range; give 0 to 1000000`, `v.yaml:10: dns.rate_limit: -1 is negative; give 0 for no limit`,
		}},
		{"dns", "dns:\n  address: here\n  zone: \"a..b\"\n  ttl: 2h\n  forward: [resolv.conf, 10.0.0.2]\n  allow: [10.0.0.1, all]\n", []string{
			`v.yaml:7: dns.address: "here" is not an address`, `v.yaml:8: dns.zone: "a..b." is not a domain name`, `v.yaml:9: dns.ttl: 2h0m0s is out of range; give 0s to 1h`,
			`v.yaml:10: dns.forward[0]: "resolv.conf" is not a resolver; write host:port like 10.0.0.2:53, or the absolute path`, `v.yaml:10: dns.forward[1]: "10.0.0.2" is not a resolver`,
			`v.yaml:11: dns.allow[0]: 10.0.0.1 is an address, not a network; write 10.0.0.1/32`, `v.yaml:11: dns.allow[1]: "all" is not a network`,
		}},
		{"tracing to nowhere", "tracing: {}\n", []string{`v.yaml:6: tracing.endpoint: "" is no collector's URL; write it like http://127.0.0.1:4318`}},
		{"tracing", "tracing:\n  endpoint: collector:4317\n  sample: 20\n  tls: { key_file: k }\n", []string{
			`v.yaml:7: tracing.endpoint: "collector:4317" is no collector's URL`, `v.yaml:8: tracing.sample: "20" is not a share; write a number from 0 to 1`,
			`v.yaml:9: tracing.tls.key_file: cert_file is missing`,
		}},

		{"no method", "identity: {}\n", []string{`v.yaml:6: identity.method: it is required; use approle, kubernetes, jwt, userpass, ldap, cert, aws, gcp, azure or token_file`}},
		{"method unknown", "identity: { method: aprole }\n", []string{`v.yaml:6: identity.method: "aprole" is not known; use`}},
		{"mount prefix", "identity:\n  method: approle\n  mount: auth/approle\n  options: { role_id: r }\n", []string{`v.yaml:8: identity.mount: "auth/approle" has the auth/ prefix; write "approle"`}},
		{"approle without role", "identity:\n  method: approle\n  options: { secret_id: s }\n", []string{`v.yaml:8: identity.options.role_id_file: it is required for approle; give role_id_file or role_id`}},
		{"approle twice", "identity:\n  method: approle\n  options:\n    role_id: r\n    role_id_file: f\n", []string{`v.yaml:9: identity.options.role_id: role_id_file gives the same; keep one`}},
		{"option of another method", "identity:\n  method: approle\n  options:\n    role_id: r\n    role: r\n", []string{`v.yaml:10: identity.options.role: it is no option of approle; use role_id_file, role_id, secret_id_file, secret_id or secret_id_wrapped`}},
		{"option unknown", "identity:\n  method: approle\n  options:\n    role_id: r\n    secretid: r\n", []string{`v.yaml:10: unknown key "secretid" in identity.options; did you mean "secret_id"?`}},
		{"kubernetes", "identity: { method: kubernetes }\n", []string{`v.yaml:6: identity.options.role: it is required for kubernetes`}},
		{"jwt", "identity: { method: jwt, options: { path: a, jwt_file: b } }\n", []string{`v.yaml:6: identity.options.jwt_file: path gives the same`, `v.yaml:6: identity.options.role: it is required for jwt`}},
		{"ldap", "identity: { method: ldap }\n", []string{`v.yaml:6: identity.options.password_file: it is required for ldap; give password_file or password`, `v.yaml:6: identity.options.username: it is required`}},
		{"token file", "identity: { method: token_file }\n", []string{`v.yaml:6: identity.options.path: it is required for token_file`}},
		{"wrapped nothing", "identity:\n  method: approle\n  options:\n    role_id: r\n    secret_id_wrapped: true\n", []string{`v.yaml:10: identity.options.secret_id_wrapped: there is no wrapping token; give it as secret_id_file or secret_id`}},
		{"wrapped elsewhere", "identity: { method: ldap, options: { username: u, password: p, secret_id_wrapped: true } }\n", []string{`v.yaml:6: identity.options.secret_id_wrapped: it is no option of ldap`}},
		{"aws without role", "identity: { method: aws }\n", []string{`v.yaml:6: identity.options.role: it is required for aws; give role`}},
		{"aws type", "identity:\n  method: aws\n  options:\n    role: r\n    type: ecs\n", []string{`v.yaml:10: identity.options.type: "ecs" is not known; use iam or ec2; did you mean "ec2"?`}},
		{"aws signature", "identity:\n  method: aws\n  options:\n    role: r\n    type: ec2\n    signature: pkcs\n", []string{`v.yaml:11: identity.options.signature: "pkcs" is not known; use pkcs7, identity or rsa2048; did you mean "pkcs7"?`}},
		{"aws ec2 option with iam", "identity:\n  method: aws\n  options:\n    role: r\n    nonce: n\n    signature: pkcs7\n", []string{
			`v.yaml:10: identity.options.nonce: it has no effect with type iam; remove it, or use type ec2`, `v.yaml:11: identity.options.signature: it has no effect with type iam`}},
		{"aws iam option with ec2", "identity:\n  method: aws\n  options:\n    role: r\n    type: ec2\n    header_value: h\n    region: eu-west-1\n", []string{
			`v.yaml:11: identity.options.header_value: it has no effect with type ec2; remove it, or use type iam`, `v.yaml:12: identity.options.region: it has no effect with type ec2`}},
		{"aws with an option of azure", "identity: { method: aws, options: { role: r, resource: x } }\n", []string{`v.yaml:6: identity.options.resource: it is no option of aws; use role, type, region, header_value, nonce or signature`}},
		{"gcp without role", "identity: { method: gcp }\n", []string{`v.yaml:6: identity.options.role: it is required for gcp; give role`}},
		{"gcp type", "identity: { method: gcp, options: { role: r, type: gke } }\n", []string{`v.yaml:6: identity.options.type: "gke" is not known; use gce or iam; did you mean "gce"?`}},
		{"gcp iam without account", "identity: { method: gcp, options: { role: r, type: iam } }\n", []string{`v.yaml:6: identity.options.service_account: it is required for type iam; give it`}},
		{"gcp gce with account", "identity: { method: gcp, options: { role: r, service_account: a } }\n", []string{`v.yaml:6: identity.options.service_account: it has no effect with type gce; remove it, or use type iam`}},
		{"azure without role", "identity: { method: azure, options: { type: vm } }\n", []string{`v.yaml:6: identity.options.role: it is required for azure; give role`, `v.yaml:6: identity.options.type: it is no option of azure; use role or resource`}},
		{"sink without path", "identity:\n  method: cert\n  sinks:\n    - mode: \"0640\"\n", []string{`v.yaml:3: clusters[0].tls.cert_file`, `v.yaml:9: identity.sinks[0].path: it is required; name the file to write the token to`}},
		{"sinks", "identity:\n  method: approle\n  options: { role_id: r }\n  sinks:\n    - { path: t, mode: rw }\n    - { path: ./t, cluster: us-eats }\n", []string{
			`v.yaml:10: identity.sinks[0].mode: "rw" is not an octal file mode; write it like "0660"`,
			`v.yaml:11: identity.sinks[1].cluster: "us-eats" is not a cluster of this file; did you mean "us-east"?`,
			`v.yaml:11: identity.sinks[1].path: identity.sinks[0] writes to "t" too; give one of them another file`}},
		{"sink of a token file", "identity:\n  method: token_file\n  options: { path: t }\n  sinks: [{ path: u }]\n", []string{`v.yaml:9: identity.sinks: they would copy the file that identity.options.path names; remove them`}},
		{"cert without certificate", "identity: { method: cert }\n", []string{`v.yaml:3: clusters[0].tls.cert_file: it is required for identity.method cert`}},
		{"per_cluster unknown", "identity:\n  method: approle\n  options: { role_id: r }\n  per_cluster:\n    us-eats: { mount: auth/a }\n", []string{
			`v.yaml:10: identity.per_cluster.us-eats.mount: "auth/a" has the auth/ prefix`,
			`v.yaml:10: identity.per_cluster.us-eats: "us-eats" is not a cluster of this file; did you mean "us-east"?`,
		}},
		{"per_cluster option", "identity:\n  method: approle\n  options: { role_id: r }\n  per_cluster:\n    us-east: { options: { path: x } }\n", []string{`v.yaml:10: identity.per_cluster.us-east.options.path: it is no option of approle`}},
		{"all at once", "log: { level: x }\nhealth: { fall: 0 }\nnonsense: 1\n", []string{`v.yaml:6: log.level`, `v.yaml:7: health.fall`, `v.yaml:8: unknown key "nonsense"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantProblems(t, smallest+tt.text, tt.want)
		})
	}
}

func TestProblemsOfWholeFiles(t *testing.T) {
	t.Parallel()
	const head = "region: eu\nclusters:\n" // lines 1 and 2
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{`v.yaml:1: the file is empty; give at least region and clusters`}},
		{"comments only", "# nothing\n", []string{`v.yaml:1: the file is empty`}},
		{"not YAML", "region: eu\nclusters: [\n", []string{`v.yaml:2: not valid YAML: `}},
		{"bad indentation", "region: eu\nclusters:\n  - name: a\n bad: b\n", []string{`v.yaml:4: not valid YAML: `}},
		{"tab", "region: eu\nlog:\n\tlevel: info\n", []string{`v.yaml:3: not valid YAML: found character that cannot start any token`}},
		{"binary", "region: eu\nx: \x00\n", []string{`v.yaml:2: not valid YAML: control characters`}},
		{"unknown anchor", "region: eu\nlog: *x\n", []string{`v.yaml:2: not valid YAML: unknown anchor 'x'`}},
		{"a list", "- a\n", []string{`v.yaml:1: keys with values are expected, not a list; start with region: and clusters:`}},
		{"a word", "hello\n", []string{`v.yaml:1: keys with values are expected, not a single value`}},
		{"too large", strings.Repeat("#\n", 1<<20), []string{`v.yaml:1: the file is larger than 1 MiB`}},
		{"nothing required", "log: {}\n", []string{`v.yaml:1: clusters: at least one cluster is required`, `v.yaml:1: region: it is required; say where this proxy runs, or set VRPROXY_REGION`}},
		{"no cluster", "region: eu\nclusters: []\n", []string{`v.yaml:2: clusters: at least one cluster is required`}},
		{"cluster without all", head + "  - {}\n", []string{`v.yaml:3: clusters[0].addresses: at least one is required`, `v.yaml:3: clusters[0].name: it is required`, `v.yaml:3: clusters[0].region: it is required`}},
		{"names", head +
			"  - { name: nearest, region: r, addresses: [\"https://a\"] }\n" +
			"  - { name: primary, region: r, addresses: [\"https://b\"] }\n" +
			"  - { name: \"*\", region: r, addresses: [\"https://c\"] }\n" +
			"  - { name: US_East, region: r, addresses: [\"https://d\"] }\n" +
			"  - { name: x, region: r, addresses: [\"https://e\"] }\n" +
			"  - { name: x, region: r, addresses: [\"https://f\"] }\n",
			[]string{
				`v.yaml:3: clusters[0].name: "nearest" is reserved`, `v.yaml:4: clusters[1].name: "primary" is reserved`,
				`v.yaml:5: clusters[2].name: "*" stands for every cluster`, `v.yaml:6: clusters[3].name: "US_East" can't be part of a DNS name`,
				`v.yaml:8: clusters[5].name: "x" is the name of another cluster too (clusters[4])`,
			}},
		{"addresses", head + "  - name: a\n    region: r\n    addresses:\n" +
			"      - vault:8200\n      - https://\n      - https://h/v1\n      - https://u:p@h\n      - https://h?x\n      - https://h:0\n      - \"https://h: 1\"\n",
			[]string{
				`v.yaml:6: clusters[0].addresses[0]: it must start with https://`, `v.yaml:7: clusters[0].addresses[1]: it names no host`,
				`v.yaml:8: clusters[0].addresses[2]: it has a path`, `v.yaml:9: clusters[0].addresses[3]: it holds a user name or password`,
				`v.yaml:10: clusters[0].addresses[4]: it has a query`, `v.yaml:11: clusters[0].addresses[5]: its port is out of range`,
				`v.yaml:12: clusters[0].addresses[6]: it is not a URL`,
			}},
		{"discovered", head + "  - name: a\n    region: r\n    addresses:\n      - srv+https://h\n      - srv+http://h:8200\n      - srv+tcp://h\n" +
			"  - { name: b, region: r, addresses: [\"srv+https://i\"], tls: { ca_file: x } }\n  - { name: c, region: r, addresses: [\"srv+https://j\"], tls: { server_name: vault } }\n",
			[]string{
				`v.yaml:6: clusters[0].addresses[0]: SRV records tell which name a node has, so the certificate needs one that you tell; add tls.server_name`,
				`v.yaml:7: clusters[0].addresses[1]: it has a port, which SRV records bring themselves`,
				`v.yaml:8: clusters[0].addresses[2]: it must start with https://`,
				`v.yaml:9: clusters[1].addresses[0]: SRV records tell`,
			}},
		{"address twice", head + "  - { name: a, region: r, addresses: [\"https://h\"] }\n  - { name: b, region: r, addresses: [\"https://H:443/\"] }\n",
			[]string{`v.yaml:4: clusters[1].addresses[0]: it is the same as clusters[0].addresses[0]`}},
		{"tls", head + "  - name: a\n    region: r\n    addresses: [\"http://h\"]\n    tls:\n      cert_file: x\n  - { name: b, region: r, addresses: [\"https://i\"], tls: { key_file: x } }\n",
			[]string{`v.yaml:5: clusters[0].addresses[0]: tls is given, but the address is http`, `v.yaml:7: clusters[0].tls.cert_file: key_file is missing`, `v.yaml:8: clusters[1].tls.key_file: cert_file is missing`}},
		{"dr_of", head +
			"  - { name: a, region: r, addresses: [\"https://a\"], dr_of: a }\n" +
			"  - { name: b, region: r, addresses: [\"https://b\"], dr_of: aa }\n" +
			"  - { name: c, region: r, addresses: [\"https://c\"], dr_of: b }\n",
			[]string{`v.yaml:3: clusters[0].dr_of: the cluster can't be its own copy`, `v.yaml:4: clusters[1].dr_of: "aa" is not a cluster of this file`, `v.yaml:5: clusters[2].dr_of: "b" is a DR copy itself`}},
		{"roles", head +
			"  - { name: a, region: r, addresses: [\"https://a\"], role: primary }\n" +
			"  - { name: b, region: r, addresses: [\"https://b\"], role: primary }\n" +
			"  - { name: c, region: r, addresses: [\"https://c\"], role: leader }\n",
			[]string{`v.yaml:4: clusters[1].role: a is pinned as primary already`, `v.yaml:5: clusters[2].role: "leader" is not known; use primary, secondary or dr`}},
		{"no consequences", "region: ${R}\nclusters: 1\nrouting: { never: [x], rules: [{ path: a, to: \"cluster:x\" }] }\n",
			[]string{`v.yaml:1: region: the environment variable R`, `v.yaml:2: clusters: a list is expected`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantProblems(t, tt.text, tt.want)
		})
	}
}

func wantProblems(t *testing.T, text string, want []string) {
	t.Helper()
	c, err := configs.Parse("v.yaml", []byte(text), noEnv)
	if err == nil {
		t.Fatalf("no problem found; want %q", want)
	}
	if c != nil {
		t.Error("a Config came with the problems")
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

// FuzzParse holds Parse to two promises: it never panics, and each problem has
// a line of the file.
func FuzzParse(f *testing.F) {
	reference, err := configs.Examples.ReadFile("examples/vrproxy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	for _, seed := range []string{
		"", "a", "region: [", smallest, "a: &a [*a]\nregion: *a\n", "? [a]: b\n", "log: {<<: {}}\n",
		"region: ${", "clusters: &c\n  - *c\n", "---\n---\n", "identity: {method: jwt, per_cluster: {\"a.b[\": {options: {}}}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := configs.Parse("v.yaml", data, noEnv)
		if err == nil {
			if c.Region == "" || len(c.Clusters) == 0 {
				t.Fatal("a file without region or clusters passed")
			}
			return
		}
		last := strings.Count(string(data), "\n") + 1
		for _, p := range err.(*configs.Problems).List { //nolint:errorlint // the documented type, unwrapped
			if p.Line < 1 || p.Line > last+strings.Count(string(data), "\r") || strings.Contains(p.Message, "\n") {
				t.Fatalf("line %d of %d: %q", p.Line, last, p.Message)
			}
		}
	})
}
