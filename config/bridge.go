package config

import (
	"fmt"
	"strings"
	"time"
)

const maxWindow = 65_535 // as of a consumer's prefetch

// Bridge is an entry of the list bridges: a destination here and one on a foreign STOMP broker, and which way messages go.
type Bridge struct {
	Name         string         `mapstructure:"name"`
	Address      string         `mapstructure:"address"` // of the foreign broker, HOST:PORT
	Host         string         `mapstructure:"host"`    // of CONNECT; empty: the host of Address
	Login        string         `mapstructure:"login"`
	Passcode     Secret         `mapstructure:"passcode"`
	PasscodeFile string         `mapstructure:"passcode_file"` // instead of Passcode
	TLS          BridgeTLS      `mapstructure:"tls"`
	Direction    string         `mapstructure:"direction"` // in or out
	Source       string         `mapstructure:"source"`
	Destination  string         `mapstructure:"destination"`
	Selector     string         `mapstructure:"selector"`
	Headers      []BridgeHeader `mapstructure:"headers"`
	IDHeader     string         `mapstructure:"id_header"` // empty: message-id, and none with RabbitMQ
	Window       int            `mapstructure:"window"`    // messages in flight; 0: 256
	Heartbeat    time.Duration  `mapstructure:"heartbeat"` // 0: 10s
}

// BridgeTLS is how the foreign broker is spoken to in secret.
type BridgeTLS struct {
	Enabled    bool   `mapstructure:"enabled"`
	CA         string `mapstructure:"ca"`          // PEM file; empty: what this machine trusts
	Cert       string `mapstructure:"cert"`        // PEM file, of ours; empty: none
	Key        string `mapstructure:"key"`         // PEM file, of Cert
	ServerName string `mapstructure:"server_name"` // of the other's certificate; empty: the host of Address
}

// BridgeHeader gives a header another name; with an empty To it is left out.
type BridgeHeader struct {
	From string `mapstructure:"from"`
	To   string `mapstructure:"to"`
}

// Out says that messages go from here to the foreign broker.
func (b Bridge) Out() bool { return b.Direction == "out" }

// BridgePasscode is what entry i of the list bridges sends, read from its file if it has one; empty when none is given.
func (c Config) BridgePasscode(i int) (Secret, error) {
	return secretOf(fmt.Sprintf("bridges[%d].passcode_file", i), c.Bridges[i].Passcode, c.Bridges[i].PasscodeFile)
}

func (v *validation) bridges(list []Bridge) {
	first := map[string]int{}
	for i, b := range list {
		at := fmt.Sprintf("bridges[%d].", i)
		v.name(at+"name", b.Name)
		if other, twice := first[b.Name]; twice {
			v.add(at+"name", "%q is the name of bridges[%d]: messages are known by the name of their bridge", b.Name, other)
		} else {
			first[b.Name] = i
		}
		v.bridge(at, b)
		v.bridgeTLS(at+"tls.", b.TLS)
	}
}

func (v *validation) bridge(at string, b Bridge) {
	if host, ok := v.address(at+"address", b.Address); ok && (host == "" || strings.HasSuffix(b.Address, ":0")) {
		v.add(at+"address", "%q is nothing to connect to: want HOST:PORT, such as activemq.example:61613", b.Address)
	}
	v.choice(at+"direction", b.Direction, "in", "out")
	for _, text := range []struct{ key, value string }{{"source", b.Source}, {"destination", b.Destination}} {
		v.text(at+text.key, text.value)
		v.oneLine(at+text.key, text.value)
	}
	v.oneLine(at+"host", b.Host)
	v.oneLine(at+"login", b.Login)
	v.oneSecret(at+"passcode", b.Passcode, b.PasscodeFile, at+"passcode_file")
	if strings.ContainsAny(b.Passcode.Reveal(), controls) {
		v.add(at+"passcode", "must not have line ends or NUL")
	}
	if b.Login == "" && (b.Passcode != "" || b.PasscodeFile != "") {
		v.add(at+"login", "there is a passcode: want the login that it is for")
	}
	for j, h := range b.Headers {
		v.text(fmt.Sprintf("%sheaders[%d].from", at, j), h.From)
	}
	v.between(at+"window", b.Window, 0, maxWindow)
	v.interval(at+"heartbeat", b.Heartbeat)
}

func (v *validation) bridgeTLS(at string, t BridgeTLS) {
	if !t.Enabled && t != (BridgeTLS{}) {
		v.add(at+"enabled", "false, but there is more below tls: set it to true, or leave the rest out")
	}
	if (t.Cert == "") != (t.Key == "") {
		v.add(at+"cert", "a certificate and its key are of use together only: set both tls.cert and tls.key")
	}
}

const controls = "\r\n\x00"

func (v *validation) oneLine(key, value string) {
	if strings.ContainsAny(value, controls) {
		v.add(key, "%q: must not have line ends or NUL", value)
	}
}
