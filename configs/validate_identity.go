package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// given returns the keys of the options that o holds.
func (o Options) given() map[string]bool {
	keys := map[string]bool{}
	v := reflect.ValueOf(o)
	for key, field := range fieldsOf(v.Type()) {
		if !v.FieldByIndex(field.Index).IsZero() {
			keys[key] = true
		}
	}
	return keys
}

// method is what a login method takes. Each entry is one option, or two words
// for one option of which exactly one must be given.
type method struct {
	required [][]string
	optional [][]string
}

// methods returns the login methods that this version can do.
func methods() map[Method]method {
	user := method{required: [][]string{{"username"}, {"password_file", "password"}}}
	return map[Method]method{
		MethodAppRole: {
			required: [][]string{{"role_id_file", "role_id"}},
			optional: [][]string{{"secret_id_file", "secret_id"}},
		},
		MethodKubernetes: {required: [][]string{{"role"}}, optional: [][]string{{"token_path"}}},
		MethodJWT:        {required: [][]string{{"role"}, {"path", "jwt_file"}}},
		MethodUserpass:   user,
		MethodLDAP:       user,
		MethodCert:       {optional: [][]string{{"name"}}},
		MethodTokenFile:  {required: [][]string{{"path"}}},
	}
}

func (v validator) identity() {
	id := v.c.Identity
	if id == nil {
		return
	}
	m, known := methods()[id.Method]
	switch {
	case id.Method == "":
		v.add("identity.method", "it is required; use %s", supported())
	case !known:
		v.at(lineOf(v.lines, "identity.method"), "identity.method %s is not supported yet; use %s", id.Method, supported())
	default:
		v.logins(m)
	}
	v.mount("identity.mount", id.Mount)
	for _, name := range slices.Sorted(maps.Keys(id.PerCluster)) {
		key := join("identity.per_cluster", name)
		if _, ok := v.c.Cluster(name); !ok {
			v.unknownCluster(key, name)
		}
		v.mount(key+".mount", id.PerCluster[name].Mount)
	}
}

// supported lists the methods that this version can do, as the file's
// reference orders them.
func supported() string {
	var words []string
	for _, word := range Method("").values() {
		if _, ok := methods()[Method(word)]; ok {
			words = append(words, word)
		}
	}
	return oneOf(words)
}

// logins judges the options that the login on each cluster gets.
func (v validator) logins(m method) {
	id := v.c.Identity
	v.options("identity.options", id.Options, m)
	for name, o := range id.PerCluster {
		v.options(join("identity.per_cluster", name)+".options", o.Options, m)
	}
	if len(v.c.Clusters) == 0 {
		v.missing(id.Options, m)
	}
	for _, cl := range v.c.Clusters {
		v.missing(id.For(cl.Name).Options, m) // what is said twice is reported once
	}
	if id.Method == MethodCert {
		v.certEverywhere()
	}
}

// options reports options of other methods, and those that are given twice.
func (v validator) options(key string, o Options, m method) {
	given := o.given()
	var known []string
	for _, words := range slices.Concat(m.required, m.optional) {
		known = append(known, words...)
		if len(words) == 2 && given[words[0]] && given[words[1]] {
			v.add(key+"."+words[1], "%s gives the same; keep one of them", words[0])
		}
	}
	for word := range given {
		if !slices.Contains(known, word) {
			v.add(key+"."+word, "it is no option of %s; use %s", v.c.Identity.Method, oneOf(known))
		}
	}
}

// missing reports what a login with o would lack.
func (v validator) missing(o Options, m method) {
	given := o.given()
	for _, words := range m.required {
		if !slices.ContainsFunc(words, func(w string) bool { return given[w] }) {
			v.add("identity.options."+words[0], "it is required for %s; give %s", v.c.Identity.Method, oneOf(words))
		}
	}
}

// certEverywhere holds cert to its credential, which is the TLS client
// certificate that a cluster is shown.
func (v validator) certEverywhere() {
	for i, cl := range v.c.Clusters {
		if cl.TLS == nil || cl.TLS.CertFile == "" {
			v.add(fmt.Sprintf("clusters[%d].tls.cert_file", i),
				"it is required for identity.method cert; give the certificate and key to log in with")
		}
	}
}

func (v validator) mount(key, mount string) {
	switch {
	case strings.HasPrefix(mount, "auth/"):
		v.add(key, "%q has the auth/ prefix; write %q", shorten(mount), shorten(strings.TrimPrefix(mount, "auth/")))
	case strings.HasPrefix(mount, "/") || strings.HasSuffix(mount, "/"):
		v.add(key, "%q has a slash at its end; write %q", shorten(mount), shorten(strings.Trim(mount, "/")))
	}
}
