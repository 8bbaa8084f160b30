package tokencache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// A state file is this word, a salt, a nonce, and what AES-256-GCM makes of the state.
// The key is derived from the key file and the salt, which is new at each write.
const (
	sealedWord = "vrproxy-state-1\n"
	saltSize   = 16
	minKeySize = 16 // bytes of the key file
)

// errForeignState: the file was not written with this key, or is damaged.
var errForeignState = errors.New("it was not written with this key, or is damaged")

func sealer(secret, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, sealedWord, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

func sealState(secret, plain []byte) ([]byte, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails
	aead, err := sealer(secret, salt)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	out := append([]byte(sealedWord), salt...)
	return aead.Seal(append(out, nonce...), nonce, plain, []byte(sealedWord)), nil
}

func openState(secret, sealed []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(sealed), sealedWord)
	if !ok || len(rest) < saltSize {
		return nil, errForeignState
	}
	aead, err := sealer(secret, []byte(rest[:saltSize]))
	if err != nil {
		return nil, err
	}
	rest = rest[saltSize:]
	if len(rest) < aead.NonceSize() {
		return nil, errForeignState
	}
	plain, err := aead.Open(nil, []byte(rest[:aead.NonceSize()]), []byte(rest[aead.NonceSize():]), []byte(sealedWord))
	if err != nil {
		return nil, errForeignState
	}
	return plain, nil
}

// readKey reads the key file: a random key, a service account token, a systemd
// credential. It is read at each use, so it may be replaced.
func readKey(file string) ([]byte, error) {
	text, err := readSecretFile(file)
	if err != nil {
		return nil, err
	}
	if len(text) < minKeySize {
		return nil, fmt.Errorf("the key in %s is shorter than %d bytes; make one with: head -c 32 /dev/urandom | base64", file, minKeySize)
	}
	return []byte(text), nil
}
