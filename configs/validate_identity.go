package configs

import (
	"fmt"
	"maps"
	"path/filepath"
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

// word returns an option that may only hold some words.
func (o Options) word(key string) string {
	if key == "signature" {
		return o.Signature
	}
	return o.Type
}

// method is what a login method takes. Each entry is one option, or two words
// for one option of which exactly one must be given.
type method struct {
	required [][]string
	optional [][]string
	words    map[string][]string // by option: the only values it may have
	types    map[string]login    // by options.type: what only that type takes
}

// login is what a login of one type takes that others do not.
type login struct{ required, optional []string }

// methods returns the login methods.
func methods() map[Method]method {
	user := method{required: [][]string{{"username"}, {"password_file", "password"}}}
	return map[Method]method{
		MethodAppRole: {
			required: [][]string{{"role_id_file", "role_id"}},
			optional: [][]string{{"secret_id_file", "secret_id"}, {"secret_id_wrapped"}},
		},
		MethodKubernetes: {required: [][]string{{"role"}}, optional: [][]string{{"token_path"}}},
		MethodJWT:        {required: [][]string{{"role"}, {"path", "jwt_file"}}},
		MethodUserpass:   user,
		MethodLDAP:       user,
		MethodCert:       {optional: [][]string{{"name"}}},
		MethodAWS:        methodAWS(),
		MethodGCP:        methodGCP(),
		MethodAzure:      {required: [][]string{{"role"}}, optional: [][]string{{"resource"}}},
		MethodTokenFile:  {required: [][]string{{"path"}}},
	}
}

func methodAWS() method {
	return method{
		required: [][]string{{"role"}},
		optional: [][]string{{"type"}, {"region"}, {"header_value"}, {"nonce"}, {"signature"}},
		words:    map[string][]string{"type": {"iam", "ec2"}, "signature": {"pkcs7", "identity", "rsa2048"}},
		types: map[string]login{
			"iam": {optional: []string{"region", "header_value"}},
			"ec2": {optional: []string{"nonce", "signature"}},
		},
	}
}

func methodGCP() method {
	return method{
		required: [][]string{{"role"}},
		optional: [][]string{{"type"}, {"service_account"}},
		words:    map[string][]string{"type": {"gce", "iam"}},
		types:    map[string]login{"gce": {}, "iam": {required: []string{"service_account"}}},
	}
}

func (v validator) identity() {
	id := v.c.Identity
	if id == nil {
		return
	}
	if id.Method == "" {
		v.add("identity.method", "it is required; use %s", oneOf(id.Method.values()))
	} else {
		v.logins(methods()[id.Method])
	}
	v.sinks()
	v.mount("identity.mount", id.Mount)
	for _, name := range slices.Sorted(maps.Keys(id.PerCluster)) {
		key := join("identity.per_cluster", name)
		if _, ok := v.c.Cluster(name); !ok {
			v.unknownCluster(key, name)
		}
		v.mount(key+".mount", id.PerCluster[name].Mount)
	}
}

// logins judges the options that the login on each cluster gets.
func (v validator) logins(m method) {
	id := v.c.Identity
	v.options("identity.options", id.Options, m)
	for name, o := range id.PerCluster {
		v.options(join("identity.per_cluster", name)+".options", o.Options, m)
	}
	if len(v.c.Clusters) == 0 {
		v.login(id.Options, m)
	}
	for _, cl := range v.c.Clusters {
		v.login(id.For(cl.Name).Options, m) // what is said twice is reported once
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
	for word, allowed := range m.words {
		if value := o.word(word); given[word] && !slices.Contains(allowed, value) {
			v.add(key+"."+word, "%q is not known; use %s%s", shorten(value), oneOf(allowed), suggest(value, allowed))
		}
	}
	for word := range given {
		if !slices.Contains(known, word) {
			v.add(key+"."+word, "it is no option of %s; use %s", v.c.Identity.Method, oneOf(known))
		}
	}
}

// login judges a login with o: what it lacks, and what does not fit together.
func (v validator) login(o Options, m method) {
	given := o.given()
	for _, words := range m.required {
		if !slices.ContainsFunc(words, func(w string) bool { return given[w] }) {
			v.add("identity.options."+words[0], "it is required for %s; give %s", v.c.Identity.Method, oneOf(words))
		}
	}
	if v.c.Identity.Method == MethodAppRole && given["secret_id_wrapped"] && !given["secret_id"] && !given["secret_id_file"] {
		v.add("identity.options.secret_id_wrapped", "there is no wrapping token; give it as secret_id_file or secret_id")
	}
	for _, word := range m.types[o.Type].required {
		if !given[word] {
			v.add("identity.options."+word, "it is required for type %s; give it", o.Type)
		}
	}
	v.otherTypes(o, m)
}

// otherTypes reports options that the type of a login does not take.
func (v validator) otherTypes(o Options, m method) {
	if _, known := m.types[o.Type]; !known {
		return
	}
	given := o.given()
	for name, l := range m.types {
		for _, word := range slices.Concat(l.required, l.optional) {
			if name != o.Type && given[word] {
				v.add("identity.options."+word, "it has no effect with type %s; remove it, or use type %s", o.Type, name)
			}
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

// sinks judges the files that the identity's token is written to.
func (v validator) sinks() {
	id, taken := v.c.Identity, map[string]string{}
	if len(id.Sinks) > 0 && id.Method == MethodTokenFile {
		v.add("identity.sinks", "they would copy the file that identity.options.path names; remove them")
	}
	for i, s := range id.Sinks {
		key := fmt.Sprintf("identity.sinks[%d]", i)
		v.required(key+".path", s.Path, "name the file to write the token to")
		file := filepath.Clean(s.Path)
		if first, ok := taken[file]; ok && s.Path != "" {
			v.add(key+".path", "%s writes to %q too; give one of them another file", first, shorten(s.Path))
		}
		taken[file] = key
		if _, ok := v.c.Cluster(s.Cluster); !ok && s.Cluster != "" {
			v.unknownCluster(key+".cluster", s.Cluster)
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
