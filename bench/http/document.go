package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// marker is the line of the document that all below is written by this command.
const marker = "<!-- the rest is written by `make bench-docs` -->\n"

// document writes what was measured below the marker of a document.
func (o options) document(ctx context.Context, file string, results []result) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	prose, _, found := strings.Cut(string(raw), marker)
	if !found {
		return fmt.Errorf("%s lacks the line %q", file, strings.TrimSpace(marker))
	}
	out := bytes.NewBufferString(prose + marker)
	o.machine(ctx, out)
	_, _ = fmt.Fprint(out, "\n## Targets\n\n")
	markdownTargets(out, targets(flat(results)))
	_, _ = fmt.Fprint(out, "\n## Figures\n")
	for _, r := range results {
		r.markdown(out)
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// machine describes where, when and with what it was measured.
func (o options) machine(ctx context.Context, out io.Writer) {
	row := func(what, value string) { _, _ = fmt.Fprintf(out, "| %s | %s |\n", what, value) }
	_, _ = fmt.Fprint(out, "\n## Machine\n\n| | |\n|---|---|\n")
	row("date", time.Now().UTC().Format(time.DateOnly))
	row("CPU", fmt.Sprintf("%s, %d cores", found("/proc/cpuinfo", `(?m)^model name\s*:\s*(.*)$`), runtime.NumCPU()))
	row("memory", found("/proc/meminfo", `(?m)^MemTotal:\s*(.*)$`))
	row("kernel", found("/proc/sys/kernel/osrelease", `(.*)`)+" "+runtime.GOARCH)
	row("Go", strings.TrimPrefix(runtime.Version(), "go"))
	row("vrproxy", said(ctx, "git", "describe", "--tags", "--always"))
	row("HAProxy", version(said(ctx, "haproxy", "-v")))
	row("nginx", version(said(ctx, "nginx", "-v")))
	if o.vault != "" {
		row("Vault", version(said(ctx, o.vault, "version")))
	}
	row("rounds", fmt.Sprintf("%d, of %s each; the figures are medians", o.rounds, o.seconds))
}

// found is the first group of a pattern in a file.
func found(file, pattern string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	if m := regexp.MustCompile(pattern).FindSubmatch(raw); m != nil {
		return string(bytes.TrimSpace(m[1]))
	}
	return "unknown"
}

// version is the first number with a dot and what belongs to it.
func version(text string) string {
	return cmp.Or(regexp.MustCompile(`\d+\.[^\s,]*`).FindString(text), text)
}

// said is the first line that a program says, of its version.
func said(ctx context.Context, program string, args ...string) string {
	raw, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSpace(first)
}
