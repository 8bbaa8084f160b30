//go:build linux

// Command confine runs a program with as little as a container would leave it. It is
// for tests.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

type options struct {
	root, group, seccomp string
	uid, sockets         int
	probe                bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "", "folder that becomes the root, read-only but for /run")
	flag.StringVar(&o.group, "cgroup", "", "folder of the control group to enter")
	flag.StringVar(&o.seccomp, "seccomp", "", "seccomp profile, in Docker's form")
	flag.IntVar(&o.uid, "uid", 0, "user and group to become, with no capability left")
	flag.IntVar(&o.sockets, "sockets", 0, "sockets that are passed on, from file descriptor 3")
	flag.BoolVar(&o.probe, "probe", false, "run nothing; tell whether the profile refuses what it should")
	flag.Parse()
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "confine:", err)
		os.Exit(1)
	}
}

func run(o options, command []string) error {
	runtime.LockOSThread() // capabilities are those of a thread, and so is what is executed
	profile, err := load(o.seccomp)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return enter(o.group) },
		func() error { return changeRoot(o.root, o.uid) },
		func() error { return become(o.uid) },
		func() error { return install(profile) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if o.probe {
		return probe()
	}
	env := os.Environ()
	if o.sockets > 0 {
		env = append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS="+strconv.Itoa(o.sockets))
	}
	return fmt.Errorf("executing %s: %w", command[0], unix.Exec(command[0], command, env))
}

func enter(group string) error {
	if group == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
}

// changeRoot needs a mount namespace of its own.
func changeRoot(root string, uid int) error {
	if root == "" {
		return nil
	}
	in := func(name string) string { return filepath.Join(root, name) }
	return errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(root, root, "", unix.MS_BIND, ""),
		unix.Mount("/proc", in("proc"), "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("run", in("run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("uid=%d,gid=%d,mode=0700", uid, uid)),
		unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		unix.Chroot(root),
		os.Chdir("/"),
	)
}

// become also empties the bounding set, so nothing can be had again.
func become(uid int) error {
	if uid == 0 {
		return nil
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // an older kernel's last is lower
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return errors.Join(
		syscall.Setgroups(nil), syscall.Setresgid(uid, uid, uid), syscall.Setresuid(uid, uid, uid), // of all threads
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
	)
}

// profile is the part of Docker's form that is used.
type profile struct {
	DefaultAction string `json:"defaultAction"`
	Syscalls      []struct {
		Names  []string `json:"names"`
		Action string   `json:"action"`
		Args   []struct {
			Index    uint32 `json:"index"`
			Value    uint64 `json:"value"`
			ValueTwo uint64 `json:"valueTwo"`
			Op       string `json:"op"`
		} `json:"args"`
	} `json:"syscalls"`
}

func load(file string) (*profile, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &profile{}
	return p, json.Unmarshal(data, p)
}

func install(p *profile) error {
	if p == nil {
		return nil
	}
	if p.DefaultAction != "SCMP_ACT_ERRNO" {
		return fmt.Errorf("the default action is %s", p.DefaultAction)
	}
	here, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	var allow seccomp.SyscallGroup
	allow.Action = seccomp.ActionAllow
	for _, s := range p.Syscalls {
		if s.Action != "SCMP_ACT_ALLOW" {
			continue // as refused as by default, but with another error
		}
		for _, name := range s.Names {
			if _, known := here.SyscallNames[name]; !known {
				continue // of another architecture
			}
			if len(s.Args) == 0 {
				allow.Names = append(allow.Names, name)
				continue
			}
			var when seccomp.ArgumentConditions
			for _, a := range s.Args {
				if a.Op != "SCMP_CMP_MASKED_EQ" || a.ValueTwo != 0 {
					return fmt.Errorf("no way to check %s of %s", a.Op, name)
				}
				when = append(when, seccomp.Condition{Argument: a.Index, Operation: seccomp.BitsNotSet, Value: a.Value})
			}
			allow.NamesWithCondtions = append(allow.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: when})
		}
	}
	return seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: seccomp.Policy{
		DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{allow},
	}})
}

// probe tries what a process that was taken over would try. Without the profile, none
// of these fails with EPERM for root.
func probe() error {
	var allowed []error
	for name, try := range map[string]func() error{
		"mount":     func() error { return unix.Mount("none", "/nowhere", "none", 0, "") },
		"unshare":   func() error { return unix.Unshare(unix.CLONE_NEWUTS) },
		"ptrace":    func() error { return unix.PtraceAttach(-1) },
		"chroot":    func() error { return unix.Chroot("/nowhere") },
		"reboot":    func() error { return unix.Reboot(0) },
		"bpf":       func() error { return call(unix.SYS_BPF, 1<<30) },
		"clone":     func() error { return call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_NEWPID|unix.CLONE_THREAD) },
		"keyctl":    func() error { return call(unix.SYS_KEYCTL, 1<<30) },
		"io_uring":  func() error { return call(unix.SYS_IO_URING_SETUP, 0) },
		"userfault": func() error { return call(unix.SYS_USERFAULTFD, 1<<30) },
	} {
		if err := try(); !errors.Is(err, unix.EPERM) {
			allowed = append(allowed, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(allowed...)
}

func call(number, argument uintptr) error {
	_, _, errno := unix.RawSyscall(number, argument, 0, 0)
	return errno
}
