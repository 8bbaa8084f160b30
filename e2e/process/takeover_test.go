//go:build linux

package process

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOneTakesOverFromAnother: with a socket that whoever starts them keeps, one process
// after the other serves it, and no client notices.
func TestOneTakesOverFromAnother(t *testing.T) {
	l := newLab(t)
	var lc net.ListenConfig
	socket, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	passed, err := socket.(*net.TCPListener).File()
	must(t, err)
	url := "http://" + socket.Addr().String() + "/v1/secret/data/"
	must(t, socket.Close()) // passed is enough to keep it
	defer passed.Close()
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	must(t, os.WriteFile(file, []byte(configuration(l, "listeners: [{address: \""+socket.Addr().String()+"\"}]\nshutdown: {drain_delay: 500ms, drain_timeout: 20s}")), 0o600))
	next := func() *process {
		cmd := exec.CommandContext(t.Context(), binary("confine"), "-sockets", "1", binary("vrproxy"), "run", "-c", file)
		cmd.ExtraFiles = []*os.File{passed}
		return start(t, cmd)
	}

	p := next()
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var done, failed atomic.Int64
	for i := range 8 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer c.CloseIdleConnections()
			for n := 0; ctx.Err() == nil; n++ {
				method, body := http.MethodGet, ""
				path := "hello"
				if n%4 == 0 {
					method, path, body = http.MethodPost, fmt.Sprintf("taken-over-%d", i), fmt.Sprintf(`{"data":{"n":"%d"}}`, n)
				}
				status, answer, err := ask(t.Context(), c, method, url+path, body)
				if err != nil || status != 200 {
					failed.Add(1)
					t.Errorf("%s %s: %d %.200s %v", method, path, status, answer, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for range 3 {
		before := done.Load()
		eventually(t, "it serves", func() bool { return failed.Load() > 0 || done.Load() > before+200 })
		old := p
		p = next()
		old.end()
		if !strings.Contains(old.says("stopped"), `"requests_cut":0`) {
			t.Error(old.says("stopped"))
		}
	}
	before := done.Load()
	eventually(t, "the last one serves", func() bool { return failed.Load() > 0 || done.Load() > before+200 })
	stop()
	clients.Wait()
	p.end()
	t.Logf("%d requests over 3 changes of the process, %d failed", done.Load(), failed.Load())
}

// TestASocketThatNobodyTakes is an error that names it.
func TestASocketThatNobodyTakes(t *testing.T) {
	l := newLab(t)
	var files []*os.File
	for range 2 {
		var lc net.ListenConfig
		socket, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		f, err := socket.(*net.TCPListener).File()
		must(t, err, socket.Close())
		defer f.Close()
		files = append(files, f)
	}
	file := filepath.Join(t.TempDir(), "vrproxy.yaml")
	must(t, os.WriteFile(file, []byte(configuration(l, "listeners: [{address: \"systemd:vault\"}]")), 0o600))
	for names, want := range map[string]string{"vault:spare": "no listener takes: spare", "a:b": "no socket named vault was passed"} {
		cmd := exec.CommandContext(t.Context(), binary("confine"), "-sockets", "2", binary("vrproxy"), "run", "-c", file)
		cmd.ExtraFiles, cmd.Env = files, append(os.Environ(), "LISTEN_FDNAMES="+names)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", names, err, out)
		}
	}
}
