package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// profile fetches a CPU profile of vrproxy while it is under load, if one is wanted. The
// last round that is profiled leaves its own in the file.
func (r *round) profile(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if r.o.profile == "" || r.proxy.profile == "" {
		done <- nil
		return done
	}
	url := fmt.Sprintf("%s?seconds=%d", r.proxy.profile, max(1, int(r.o.seconds/time.Second)))
	go func() { done <- download(ctx, url, r.o.profile) }()
	return done
}

func download(ctx context.Context, url, file string) error {
	raw, err := fetch(ctx, url)
	if err != nil {
		return fmt.Errorf("fetching a profile: %w", err)
	}
	return os.WriteFile(file, raw, 0o644)
}

// fetch gets a page of the admin listener.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 10 * time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", url, resp.Status, raw)
	}
	return raw, err
}
