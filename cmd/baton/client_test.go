package main

import (
	"bytes"
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/go-stomp/stomp/v3/frame"

	"baton/failover/client"
)

// A watched is what a command says, and tells of the first of it.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	told chan struct{} // closed then
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len() == 0 {
		close(w.told)
	}
	return w.text.Write(p)
}

// answerSTOMP answers the frames of a client that wants an answer.
func answerSTOMP(conn net.Conn) {
	defer conn.Close()
	in, out := frame.NewReader(conn), frame.NewWriter(conn)
	for {
		f, err := in.Read()
		switch {
		case err != nil:
			return
		case f == nil: // a heart-beat
		case f.Command == frame.CONNECT || f.Command == frame.STOMP:
			_ = out.Write(frame.New(frame.CONNECTED, frame.Version, "1.2"))
		case f.Header.Get(frame.Receipt) != "":
			_ = out.Write(frame.New(frame.RECEIPT, frame.ReceiptId, f.Header.Get(frame.Receipt)))
		}
	}
}

func TestSendTellsThatItWaits(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	said := &watched{told: make(chan struct{})}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			select {
			case <-said.told:
				go answerSTOMP(conn)
			default: // nobody serves yet
				_ = conn.Close()
			}
		}
	}()
	address := listener.Addr().String()
	url := "failover:(tcp://" + address + ")?maxReconnectDelay=20"
	var out bytes.Buffer
	if code := run(t.Context(), []string{"send", "--server", url, "/queue/a", "hello"}, strings.NewReader(""), &out, said); code != 0 {
		t.Errorf("exit code %d", code)
	}
	want := regexp.MustCompile("^baton: no broker serves yet, and it is tried again: .*" + regexp.QuoteMeta(address) +
		".*\nbaton: connected with " + regexp.QuoteMeta(address) + "\n$")
	if text := said.text.String(); !want.MatchString(text) {
		t.Errorf("said %q", text)
	}
}

// One line for each time of waiting, however often it was tried in vain.
func TestVigil(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	v := vigil{stderr: &said}
	v.over(client.Connected{Address: "a:1"}) // at once
	for range 2 {
		v.vain(6, errors.New("a:1: refused"))
		v.vain(12, errors.New("a:1: refused"))
		v.over(client.Connected{Address: "b:1"})
	}
	const once = "baton: no broker serves yet, and it is tried again: a:1: refused\nbaton: connected with b:1\n"
	if said.String() != once+once {
		t.Errorf("said %q", said.String())
	}
}

func TestTellsOfRetries(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"failover:(a:1,b:1)":                                    "failover:(a:1,b:1)?warnAfterReconnectAttempts=6",
		"failover:a:1,b:1":                                      "failover:a:1,b:1?warnAfterReconnectAttempts=6",
		"failover:(a:1)?randomize=false":                        "failover:(a:1)?randomize=false&warnAfterReconnectAttempts=6",
		"failover:a:1?randomize=false":                          "failover:a:1?randomize=false&warnAfterReconnectAttempts=6",
		"failover:(a:1)?warnAfterReconnectAttempts=0&timeout=1": "failover:(a:1)?warnAfterReconnectAttempts=0&timeout=1",
	} {
		if got := tellsOfRetries(url); got != want {
			t.Errorf("%s became %s, want %s", url, got, want)
		}
	}
}
