// Package peer builds, runs and weighs the programs that are compared.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running program.
type Process struct {
	cmd  *exec.Cmd
	said bytes.Buffer
}

// Start runs a program until Stop, or until ctx ends. env is added to the environment.
func Start(ctx context.Context, args []string, env ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	return p, nil
}

// Said is what the program wrote last; to be asked after Stop.
func (p *Process) Said() string {
	const enough = 4 << 10
	said := p.said.String()
	return said[max(0, len(said)-enough):]
}

// CPU is the time that the program has spent, in user and kernel mode, as the kernel
// counts it: what /proc/PID/stat tells in steps of 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	const whole, scheduled = 0, 2 // CPUCLOCK_SCHED of the process, as in clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled|whole), &ts); err != nil {
		return 0, fmt.Errorf("asking for the CPU time of %s: %w", p.cmd.Path, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Resident is the memory in use, in KB.
func (p *Process) Resident() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	return Number(string(raw), `VmRSS:\s+(\d+)`), err
}

// Stop ends the program.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it only fails when it has ended
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // some end with a code of their own after SIGTERM
}

// Number finds the first group of a pattern in a text; 0 without one.
func Number(text, pattern string) float64 {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(found[1], 64) // the pattern has digits only
	return n
}

// Poll asks until ok, every 5 ms.
func Poll(ctx context.Context, limit time.Duration, ok func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Root is the repository, also when the command is run from within it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "vrproxy")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("not run from within the repository")
}

// Build builds a package of a module.
func Build(ctx context.Context, module, what, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, what)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", what, module, err, said)
	}
	return nil
}

// Missing tells which Debian packages of these programs are not installed.
func Missing(packages map[string]string) error {
	var missing []string
	for program, debian := range packages {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, debian)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing; install the Debian packages %s", strings.Join(missing, " "))
	}
	return nil
}
