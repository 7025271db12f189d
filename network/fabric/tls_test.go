package fabric_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"baton/network/fabric"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(encoded); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// files are those of a member that trusts this authority and has a certificate of it.
func (a *authority) files(t *testing.T) fabric.TLS {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return fabric.TLS{
		CA:   write("ca.pem", "CERTIFICATE", a.certificate.Raw),
		Cert: write("cert.pem", "CERTIFICATE", encoded),
		Key:  write("key.pem", "PRIVATE KEY", encodedKey),
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	a := open(t, fabric.Options{Name: "a", Secret: secret, TLS: ours.files(t)})
	b := open(t, fabric.Options{Name: "b", Secret: secret, TLS: ours.files(t), Routes: []string{a.at()}})
	until(t, "a route", func() bool { return slices.Equal(b.named(), []string{"a"}) })
	conn, err := tls.Dial("tcp", a.at(), &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // of TLS 1.3 the refusal comes later
		conn.Close()
	}
	if err == nil {
		t.Error("somebody without a certificate is let in")
	}
}

// Neither side takes a certificate of somebody else's authority: each case has the right one on one side alone.
func TestTLSWithAWrongCAIsRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	good, bad := ours.files(t), theirs.files(t)
	for name, of := range map[string]fabric.TLS{
		"all of it":      bad,
		"what it trusts": {CA: bad.CA, Cert: good.Cert, Key: good.Key},
		"what it is":     {CA: good.CA, Cert: bad.Cert, Key: bad.Key},
		"no TLS at all":  {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t, fabric.Options{Name: "a", Secret: secret, TLS: good})
			b := open(t, fabric.Options{Name: "b", Secret: secret, TLS: of, Routes: []string{a.at()}})
			until(t, "a log", func() bool { return a.logged("TLS") })
			if of != (fabric.TLS{}) {
				until(t, "the reason at the route", func() bool { return b.Routes()[0].Error != "" })
			}
			if len(a.named()) > 0 || len(b.named()) > 0 {
				t.Error("they are connected")
			}
		})
	}
}
