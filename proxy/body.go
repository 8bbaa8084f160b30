package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/vrproxy/vrproxy/internal/http1"
)

// keepBody is the largest request body kept for a repeat, unless told otherwise; a
// larger one is sent once.
const keepBody = 64 << 10

// body is a request body that is either kept whole or streamed once.
type body struct {
	kept   []byte    // the whole body, when whole
	whole  bool      // kept is all of it
	rest   io.Reader // kept and what follows, when not whole
	length int64     // declared length; -1 when chunked
	spent  bool      // a streamed body was handed out
	moves  func()    // told when more of a streamed body comes; may be nil
}

// read reads as much as is kept. A body that breaks off is the client's fault.
func (b *body) read(w http.ResponseWriter, r *http.Request, keep int64) error {
	b.length = r.ContentLength
	if r.Body == nil || r.Body == http.NoBody {
		b.whole = true
		return nil
	}
	conn := http.NewResponseController(w)
	if b.length > keep {
		b.rest = patient{r.Body, conn}
		return nil
	}
	_ = conn.SetReadDeadline(time.Now().Add(keptWithin)) // not every connection has deadlines
	kept, err := io.ReadAll(io.LimitReader(r.Body, keep+1))
	if err != nil {
		return fmt.Errorf("reading the request body: %w", err) // the deadline stays, or net/http would wait for the rest
	}
	_ = conn.SetReadDeadline(time.Time{})
	if int64(len(kept)) > keep {
		b.rest = io.MultiReader(bytes.NewReader(kept), patient{r.Body, conn})
		return nil
	}
	b.kept, b.whole = kept, true
	return nil
}

// repeatable reports whether the body can be sent (once more).
func (b *body) repeatable() bool { return b.whole || !b.spent }

// attach puts the body into an upstream request.
func (b *body) attach(out *http1.Call) {
	out.Request.ContentLength = b.length
	if b.whole {
		out.Body = b.kept
		return
	}
	b.spent = true
	out.Request.Body = io.NopCloser(moving{b.rest, b.moves})
}

// moving tells when something is read.
type moving struct {
	io.Reader
	tell func()
}

func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if m.tell != nil {
		m.tell()
	}
	return n, err
}

// patient is a body whose client has to send some of it now and then.
type patient struct {
	io.Reader
	conn *http.ResponseController
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(stalledSend)) // not every connection has deadlines
	n, err := p.Reader.Read(b)
	if err == io.EOF {
		_ = p.conn.SetReadDeadline(time.Time{}) // else it stays, or net/http would wait for the rest
	}
	return n, err
}

// fields reads the few members of a small JSON body, or form, that routing depends on.
// It never changes the body.
func (b *body) fields() bodyFields {
	var f bodyFields
	if !b.whole || len(b.kept) == 0 {
		return f
	}
	if json.Unmarshal(b.kept, &f) != nil { // what is neither JSON nor a form has no fields
		form, _ := url.ParseQuery(string(b.kept))
		f.State, f.Code = form.Get("state"), form.Get("code")
	}
	return f
}

// carriesCredential reports whether a login body says more than which role is
// wanted. One that cannot be looked into is taken to.
func (b *body) carriesCredential() bool {
	if !b.whole {
		return true
	}
	var members map[string]any
	if json.Unmarshal(b.kept, &members) != nil {
		return len(b.kept) > 0
	}
	delete(members, "name")
	return len(members) > 0
}

type bodyFields struct {
	Token      string   `json:"token"`
	Accessor   string   `json:"accessor"`
	LeaseID    string   `json:"lease_id"`
	Local      flexBool `json:"local"`
	Serial     string   `json:"serial_number"`
	OTP        string   `json:"otp"`
	MFARequest string   `json:"mfa_request_id"`
	State      string   `json:"state"`     // of an OIDC login
	Code       string   `json:"code"`      // of Vault's OIDC provider
	Protected  string   `json:"protected"` // of a JWS (ACME), with Payload
	Payload    string   `json:"payload"`
}

// flexBool takes what Vault takes for a boolean: true, "true", 1.
type flexBool bool

// UnmarshalJSON never fails: what is no boolean is false, and Vault will say so.
func (f *flexBool) UnmarshalJSON(raw []byte) error {
	switch string(bytes.Trim(raw, `"`)) {
	case "true", "1", "t", "T", "TRUE", "True":
		*f = true
	}
	return nil
}

// errBodySpent means that a streamed body was already sent.
var errBodySpent = errors.New("the request body was too large to be kept for another attempt")
