package ui

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is for what has to happen some time, on a machine that has much to do.
const patience = time.Minute

// browser is one page of a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex
	complaint []string // errors on the console, and what was loaded from elsewhere
}

// open starts a Chromium with an empty profile and opens a page.
func open(t *testing.T, url string) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Fatal("there is no Chromium to test the web page with; on Debian: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1200, 1000),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("no-first-run", true),
		chromedp.WSURLReadTimeout(patience))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, func(event any) { b.heard(event, url) }); err != nil { // starts the browser
		t.Fatalf("starting %s: %v", program, err)
	}
	ask(b, network.Enable, network.EnableParams{})
	b.do(chromedp.Navigate(url))
	return b
}

// ask runs one command of the DevTools protocol.
func ask[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return out
}

// run runs an action that gives something.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%v; complaints: %v", err, b.complaints())
	}
	return out
}

func (b *browser) heard(event any, url string) {
	what := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		what = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			what = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			what = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if own := strings.TrimSuffix(url, "/ui"); !strings.HasPrefix(e.Request.URL, own+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			what = "loaded from elsewhere: " + e.Request.URL
		}
	}
	if what == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaint = append(b.complaint, what)
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.complaint...)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(steps...))
}

// eventually waits until an expression is true in the page.
func (b *browser) eventually(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(0))); err != nil {
		b.t.Fatalf("not within %s: %s: %v; complaints: %v; the page says %q", patience, what, err, b.complaints(), b.text("document.body.innerText"))
	}
}

// text evaluates an expression that is a string.
func (b *browser) text(expression string) string {
	b.t.Helper()
	return run(b, chromedp.Evaluate[string](expression))
}

// press clicks the button with an accessible name.
func (b *browser) press(name string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`button[aria-label=%q]`, name))))
}
