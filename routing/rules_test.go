package routing

import "testing"

func TestRules(t *testing.T) {
	t.Parallel()
	get := Request{Method: "GET", Path: "/v1/secret/data/app/db"}
	for _, c := range []struct {
		name  string
		rules []Rule
		req   Request
		want  string // path of the rule that decides; empty: none
		check func(Decision) bool
	}{
		{"no rule fits", []Rule{{Path: "secret/metadata/*", To: "refuse"}}, get, "", func(d Decision) bool { return d.Class == Nearest && !d.Refused }},
		{"a read to the primary", []Rule{{Path: "secret/data/*", To: "primary"}}, get, "secret/data/*", func(d Decision) bool { return d.Class == Primary }},
		{"a write to the nearest", []Rule{{Path: "secret/*", To: "nearest"}}, Request{Method: "PUT", Path: get.Path}, "secret/*", func(d Decision) bool { return d.Class == Nearest }},
		{"one cluster", []Rule{{Path: "+/data/app/+", To: "cluster:eu"}}, get, "+/data/app/+", func(d Decision) bool { return d.Cluster == "eu" }},
		{"refused", []Rule{{Path: "secret/data/app/db", To: "refuse"}}, get, "secret/data/app/db", func(d Decision) bool { return d.Refused }},
		{"the first wins", []Rule{{Path: "secret/data/*", To: "primary"}, {Path: "*", To: "refuse"}}, get, "secret/data/*", func(d Decision) bool { return !d.Refused }},
		{"a star within a segment is a prefix", []Rule{{Path: "secret/data/a*", To: "refuse"}}, get, "secret/data/a*", func(d Decision) bool { return d.Refused }},
		{"a prefix that does not fit", []Rule{{Path: "secret/data/b*", To: "refuse"}}, get, "", func(d Decision) bool { return !d.Refused }},
		{"a plus is one segment", []Rule{{Path: "secret/+", To: "refuse"}}, get, "", func(d Decision) bool { return !d.Refused }},
		{"methods", []Rule{{Path: "*", Methods: []string{"PUT", "DELETE"}, To: "refuse"}}, get, "", func(d Decision) bool { return !d.Refused }},
		{"POST and PUT are one", []Rule{{Path: "*", Methods: []string{"PUT"}, To: "refuse"}}, Request{Method: "POST", Path: get.Path}, "*", func(d Decision) bool { return d.Refused }},
		{"a list by query is a list", []Rule{{Path: "*", Methods: []string{"LIST"}, To: "refuse"}}, Request{Method: "GET", Path: "/v1/secret/metadata/", RawQuery: "list=true"}, "*", func(d Decision) bool { return d.Refused }},
		{"a list by query is no read", []Rule{{Path: "*", Methods: []string{"GET"}, To: "refuse"}}, Request{Method: "GET", Path: "/v1/secret/metadata/", RawQuery: "list=true"}, "", func(d Decision) bool { return !d.Refused }},
		{"a list without its slash does not slip through", []Rule{{Path: "secret/metadata/*", Methods: []string{"LIST"}, To: "refuse"}}, Request{Method: "LIST", Path: "/v1/secret/metadata"}, "secret/metadata/*", func(d Decision) bool { return d.Refused }},
		{"a list and a rule without slash", []Rule{{Path: "secret/metadata", To: "refuse"}}, Request{Method: "LIST", Path: "/v1/secret/metadata/"}, "secret/metadata", func(d Decision) bool { return d.Refused }},
		{"encoded slashes do not slip through", []Rule{{Path: "secret/data/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/secret%2Fdata%2Fapp"}, "secret/data/*", func(d Decision) bool { return d.Refused }},
		{"namespace in the header", []Rule{{Path: "team/secret/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/secret/x", Namespace: "team"}, "team/secret/*", func(d Decision) bool { return d.Refused }},
		{"namespace in the path", []Rule{{Path: "team/secret/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/team/secret/x"}, "team/secret/*", func(d Decision) bool { return d.Refused }},
		{"namespace in both", []Rule{{Path: "team/sub/deep/secret/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/sub/deep/secret/x", Namespace: "team"}, "team/sub/deep/secret/*", func(d Decision) bool { return d.Refused }},
		{"a mount that is called like its namespace", []Rule{{Path: "team/team/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/team/x", Namespace: "team"}, "team/team/*", func(d Decision) bool { return d.Refused }},
		{"a rule for the root is not for a namespace", []Rule{{Path: "secret/*", To: "refuse"}}, Request{Method: "GET", Path: "/v1/secret/x", Namespace: "team"}, "", func(d Decision) bool { return !d.Refused }},
		{"an operator request with a rule", []Rule{{Path: "sys/metrics", To: "cluster:us"}}, Request{Method: "GET", Path: "/v1/sys/metrics"}, "sys/metrics", func(d Decision) bool { return d.Cluster == "us" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := New(c.rules).Classify(table(), c.req)
			if err != nil {
				t.Fatal(err)
			}
			if d.Rule != c.want || !c.check(d) || d.Reason == "" {
				t.Errorf("decided by %q, want %q: %+v", d.Rule, c.want, d)
			}
		})
	}
}
