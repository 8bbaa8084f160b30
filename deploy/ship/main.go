// Command ship makes what is given to users out of the source: container images,
// archives, a Debian package, bills of materials and checksums. The same source gives
// the same bytes: times are those of SOURCE_DATE_EPOCH, and all else is in go.sum.
//
// Usage, as in the Makefile: ship [-root DIR] [-out DIR] [-version V] [-commit C]
// image|rootfs|release|prove.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ship:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func run(ctx context.Context, args []string, epoch string, say io.Writer) error {
	fs := flag.NewFlagSet("ship", flag.ContinueOnError)
	s := source{}
	fs.StringVar(&s.root, "root", "..", "the repository")
	fs.StringVar(&s.version, "version", "dev", "the version that is stamped")
	fs.StringVar(&s.commit, "commit", "unknown", "the commit that is stamped")
	out := fs.String("out", "../build", "where to write")
	if err := fs.Parse(args); err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH=%q: it has to be the seconds of the commit, as git log -1 --format=%%ct tells", epoch)
	}
	s.when = time.Unix(seconds, 0).UTC()
	if err := os.MkdirAll(*out, 0o755); err != nil { //nolint:gosec // others may read what is given to all
		return fmt.Errorf("making the folder: %w", err)
	}
	switch fs.Arg(0) {
	case "image":
		return s.imageArchive(ctx, filepath.Join(*out, "vrproxy-"+s.version+".oci.tar"), say)
	case "rootfs":
		return s.rootfsDir(ctx, *out, platform{"linux", runtime.GOARCH})
	case "release":
		return s.release(ctx, *out, say)
	case "prove":
		return s.prove(ctx, platform{"linux", runtime.GOARCH}, say)
	}
	return errors.New("say what to make: image, rootfs, release or prove")
}
