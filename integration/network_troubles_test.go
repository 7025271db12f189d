package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"baton/integration/client"
)

// TestNetwork is the known troubles of networks of brokers, in one network of three, each with queues of its own.
func TestNetwork(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	t.Run("troubles", func(t *testing.T) {
		for name, trouble := range map[string]func(*testing.T, *fleet){
			"ConsumerMovesAwayAndBack": consumerMovesAwayAndBack,
			"SelectorsStrandNothing":   selectorsStrandNothing,
			"TwoPaths":                 twoPaths,
			"Topic":                    topicOnce,
			"LocalFirst":               localFirst,
			"KeepsHeaders":             keepsHeaders,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trouble(t, f)
			})
		}
	})
}

// A consumer wanders from A to B and back, with a backlog each time: messages that have left A come back.
func consumerMovesAwayAndBack(t *testing.T, f *fleet) {
	const queue = "/queue/moves"
	producer := f.connect(t, 0)
	sent := numbered("m", 0, 300)
	send(t, producer, queue, sent)
	var got []string
	for i, at := range []int{1, 0, 1, 2, 0} {
		c := f.consumer(t, at, queue, "prefetch-count", "30")
		messages := takeAll(t, c, 60)
		for _, m := range messages {
			if path := strings.Split(m.Header("x-broker-path"), ","); len(path) > i+1 {
				t.Errorf("%s went %v, with %d moves of its consumer", m.Body, path, i)
			}
		}
		got = append(got, bodies(messages)...)
		leave(t, c)
	}
	once(t, got, sent)
	f.awaitRest(t, queue, nil, nil, nil)
}

// Consumers with different selectors at B and C get their kinds, and the kind that nobody wants stays at A until somebody does.
func selectorsStrandNothing(t *testing.T, f *fleet) {
	const queue = "/queue/selected"
	producer := f.connect(t, 0)
	kinds := map[string][]string{"x": numbered("x", 0, 60), "y": numbered("y", 0, 60), "z": numbered("z", 0, 60)}
	b := f.consumer(t, 1, queue, "selector", "kind = 'x'")
	for i := range 60 {
		for _, kind := range []string{"z", "x", "y"} {
			must(t, "send", producer.Write("SEND", []byte(kinds[kind][i]), "destination", queue, "kind", kind))
		}
	}
	must(t, "flush", producer.Flush())
	once(t, bodies(takeAll(t, b, 60)), kinds["x"])
	c := f.consumer(t, 2, queue, "selector", "kind = 'y'")
	once(t, bodies(takeAll(t, c, 60)), kinds["y"])
	f.awaitRest(t, queue, kinds["z"], nil, nil)
	leave(t, b)
	other := f.consumer(t, 1, queue, "selector", "kind = 'z'")
	once(t, bodies(takeAll(t, other, 60)), kinds["z"])
	f.awaitRest(t, queue, nil, nil, nil)
}

// There are two ways from A to B, one by C: a message comes once, to one consumer of a queue, and to each subscriber of a topic.
func twoPaths(t *testing.T, f *fleet) {
	const queue, topic = "/queue/paths", "/topic/paths"
	b, c := f.consumer(t, 1, queue, "prefetch-count", "20"), f.consumer(t, 2, queue, "prefetch-count", "20")
	producer := f.connect(t, 0)
	sent := numbered("p", 0, 200)
	send(t, producer, queue, sent)
	var mu sync.Mutex
	var got []string
	var both sync.WaitGroup
	done := make(chan struct{})
	for _, c := range []*client.Conn{b, c} {
		both.Go(func() {
			for {
				frame, err := c.Receive()
				if err != nil {
					return // it was closed
				}
				_ = c.Write("ACK", nil, "id", frame.Header("ack"))
				mu.Lock()
				if got = append(got, string(frame.Body)); len(got) == len(sent) {
					close(done)
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-done:
	case <-within(t).Done():
		t.Error("not everything has come")
	}
	f.awaitRest(t, queue, nil, nil, nil)
	b.Close()
	c.Close()
	both.Wait()
	once(t, got, sent)

	publisher := f.connect(t, 0)
	subscribers := []*client.Conn{f.subscriber(t, 1, topic), f.subscriber(t, 2, topic)}
	awaitSubscribers(t, publisher, topic, subscribers...)
	sent = numbered("t", 0, 100)
	send(t, publisher, topic, sent)
	for i, s := range subscribers {
		if got := untilEnd(t, publisher, topic, s); !slices.Equal(got, sent) {
			t.Errorf("subscriber %d got %q", i, got)
		}
	}
}

// subscriber listens at a member.
func (f *fleet) subscriber(t *testing.T, i int, topic string) *client.Conn {
	t.Helper()
	c := f.connect(t, i)
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, "id", "s", "destination", topic, "ack", "auto"))
	return c
}

// awaitSubscribers publishes until each of these subscribers has got something: a topic stores nothing for who is not known yet.
func awaitSubscribers(t *testing.T, publisher *client.Conn, topic string, subscribers ...*client.Conn) {
	t.Helper()
	var all sync.WaitGroup
	for _, s := range subscribers {
		all.Go(func() {
			if _, err := s.Next(); err != nil {
				t.Error(err)
			}
		})
	}
	there := make(chan struct{})
	go func() { all.Wait(); close(there) }()
	for {
		send(t, publisher, topic, []string{"probe"})
		select {
		case <-there:
			return
		case <-time.After(askEvery):
		}
	}
}

// untilEnd is what a subscriber gets until what is published now, without probes.
func untilEnd(t *testing.T, publisher *client.Conn, topic string, s *client.Conn) (got []string) {
	t.Helper()
	end := fmt.Sprintf("end-%p", s)
	send(t, publisher, topic, []string{end})
	for {
		switch body := string(next(t, s).Body); {
		case body == end:
			return got
		case body != "probe" && !strings.HasPrefix(body, "end-"):
			got = append(got, body)
		}
	}
}

// What two publishers at A publish comes once, in order, to subscribers at A and at B, by name and by wildcard.
func topicOnce(t *testing.T, f *fleet) {
	const topic = "/topic/news.sport"
	subscribers := map[string]*client.Conn{
		"A by name": f.subscriber(t, 0, topic), "A by wildcard": f.subscriber(t, 0, "/topic/news.>"),
		"B by name": f.subscriber(t, 1, topic), "B by wildcard": f.subscriber(t, 1, "/topic/news.*"),
	}
	var all []*client.Conn
	for _, s := range subscribers {
		all = append(all, s)
	}
	publishers := []*client.Conn{f.connect(t, 0), f.connect(t, 0)}
	awaitSubscribers(t, publishers[0], topic, all...)
	var both sync.WaitGroup
	for i, p := range publishers {
		both.Go(func() { send(t, p, topic, numbered(strconv.Itoa(i), 0, 200)) })
	}
	both.Wait()
	for name, s := range subscribers {
		got := map[string][]string{}
		for _, body := range untilEnd(t, publishers[0], topic, s) {
			from, _, _ := strings.Cut(body, "-")
			got[from] = append(got[from], body)
		}
		for i := range publishers {
			from := strconv.Itoa(i)
			if want := numbered(from, 0, 200); !slices.Equal(got[from], want) {
				t.Errorf("%s: publisher %d: %d messages: %q", name, i, len(got[from]), got[from])
			}
		}
	}
}

// What is sent at A goes to its own consumer as long as that can take it, and only then to the one at B.
func localFirst(t *testing.T, f *fleet) {
	const queue = "/queue/local"
	b := f.consumer(t, 1, queue, "prefetch-count", "100")
	f.await(0, "told of the consumer at B", func(s memberStatus) bool { return s.link("b", "local") > 0 })
	a := f.consumer(t, 0, queue, "prefetch-count", "100")
	producer := f.connect(t, 0)
	sent := numbered("l", 0, 150)
	send(t, producer, queue, sent)
	if got := bodies(read(t, b, 50)); !slices.Equal(got, sent[100:]) {
		t.Errorf("B got %q", got)
	}
	if got := bodies(read(t, a, 100)); !slices.Equal(got, sent[:100]) {
		t.Errorf("A got %q", got)
	}
}

// link is how many consumers a peer has on a queue.
func (s memberStatus) link(peer, queue string) int {
	for _, p := range s.Peers {
		for _, l := range p.Links {
			if p.Member == peer && l.Queue == queue {
				return l.Consumers
			}
		}
	}
	return 0
}

// read reads so many messages and acknowledges none.
func read(t *testing.T, c *client.Conn, count int) (messages []*client.Frame) {
	t.Helper()
	for len(messages) < count {
		if frame := next(t, c); frame.Command == "MESSAGE" {
			messages = append(messages, frame.Clone())
		}
	}
	return messages
}

// A message comes to a consumer at another broker as it was sent, by priority, and says where it has been.
func keepsHeaders(t *testing.T, f *fleet) {
	const queue = "/queue/headers"
	producer := f.connect(t, 0)
	expires := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	body := []byte("nothing\x00but\r\noctets\xff\xfe")
	for _, priority := range []string{"1", "7", "4", "9", "0"} {
		must(t, "send", producer.Call("SEND", append([]byte(priority), body...), "destination", queue, "persistent", "true", "priority", priority,
			"expires", expires, "JMSXGroupID", "group-"+priority, "correlation-id", `with\cescapes\\and\nlines`, "deduplication-id", "id-"+priority,
			"reply-to", "/queue/answers", "content-type", "application/octet-stream", "x-own", "first", "x-own", "second", "empty", ""))
	}
	c := f.consumer(t, 1, queue)
	messages := takeAll(t, c, 5)
	for i, priority := range []string{"9", "7", "4", "1", "0"} {
		m := messages[i]
		if string(m.Body) != priority+string(body) {
			t.Errorf("message %d has the body %q", i, m.Body)
		}
		for name, want := range map[string]string{
			"priority": priority, "expires": expires, "JMSXGroupID": "group-" + priority, "correlation-id": `with\cescapes\\and\nlines`,
			"deduplication-id": "id-" + priority, "reply-to": "/queue/answers", "content-type": "application/octet-stream", "x-own": "first", "empty": "",
			"x-broker-path": "a", "persistent": "true", "destination": queue, "redelivered": "",
		} {
			if got := m.Header(name); got != want && !(name == "redelivered" && got == "false") {
				t.Errorf("message %d: %s is %q, want %q", i, name, got, want)
			}
		}
		if !m.Has("empty") || !m.Has("message-id") {
			t.Errorf("message %d lacks a header: %s", i, m)
		}
	}
}

// A broker that was killed comes back under its name, with its data or with none, and gets messages again.
func TestNetworkRestartedPeerWithTheSameName(t *testing.T) {
	t.Parallel()
	const queue = "/queue/restarts"
	f := newFleet(t, 2, "BATON_NETWORK_SILENCE=1s")
	producer := f.connect(t, 0)
	for round, again := range []func(){
		func() { f.kill(1) },
		func() { terminate(t, f.members[1].Broker) },
		func() { f.kill(1); must(t, "forget", os.RemoveAll(f.members[1].options.Data)) },
	} {
		sent := numbered(fmt.Sprint("r", round), 0, 50)
		c := f.consumer(t, 1, queue)
		send(t, producer, queue, sent[:25])
		once(t, bodies(takeAll(t, c, 25)), sent[:25])
		again()
		send(t, producer, queue, sent[25:])
		f.restart(1)
		c = f.consumer(t, 1, queue)
		once(t, bodies(takeAll(t, c, 25)), sent[25:])
		f.awaitRest(t, queue, nil, nil)
		leave(t, c)
	}
}

// Connections between two brokers end at any octet of their beginning, which has more than 700; when they do not any more, messages
// pass.
func TestNetworkPeerDiesInTheHandshake(t *testing.T) {
	t.Parallel()
	const queue = "/queue/handshake"
	f := newFleetAt(t, 2)
	at := freeAddresses(t, f.host, 2)
	a, b := f.members[0], f.members[1]
	routes := []string{}
	for _, octets := range []int{0, 1, 7, 60, 250, 400, 600, 700} {
		w := newWay(t, f.host, at[1])
		w.limit(octets)
		a.ways = append(a.ways, w)
		routes = append(routes, w.addr())
	}
	a.options.Env = append(a.options.Env, "BATON_NETWORK_LISTEN="+at[0], "BATON_NETWORK_SECRET="+fleetSecret,
		"BATON_NETWORK_ADVERTISE="+f.host+":1", "BATON_NETWORK_ROUTES=["+strings.Join(routes, ",")+"]")
	b.options.Env = append(b.options.Env, "BATON_NETWORK_LISTEN="+at[1], "BATON_NETWORK_SECRET="+fleetSecret)
	for i := range f.members {
		f.members[i].Broker = start(t, f.members[i].options)
	}
	for _, w := range a.ways {
		for ctx := within(t); w.ended() == 0; time.Sleep(askEvery) {
			if ctx.Err() != nil {
				t.Fatalf("the connection that may have %d octets has not ended", w.allow)
			}
		}
	}
	for _, w := range a.ways {
		w.limit(-1)
	}
	sent := numbered("h", 0, 100)
	c := f.consumer(t, 1, queue)
	send(t, f.connect(t, 0), queue, sent)
	once(t, bodies(takeAll(t, c, 100)), sent)
	f.awaitRest(t, queue, nil, nil)
}

// Both nodes of a pair are one member: while messages go from the pair to another broker, its master is killed. Nothing is lost, and
// nothing comes twice.
func TestNetworkPairIsOneMember(t *testing.T) {
	t.Parallel()
	const queue = "/queue/paired"
	f := newFleetAt(t, 1)
	at := freeAddress(t, f.host)
	c := f.members[0]
	c.options.Env = append(c.options.Env, "BATON_NETWORK_LISTEN="+at, "BATON_NETWORK_SECRET="+fleetSecret)
	c.Broker = start(t, c.options)
	p := newPair(t, "BATON_NETWORK_NAME=p", "BATON_NETWORK_LISTEN="+f.host+":0", "BATON_NETWORK_SECRET="+fleetSecret, "BATON_NETWORK_ROUTES=["+at+"]")
	master := p.awaitSync()
	sent := numbered("p", 0, 400)
	send(t, dial(t, p.nodes[master].Broker, client.Options{}), queue, sent[:300])
	consumer := f.consumer(t, 0, queue, "prefetch-count", "10")
	got := bodies(takeAll(t, consumer, 50))
	p.nodes[master].Kill()
	if p.awaitMaster() == master {
		t.Fatal("who was killed serves")
	}
	send(t, dial(t, p.nodes[1-master].Broker, client.Options{}), queue, sent[300:])
	// With its ACKs lost, a message may have been delivered before: what takeAll has thrown away comes again.
	leave(t, consumer)
	consumer = f.consumer(t, 0, queue)
	got = append(got, bodies(takeAll(t, consumer, 350))...)
	once(t, got, sent)
	f.awaitRest(t, queue, nil)
	if left := browse(t, p.nodes[1-master].Broker, queue); len(left) > 0 {
		t.Errorf("the pair has %q", left)
	}
}
