package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"baton/config"
)

const bridges = `
bridges:
  - name: orders-in
    address: activemq.example:61613
    login: bridge
    passcode: not to be seen
    tls: {enabled: true, ca: ca.pem}
    direction: in
    source: /queue/Orders
    destination: /queue/orders
    headers:
      - {from: X-Old, to: x-New}
      - {from: X-Secret}
    window: 7
    heartbeat: 3s
`

func TestLoadBridges(t *testing.T) {
	t.Parallel()
	path := file(t, bridges)
	got, err := config.Load(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Bridge{{
		Name: "orders-in", Address: "activemq.example:61613", Login: "bridge", Passcode: "not to be seen",
		TLS: config.BridgeTLS{Enabled: true, CA: "ca.pem"}, Direction: "in", Source: "/queue/Orders", Destination: "/queue/orders",
		Headers: []config.BridgeHeader{{From: "X-Old", To: "x-New"}, {From: "X-Secret"}}, Window: 7, Heartbeat: 3 * time.Second,
	}}
	if !reflect.DeepEqual(got.Bridges, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got.Bridges, want)
	}
	described, err := config.Describe(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(described, "not to be seen") || strings.Contains(fmt.Sprintf("%+v %#v", got, got), "not to be seen") {
		t.Errorf("the passcode shows:\n%s", described)
	}
	again, err := config.Load(config.Sources{File: file(t, strings.Replace(described, "(hidden)", "not to be seen", 1))})
	if err != nil || !reflect.DeepEqual(again.Bridges, want) {
		t.Errorf("what is described loads as\n%+v, %v", again.Bridges, err)
	}
}

func TestBridgeProblems(t *testing.T) {
	t.Parallel()
	const good = "name: a, address: 'b:1', direction: in, source: /queue/a, destination: /queue/a"
	for _, tc := range []struct{ entries, want string }{
		{"{address: 'b:1', direction: in, source: a, destination: a}", `bridges[0].name: "": want 1 to 64`},
		{"{" + good + "}, {" + good + "}", `bridges[1].name: "a" is the name of bridges[0]`},
		{"{name: a, direction: in, source: a, destination: a}", `bridges[0].address: "": want HOST:PORT`},
		{"{name: a, address: 'b:0', direction: in, source: a, destination: a}", `bridges[0].address: "b:0" is nothing to connect to`},
		{"{name: a, address: ':1', direction: in, source: a, destination: a}", `bridges[0].address: ":1" is nothing to connect to`},
		{"{name: a, address: 'b:1', direction: both, source: a, destination: a}", `bridges[0].direction: "both": want in, out`},
		{"{name: a, address: 'b:1', direction: in, destination: a}", `bridges[0].source: must not be empty`},
		{"{name: a, address: 'b:1', direction: in, source: a}", `bridges[0].destination: must not be empty`},
		{"{" + good + ", passcode: x}", `bridges[0].login: there is a passcode`},
		{"{" + good + ", login: x, passcode: x, passcode_file: x}", `bridges[0].passcode_file: "x": there is bridges[0].passcode too`},
		{"{" + good + `, login: "a\nb"}`, `bridges[0].login: "a\nb": must not have line ends`},
		{"{" + good + `, login: a, passcode: "a\nb"}`, `bridges[0].passcode: must not have line ends`},
		{"{" + good + ", headers: [{to: b}]}", `bridges[0].headers[0].from: must not be empty`},
		{"{" + good + ", window: -1}", `bridges[0].window: -1: want 0 to 65535`},
		{"{" + good + ", heartbeat: -1s}", `bridges[0].heartbeat: -1s: want 0 or whole milliseconds`},
		{"{" + good + ", tls: {ca: x}}", `bridges[0].tls.enabled: false, but there is more below tls`},
		{"{" + good + ", tls: {enabled: true, cert: x}}", `bridges[0].tls.cert: a certificate and its key`},
		{"{" + good + ", sorce: x}", `bridges[0].sorce: unknown key; did you mean source?`},
		{"{" + good + ", tls: {enabeld: true}}", `bridges[0].tls.enabeld: unknown key; did you mean tls.enabled?`},
	} {
		_, err := config.Load(config.Sources{Flags: map[string]any{"bridges": "[" + tc.entries + "]"}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", tc.entries, err, tc.want)
		}
	}
}
