package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/vrproxy/vrproxy/configs"
)

// passedSocket is a socket that systemd, or whoever starts the proxy, made for it.
type passedSocket struct {
	name     string
	listener net.Listener   // of a stream
	packet   net.PacketConn // of datagrams
}

func (s passedSocket) addr() net.Addr {
	if s.packet != nil {
		return s.packet.LocalAddr()
	}
	return s.listener.Addr()
}

func (s passedSocket) String() string {
	return fmt.Sprintf("%s (%s %s)", s.name, s.addr().Network(), s.addr())
}

func (s passedSocket) close() error {
	if s.packet != nil {
		return s.packet.Close()
	}
	return s.listener.Close()
}

// passedSockets hands out sockets to listeners, each once.
type passedSockets struct{ left []passedSocket }

// newPassedSockets takes the files of LISTEN_FDS.
func newPassedSockets(files []*os.File) (*passedSockets, error) {
	p := &passedSockets{}
	for _, f := range files {
		s := passedSocket{name: f.Name()}
		var err error
		if s.listener, err = net.FileListener(f); err != nil {
			s.packet, err = net.FilePacketConn(f)
		}
		_ = f.Close() // what was made of it has its own
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the socket %s that was passed to the process can't be listened on: %w", f.Name(), err), p.close())
		}
		p.left = append(p.left, s)
	}
	return p, nil
}

// close closes what nobody took.
func (p *passedSockets) close() error {
	var errs []error
	for _, s := range p.left {
		errs = append(errs, s.close())
	}
	p.left = nil
	return errors.Join(errs...)
}

func (p *passedSockets) take(fits func(passedSocket) bool) (passedSocket, bool) {
	i := slices.IndexFunc(p.left, fits)
	if i < 0 {
		return passedSocket{}, false
	}
	s := p.left[i]
	p.left = slices.Delete(p.left, i, i+1)
	return s, true
}

// stream takes the stream socket of a name.
func (p *passedSockets) stream(name string) net.Listener {
	s, _ := p.take(func(s passedSocket) bool { return s.listener != nil && s.name == name })
	return s.listener
}

// at takes the stream socket that is bound to a configured address.
func (p *passedSockets) at(address string) net.Listener {
	s, _ := p.take(func(s passedSocket) bool { return s.listener != nil && boundTo(s.addr(), address) })
	return s.listener
}

// room takes the stream socket of a room beside the listeners: by its name, or else at
// its address.
func (p *passedSockets) room(name, address string) net.Listener {
	if l := p.stream(name); l != nil {
		return l
	}
	return p.at(address)
}

// datagrams takes the datagram socket of a name, or else at an address.
func (p *passedSockets) datagrams(name, address string) net.PacketConn {
	s, ok := p.take(func(s passedSocket) bool { return s.packet != nil && s.name == name })
	if !ok {
		s, _ = p.take(func(s passedSocket) bool { return s.packet != nil && boundTo(s.addr(), address) })
	}
	return s.packet
}

// assign says which listener gets which socket: those that ask for a name come first,
// then those whose address a socket is bound to. What is left goes in order to the
// listeners that are left; whoever passed it wants it served.
func (p *passedSockets) assign(listeners []configs.Listener) (map[string]net.Listener, error) {
	out := make(map[string]net.Listener)
	for _, l := range listeners {
		name, ok := l.Passed()
		if !ok {
			continue
		}
		if out[l.Address] = p.stream(name); out[l.Address] == nil {
			return nil, fmt.Errorf("no socket named %s was passed to the process (there are: %s); add it to the socket unit as FileDescriptorName=%s", name, p, name)
		}
	}
	for _, give := range []func(address string) net.Listener{p.at, func(string) net.Listener { return p.next() }} {
		for _, l := range listeners {
			if out[l.Address] == nil {
				out[l.Address] = give(l.Address)
			}
		}
	}
	return out, nil
}

// next takes the first stream socket that was not made for another room.
func (p *passedSockets) next() net.Listener {
	s, _ := p.take(func(s passedSocket) bool { return s.listener != nil && s.name != adminSocket && s.name != dnsSocket })
	return s.listener
}

// The names of sockets for other rooms.
const (
	adminSocket = "admin"
	dnsSocket   = "dns"
)

// String lists what is left.
func (p *passedSockets) String() string {
	if len(p.left) == 0 {
		return "none"
	}
	var all []string
	for _, s := range p.left {
		all = append(all, s.String())
	}
	return strings.Join(all, ", ")
}

// unused is an error when something is left: who made it expects it to be served.
func (p *passedSockets) unused() error {
	if len(p.left) == 0 {
		return nil
	}
	return fmt.Errorf("sockets were passed to the process that no listener takes: %s; name one in a listener as systemd:NAME, or remove them from the socket unit", p)
}

// boundTo reports whether a socket is the one that would be bound for an address.
func boundTo(a net.Addr, address string) bool {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return a.Network() == "unix" && a.String() == path
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || want.Port == 0 {
		return false
	}
	var ip net.IP
	var port int
	switch a := a.(type) {
	case *net.TCPAddr:
		ip, port = a.IP, a.Port
	case *net.UDPAddr:
		ip, port = a.IP, a.Port
	default:
		return false
	}
	everywhere := (want.IP == nil || want.IP.IsUnspecified()) && ip.IsUnspecified()
	return port == want.Port && (everywhere || ip.Equal(want.IP))
}
