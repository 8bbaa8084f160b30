package engines

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vrproxy/vrproxy/internal/lab/core"
	"github.com/vrproxy/vrproxy/internal/lab/engine"
)

// transitKey is a named key; version n is Versions[n-1], 32 bytes that serve
// AES-256-GCM, HMAC and, as a seed, Ed25519.
type transitKey struct {
	Name      string      `json:"name"`
	Type      string      `json:"type"`
	Versions  [][]byte    `json:"versions"`
	Created   []time.Time `json:"created"`
	Deletable bool        `json:"deletion_allowed"`
	MinDec    int         `json:"min_decryption_version"`
}

// Transit is encryption as a service.
func Transit() *engine.Engine {
	use := func(h func(*engine.Request, *transitKey) (*engine.Response, error)) ops {
		return ops{engine.Update: withKey(h)}
	}
	return &engine.Engine{Type: "transit", Routes: []engine.Route{
		{Pattern: "keys", Ops: list("keys/")},
		{Pattern: "keys/:name", Ops: ops{engine.Read: keyRead, engine.Update: keyCreate, engine.Delete: keyDelete}},
		{Pattern: "keys/:name/rotate", Ops: ops{engine.Update: keyRotate}},
		{Pattern: "keys/:name/config", Ops: use(keyConfig)},
		// Creating a missing key is a write, so encrypt is not Pure.
		{Pattern: "encrypt/:name", Exists: func(r *engine.Request) bool { return r.Storage.Has("keys/" + r.Param("name")) }, Ops: ops{engine.Update: encrypt}},
		{Pattern: "decrypt/:name", Pure: true, Ops: use(decrypt)},
		{Pattern: "rewrap/:name", Pure: true, Ops: use(rewrap)},
		{Pattern: "sign/:name", Pure: true, Ops: ops{engine.Update: sign}},
		{Pattern: "sign/:name/:hash", Pure: true, Ops: ops{engine.Update: sign}},
		{Pattern: "verify/:name", Pure: true, Ops: ops{engine.Update: verify}},
		{Pattern: "verify/:name/:hash", Pure: true, Ops: ops{engine.Update: verify}},
		{Pattern: "hmac/:name", Pure: true, Ops: use(keyedHash)},
		{Pattern: "hmac/:name/:hash", Pure: true, Ops: use(keyedHash)},
		{Pattern: "datakey/:kind/:name", Pure: true, Ops: use(dataKey)},
		{Pattern: "random", Pure: true, Ops: ops{engine.Update: core.RandomBytes}},
		{Pattern: "random/*bytes", Pure: true, Ops: ops{engine.Update: core.RandomBytes}},
		{Pattern: "hash", Pure: true, Ops: ops{engine.Update: core.Hash}},
		{Pattern: "hash/:algorithm", Pure: true, Ops: ops{engine.Update: core.Hash}},
	}}
}

func loadKey(r *engine.Request) *transitKey {
	k := &transitKey{}
	if !r.Storage.Get("keys/"+r.Param("name"), k) {
		return nil
	}
	return k
}

func withKey(h func(*engine.Request, *transitKey) (*engine.Response, error)) engine.Handler {
	return func(r *engine.Request) (*engine.Response, error) {
		k := loadKey(r)
		if k == nil {
			return nil, engine.BadRequest("encryption key not found")
		}
		return h(r, k)
	}
}

func keyCreate(r *engine.Request) (*engine.Response, error) {
	if loadKey(r) != nil {
		return keyRead(r)
	}
	kind := r.String("type")
	if kind == "" {
		kind = "aes256-gcm96"
	}
	if kind != "aes256-gcm96" && kind != "ed25519" && kind != "hmac" {
		return nil, engine.BadRequest("unknown key type %s", kind)
	}
	k := &transitKey{Name: r.Param("name"), Type: kind, MinDec: 1}
	if err := k.rotate(r); err != nil {
		return nil, err
	}
	return keyRead(r)
}

func (k *transitKey) rotate(r *engine.Request) error {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	k.Versions = append(k.Versions, b)
	k.Created = append(k.Created, time.Now().UTC())
	return r.Storage.Put("keys/"+k.Name, k)
}

func keyRotate(r *engine.Request) (*engine.Response, error) {
	k := loadKey(r)
	if k == nil {
		return nil, engine.BadRequest("key not found")
	}
	if err := k.rotate(r); err != nil {
		return nil, err
	}
	return keyRead(r)
}

func keyConfig(r *engine.Request, k *transitKey) (*engine.Response, error) {
	if r.Has("deletion_allowed") {
		k.Deletable = r.Bool("deletion_allowed")
	}
	if r.Has("min_decryption_version") {
		k.MinDec = max(1, r.Int("min_decryption_version"))
	}
	if err := r.Storage.Put("keys/"+k.Name, k); err != nil {
		return nil, err
	}
	return keyRead(r)
}

func keyDelete(r *engine.Request) (*engine.Response, error) {
	k := loadKey(r)
	if k == nil {
		return nil, engine.BadRequest("error deleting policy %s: could not delete key; not found", r.Param("name"))
	}
	if !k.Deletable {
		return nil, engine.BadRequest("error deleting policy %s: deletion is not allowed for this key", k.Name)
	}
	return engine.Done(r.Storage.Delete("keys/" + k.Name))
}

func keyRead(r *engine.Request) (*engine.Response, error) {
	k := loadKey(r)
	if k == nil {
		return nil, nil
	}
	keys := map[string]any{}
	for i, at := range k.Created {
		keys[strconv.Itoa(i+1)] = at.Unix()
		if k.Type == "ed25519" {
			public := k.signer(i + 1).Public().(ed25519.PublicKey)
			keys[strconv.Itoa(i+1)] = map[string]any{"creation_time": at, "name": "ed25519", "public_key": base64.StdEncoding.EncodeToString(public),
				"certificate_chain": "", "hybrid_public_key": ""}
		}
	}
	aead := k.Type == "aes256-gcm96"
	return engine.OK(map[string]any{
		"name": k.Name, "type": k.Type, "keys": keys, "latest_version": len(k.Versions), "min_decryption_version": k.MinDec,
		"min_encryption_version": 0, "min_available_version": 0, "deletion_allowed": k.Deletable, "derived": false,
		"exportable": false, "allow_plaintext_backup": false, "supports_encryption": aead, "supports_decryption": aead,
		"supports_derivation": aead || k.Type == "ed25519", "supports_signing": k.Type == "ed25519", "imported_key": false, "auto_rotate_period": 0,
	})
}

func (k *transitKey) signer(version int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.Versions[version-1])
}

func (k *transitKey) seal(version int, plain []byte) string {
	gcm := k.gcm(version)
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return prefix(version) + base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, plain, nil))
}

func (k *transitKey) gcm(version int) cipher.AEAD {
	block, _ := aes.NewCipher(k.Versions[version-1]) // 32 bytes always
	gcm, _ := cipher.NewGCM(block)
	return gcm
}

func prefix(version int) string { return fmt.Sprintf("vault:v%d:", version) }

// split takes the version and the bytes out of "vault:v1:...".
// kind is "ciphertext", "signature" or "HMAC to verify", for the errors.
func (k *transitKey) split(kind, text string) (int, []byte, error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 || parts[0] != "vault" || !strings.HasPrefix(parts[1], "v") {
		return 0, nil, engine.BadRequest("invalid %s: no prefix", kind)
	}
	version, err := strconv.Atoi(parts[1][1:])
	if err != nil || version < 1 || version > len(k.Versions) {
		return 0, nil, engine.BadRequest("invalid %s: version is too new", kind)
	}
	if version < k.MinDec {
		return 0, nil, engine.BadRequest("ciphertext or signature version is disallowed by policy (too old)")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	switch {
	case err != nil && kind == "signature":
		return 0, nil, engine.BadRequest("invalid base64 signature value")
	case err != nil:
		return 0, nil, engine.BadRequest("invalid %s: could not decode base64", kind)
	}
	return version, raw, nil
}

func (k *transitKey) open(text string) ([]byte, error) {
	version, raw, err := k.split("ciphertext", text)
	if err != nil {
		return nil, err
	}
	gcm := k.gcm(version)
	if len(raw) < gcm.NonceSize() {
		return nil, engine.BadRequest("invalid ciphertext: length is too short")
	}
	plain, err := gcm.Open(nil, raw[:gcm.NonceSize()], raw[gcm.NonceSize():], nil)
	if err != nil {
		return nil, engine.BadRequest("cipher: message authentication failed")
	}
	return plain, nil
}

// batch runs f on the body, or on each item of batch_input.
func batch(r *engine.Request, f func(item map[string]any) (map[string]any, error)) (*engine.Response, error) {
	items, many := r.Data["batch_input"].([]any)
	if !many {
		data, err := f(r.Data)
		if err != nil {
			return nil, err
		}
		return engine.OK(data)
	}
	results, failed := make([]map[string]any, len(items)), 0
	for i, it := range items {
		item, _ := it.(map[string]any)
		data, err := f(item)
		if err != nil {
			data, failed = map[string]any{"error": err.Error()}, failed+1
		}
		data["reference"] = engine.Text(item["reference"])
		results[i] = data
	}
	resp := &engine.Response{Data: map[string]any{"batch_results": results}}
	if failed > 0 {
		resp.Status = http.StatusBadRequest
	}
	return resp, nil
}

// decode reads base64; what begins the error.
func decode(v any, what string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(engine.Text(v))
	if err != nil {
		return nil, engine.BadRequest("%s: %v", what, err)
	}
	return b, nil
}

// encrypt makes the key when there is none, which only the primary can.
func encrypt(r *engine.Request) (*engine.Response, error) {
	if loadKey(r) == nil {
		if _, err := keyCreate(r); err != nil {
			return nil, err
		}
	}
	k := loadKey(r)
	return batch(r, func(item map[string]any) (map[string]any, error) {
		if _, ok := item["plaintext"]; !ok {
			return nil, engine.BadRequest("missing plaintext to encrypt")
		}
		plain, err := base64.StdEncoding.DecodeString(engine.Text(item["plaintext"]))
		if err != nil {
			return nil, engine.BadRequest("%v", err)
		}
		n := len(k.Versions)
		return map[string]any{"ciphertext": k.seal(n, plain), "key_version": n}, nil
	})
}

func decrypt(r *engine.Request, k *transitKey) (*engine.Response, error) {
	return batch(r, func(item map[string]any) (map[string]any, error) {
		text := engine.Text(item["ciphertext"])
		if text == "" {
			return nil, engine.BadRequest("missing ciphertext to decrypt")
		}
		plain, err := k.open(text)
		if err != nil {
			return nil, err
		}
		return map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}, nil
	})
}

func rewrap(r *engine.Request, k *transitKey) (*engine.Response, error) {
	return batch(r, func(item map[string]any) (map[string]any, error) {
		plain, err := k.open(engine.Text(item["ciphertext"]))
		if err != nil {
			return nil, err
		}
		n := len(k.Versions)
		return map[string]any{"ciphertext": k.seal(n, plain), "key_version": n}, nil
	})
}

func sign(r *engine.Request) (*engine.Response, error) {
	k := loadKey(r)
	if k == nil {
		return nil, engine.BadRequest("signing key not found")
	}
	if k.Type != "ed25519" {
		return nil, engine.BadRequest("key type %s does not support signing", k.Type)
	}
	return batch(r, func(item map[string]any) (map[string]any, error) {
		input, err := decode(item["input"], "unable to decode input")
		if err != nil {
			return nil, err
		}
		n := len(k.Versions)
		sig := ed25519.Sign(k.signer(n), input)
		return map[string]any{"signature": prefix(n) + base64.StdEncoding.EncodeToString(sig), "key_version": n}, nil
	})
}

func verify(r *engine.Request) (*engine.Response, error) {
	k := loadKey(r)
	if k == nil {
		return nil, engine.BadRequest("signature verification key not found")
	}
	return batch(r, func(item map[string]any) (map[string]any, error) {
		input, err := decode(item["input"], "failed to parse item: failed to parse input")
		if err != nil {
			return nil, err
		}
		valid, err := k.confirms(input, engine.Text(item["signature"]), engine.Text(item["hmac"]))
		return map[string]any{"valid": valid}, err
	})
}

// confirms checks the signature or the HMAC of an input, whichever is given.
func (k *transitKey) confirms(input []byte, signature, mac string) (bool, error) {
	switch {
	case mac != "":
		version, raw, err := k.split("HMAC to verify", mac)
		return err == nil && hmac.Equal(raw, k.mac(version, input)), err
	case signature == "":
		return false, engine.BadRequest("missing one of 'signature', 'hmac' or 'cmac' arguments to verify")
	default:
		version, raw, err := k.split("signature", signature)
		return err == nil && k.Type == "ed25519" && ed25519.Verify(k.signer(version).Public().(ed25519.PublicKey), input, raw), err
	}
}

func (k *transitKey) mac(version int, input []byte) []byte {
	h := hmac.New(sha256.New, k.Versions[version-1])
	h.Write(input)
	return h.Sum(nil)
}

func keyedHash(r *engine.Request, k *transitKey) (*engine.Response, error) {
	return batch(r, func(item map[string]any) (map[string]any, error) {
		input, err := decode(item["input"], "unable to decode input as base64")
		if err != nil {
			return nil, err
		}
		n := len(k.Versions)
		return map[string]any{"hmac": prefix(n) + base64.StdEncoding.EncodeToString(k.mac(n, input))}, nil
	})
}

func dataKey(r *engine.Request, k *transitKey) (*engine.Response, error) {
	if kind := r.Param("kind"); kind != "plaintext" && kind != "wrapped" {
		return nil, engine.BadRequest("Invalid path, must be 'plaintext' or 'wrapped'")
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	n := len(k.Versions)
	data := map[string]any{"ciphertext": k.seal(n, b), "key_version": n}
	if r.Param("kind") == "plaintext" {
		data["plaintext"] = base64.StdEncoding.EncodeToString(b)
	}
	return engine.OK(data)
}
