package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Request is one request to a Server.
type Request struct {
	Method string
	Path   string // escaped, below /v1/
	Query  url.Values
	Header http.Header
	Body   []byte
}

// Response is a Server's answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request. The error is ErrDown when there is no whole answer.
func (s *Server) Do(ctx context.Context, r Request) (*Response, error) {
	resp, err := s.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or of no more use
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return &Response{Status: resp.StatusCode, Header: kept(resp.Header), Body: body}, nil
}

// Stream sends a request and hands the answer out as it comes.
func (s *Server) Stream(ctx context.Context, r Request, write func([]byte) error) error {
	resp, err := s.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or of no more use
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if werr := write(buf[:n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDown, err)
		}
	}
}

// send sends a request and returns the answer with its body unread.
func (s *Server) send(ctx context.Context, r Request) (*http.Response, error) {
	target := "http://" + s.address + "/v1/" + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	for _, hop := range []string{"Connection", "Content-Length", "Accept-Encoding"} {
		req.Header.Del(hop)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return resp, nil
}

// kept are the headers of an answer that the front passes on.
func kept(h http.Header) http.Header {
	for _, hop := range []string{"Connection", "Content-Length", "Date", "Transfer-Encoding"} {
		h.Del(hop)
	}
	return h
}
