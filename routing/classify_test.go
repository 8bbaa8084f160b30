package routing

import (
	"errors"
	"testing"
)

// table is what most tests know: engines under names that lie about them.
func table() *Table {
	return (&Table{}).With("", []Mount{
		{Path: "secret/", Type: "kv-v2"},
		{Path: "database/", Type: "kv-v1"},
		{Path: "kv/", Type: "database"},
		{Path: "transit/", Type: "transit"},
		{Path: "apps/", Type: "kv-v1"},
		{Path: "apps/billing/", Type: "database"},
		{Path: "onlyhere/", Type: "kv-v1", Local: true},
		{Path: "vendor/", Type: "somebodys-plugin"},
		{Path: "auth/userpass/", Type: "auth/userpass"},
		{Path: "auth/corp/", Type: "auth/oidc"},
		{Path: "auth/machines/", Type: "auth/approle"},
	}).With("team/", []Mount{
		{Path: "secret/", Type: "transit"},
	}).With("team/sub/deep/", []Mount{
		{Path: "secret/", Type: "kv-v1"},
	})
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		req  Request
		want Decision // Reason is not compared
	}{
		{"a kv mount called database has keys, not credentials", Request{Method: "GET", Path: "/v1/database/creds/app"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "database/", Engine: "kv-v1", Path: "creds/app"}},
		{"a database mount called kv makes credentials once", Request{Method: "GET", Path: "/v1/kv/creds/app"},
			Decision{Class: Nearest, Effect: Once, Verb: Read, Mount: "kv/", Engine: "database", Path: "creds/app", Learns: true}},
		{"a kv key called creds is a key", Request{Method: "PUT", Path: "/v1/secret/data/creds"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/creds"}},
		{"the longest mount wins", Request{Method: "GET", Path: "/v1/apps/billing/creds/x"},
			Decision{Class: Nearest, Verb: Read, Mount: "apps/billing/", Engine: "database", Path: "creds/x", Learns: true}},
		{"a mount's name is whole segments", Request{Method: "GET", Path: "/v1/apps/billing2/creds/x"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "apps/", Engine: "kv-v1", Path: "billing2/creds/x"}},
		{"a write to a local mount stays near", Request{Method: "POST", Path: "/v1/onlyhere/a"},
			Decision{Class: Nearest, Verb: Update, Mount: "onlyhere/", Engine: "kv-v1", Path: "a"}},
		{"a local mount's list", Request{Method: "LIST", Path: "/v1/onlyhere"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: List, Mount: "onlyhere/", Engine: "kv-v1"}},
		{"the list of a built-in mount without its slash", Request{Method: "LIST", Path: "/v1/cubbyhole"},
			Decision{Class: Owner, Subject: CallerToken, Verb: List, Mount: "cubbyhole/", Engine: "cubbyhole"}},
		{"encrypting is no write", Request{Method: "POST", Path: "/v1/transit/encrypt/k"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Update, Mount: "transit/", Engine: "transit", Path: "encrypt/k"}},
		{"a backup is no read", Request{Method: "GET", Path: "/v1/transit/backup/k"},
			Decision{Class: Primary, Verb: Read, Mount: "transit/", Engine: "transit", Path: "backup/k"}},

		{"namespace in the header", Request{Method: "POST", Path: "/v1/secret/encrypt/k", Namespace: "team"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Update, Namespace: "team/", Mount: "secret/", Engine: "transit", Path: "encrypt/k"}},
		{"namespace in the path", Request{Method: "POST", Path: "/v1/team/secret/encrypt/k"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Update, Namespace: "team/", Mount: "secret/", Engine: "transit", Path: "encrypt/k"}},
		{"namespace half in the header, half in the path", Request{Method: "POST", Path: "/v1/sub/deep/secret/a", Namespace: "/team/"},
			Decision{Class: Primary, Verb: Update, Namespace: "team/sub/deep/", Mount: "secret/", Engine: "kv-v1", Path: "a"}},
		{"a deep namespace whose parent is not known", Request{Method: "GET", Path: "/v1/team/sub/deep/secret/a"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Namespace: "team/sub/deep/", Mount: "secret/", Engine: "kv-v1", Path: "a"}},
		{"the root namespace by name", Request{Method: "GET", Path: "/v1/database/a", Namespace: "root"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "database/", Engine: "kv-v1", Path: "a"}},
		{"sys of a namespace", Request{Method: "POST", Path: "/v1/team/sys/leases/revoke"},
			Decision{Class: Owner, Subject: BodyLease, Verb: Update, Namespace: "team/", Mount: "sys/", Engine: "sys", Path: "leases/revoke", Special: Revoke}},
		{"an unknown namespace still has a sys", Request{Method: "POST", Path: "/v1/sys/leases/revoke", Namespace: "new"},
			Decision{Class: Owner, Subject: BodyLease, Verb: Update, Namespace: "new/", Mount: "sys/", Engine: "sys", Path: "leases/revoke", Special: Revoke}},

		{"list by query", Request{Method: "GET", Path: "/v1/secret/metadata/", RawQuery: "list=T"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: List, Mount: "secret/", Engine: "kv-v2", Path: "metadata/"}},
		{"list by a query in disguise", Request{Method: "GET", Path: "/v1/secret/metadata/", RawQuery: "l%69st=true"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: List, Mount: "secret/", Engine: "kv-v2", Path: "metadata/"}},
		{"list=yes is not a list", Request{Method: "GET", Path: "/v1/secret/metadata/a", RawQuery: "list=yes"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "secret/", Engine: "kv-v2", Path: "metadata/a"}},
		{"list counts on GET only", Request{Method: "POST", Path: "/v1/secret/data/a", RawQuery: "list=true"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},
		{"help wins over every method", Request{Method: "DELETE", Path: "/v1/secret/data/a", RawQuery: "help=1"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Help, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},
		{"an empty help is none", Request{Method: "DELETE", Path: "/v1/secret/data/a", RawQuery: "help="},
			Decision{Class: Primary, Verb: Delete, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},
		{"OPTIONS changes nothing", Request{Method: "OPTIONS", Path: "/v1/secret/data/a"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Help, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},
		{"SCAN lists", Request{Method: "SCAN", Path: "/v1/secret/metadata/"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: List, Mount: "secret/", Engine: "kv-v2", Path: "metadata/"}},
		{"HEAD reads", Request{Method: "HEAD", Path: "/v1/secret/data/a"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Header, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},
		{"a method nobody knows is a write", Request{Method: "BREW", Path: "/v1/secret/data/a"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/a"}},

		{"encoded dots are a key", Request{Method: "POST", Path: "/v1/secret/data/%2e%2e/%2e%2e/sys/seal"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/../../sys/seal"}},
		{"literal dots are cleaned", Request{Method: "POST", Path: "/v1/secret/data/../../sys/seal"},
			Decision{Class: Operator, Verb: Update, Mount: "sys/", Engine: "sys", Path: "seal"}},
		{"encoded slashes separate", Request{Method: "POST", Path: "/v1/secret%2Fdata%2Fbar"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/bar"}},
		{"double slashes are one", Request{Method: "POST", Path: "/v1//secret///data/bar"},
			Decision{Class: Primary, Verb: Update, Mount: "secret/", Engine: "kv-v2", Path: "data/bar"}},
		{"a trailing slash stays", Request{Method: "GET", Path: "/v1/secret/data/./bar/"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "secret/", Engine: "kv-v2", Path: "data/bar/"}},
		{"decoding happens once", Request{Method: "GET", Path: "/v1/secret/data/a%252Fb"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "secret/", Engine: "kv-v2", Path: "data/a%2Fb"}},

		{"a namespace nobody told of still has a sys", Request{Method: "POST", Path: "/v1/new/deep/sys/leases/revoke"},
			Decision{Class: Owner, Subject: BodyLease, Verb: Update, Namespace: "new/deep/", Mount: "sys/", Engine: "sys", Path: "leases/revoke", Guess: true, Special: Revoke}},
		{"below a namespace that is known, too", Request{Method: "PUT", Path: "/v1/new/sys/seal", Namespace: "team"},
			Decision{Class: Operator, Verb: Update, Namespace: "team/new/", Mount: "sys/", Engine: "sys", Path: "seal", Guess: true}},
		{"what sys does not have is no sys", Request{Method: "PUT", Path: "/v1/new/sys/diagram"},
			Decision{Class: Primary, Verb: Update, Path: "new/sys/diagram", Guess: true, Learns: true}},
		{"no namespace is called auth", Request{Method: "PUT", Path: "/v1/auth/new/sys/seal"},
			Decision{Class: Primary, Verb: Update, Path: "auth/new/sys/seal", Guess: true, Learns: true}},
		{"what exists in the root namespace only is decided the same in others", Request{Method: "PUT", Path: "/v1/sys/seal", Namespace: "team"},
			Decision{Class: Operator, Verb: Update, Namespace: "team/", Mount: "sys/", Engine: "sys", Path: "seal"}},
		{"a path that the engine's table does not have is a guess", Request{Method: "POST", Path: "/v1/kv/novelty/x"},
			Decision{Class: Primary, Verb: Update, Mount: "kv/", Engine: "database", Path: "novelty/x", Guess: true, Learns: true}},
		{"through a secondary it would act twice", Request{Method: "POST", Path: "/v1/kv/static-roles/x"},
			Decision{Class: Primary, Verb: Update, Mount: "kv/", Engine: "database", Path: "static-roles/x", Direct: true}},

		{"a read of an engine without a table is a guess", Request{Method: "GET", Path: "/v1/vendor/thing"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "vendor/", Engine: "somebodys-plugin", Path: "thing", Guess: true, Learns: true}},
		{"what looks like a credential is not asked for twice", Request{Method: "GET", Path: "/v1/vendor/creds/x"},
			Decision{Class: Nearest, Effect: Once, Verb: Read, Mount: "vendor/", Engine: "somebodys-plugin", Path: "creds/x", Guess: true, Learns: true}},
		{"a write to an engine without a table", Request{Method: "POST", Path: "/v1/vendor/thing"},
			Decision{Class: Primary, Verb: Update, Mount: "vendor/", Engine: "somebodys-plugin", Path: "thing", Guess: true, Learns: true}},
		{"a read of an unknown mount", Request{Method: "GET", Path: "/v1/new/thing"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Path: "new/thing", Guess: true, Learns: true}},
		{"a credential of an unknown mount", Request{Method: "GET", Path: "/v1/new/creds/x"},
			Decision{Class: Nearest, Effect: Once, Verb: Read, Path: "new/creds/x", Guess: true, Learns: true}},
		{"a write to an unknown mount", Request{Method: "POST", Path: "/v1/new/thing"},
			Decision{Class: Primary, Verb: Update, Path: "new/thing", Guess: true, Learns: true}},
		{"a login on an unknown mount", Request{Method: "POST", Path: "/v1/auth/new/login/me"},
			Decision{Class: Nearest, Effect: Once, Verb: Update, Path: "auth/new/login/me", Guess: true, Learns: true, Special: Login}},

		{"a login that may take a secret-id's last use", Request{Method: "POST", Path: "/v1/auth/machines/login"},
			Decision{Class: Nearest, Effect: Once, Verb: Update, Mount: "auth/machines/", Engine: "auth/approle", Path: "login", Learns: true, Special: Login}},
		{"a login", Request{Method: "POST", Path: "/v1/auth/userpass/login/me"},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Update, Mount: "auth/userpass/", Engine: "auth/userpass", Path: "login/me", Learns: true, Special: Login}},
		{"the end of an OIDC login belongs to its beginning", Request{Method: "GET", Path: "/v1/auth/corp/oidc/callback"},
			Decision{Class: Owner, Subject: OIDCState, Verb: Read, Mount: "auth/corp/", Engine: "auth/oidc", Path: "oidc/callback", Learns: true}},
		{"a token called login is no login", Request{Method: "POST", Path: "/v1/auth/token/roles/login"},
			Decision{Class: Primary, Verb: Update, Mount: "auth/token/", Engine: "auth/token", Path: "roles/login"}},
		{"looking at oneself", Request{Method: "GET", Path: "/v1/auth/token/lookup-self"},
			Decision{Class: Owner, Subject: CallerToken, Effect: Repeatable, Verb: Read, Mount: "auth/token/", Engine: "auth/token", Path: "lookup-self", Special: SelfLookup}},
		{"revoking oneself", Request{Method: "POST", Path: "/v1/auth/token/revoke-self"},
			Decision{Class: Owner, Subject: CallerToken, Verb: Update, Mount: "auth/token/", Engine: "auth/token", Path: "revoke-self", Special: RevokeSelf}},
		{"a lease in the path", Request{Method: "PUT", Path: "/v1/sys/revoke/kv/creds/app/abc"},
			Decision{Class: Owner, Subject: BodyLease, Verb: Update, Mount: "sys/", Engine: "sys", Path: "revoke/kv/creds/app/abc", Special: Revoke}},
		{"wrapping makes any answer worth remembering", Request{Method: "GET", Path: "/v1/secret/data/a", Wrap: true},
			Decision{Class: Nearest, Effect: Repeatable, Verb: Read, Mount: "secret/", Engine: "kv-v2", Path: "data/a", Learns: true}},

		{"a health check needs no cluster named", Request{Method: "HEAD", Path: "/v1/sys/health"},
			Decision{Class: Operator, Effect: Repeatable, Verb: Header, Mount: "sys/", Engine: "sys", Path: "health", StatusRead: true}},
		{"initialising does", Request{Method: "PUT", Path: "/v1/sys/init"},
			Decision{Class: Operator, Verb: Update, Mount: "sys/", Engine: "sys", Path: "init"}},
		{"a new mount may be local: look at the body", Request{Method: "POST", Path: "/v1/sys/mounts/x"},
			Decision{Class: Primary, Verb: Update, Mount: "sys/", Engine: "sys", Path: "mounts/x", Special: MountsEdit, BodyMatters: true}},
		{"a new local mount is made near", Request{Method: "POST", Path: "/v1/sys/auth/x", LocalMount: true},
			Decision{Class: Nearest, Verb: Update, Mount: "sys/", Engine: "sys", Path: "auth/x", Special: MountsEdit, BodyMatters: true}},
		{"tuning is decided by the mount, not the body", Request{Method: "POST", Path: "/v1/sys/mounts/x/tune", LocalMount: true},
			Decision{Class: Primary, Verb: Update, Mount: "sys/", Engine: "sys", Path: "mounts/x/tune", Special: MountsEdit}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := New(nil).Classify(table(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			if got.Reason == "" {
				t.Error("no reason given")
			}
			got.Reason = ""
			if got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestPathsThatAreNoAPIAreRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"", "/", "/v1", "v1/secret", "/v2/secret", "/ui/", "/v1/../ui/", "*",
		"/v1/secret/%zz", "/v1/secret/%2", "/v1/secret/%", "/v1/secret/\x00", "/v1/secret/%00",
	} {
		if d, err := New(nil).Classify(table(), Request{Method: "GET", Path: path}); !errors.Is(err, ErrNotAPI) {
			t.Errorf("%q: %+v, %v; want ErrNotAPI", path, d, err)
		}
	}
}

func TestWithoutATableOnlyTheBuiltInMountsAreKnown(t *testing.T) {
	t.Parallel()
	for path, guess := range map[string]bool{
		"/v1/sys/policies/acl/x": false, "/v1/identity/entity": false, "/v1/cubbyhole/x": false,
		"/v1/auth/token/create": false, "/v1/secret/data/x": true, "/v1/auth/tokens/create": true, "/v1/system/x": true,
	} {
		d, err := New(nil).Classify(nil, Request{Method: "POST", Path: path})
		if err != nil || d.Guess != guess {
			t.Errorf("%s: guess %v, %v; want %v", path, d.Guess, err, guess)
		}
	}
}

func TestTablesAreNotChanged(t *testing.T) {
	t.Parallel()
	first := table()
	second := first.With("team/", []Mount{{Path: "other/", Type: "kv-v1"}}).Without("")
	if !first.Knows("") || second.Knows("") || !second.Knows("team/sub/deep/") {
		t.Error("Without has to forget one namespace, in the new table alone")
	}
	classify := func(tb *Table, p string) Decision {
		d, err := New(nil).Classify(tb, Request{Method: "GET", Path: p})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := classify(first, "/v1/team/secret/encrypt/x"); d.Engine != "transit" {
		t.Errorf("the old table forgot %+v", d)
	}
	if d := classify(second, "/v1/team/secret/encrypt/x"); d.Engine != "" || d.Namespace != "team/" {
		t.Errorf("the new table still knows %+v", d)
	}
	if n := len(second.Mounts("team/")); n != 1 {
		t.Errorf("%d mounts, want 1", n)
	}
	var none *Table
	if none.Knows("") || none.Mounts("") != nil {
		t.Error("a nil table knows something")
	}
}

func TestLoginsOfMountsThatAreNotKnown(t *testing.T) {
	t.Parallel()
	for path, login := range map[string]bool{
		"/v1/auth/userpass/login/demo":      true,
		"/v1/auth/approle/login":            true,
		"/v1/auth/corp/eu/login/ann":        true,
		"/v1/team/auth/userpass/login/demo": true,
		"/v1/auth/userpass/users/login":     true, // a mount userpass/users could have it
		"/v1/auth/login":                    false,
		"/v1/auth/userpass/users/demo":      false,
		"/v1/auth/userpass/loginx":          false,
		"/v1/secret/data/login":             false,
	} {
		d, err := New(nil).Classify(nil, Request{Method: "POST", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Special == Login && d.Class == Nearest; got != login || !d.Guess {
			t.Errorf("%s: login %v (%s), guess %v", path, got, d.Class, d.Guess)
		}
	}
}
