package broker

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var connecting = []rule{
	{"C1", everyVersion, "STOMP is the same as CONNECT", stompFrame},
	{"C2", everyVersion, "CONNECT comes first, once, and nothing that servers say", firstFrames},
	{"C3", everyVersion, "the highest version that both speak; 1.0 if the client names none", highestVersion},
	{"C4", since11, "no version in common: ERROR with ours, and the end", noVersion},
	{"C5", everyVersion, "host may be missing or of any name", anyHost},
	{"C6", everyVersion, "who is refused is told why, and disconnected", refusedConnections},
	{"C7", everyVersion, "CONNECTED is the first that the server says", silenceBeforeConnected},
	{"C8", everyVersion, "session is unique; server names the software and can be hidden", connectedHeaders},
	{"C9", everyVersion, "receipt on CONNECT comes back on CONNECTED", receiptOnConnect},
	{"C10", everyVersion, "CONNECT must be complete in time", connectTimeout},
	{"C11", only10, "1.0 has no heart-beats, whatever CONNECT says", noHeartBeatsIn10},
}

func stompFrame(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.dial()
	c.say("STOMP\naccept-version:" + version + "\nhost:h\n\n")
	c.want("CONNECTED", "version:"+version)
	c.nothing()
}

func firstFrames(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, command := range []string{
		"SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT",
	} {
		c := h.dial()
		c.say(command + "\nid:1\ndestination:/queue/a\ntransaction:t\n\n")
		c.refused(codeConnectFirst)
	}
	for _, command := range []string{"CONNECT", "STOMP"} {
		refuses(t, h, version, command+"\naccept-version:"+version+"\nhost:h\n\n\x00", codeConnected)
	}
	for _, command := range []string{"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"} {
		refuses(t, h, version, command+"\n\n\x00", codeProtocol)
	}
}

func highestVersion(t *testing.T, version string) {
	h := serve(t, Options{})
	accepted := map[string][]string{
		"1.0": {"1.0", "1.0,2.0", "0.9,1.0"},
		"1.1": {"1.1", "1.0,1.1", "1.1,1.0", "1.0,1.1,2.0", "1.0 , 1.1"},
		"1.2": {"1.2", "1.0,1.1,1.2", "1.2,1.0", "1.1, 1.2", "9.9,1.2"},
	}[version]
	for _, accept := range accepted {
		c := h.dial()
		c.say("CONNECT\naccept-version:" + accept + "\nhost:h\n\n")
		c.want("CONNECTED", "version:"+version)
	}
	if version == "1.0" {
		c := h.dial()
		c.say("CONNECT\n\n")
		c.want("CONNECTED", "version:1.0")
	}
}

func noVersion(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, accept := range []string{"9.9", "", "2.0,0.9", version + "0", "x" + version, "1"} {
		c := h.dial()
		c.say("CONNECT\naccept-version:" + accept + "\nhost:h\n\n")
		f := c.refused(codeVersion)
		if f.header("version") != "1.0,1.1,1.2" || f.header("content-type") != "text/plain" {
			t.Errorf("accept-version:%s: %s", accept, f)
		}
	}
}

func anyHost(t *testing.T, version string) {
	h := serve(t, Options{})
	for _, host := range []string{"", "host:\n", "host:no.such.host\n", "host:127.0.0.1\n"} {
		c := h.dial()
		c.say("CONNECT\naccept-version:" + version + "\n" + host + "\n")
		c.want("CONNECTED", "version:"+version)
	}
}

func refusedConnections(t *testing.T, version string) {
	h := serve(t, Options{MaxConnections: 1})
	c := h.connect(version)
	refused := h.dial()
	f := refused.refused(codeConnections)
	if !strings.Contains(f.header("message"), "connections") {
		t.Errorf("the ERROR does not say why: %s", f)
	}
	c.nothing()
}

func silenceBeforeConnected(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: time.Second, Receive: time.Second}})
		c := h.dial()
		c.write("CONNECT\naccept-version:" + version + "\nheart-beat:1000,1000\n")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if n := len(c.tape.times()); n > 0 {
			t.Fatalf("%q came before CONNECTED", c.tape.unread())
		}
		c.say("host:h\n\n")
		synctest.Wait()
		if got := c.tape.unread(); !strings.HasPrefix(got, "CONNECTED\n") {
			t.Fatalf("got %q first", got)
		}
	})
}

func connectedHeaders(t *testing.T, version string) {
	h := serve(t, Options{Version: "1.2.3"})
	grammar := regexp.MustCompile(`^[A-Za-z]+(/[A-Za-z0-9.-]+( .*)?)?$`)
	seen := map[string]bool{}
	for range 10 {
		f := h.dial().hello(version)
		session := f.header("session")
		if session == "" || seen[session] {
			t.Errorf("session %q is not unique", session)
		}
		seen[session] = true
		if server := f.header("server"); server != "Baton/1.2.3" || !grammar.MatchString(server) {
			t.Errorf("server is %q", server)
		}
	}
	h = serve(t, Options{Version: "1.2.3", HideServer: true})
	if f := h.dial().hello(version); f.header("server") != "" || f.header("session") == "" {
		t.Errorf("got %s", f)
	}
	h = serve(t, Options{})
	if f := h.dial().hello(version); f.header("server") != "Baton" {
		t.Errorf("got %s", f)
	}
}

func receiptOnConnect(t *testing.T, version string) {
	h := serve(t, Options{})
	c := h.dial()
	if f := c.hello(version, "receipt:r 1"); f.header("receipt-id") != "r 1" {
		t.Errorf("got %s", f)
	}
	c.nothing()
}

func connectTimeout(t *testing.T, version string) {
	const timeout = 3 * time.Second
	for name, talk := range map[string]func(c *client){
		"nothing":    func(*client) {},
		"line ends":  func(c *client) { trickle(c, strings.Repeat("\n", 100)) },
		"half of it": func(c *client) { c.write("CONNECT\naccept-version:" + version) },
		"slowly":     func(c *client) { trickle(c, "CONNECT\naccept-version:"+version+"\nhost:"+strings.Repeat("h", 100)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			h := servePipes(t, Options{ConnectTimeout: timeout, Linger: time.Second})
			begin := time.Now()
			c := h.dial()
			var talking sync.WaitGroup
			talking.Go(func() { talk(c) })
			f := c.want("ERROR", "code:"+codeTimeout)
			if waited := time.Since(begin); waited != timeout {
				t.Errorf("%s: %s after %v", name, f, waited)
			}
			c.end()
			talking.Wait()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{ConnectTimeout: timeout})
		c := h.dial()
		time.Sleep(timeout - time.Millisecond)
		c.hello(version)
		time.Sleep(time.Hour) // the timeout is over
		c.nothing()
	})
}

// trickle writes an octet each 100 ms, for as long as it is taken.
func trickle(c *client, octets string) {
	for i := range octets {
		if _, err := fmt.Fprint(c.conn, octets[i:i+1]); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func noHeartBeatsIn10(t *testing.T, version string) {
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{HeartBeat: HeartBeat{Send: time.Second, Receive: time.Second}})
		for _, header := range []string{"heart-beat:1000,1000", "heart-beat:nonsense"} {
			c := h.dial()
			f := c.hello(version, header)
			if _, ok := f.lookup("heart-beat"); ok {
				t.Errorf("got %s", f)
			}
			time.Sleep(time.Hour)
			if n := len(c.tape.times()); n != 1 {
				t.Errorf("%d times something came from an idle connection", n)
			}
			c.nothing()
		}
	})
}
