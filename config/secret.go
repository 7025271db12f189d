package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
)

// hidden is what is shown of a secret.
const hidden = "(hidden)"

const maxSecretBytes = 4 * KiB

// Secret is a text that never shows: however it is printed, logged or encoded, "(hidden)" comes out. An empty one is none.
type Secret string

// String is "(hidden)", or empty when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString is [Secret.String] for %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText is [Secret.String] for JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal is the text itself.
func (s Secret) Reveal() string { return string(s) }

// ReadSecret reads a secret from a file that only its owner may write and others than its group cannot read. White space
// around it is left out.
func ReadSecret(path string) (Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if err := checkSecretFile(info); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, int64(maxSecretBytes)+1))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case len(text) > int(maxSecretBytes):
		return "", fmt.Errorf("%s: want at most %s", path, maxSecretBytes)
	case secret == "":
		return "", fmt.Errorf("%s: no secret is in it", path)
	}
	return Secret(secret), nil
}

func checkSecretFile(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return fmt.Errorf("mode %#o lets others read it or the group write it: chmod 600 it", mode)
	}
	return nil
}

// secretOf is a secret that is given by itself or as a file; empty when neither is.
func secretOf(key string, secret Secret, file string) (Secret, error) {
	if file == "" {
		return secret, nil
	}
	read, err := ReadSecret(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return read, nil
}

// ownSecretOf is secretOf for one that a Baton asks for, and not somebody else: it must not be easily guessed.
func ownSecretOf(key string, secret Secret, file string) (Secret, error) {
	read, err := secretOf(key, secret, file)
	if n := len(read); err == nil && file != "" && n < minSecretBytes {
		err = fmt.Errorf("%s: %s: %d characters are easily guessed: want at least %d", key, file, n, minSecretBytes)
	}
	return read, err
}

// URL is the address of a server, which may hold a password. The password does not show when it is printed.
type URL string

// String is the address with "xxxxx" in the place of a password.
func (u URL) String() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return hidden // what is no URL may have a password anywhere
	}
	return parsed.Redacted()
}

// GoString is [URL.String] for %#v.
func (u URL) GoString() string { return fmt.Sprintf("%q", u.String()) }

// MarshalText is [URL.String] for JSON and the like.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// Reveal is the address itself.
func (u URL) Reveal() string { return string(u) }
