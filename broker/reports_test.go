package broker

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baton/destinations"
	"baton/journal"
	"baton/journal/memfs"
)

// watch subscribes to reports.
func (h *host) watch(topics string) *client {
	h.t.Helper()
	c := h.connect("1.2", "client-id:watcher")
	c.subscribe("reports", topics, "auto")
	return c
}

// report reads a report on this topic with these fields, and returns all.
func (c *client) report(topic string, want ...string) map[string]any {
	c.t.Helper()
	f := c.want("MESSAGE", "destination:/topic/$SYS."+topic, "content-type:application/json")
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(f.body), &fields); err != nil {
		c.t.Fatalf("%s: %v", f, err)
	}
	for _, w := range want {
		name, value, _ := strings.Cut(w, ":")
		if got, ok := fields[name]; !ok || fmt.Sprint(got) != value {
			c.t.Fatalf("got %s, want %s of %q", f.body, name, value)
		}
	}
	return fields
}

func TestReportsOfConnections(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	watcher := h.watch("/topic/$SYS.connections.*")

	c := h.dial()
	connected := c.hello("1.1", "client-id:kate")
	who := []string{"client_id:kate", "address:" + c.conn.LocalAddr().String(), "session:" + connected.header("session")}
	at := watcher.report("connections.opened", append(who, "version:1.1")...)["time"]
	if _, err := time.Parse(time.RFC3339, fmt.Sprint(at)); err != nil {
		t.Error(err)
	}
	c.do("DISCONNECT")
	watcher.report("connections.closed", append(who, "clean:true", "error:")...)

	c = h.connect("1.2")
	watcher.report("connections.opened", "client_id:")
	c.say("SEND\ndestination:/nowhere\n\n")
	text := c.refused(destinations.CodeBadDestination).body
	closed := watcher.report("connections.closed", "clean:false")
	if closed["error"] == "" || !strings.Contains(text, fmt.Sprint(closed["error"])) {
		t.Errorf("the report says %q and the client was told %q", closed["error"], text)
	}

	h.dial().close() // it was never connected
	h.connect("1.2").close()
	watcher.report("connections.opened")
	watcher.report("connections.closed", "clean:false", "error:")
}

// Of a connection that the broker cut because the client takes nothing, the report says so.
func TestReportsOfDeafClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{WriteTimeout: time.Second})
		watcher := h.watch("/topic/$SYS.connections.*")
		deaf, err := h.pipes.dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer deaf.Close()
		if _, err := io.WriteString(deaf, "CONNECT\naccept-version:1.2\n\n\x00"); err != nil {
			t.Fatal(err)
		}
		watcher.report("connections.opened")
		watcher.report("connections.closed", "clean:false", "error:"+errSlowConsumer.Error())
	})
}

func TestReportsOfSubscriptions(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	watcher := h.watch("/topic/$SYS.subscriptions.*,/topic/$SYS.destinations.>")
	watcher.report("subscriptions.made", "subscription:reports", "client_id:watcher",
		"destination:/topic/$SYS.subscriptions.*,/topic/$SYS.destinations.>")

	c := h.connect("1.2", "client-id:kate")
	address := "address:" + c.conn.LocalAddr().String()
	c.subscribe("1", "/queue/a", "auto")
	watcher.report("destinations.made", "destination:/queue/a")
	watcher.report("subscriptions.made", "subscription:1", "destination:/queue/a", "client_id:kate", address)
	c.subscribe("2", "/topic/b", "auto")
	watcher.report("destinations.made", "destination:/topic/b")
	watcher.report("subscriptions.made", "subscription:2", "destination:/topic/b")
	c.subscribe("3", "/temp-queue/c", "auto")
	watcher.report("subscriptions.made", "subscription:3", "destination:/temp-queue/c")
	c.do("UNSUBSCRIBE\nid:2")
	watcher.report("subscriptions.ended", "subscription:2", "destination:/topic/b", "client_id:kate", address)
	watcher.report("destinations.gone", "destination:/topic/b")
	c.close()
	watcher.report("subscriptions.ended", "subscription:1", "destination:/queue/a", "client_id:kate", address)
	watcher.report("subscriptions.ended", "subscription:3", "destination:/temp-queue/c")
	watcher.report("destinations.gone", "destination:/queue/a")

	h.send("/queue/d", "message")
	watcher.report("destinations.made", "destination:/queue/d")
	watcher.nothing()
}

// What is not counted is reported when it happens, and each by itself.
func TestReportsAtOnce(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		watcher := h.watch("/topic/$SYS.>")
		watcher.report("subscriptions.made")
		began := time.Now()
		c := h.connect("1.0")
		c.do("SUBSCRIBE\ndestination:/queue/a")
		c.do("SUBSCRIBE\ndestination:/queue/b")
		c.do("DISCONNECT")
		synctest.Wait()
		h.DiskLow(diskFull, 1)
		h.connect("1.2")
		synctest.Wait() // the engine hears of it
		h.DiskLow(diskFree, 2)
		watcher.report("connections.opened")
		for _, queue := range []string{"/queue/a", "/queue/b"} {
			watcher.report("destinations.made", "destination:"+queue)
			watcher.report("subscriptions.made", "destination:"+queue, "subscription:"+queue)
		}
		for _, queue := range []string{"/queue/a", "/queue/b"} {
			watcher.report("subscriptions.ended", "destination:"+queue, "subscription:"+queue)
		}
		for _, queue := range []string{"/queue/a", "/queue/b"} {
			watcher.report("destinations.gone", "destination:"+queue)
		}
		watcher.report("connections.closed")
		watcher.report("disk.low", "free:1")
		watcher.report("connections.opened")
		watcher.report("disk.back", "free:2")
		if took := time.Since(began); took != 0 {
			t.Errorf("the reports came after %v", took)
		}
		watcher.still()
	})
}

// inReports runs a test in a bubble, where a second takes no time, with a server
// whose queues under full, reject and block hold two messages.
func inReports(t *testing.T, test func(t *testing.T, h *host)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rules []destinations.Rule
		for name, what := range map[string]destinations.OnFull{
			"/queue/full.>": destinations.FullDropNew, "/queue/reject.>": destinations.FullReject, "/queue/block.>": destinations.FullBlock,
		} {
			full, err := destinations.Names{MaxBytes: 255}.ParsePattern(name)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, destinations.Rule{Match: full, Set: func(p *destinations.Policy) { p.MaxMessages, p.OnFull = 2, what }})
		}
		test(t, servePipes(t, Options{Machine: destinations.Options{
			Policies: destinations.NewPolicies(rules), MaxSubscriptions: 3000,
		}}))
	})
}

// What may come very often is counted: one report a second and destination.
func TestReportsOfMessages(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		watcher := h.watch("/topic/$SYS.messages.*,/topic/$SYS.queues.*")
		h.send("/queue/full.a", "1", "2", "3", "4", "5")
		h.send("/queue/full.b", "1", "2", "3")
		watcher.report("queues.full", "destination:/queue/full.a", "times:3")
		watcher.report("messages.dropped", "destination:/queue/full.a", "messages:3", "reason:full")
		watcher.report("queues.full", "destination:/queue/full.b", "times:1")
		watcher.report("messages.dropped", "destination:/queue/full.b", "messages:1", "reason:full")

		c := h.connect("1.2")
		c.subscribe("s", "/queue/full.a", "client-individual", "requeue:false")
		first, second := c.message("1"), c.message("2")
		c.ack("NACK", "1.2", first)
		c.ack("NACK", "1.2", second)
		watcher.report("messages.dead-lettered", "destination:/queue/full.a", "messages:2", "reason:rejected")

		for _, ttl := range []int{2100, 2100, 2200, 2200, 2300} {
			c.do(fmt.Sprintf("SEND\ndestination:/queue/e\nx-message-ttl:%d", ttl), "message")
		}
		watcher.report("messages.expired", "destination:/queue/e", "messages:5")

		c.do("SEND\ndestination:/remote-temp-queue/nobody.x", "1")
		watcher.report("messages.dropped", "destination:/temp-queue/x", "messages:1", "reason:unclaimed")
		watcher.still()
	})
}

// A queue is full once for each SEND that it refuses, and for each that waits,
// however long that is.
func TestReportsOfFullQueues(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		watcher := h.watch("/topic/$SYS.queues.full,/topic/$SYS.messages.*")
		h.send("/queue/reject.a", "1", "2")
		refused := []*client{h.connect("1.2"), h.connect("1.2"), h.connect("1.2")}
		for _, c := range refused {
			c.say("SEND\ndestination:/queue/reject.a\n\n3")
		}
		watcher.report("queues.full", "destination:/queue/reject.a", "times:3")
		for _, c := range refused {
			c.refused(destinations.CodeQueueFull)
		}

		h.send("/queue/block.a", "1", "2")
		c := h.connect("1.2")
		c.say("SEND\ndestination:/queue/block.a\nreceipt:3\n\n3")
		watcher.report("queues.full", "destination:/queue/block.a", "times:1")
		h.send("/queue/other", "1", "2", "3")
		watcher.still()
		consumer := h.connect("1.2")
		consumer.subscribe("s", "/queue/block.a", "client-individual", "prefetch-count:1")
		c.want("RECEIPT", "receipt-id:3")
		c.say("SEND\ndestination:/queue/block.a\n\n4")
		watcher.report("queues.full", "destination:/queue/block.a", "times:1")
		watcher.still()
	})
}

func TestReportsOfSlowConsumers(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		watcher := h.watch("/topic/$SYS.consumers.slow")
		c := h.connect("1.2", "client-id:kate")
		c.subscribe("s", "/topic/news", "client", "prefetch-count:1", "activemq.maximumPendingMessageLimit:1")
		h.send("/topic/news", "1", "2", "3", "4", "5")
		c.close() // its report is still to come
		watcher.report("consumers.slow", "destination:/topic/news", "subscription:s", "client_id:kate", "messages:3")
		watcher.still()
	})
}

// A subscriber that loses reports makes no further ones.
func TestReportsOnReports(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		slow := h.connect("1.2")
		slow.subscribe("s", "/topic/$SYS.>", "client", "prefetch-count:1", "activemq.maximumPendingMessageLimit:1")
		watcher := h.watch("/topic/$SYS.consumers.slow")
		for i := range 5 {
			h.send(fmt.Sprintf("/queue/%d", i), "message")
		}
		slow.report("subscriptions.made", "subscription:s")
		watcher.still()
	})
}

func TestReportsOfTheDisk(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	watcher := h.watch("/topic/$SYS.disk.*")
	h.DiskLow(diskFull, 4711)
	watcher.report("disk.low", "free:4711")
	watcher.nothing()
	h.DiskLow(diskFree, 2000000)
	watcher.report("disk.back", "free:2e+06")
	watcher.nothing()
}

// So many in a second that some are lost, and one that says how many.
func TestReportsLost(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		watcher := h.watch("/topic/$SYS.reports.lost")
		c := h.connect("1.2")
		const subscriptions = 2100
		for i := range subscriptions {
			c.say(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/queue/%d\n\n", i, i))
		}
		c.nothing()
		// Two for each, and the two that the first clients made.
		watcher.report("reports.lost", fmt.Sprintf("reports:%d", 2*subscriptions+2-500))
		watcher.still()
		c.close() // in the next second, and all at once
		watcher.report("reports.lost", fmt.Sprintf("reports:%d", 2*subscriptions+1-500))
		watcher.still()
	})
}

// Of what is counted as many queues are reported in a second, beside the others.
func TestCountedReportsLost(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		c := h.connect("1.2")
		const queues = 300
		full := func(i int) string { return fmt.Sprintf("/queue/full.%d", i) }
		for i := range queues {
			c.do("SEND\ndestination:"+full(i), "1")
			c.do("SEND\ndestination:"+full(i), "2")
		}
		watcher := h.watch("/topic/$SYS.queues.full,/topic/$SYS.reports.lost")
		for range 2 {
			for i := range queues {
				c.do("SEND\ndestination:"+full(i), "3")
			}
		}
		for i := range 250 { // the other 250 say that a message was dropped
			watcher.report("queues.full", "destination:"+full(i), "times:2")
		}
		watcher.report("reports.lost", "reports:200")
		watcher.still()
	})
}

// What there is no memory for is lost, and that is reported when there is some.
func TestReportsWithoutMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := servePipes(t, Options{MemoryBytes: 1 << 20})
		c, others := h.connect("1.2"), []*client{h.connect("1.2"), h.connect("1.2")}
		synctest.Wait() // CONNECTED may be ahead of the report
		watcher := h.watch("/topic/$SYS.connections.*,/topic/$SYS.reports.lost")
		others = append(others, h.exhaust())
		watcher.report("connections.opened")
		for _, other := range others {
			other.close()
		}
		time.Sleep(time.Minute) // in which it is tried again and again
		c.subscribe("s", "/queue/memory", "auto")
		watcher.report("reports.lost", "reports:4") // that three clients closed, and that c subscribed
		watcher.still()
	})
}

// exhaust has small messages sent that cannot be stored until there is no memory
// for another, and returns the client that was refused.
func (h *host) exhaust() *client {
	h.t.Helper()
	h.DiskLow(diskFull, 0)
	c := h.connect("1.2")
	for {
		c.say("SEND\ndestination:/queue/memory\npersistent:false\nreceipt:r\n\n")
		if f := c.read(); f.command == "ERROR" {
			return c
		}
	}
}

// Whoever comes is not told what happened for others, who have left.
func TestReportsBeforeTheFirst(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		first := h.watch("/topic/$SYS.messages.*")
		h.send("/queue/full.a", "1", "2", "3")
		first.do("UNSUBSCRIBE\nid:reports")
		watcher := h.watch("/topic/$SYS.queues.*,/topic/$SYS.messages.*,/topic/$SYS.reports.*")
		time.Sleep(time.Minute)
		watcher.still()
	})
}

func TestReportsAreTheBrokersOwn(t *testing.T) {
	t.Parallel()
	h := serve(t, Options{})
	everything := h.connect("1.2")
	everything.subscribe("all", "/topic/>", "auto")
	watcher := h.connect("1.2")
	watcher.subscribe("reports", "/topic/$SYS.connections.opened", "auto", "create:false")
	for _, bad := range []string{
		"/topic/$SYS.connections.opened", "/topic/$SYS.x", "/topic/$SYS", "/queue/$SYS.x", "/queue/a,/topic/$SYS.x", "/queue/DLQ.$SYS.x",
	} {
		refuses(t, h, "1.2", "SEND\ndestination:"+bad+"\n\nbody\x00", destinations.CodeBadDestination)
	}
	for range 6 {
		watcher.report("connections.opened")
	}
	for _, bad := range []string{"/topic/$SYS", "/topic/$OTHER.x", "/queue/$SYS.x", "/queue/$SYS.>", "/topic/$OTHER.>"} {
		refuses(t, h, "1.2", "SUBSCRIBE\nid:1\ndestination:"+bad+"\n\n\x00", destinations.CodeBadDestination)
	}
	durable := h.connect("1.2", "client-id:c")
	durable.offer("SUBSCRIBE\nid:1\nactivemq.subscriptionName:n\ndestination:/topic/$SYS.>\n\n\x00")
	durable.refused(destinations.CodeBadDurable)
	for range 6 {
		watcher.report("connections.opened")
	}
	watcher.nothing()
	everything.nothing()
}

// A report that is refused is gone: nothing about reports is stored.
func TestReportsRefused(t *testing.T) {
	inReports(t, func(t *testing.T, h *host) {
		c := h.connect("1.2")
		c.subscribe("s", "/topic/$SYS.connections.*,/topic/news", "client-individual", "requeue:false")
		h.connect("1.2")
		c.ack("NACK", "1.2", c.want("MESSAGE", "destination:/topic/$SYS.connections.opened"))
		if got := h.stored(); got != 0 {
			t.Errorf("%d messages are stored", got)
		}
	})
}

// The page names exactly the topics that there are, and the fields of each.
func TestSysTopicsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/sys-topics.md")
	if err != nil {
		t.Fatal(err)
	}
	topics, fields := reportsOnPage(string(page))
	want := fieldsInCode(t)
	if got := slices.Sorted(slices.Values(topics)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the page has the topics %q, the code has %q", got, slices.Sorted(maps.Keys(want)))
	}
	for topic, names := range want {
		if got := slices.Sorted(slices.Values(fields[topic])); !slices.Equal(got, names) {
			t.Errorf("%s has on the page the fields %q, in the code %q", topic, got, names)
		}
	}
	for topic := range fields {
		if want[topic] == nil {
			t.Errorf("the page has fields of %s, which there is not", topic)
		}
	}
}

// reportsOnPage reads its tables: those of two columns name the topics, those of
// three the fields of the topics in the first column, or in the one above.
func reportsOnPage(page string) (topics []string, fields map[string][]string) {
	quoted := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (all []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
		return all
	}
	fields = map[string][]string{}
	var of []string
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		switch {
		case len(cells) == 4:
			topics = append(topics, names(cells[1])...)
		case len(cells) == 5:
			if above := names(cells[1]); len(above) > 0 {
				of = above
			}
			for _, topic := range of {
				fields[topic] = append(fields[topic], names(cells[2])...)
			}
		}
	}
	return topics, fields
}

// fieldsInCode are the fields of each topic's reports, in alphabetical order.
func fieldsInCode(t *testing.T) map[string][]string {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	s := New(Options{})
	from, all := newSession(s, 1, near), map[string][]string{}
	for kind, subject := range subjects {
		body := newReport(time.Now(), s.engine.body(time.Now(), destinations.Fact{Kind: kind}, from))
		fields := map[string]any{}
		if err := json.Unmarshal(body.Content[body.HeaderBytes:], &fields); err != nil {
			t.Fatal(err)
		}
		all[subject.topic] = slices.Sorted(maps.Keys(fields))
	}
	return all
}

// An ailingLog has the ailments that it is given.
type ailingLog struct {
	Log
	stats atomic.Pointer[journal.Stats]
}

func (l *ailingLog) Stats() journal.Stats { return *l.stats.Load() }

// What ails the journal is reported once, within a second, and that it is over too.
func TestReportsOnTheJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &ailingLog{}
		ails := func(stats journal.Stats) {
			log.stats.Store(&stats)
			time.Sleep(2 * time.Second)
		}
		log.stats.Store(&journal.Stats{})
		h := servePipesOn(t, memfs.New(), Options{}, func(l Log) Log {
			log.Log = l
			return log
		})
		watcher := h.watch("/topic/$SYS.>")
		watcher.report("subscriptions.made")
		stalled := time.Now()
		ails(journal.Stats{StalledSince: stalled})
		watcher.report("disk.stalled")
		ails(journal.Stats{StalledSince: stalled, Damage: 2})
		watcher.report("journal.damaged", "places:2")
		ails(journal.Stats{Damage: 2})
		watcher.report("disk.answers")
		ails(journal.Stats{Damage: 3})
		watcher.report("journal.damaged", "places:3")
		watcher.still()
	})
}
