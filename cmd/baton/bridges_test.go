package main

import (
	"crypto/tls"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/config"
	"baton/network/bridge"
)

func TestBridgeOptions(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Sources{Flags: map[string]any{"bridges": `[
		{name: in, address: "there:61613", login: me, passcode: secret, host: /, direction: in, source: /queue/theirs, destination: /queue/ours,
			selector: "a = 'b'", id_header: my-id, headers: [{from: A, to: b}, {from: c}], window: 7, heartbeat: 3s},
		{name: out, address: "there:61614", tls: {enabled: true, server_name: they}, direction: out, source: /queue/ours, destination: /queue/theirs}]`}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := bridgesOptions(cfg, nil, &net.TCPAddr{IP: net.IPv6unspecified, Port: 4711})
	if err != nil {
		t.Fatal(err)
	}
	want := []bridge.Options{
		{
			Name: "in", Selector: "a = 'b'", IDHeader: "my-id", Window: 7, HeartBeat: 3 * time.Second,
			Headers: []bridge.Rename{{From: "A", To: "b"}, {From: "c"}},
			Source:  bridge.Side{Address: "there:61613", Login: "me", Passcode: "secret", Host: "/", Destination: "/queue/theirs"},
			Target:  bridge.Side{Address: "127.0.0.1:4711", Destination: "/queue/ours"},
		},
		{
			Name:   "out",
			Source: bridge.Side{Address: "127.0.0.1:4711", Destination: "/queue/ours"},
			Target: bridge.Side{Address: "there:61614", TLS: &tls.Config{ServerName: "they", MinVersion: tls.VersionTLS12}, Destination: "/queue/theirs"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestBridgeNamesOfThisBrokerAreChecked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ entry, want string }{
		{"direction: in, source: anything, destination: orders", "bridges[0].destination: "},
		{"direction: in, source: anything, destination: '/queue/a.*'", "bridges[0].destination: "},
		{"direction: out, source: orders, destination: anything", "bridges[0].source: "},
		{"direction: out, source: /queue/a, destination: anything, selector: 'a ='", "bridges[0].selector: selector, character 4"},
	} {
		_, err := config.Load(config.Sources{Check: checkDestinations, Flags: map[string]any{"bridges": "[{name: a, address: 'b:1', " + tc.entry + "}]"}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.entry, err, tc.want)
		}
	}
}

// What cannot be read is told with its key before anything is moved.
func TestBridgeFilesAreNamed(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"passcode_file", "tls.ca", "tls.cert"} {
		cfg := config.Default()
		cfg.Bridges = []config.Bridge{{Name: "a", Address: "b:1", Direction: "in", Source: "/queue/a", Destination: "/queue/a"}}
		b := &cfg.Bridges[0]
		b.TLS.Enabled = true
		switch key {
		case "passcode_file":
			b.Login, b.PasscodeFile = "me", "/nowhere/passcode"
		case "tls.ca":
			b.TLS.CA = "/nowhere/ca.pem"
		case "tls.cert":
			b.TLS.Cert, b.TLS.Key = "/nowhere/cert.pem", "/nowhere/key.pem"
		}
		if _, err := bridgesOptions(cfg, nil, &net.TCPAddr{}); err == nil || !strings.Contains(err.Error(), "bridges[0]."+key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
