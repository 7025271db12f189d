package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"baton/integration/client"
	"baton/integration/process"
)

// A fleet is brokers that are one network, each way between two of them, or to the NATS server where they meet, through a relay.
type fleet struct {
	t       *testing.T
	host    string
	members []*member
}

type member struct {
	*process.Broker
	name    string
	options process.Options
	ways    []*way       // from here
	turns   sync.RWMutex // held for reading by who is connected, where a test kills brokers under clients
}

const fleetSecret = "a secret that nobody would guess"

// newFleet starts so many brokers, called a, b and so on, and waits until each knows what the others want.
func newFleet(t *testing.T, count int, env ...string) *fleet {
	t.Helper()
	f := newFleetAt(t, count)
	f.join(func(int) []string { return env })
	return f
}

// join starts the brokers of a fleet, with routes, each with an environment of its own.
func (f *fleet) join(env func(i int) []string) {
	t := f.t
	t.Helper()
	at := freeAddresses(t, f.host, len(f.members))
	for i, m := range f.members {
		routes := []string{}
		for j := range f.members {
			if j != i {
				w := newWay(t, pairHost(), at[j])
				m.ways = append(m.ways, w)
				routes = append(routes, w.addr())
			}
		}
		// What gossip tells of a member leads nowhere, so that all ways are ours.
		m.options.Env = append(m.options.Env, "BATON_NETWORK_LISTEN="+at[i], "BATON_NETWORK_ADVERTISE="+f.host+":1",
			"BATON_NETWORK_ROUTES=["+strings.Join(routes, ",")+"]", "BATON_NETWORK_SECRET="+fleetSecret)
		m.options.Env = append(m.options.Env, env(i)...)
	}
	f.startAll()
}

// newFleetOnServer is newFleet with a NATS server of this process between the brokers.
func newFleetOnServer(t *testing.T, count int, env ...string) *fleet {
	t.Helper()
	f := newFleetAt(t, count)
	s, err := server.NewServer(&server.Options{Host: f.host, Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
	must(t, "NATS server", err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	for _, m := range f.members {
		w := newWay(t, pairHost(), s.Addr().String())
		m.ways = []*way{w}
		m.options.Env = append(m.options.Env, "BATON_NETWORK_URLS=[nats://"+w.addr()+"]")
		m.options.Env = append(m.options.Env, env...)
	}
	f.startAll()
	return f
}

// newFleetAt has everything but the network, and runs nothing.
func newFleetAt(t *testing.T, count int) *fleet {
	t.Helper()
	f := &fleet{t: t, host: pairHost()}
	dir, err := os.MkdirTemp("", "baton-net-") // a socket's path must be short
	must(t, "directory", err)
	t.Cleanup(func() { f.keep(dir) })
	clients := freeAddresses(t, f.host, count)
	for i := range count {
		name := string(rune('a' + i))
		f.members = append(f.members, &member{name: name, options: process.Options{
			Binary: binary, Data: filepath.Join(dir, name), Listen: clients[i],
			Env: []string{"BATON_JOURNAL_SEGMENT=256KiB", "BATON_QUEUES_MAX_DELIVERIES=65535", "BATON_NETWORK_NAME=" + name},
		}})
	}
	return f
}

// keep leaves the data and shows the logs where the test has failed.
func (f *fleet) keep(dir string) {
	if !f.t.Failed() {
		os.RemoveAll(dir)
		return
	}
	f.t.Logf("data kept in %s", dir)
	for _, m := range f.members {
		if m.Broker != nil {
			os.WriteFile(m.options.Data+".log", []byte(m.Log()), 0o600)
		}
	}
}

func (f *fleet) startAll() {
	f.t.Helper()
	var all sync.WaitGroup
	for _, m := range f.members {
		all.Go(func() {
			b, err := process.Start(within(f.t), m.options)
			if err != nil {
				f.t.Error(err)
				return
			}
			m.Broker = b
		})
	}
	all.Wait()
	f.t.Cleanup(func() {
		for _, m := range f.members {
			if m.Broker != nil {
				m.Kill()
				checkLog(f.t, m.Log())
			}
		}
	})
	if f.t.Failed() {
		f.t.FailNow()
	}
	f.awaitPeers()
}

// kill ends a member and looks at what it has logged.
func (f *fleet) kill(i int) {
	f.t.Helper()
	f.members[i].Kill()
	checkLog(f.t, f.members[i].Log())
}

// restart runs a member again that was killed.
func (f *fleet) restart(i int) {
	f.t.Helper()
	b, err := process.Start(within(f.t), f.members[i].options)
	must(f.t, "restart", err)
	f.members[i].Broker = b
}

// A memberStatus is of what baton network status --json prints what tests look at.
type memberStatus struct {
	Member   string `json:"member"`
	Ready    bool   `json:"ready"`
	Held     int    `json:"held"`
	Sent     int    `json:"sent"`
	Durables []struct {
		Name string `json:"name"`
		Home string `json:"home"`
	} `json:"durables"`
	Peers []struct {
		Member string `json:"member"`
		Known  bool   `json:"known"`
		Links  []struct {
			Queue     string `json:"queue"`
			Consumers int    `json:"consumers"`
			Room      int    `json:"room"`
			Granted   int    `json:"granted"`
			UnderWay  int    `json:"under_way"`
			Failed    int    `json:"failed"`
			Why       string `json:"why"`
		} `json:"links"`
	} `json:"peers"`
}

// status asks as the command does, which would take a tenth of a second each time.
func (m *member) status() (s memberStatus, err error) {
	answer, err := m.operator().Get("http://broker/status")
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("status %d", answer.StatusCode)
	}
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// operator speaks to the control socket of a member.
func (m *member) operator() *http.Client {
	socket := filepath.Join(m.options.Data, "network.sock")
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
}

// explain is what a member says of a queue, as JSON.
func (m *member) explain(t *testing.T, queue string) string {
	t.Helper()
	answer, err := m.operator().Get("http://broker/explain?queue=" + queue)
	must(t, "explain", err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, "explain", err)
	return string(text)
}

// await asks a member again and again until it is as it is wanted.
func (f *fleet) await(i int, what string, wanted func(memberStatus) bool) {
	f.t.Helper()
	var s memberStatus
	var err error
	for ctx := within(f.t); ctx.Err() == nil; time.Sleep(askEvery) {
		if s, err = f.members[i].status(); err == nil && wanted(s) {
			return
		}
	}
	f.t.Fatalf("member %s is not %s: %+v, %v", f.members[i].name, what, s, err)
}

// awaitPeers waits until each member knows all of the others.
func (f *fleet) awaitPeers() {
	f.t.Helper()
	for i := range f.members {
		f.await(i, "in touch with all others", func(s memberStatus) bool {
			for _, p := range s.Peers {
				if !p.Known {
					return false
				}
			}
			return s.Ready && len(s.Peers) == len(f.members)-1
		})
	}
}

// connect to a member.
func (f *fleet) connect(t *testing.T, i int) *client.Conn {
	t.Helper()
	return dial(t, f.members[i].Broker, client.Options{})
}

// consumer subscribes at a member, to acknowledge each message.
func (f *fleet) consumer(t *testing.T, i int, destination string, headers ...string) *client.Conn {
	t.Helper()
	c := f.connect(t, i)
	headers = append([]string{"id", "s", "destination", destination, "ack", "client-individual"}, headers...)
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, headers...))
	return c
}

// send has messages stored, with these bodies.
func send(t *testing.T, c *client.Conn, destination string, bodies []string, headers ...string) {
	t.Helper()
	for _, body := range bodies[:len(bodies)-1] {
		must(t, "send", c.Write("SEND", []byte(body), append(slices.Clone(headers), "destination", destination)...))
	}
	must(t, "send", c.Call("SEND", []byte(bodies[len(bodies)-1]), append(slices.Clone(headers), "destination", destination)...))
}

// numbered are bodies PREFIX-FROM to PREFIX-TO, without the last.
func numbered(prefix string, from, to int) (bodies []string) {
	for i := from; i < to; i++ {
		bodies = append(bodies, fmt.Sprintf("%s-%05d", prefix, i))
	}
	return bodies
}

// takeAll takes so many messages, and acknowledges them with receipts.
func takeAll(t *testing.T, c *client.Conn, count int) (messages []*client.Frame) {
	t.Helper()
	for receipts := 0; len(messages) < count || receipts < count; {
		frame := next(t, c)
		if frame.Command == "RECEIPT" {
			receipts++
			continue
		}
		if len(messages) == count {
			continue // it goes back
		}
		messages = append(messages, frame.Clone())
		write(t, c, "ACK", "id", frame.Header("ack"), "receipt", fmt.Sprint("ack-", len(messages)))
	}
	return messages
}

// leave ends a connection, and with it what it was delivered and has not acknowledged.
func leave(t *testing.T, c *client.Conn) {
	t.Helper()
	must(t, "disconnect", c.Call("DISCONNECT", nil))
	c.Close()
}

func bodies(messages []*client.Frame) (all []string) {
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return all
}

// browse is what waits in a queue of a member.
func browse(t *testing.T, b *process.Broker, queue string) (waiting []string) {
	t.Helper()
	c := dial(t, b, client.Options{})
	defer c.Close()
	write(t, c, "SUBSCRIBE", "destination", queue, "id", "browser", "browser", "true", "ack", "auto")
	for {
		frame := next(t, c)
		if frame.Header("browser") == "end" {
			return waiting
		}
		waiting = append(waiting, string(frame.Body))
	}
}

// awaitRest waits until no transfer is under way anywhere, and these bodies, in any order, are what is left of a queue.
func (f *fleet) awaitRest(t *testing.T, queue string, want ...[]string) {
	t.Helper()
	var left [][]string
	for ctx := within(t); ctx.Err() == nil; time.Sleep(askEvery) {
		left = f.left(t, queue)
		if slices.EqualFunc(left, want, func(a, b []string) bool {
			return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
		}) {
			return
		}
	}
	t.Fatalf("%s: what is left is %q, want %q", queue, left, want)
}

// left is what waits in a queue, by member.
func (f *fleet) left(t *testing.T, queue string) (left [][]string) {
	t.Helper()
	for _, m := range f.members {
		left = append(left, browse(t, m.Broker, queue))
	}
	return left
}

// once says whether got is want in any order, each of them once.
func once(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	counts := map[string]int{}
	for _, body := range got {
		counts[body]++
	}
	for _, body := range want {
		counts[body]--
	}
	for body, n := range counts {
		if n != 0 {
			t.Errorf("%s: %+d", body, n)
		}
	}
}
