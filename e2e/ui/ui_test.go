package ui

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/vrproxy/vrproxy/internal/app"
)

var screenshot = flag.String("ui.screenshot", "", "write the page's picture to this file, and in dark colours beside it")

// output is what the proxy prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// dev runs `vrproxy dev` and gives the addresses of the page and of the proxy.
func dev(t *testing.T) (page, vault string) {
	t.Helper()
	var out output
	signals, exit := make(chan os.Signal, 1), make(chan int, 1)
	p := app.Process{Getenv: func(string) string { return "" }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Signals: signals}
	go func() {
		exit <- app.Main([]string{"dev", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "", "--lab-port", "0"}, p)
	}()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if code := <-exit; code != 0 {
			t.Errorf("dev ended with %d: %s", code, &out)
		}
	})
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found := regexp.MustCompile(`VAULT_ADDR=(\S+)[\s\S]*Watch: +(\S+)`).FindStringSubmatch(out.String())
		if found != nil {
			return found[2], found[1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("dev does not get ready: %s", &out)
		}
		<-tick.C
	}
}

// traffic reads and writes through the proxy until the test ends, and logs in first, so
// that the page has something to show.
func traffic(t *testing.T, vault string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	token := ""
	send := func(method, path, body string) string {
		req, err := http.NewRequestWithContext(ctx, method, vault+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			return ""
		}
		req.Header.Set("X-Vault-Token", token)
		resp, err := client.Do(req)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return string(raw)
	}
	if found := regexp.MustCompile(`"client_token":"([^"]+)"`).FindStringSubmatch(send("POST", "auth/userpass/login/demo", `{"password":"demo"}`)); found != nil {
		token = found[1]
	}
	if token == "" {
		t.Fatal("nobody can log in")
	}
	send("GET", "database/creds/readonly", "")
	var clients sync.WaitGroup
	every := func(d time.Duration, method, path, body string) {
		clients.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					send(method, path, body)
				}
			}
		})
	}
	every(50*time.Millisecond, "GET", "secret/data/hello", "")
	every(300*time.Millisecond, "POST", "secret/data/mine", `{"data":{"a":"b"}}`)
	t.Cleanup(func() { cancel(); clients.Wait(); client.CloseIdleConnections() })
}

// is gives an expression: an element has this text.
func is(id, text string) string {
	return fmt.Sprintf("document.getElementById(%q).textContent === %q", id, text)
}

const card = `document.querySelector('[aria-label="cluster %s"] .state').textContent === %q`

func TestThePageInABrowser(t *testing.T) {
	page, vault := dev(t)
	traffic(t, vault)
	b := open(t, page)
	b.eventually("the page is live", is("link", "live"))
	b.eventually("reads go to the nearest", is("reads", "eu-west")+" && "+is("writes", "us-east"))
	if title := b.text("document.getElementById('map-text').textContent"); !strings.Contains(title, "Reads go to eu-west. Writes go to us-east.") {
		t.Errorf("the map is told as %q", title)
	}
	b.eventually("flows are shown", `document.querySelectorAll("#map path.flow.reads.live").length === 1 && document.querySelectorAll("#map path.flow.writes.live").length >= 1`)
	b.eventually("mounts are shown with their classes", `document.querySelector("#mounts-rows th")?.textContent !== undefined && /secret\/kv-v2nearest/.test(document.getElementById("mounts-rows").textContent)`)
	t.Run("failover", b.as(b.failover))
	t.Run("picture", b.as(b.picture))
	t.Run("drain", b.as(b.drain))
	t.Run("explain", b.as(b.explains))
	t.Run("access", b.as(b.access))
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(c, "\n"))
	}
}

// as lets a part of the test fail by itself.
func (b *browser) as(part func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		whole := b.t
		b.t = t
		defer func() { b.t = whole }()
		part(t)
	}
}

// failover breaks the nearest cluster by its button. What the proxy knows is on the page
// within two seconds.
func (b *browser) failover(t *testing.T) {
	b.do(chromedp.Evaluate[chromedp.Void](`new MutationObserver((_, watcher) => {
		if (document.getElementById("reads").textContent !== "us-east") return;
		window.shownAt = Date.now();
		watcher.disconnect();
	}).observe(document.getElementById("reads"), { childList: true, characterData: true, subtree: true })`))
	pressed := time.Now()
	b.press("kill eu-west")
	b.eventually("reads moved", is("reads", "us-east")+" && window.shownAt > 0")
	t.Logf("the page shows it %s after the button was pressed", time.Since(pressed).Round(time.Millisecond))
	b.eventually("the cluster is down", fmt.Sprintf(card, "eu-west", "down"))
	b.eventually("the failover is in the list", `[...document.querySelectorAll("#events .failover")].some((e) => /eu-west → us-east · reads move: .*eu-west is/.test(e.textContent))`)
	late := run(b, chromedp.Evaluate[float64](`window.shownAt - Math.min(...[...document.querySelectorAll("#events .failover time")].map((e) => new Date(e.dateTime).getTime()))`))
	t.Logf("and %.0f ms after the proxy's event", late)
	if late > 2000 {
		t.Errorf("the page shows a failover %.0f ms after it happened; want 2000 at most", late)
	}
	if why := b.text(`document.getElementById("reads-why").textContent`); !strings.Contains(why, "since ") || !strings.Contains(why, "eu-west is") {
		t.Errorf("why reads moved: %q", why)
	}
	if last := b.text(`document.getElementById("failover").textContent`); last != "eu-west → us-east" {
		t.Errorf("the last failover: %q", last)
	}
}

// picture takes the page's pictures in light and dark.
func (b *browser) picture(t *testing.T) {
	b.eventually("flows moved", `document.querySelectorAll("#map path.flow.reads.live").length === 1`)
	for _, scheme := range []string{"light", "dark"} {
		ask(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		raw := run(b, chromedp.FullScreenshot(100))
		img, err := png.Decode(bytes.NewReader(raw))
		if err != nil || img.Bounds().Dx() < 1000 || img.Bounds().Dy() < 1000 {
			t.Fatalf("%s: %v, %v", scheme, img.Bounds(), err)
		}
		r, _, _, _ := img.At(3, 3).RGBA()
		if bright := r > 0x8000; bright != (scheme == "light") {
			t.Errorf("the %s page has a background of %x", scheme, r)
		}
		if *screenshot == "" {
			continue
		}
		name := *screenshot
		if scheme == "dark" {
			name = strings.TrimSuffix(name, ".png") + "-dark.png"
		}
		if err := os.WriteFile(name, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *browser) drain(t *testing.T) {
	b.press("restart eu-west")
	b.eventually("the cluster is back", fmt.Sprintf(card, "eu-west", "healthy")+" && "+is("reads", "eu-west"))
	b.press("drain eu-west")
	b.eventually("it is drained", fmt.Sprintf(card, "eu-west", "drained")+" && "+is("reads", "us-east"))
	b.press("undrain eu-west")
	b.eventually("it is in use", fmt.Sprintf(card, "eu-west", "healthy")+" && "+is("reads", "eu-west"))
}

func (b *browser) explains(t *testing.T) {
	b.do(chromedp.SetValue(chromedp.CSS(`select[name=method]`), "POST"),
		chromedp.SendKeys(chromedp.CSS(`input[name=path]`), "/v1/transit/encrypt/key"+kb.Enter))
	b.eventually("it is explained", `/class\s*nearest/.test(document.getElementById("explained").innerText) && /eu-west/.test(document.getElementById("explained").innerText)`)
}

// access: everything that can be used has a name and can be reached by keyboard.
func (b *browser) access(t *testing.T) {
	nodes := ask(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes
	seen := map[string]int{}
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		switch role {
		case "button", "link", "textbox", "combobox", "checkbox", "img", "image", "article", "region", "table":
			seen[role]++
			if n.Name == nil || strings.Trim(string(n.Name.Value), `"`) == "" {
				if role != "table" && role != "article" {
					t.Errorf("a %s has no name", role)
				}
			}
		}
	}
	if seen["button"] < 40 || seen["textbox"] != 2 || seen["img"]+seen["image"] == 0 {
		t.Errorf("seen by a screen reader: %v", seen)
	}
	b.do(chromedp.Evaluate[chromedp.Void](`window.scrollTo(0, 0); document.activeElement.blur()`), chromedp.KeyEvent(kb.Tab))
	if first := b.text(`document.activeElement.className`); first != "skip" {
		b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("a.skip").focus()`))
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.eventually("the skip link skips", `document.activeElement.id === "clusters"`)
	b.do(chromedp.KeyEvent(kb.Tab))
	b.eventually("what comes next is a cluster's", `document.activeElement.closest("article.cluster") !== null`)
}
