package vault

import "syscall"

// attributes put the server into a process group of its own, so that Ctrl-C
// does not reach it, and let it die with its parent, however that ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
