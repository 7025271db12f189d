package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"

	"baton/integration/client"
)

// awaitDurable waits until all of some members have a durable subscription that was used last at this member; "": until none has it.
func (f *fleet) awaitDurable(name, home string, members ...int) {
	f.t.Helper()
	for _, i := range members {
		f.await(i, "told that "+name+" is at home at "+home, func(s memberStatus) bool {
			for _, d := range s.Durables {
				if d.Name == name {
					return d.Home == home && home != ""
				}
			}
			return home == ""
		})
	}
}

// durable subscribes at a member as the client "paper".
func (f *fleet) durable(t *testing.T, at int, topic string, headers ...string) *client.Conn {
	t.Helper()
	c := dial(t, f.members[at].Broker, client.Options{ClientID: "paper"})
	headers = append([]string{"id", "s", "destination", topic, "ack", "client-individual", "activemq.subscriptionName", "mine"}, headers...)
	must(t, "subscribe", c.Call("SUBSCRIBE", nil, headers...))
	return c
}

// A durable subscriber moves from broker to broker: what was published at any of them meanwhile comes to where it is, once, and so
// does what is published while it is there. A broker that is killed gives what it has when it is back.
func TestNetworkDurableSubscriberMoves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, "BATON_NETWORK_SILENCE=1s")
	const topic, name = "/topic/news.today", "/durable/paper/mine"
	publish := func(at int, prefix string) []string {
		c := f.connect(t, at)
		defer c.Close()
		sent := numbered(prefix, 0, 40)
		send(t, c, topic, sent)
		return sent
	}
	var got, sent []string
	take := func(c *client.Conn, what []string) {
		t.Helper()
		sent = append(sent, what...)
		got = append(got, bodies(takeAll(t, c, len(sent)-len(got)))...)
		once(t, got, sent)
	}
	names := []string{f.members[0].name, f.members[1].name, f.members[2].name}

	leave(t, f.durable(t, 2, topic))
	f.awaitDurable(name, names[2], 0, 1, 2)
	for i := range f.members {
		sent = append(sent, publish(i, names[i])...)
	}
	c := f.durable(t, 1, topic)
	take(c, nil)
	take(c, publish(0, "while it is at the second"))
	f.awaitDurable(name, names[1], 0, 1, 2)
	leave(t, c)

	late := publish(0, "then the first is killed")
	f.kill(0)
	c = f.durable(t, 2, topic)
	take(c, publish(1, "while the first is away"))
	f.restart(0)
	take(c, late)
	leave(t, c)
	f.awaitDurable(name, names[2], 0, 1, 2)

	// The broker where it was used last is away: it is at home where it comes back, and the other learns of that.
	sent = append(sent, publish(1, "published at the second")...)
	f.kill(2)
	c = f.durable(t, 0, topic)
	take(c, nil)
	f.restart(2)
	f.awaitDurable(name, names[0], 1, 2)
	take(c, publish(2, "published at the third"))

	// Deleted at one, it is deleted at all.
	must(t, "unsubscribe", c.Call("UNSUBSCRIBE", nil, "id", "s", "activemq.subscriptionName", "mine"))
	f.awaitDurable(name, "", 0, 1, 2)
	publish(0, "for nobody")
	c = f.durable(t, 1, topic)
	f.awaitDurable(name, names[1], 0, 1, 2)
	sent, got = nil, nil
	take(c, publish(2, "for the new one"))
	leave(t, c)

	// Also where it was never used, by who does not subscribe.
	c = dial(t, f.members[0].Broker, client.Options{ClientID: "paper"})
	must(t, "unsubscribe", c.Call("UNSUBSCRIBE", nil, "id", "s", "activemq.subscriptionName", "mine"))
	f.awaitDurable(name, "", 0, 1, 2)
	c.Close()
}

// What may not leave a broker does not come to a durable subscriber elsewhere, and holds up nothing.
func TestNetworkDurableSubscriberOfWhatMayNotLeave(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "BATON_NETWORK_EXCLUDE=[/topic/secret.>]")
	c := f.durable(t, 1, "/topic/>")
	f.awaitDurable("/durable/paper/mine", f.members[1].name, 0, 1)
	producer := f.connect(t, 0)
	secret, sent := numbered("secret", 0, 300), numbered("open", 0, 10)
	send(t, producer, "/topic/secret.plans", secret)
	send(t, producer, "/topic/open", sent)
	once(t, bodies(takeAll(t, c, len(sent))), sent)
	f.await(0, "done with all", func(s memberStatus) bool { return s.Sent == 0 })
	leave(t, c)
	c = f.durable(t, 1, "/topic/secret.plans") // another one of that name, which is not for the network
	f.awaitDurable("/durable/paper/mine", "", 0)
	send(t, producer, "/topic/secret.plans", secret)
	own := f.connect(t, 1)
	send(t, own, "/topic/secret.plans", sent)
	once(t, bodies(takeAll(t, c, len(sent))), sent)
	leave(t, c)
}

// A broker that joins later learns of durable subscriptions, and keeps for them what is published at it; their selectors and no-local
// hold there too, and wildcards know each message's topic. This is by go-stomp.
func TestNetworkDurableSubscriberOfALateBroker(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	f.kill(1)
	subscribe := func(at int) (*stomp.Conn, *stomp.Subscription) {
		c, err := stomp.Dial("tcp", f.members[at].Addr, stomp.ConnOpt.Header("client-id", "radio"))
		must(t, "connect", err)
		s, err := c.Subscribe("/topic/news.*", stomp.AckClientIndividual, stomp.SubscribeOpt.Header("activemq.subscriptionName", "n"),
			stomp.SubscribeOpt.Header("selector", "red = 'yes'"), stomp.SubscribeOpt.Header("no-local", "true"))
		must(t, "subscribe", err)
		return c, s
	}
	c, _ := subscribe(0)
	f.restart(1)
	f.awaitDurable("/durable/radio/n", f.members[0].name, 0, 1)
	must(t, "disconnect", c.Disconnect())

	publish := func(client, body, red string) {
		c, err := stomp.Dial("tcp", f.members[1].Addr, stomp.ConnOpt.Header("client-id", client))
		must(t, "connect", err)
		must(t, "send", c.Send("/topic/news."+body, "text/plain", []byte(body), stomp.SendOpt.Receipt, stomp.SendOpt.Header("red", red)))
		must(t, "disconnect", c.Disconnect())
	}
	publish("radio", "own", "yes")
	publish("other", "blue", "no")
	publish("other", "first", "yes")
	publish("other", "second", "yes")
	c, s := subscribe(0)
	var got []string
	for range 2 {
		select {
		case m := <-s.C:
			must(t, "receive", m.Err)
			if want := "/topic/news." + string(m.Body); m.Destination != want {
				t.Errorf("%s comes as of %s", m.Body, m.Destination)
			}
			got = append(got, string(m.Body))
			must(t, "ack", c.Ack(m))
		case <-time.After(patience):
			t.Fatalf("only %q came", got)
		}
	}
	if !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("got %q", got)
	}
	must(t, "disconnect", c.Disconnect())
}
