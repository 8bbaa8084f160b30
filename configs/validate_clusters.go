package configs

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// dnsLabel is what a cluster's name must be to get a name in the DNS zone.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// reservedNames have a meaning of their own in the DNS zone.
func reservedNames() []string { return []string{"nearest", "primary", "ns"} }

func (v validator) clusters() {
	if len(v.c.Clusters) == 0 {
		v.add("clusters", "at least one cluster is required; give its name, region and addresses")
	}
	names, addresses := map[string]string{}, map[string]string{}
	primary := ""
	for i, cl := range v.c.Clusters {
		key := fmt.Sprintf("clusters[%d]", i)
		v.clusterName(key+".name", cl.Name, names)
		v.required(key+".region", cl.Region, "say where the cluster runs")
		v.addresses(key+".addresses", cl, addresses)
		v.clientTLS(key+".tls", cl)
		v.drOf(key+".dr_of", cl)
		if cl.Role != RolePrimary {
			continue
		}
		if primary != "" {
			v.add(key+".role", "%s is pinned as primary already; only one cluster can own the writes, so pin one", primary)
		}
		primary = cl.Name
	}
}

// clusterName judges one name; taken holds the key of each name before it.
func (v validator) clusterName(key, name string, taken map[string]string) {
	switch before, twice := taken[name]; {
	case name == "":
		v.required(key, name, "give the cluster a short name like eu-west")
		return
	case twice:
		v.add(key, "%q is the name of another cluster too (%s); names must be unique", shorten(name), before)
	case name == "*":
		v.add(key, `"*" stands for every cluster in X-Vrproxy-Cluster; give the cluster a short name like eu-west`)
	case slices.Contains(reservedNames(), name):
		v.add(key, "%q is reserved, because %s.%s means something else; choose another name", name, name, DefaultDNSZone)
	case !dnsLabel.MatchString(name):
		v.add(key, "%q can't be part of a DNS name; use at most 63 lower-case letters, digits and inner hyphens", shorten(name))
	}
	taken[name] = strings.TrimSuffix(key, ".name")
}

// addresses judges a cluster's addresses; taken holds the key of each before.
// No message repeats an address: a password may be in it.
func (v validator) addresses(key string, cl Cluster, taken map[string]string) {
	if len(cl.Addresses) == 0 {
		v.add(key, "at least one is required; give the URL of a load balancer or of every node")
	}
	for i, address := range cl.Addresses {
		at := fmt.Sprintf("%s[%d]", key, i)
		u, problem := parseAddress(address)
		if problem != "" {
			v.add(at, "%s", problem)
			continue
		}
		same := canonical(u)
		if before, twice := taken[same]; twice {
			v.add(at, "it is the same as %s; give each address once", before)
		}
		taken[same] = at
		v.discovered(at, u, cl.TLS)
		if strings.HasSuffix(u.Scheme, "http") && cl.TLS != nil {
			v.add(at, "tls is given, but the address is http; write https:// or remove tls")
		}
	}
}

// discovered judges an address whose nodes DNS tells. A name that comes from there proves
// nothing: whoever forges the answer has a certificate for their own.
func (v validator) discovered(at string, u *url.URL, t *ClientTLS) {
	if u.Scheme == "srv+https" && (t == nil || t.ServerName == "" && !t.InsecureSkipVerify) {
		v.add(at, "SRV records tell which name a node has, so the certificate needs one that you tell; add tls.server_name to the cluster")
	}
}

// parseAddress returns the address's URL, or what is wrong with it.
func parseAddress(address string) (*url.URL, string) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, "it is not a URL; write it like https://vault.example.com:8200"
	case !slices.Contains([]string{"http", "https", "srv+http", "srv+https"}, u.Scheme):
		return nil, "it must start with https:// or http:// (srv+https:// or srv+http:// for SRV records); write it like https://vault.example.com:8200"
	case u.User != nil:
		return nil, "it holds a user name or password, which Vault has no use for; remove what is before the @"
	case u.Hostname() == "":
		return nil, "it names no host; write it like https://vault.example.com:8200"
	case u.Port() != "" && (!isPort(u.Port()) || u.Port() == "0"):
		return nil, "its port is out of range; give 1 to 65535"
	case u.Port() != "" && strings.HasPrefix(u.Scheme, "srv+"):
		return nil, "it has a port, which SRV records bring themselves; remove it"
	case u.Path != "":
		return nil, "it has a path; give only scheme, host and port (requests bring their own /v1/ path)"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#"):
		return nil, "it has a query or fragment; give only scheme, host and port"
	}
	return u, ""
}

// canonical returns the same text for URLs that lead to the same place.
func canonical(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") + ":" + port
}

func (v validator) clientTLS(key string, cl Cluster) {
	if cl.TLS == nil {
		return
	}
	v.pair(key, cl.TLS.CertFile, cl.TLS.KeyFile)
}

// pair holds a certificate and its key together.
func (v validator) pair(key, cert, private string) {
	switch {
	case cert != "" && private == "":
		v.add(key+".cert_file", "key_file is missing; give the certificate's private key too")
	case cert == "" && private != "":
		v.add(key+".key_file", "cert_file is missing; give the key's certificate too")
	}
}

func (v validator) drOf(key string, cl Cluster) {
	if cl.DROf == "" {
		return
	}
	of, ok := v.c.Cluster(cl.DROf)
	switch {
	case cl.DROf == cl.Name:
		v.add(key, "the cluster can't be its own copy; name the cluster that it is a copy of")
	case !ok:
		v.unknownCluster(key, cl.DROf)
	case of.DROf != "":
		v.add(key, "%q is a DR copy itself; name the cluster that both are copies of", of.Name)
	}
}

// unknownCluster reports a name that is no cluster's.
func (v validator) unknownCluster(key, name string) {
	if v.failedBelow("clusters") {
		return // the name may be in what could not be read
	}
	var names []string
	for _, cl := range v.c.Clusters {
		names = append(names, cl.Name)
	}
	hint := suggest(name, names)
	if hint == "" {
		hint = "; the clusters are " + strings.Join(names, ", ")
	}
	v.add(key, "%q is not a cluster of this file%s", shorten(name), hint)
}
