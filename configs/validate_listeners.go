package configs

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

func (v validator) listeners() {
	if len(v.c.Listeners) == 0 {
		v.add("listeners", "at least one is required; remove the key to listen at %s", DefaultListenAddress)
	}
	for i, l := range v.c.Listeners {
		key := fmt.Sprintf("listeners[%d]", i)
		_, passed := l.Passed()
		switch {
		case l.IsUnix():
			v.socket(key, l)
		case passed:
			v.passed(key, l)
		default:
			v.tcp(key, l)
		}
		v.serverTLS(key+".tls", l.TLS)
		if l.Identity != UseNever && v.c.Identity == nil {
			v.add(key+".identity", "%s lends out the proxy's identity, but there is none; give an identity block or write never", l.Identity)
		}
	}
}

func (v validator) socket(key string, l Listener) {
	_, path := l.Endpoint()
	if !filepath.IsAbs(path) {
		v.add(key+".address", "the socket's path must be absolute; write it like unix:///run/vrproxy/vault.sock")
	}
	const longest = 107 // sockaddr_un of Linux
	if len(path) > longest {
		v.add(key+".address", "the socket's path is longer than %d bytes, which the system refuses; choose a shorter one", longest)
	}
}

// passed judges a listener whose socket systemd makes.
func (v validator) passed(key string, l Listener) {
	if name, _ := l.Passed(); name == "" || strings.ContainsAny(name, ": /") {
		v.add(key+".address", "%q is no name of a socket; write systemd:NAME, with the FileDescriptorName of the socket unit", shorten(name))
	}
	for name, given := range l.ownership() {
		if given {
			v.add(key+"."+name, "systemd makes the socket; set it in the socket unit (SocketMode, SocketUser, SocketGroup)")
		}
	}
}

// ownership tells which keys of a unix socket's file are given.
func (l Listener) ownership() map[string]bool {
	return map[string]bool{"mode": l.Mode != 0, "user": l.User != "", "group": l.Group != ""}
}

func (v validator) tcp(key string, l Listener) {
	for name, given := range l.ownership() {
		if given {
			v.add(key+"."+name, "only a unix socket has a %s; remove it, or listen at unix:///run/vrproxy/vault.sock", name)
		}
	}
	if !v.hostPort(key+".address", l.Address, DefaultListenAddress+" or unix:///run/vrproxy/vault.sock") {
		return
	}
	if !isLoopback(l.Address) && l.TLS == nil && !l.AllowPlaintext {
		v.add(key+".address", "tokens and secrets would cross the network in plain text; give the listener tls, or accept that with allow_plaintext: true")
	}
}

func (v validator) serverTLS(key string, t *ServerTLS) {
	if t == nil {
		return
	}
	v.required(key+".cert_file", t.CertFile, "give the PEM file of the certificate")
	v.required(key+".key_file", t.KeyFile, "give the PEM file of the certificate's private key")
}

func (v validator) admin() {
	a := v.c.Admin
	v.serverTLS("admin.tls", a.TLS)
	if v.hostPort("admin.address", a.Address, DefaultAdminAddress) && !isLoopback(a.Address) && a.TLS == nil {
		v.add("admin.address", "anyone on the network could drain clusters; give admin.tls, or listen at %s", DefaultAdminAddress)
	}
}

// isLoopback reports whether only this machine reaches the address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// endpoint is a place that something listens at.
type endpoint struct{ key, address string }

// clashes reports addresses that two listeners want.
func (v validator) clashes() {
	var all []endpoint
	for i, l := range v.c.Listeners {
		all = append(all, endpoint{fmt.Sprintf("listeners[%d].address", i), l.Address})
	}
	all = append(all, endpoint{"admin.address", v.c.Admin.Address})
	if v.c.DNS != nil {
		all = append(all, endpoint{"dns.address", v.c.DNS.Address})
	}
	for i, later := range all {
		for _, earlier := range all[:i] {
			if clash(later.address, earlier.address) {
				v.clash(earlier, later)
			}
		}
	}
}

// clash is reported where the file says something: at the later of the two,
// unless that one is a default.
func (v validator) clash(earlier, later endpoint) {
	if _, given := v.lines[later.key]; !given {
		earlier, later = later, earlier
	}
	v.add(later.key, "%s wants %s too; give one of them another address", earlier.key, shorten(earlier.address))
}

// clash reports whether one process can't listen at both addresses.
func clash(a, b string) bool {
	if a == b && !strings.HasSuffix(a, ":0") {
		return true // two unix sockets, or two of systemd
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return covers(hostA, hostB) || covers(hostB, hostA)
}

// covers reports whether listening at host takes the port at other as well.
func covers(host, other string) bool {
	switch {
	case host == "" || host == "::":
		return true
	case host == "0.0.0.0":
		return !strings.Contains(other, ":")
	case host == "localhost" && other == "127.0.0.1":
		return true
	default:
		return host == other
	}
}
