package dnsserver

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// oobSize holds what the kernel says about a packet: the address it was sent to.
const oobSize = 128

// packetConn is the UDP socket under the library's server. What has a prepared
// answer gets it here; the server sees only what is left.
type packetConn struct {
	*net.UDPConn
	quick       func(packet, out []byte, from netip.Addr) []byte
	anyAddress  bool   // bound to no address in particular
	answer, oob []byte // used by the one goroutine that reads
}

// newPacketConn asks the kernel where packets were sent to, if there is a choice:
// answers have to come from there.
func newPacketConn(conn *net.UDPConn, quick func(packet, out []byte, from netip.Addr) []byte) (*packetConn, error) {
	c := &packetConn{UDPConn: conn, quick: quick, answer: make([]byte, ednsSize), oob: make([]byte, oobSize)}
	bound := conn.LocalAddr().(*net.UDPAddr)
	if c.anyAddress = bound.IP.IsUnspecified(); !c.anyAddress {
		return c, nil
	}
	err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	if err6 != nil && err4 != nil { // a socket of one family fails for the other
		return nil, err4
	}
	return c, nil
}

// peer is who sent a packet, and what makes the answer come from where it was sent.
type peer struct {
	netip.AddrPort
	oob []byte
}

func (peer) Network() string { return "udp" }

// ReadFrom gives the next packet that was not answered at once.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(p, c.oob)
		if err != nil {
			return 0, nil, err
		}
		to := peer{AddrPort: from}
		if c.anyAddress {
			to.oob = sendFrom(c.oob[:oobn])
		}
		answer := c.quick(p[:n], c.answer, from.Addr())
		if answer == nil {
			return n, to, nil
		}
		_, _, _ = c.WriteMsgUDPAddrPort(answer, to.oob, from) // a client that is gone is no failure of ours
	}
}

// WriteTo answers a peer.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	peer := to.(peer)
	n, _, err := c.WriteMsgUDPAddrPort(p, peer.oob, peer.AddrPort)
	return n, err
}

// sendFrom turns "it was sent to" into "send it from". A socket for both families
// speaks of IPv4 in one or the other form.
func sendFrom(oob []byte) []byte {
	dst := sentTo(oob)
	switch {
	case dst == nil:
		return nil
	case dst.To4() != nil:
		return (&ipv4.ControlMessage{Src: dst}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: dst}).Marshal()
}

func sentTo(oob []byte) net.IP {
	var six ipv6.ControlMessage
	if six.Parse(oob) == nil && six.Dst != nil {
		return six.Dst
	}
	var four ipv4.ControlMessage
	if four.Parse(oob) == nil {
		return four.Dst
	}
	return nil
}
