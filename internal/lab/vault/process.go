package vault

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
)

// process is one life of a Vault server.
type process struct {
	cmd    *exec.Cmd
	killed atomic.Bool // on purpose
	done   chan struct{}
}

// startProcess starts a server; gone is called when it ends unasked.
func startProcess(bin, dir, config string, output *os.File, gone func()) (*process, error) {
	p := &process{cmd: exec.Command(bin, "server", "-config="+config), done: make(chan struct{})} //nolint:noctx // kill ends it
	p.cmd.Dir = dir
	p.cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")} // none of the caller's VAULT_* variables
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.SysProcAttr = attributes()
	started := make(chan error, 1)
	go p.live(started, gone)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", bin, err)
	}
	return p, nil
}

// live starts the process and waits for its end, both on one thread: Linux
// sends the parent's death signal when the thread ends that started the child.
func (p *process) live(started chan<- error, gone func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		close(p.done)
		return
	}
	_ = p.cmd.Wait() // however it ended, it is gone
	close(p.done)
	if !p.killed.Load() {
		gone()
	}
}

// kill ends the process and all it started, and waits for that.
func (p *process) kill() {
	p.killed.Store(true)
	signalGroup(p.cmd.Process, signalKill)
	<-p.done
}

func (p *process) freeze(yes bool) {
	s := signalContinue
	if yes {
		s = signalStop
	}
	signalGroup(p.cmd.Process, s)
}
