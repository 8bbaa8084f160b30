package lab

import "net"

// listener wraps what it accepts so that the cluster can break it.
type listener struct {
	net.Listener
	cluster *Cluster
	served  bool // somebody accepts; guarded by the cluster's lock
}

// Accept returns the next connection, known to the cluster.
func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: nc, cluster: l.cluster}
	l.cluster.mu.Lock()
	l.cluster.conns[k] = true
	killed := l.cluster.killed
	l.cluster.mu.Unlock()
	if killed {
		k.reset()
	}
	return k, nil
}

// conn is a client's connection.
type conn struct {
	net.Conn
	cluster *Cluster
}

// Write sends, unless the cluster is a black hole: then the bytes vanish.
// Such a connection is reset before anything is sent on it again.
func (k *conn) Write(b []byte) (int, error) {
	if k.cluster.silent() {
		return len(b), nil
	}
	return k.Conn.Write(b)
}

// Close closes the connection; in a black hole without a word to the client.
func (k *conn) Close() error {
	k.cluster.mu.Lock()
	delete(k.cluster.conns, k)
	k.cluster.mu.Unlock()
	return k.Conn.Close()
}

// reset closes the connection with RST.
func (k *conn) reset() {
	if t, ok := k.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // only fails on a closed connection
	}
	_ = k.Close()
}
