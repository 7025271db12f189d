package fabric

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS are files in PEM. The zero value is no TLS.
type TLS struct {
	CA   string // empty: the authorities of this machine
	Cert string
	Key  string
}

// both is for routes, where each side is client and server, and asks for a certificate of the CA; nil without TLS.
func (t TLS) both() (*tls.Config, error) {
	config, err := t.client()
	if config == nil || err != nil {
		return nil, err
	}
	if config.RootCAs == nil || len(config.Certificates) == 0 {
		return nil, errors.New("TLS of routes needs a CA, a certificate and its key")
	}
	config.ClientCAs = config.RootCAs
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// client is for who connects only; nil without TLS.
func (t TLS) client() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: there is no certificate in PEM in it", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", t.Cert, t.Key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
