package integration

import (
	"fmt"
	"strings"
	"testing"

	"baton/integration/client"
)

// A requester at A and a responder at B: the request goes to where it is wanted, the answer to who has the temporary queue.
func TestNetworkRequestReply(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, "BATON_NETWORK_SILENCE=1s")
	t.Run("replies", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *fleet){
			"ManyRequesters":  requestersEverywhere,
			"RequesterIsGone": requesterIsGone,
			"InATransaction":  replyInATransaction,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, f)
			})
		}
	})
	t.Run("BrokerComesBack", func(t *testing.T) { repliesWait(t, f) })
}

// responder answers so many requests of a queue at a member, and returns when it has.
func (f *fleet) responder(t *testing.T, at int, queue string, requests int, headers ...string) (ended chan struct{}) {
	t.Helper()
	c := f.consumer(t, at, queue)
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		defer c.Close() // what it has more of, others may answer
		for range requests {
			request, err := c.Receive()
			if err != nil {
				t.Errorf("responder: %v", err)
				return
			}
			answer := append([]string{"destination", request.Header("reply-to"), "correlation-id", request.Header("correlation-id")}, headers...)
			err = c.Write("SEND", []byte("answer to "+string(request.Body)), answer...)
			if err == nil {
				err = c.Call("ACK", nil, "id", request.Header("ack"))
			}
			if err != nil {
				t.Errorf("responder: %v", err)
				return
			}
		}
	}()
	return ended
}

// Requesters at all brokers, by SUBSCRIBE and by reply-to alone, get their own answers, each once, from responders at B and C.
func requestersEverywhere(t *testing.T, f *fleet) {
	const queue, each = "/queue/requests", 50
	type requester struct {
		*client.Conn
		name string
	}
	var requesters []requester
	for at := range f.members {
		for _, way := range []string{"subscribed", "automatic"} {
			r := requester{f.connect(t, at), fmt.Sprint(way, at)}
			if way == "subscribed" {
				must(t, "subscribe", r.Call("SUBSCRIBE", nil, "id", "mine", "destination", "/temp-queue/answers", "ack", "auto"))
			}
			for i := range each {
				must(t, "send", r.Write("SEND", []byte(r.name+"-"+fmt.Sprint(i)), "destination", queue, "reply-to", "/temp-queue/answers",
					"correlation-id", fmt.Sprint(i), "persistent", "true"))
			}
			must(t, "flush", r.Flush())
			requesters = append(requesters, r)
		}
	}
	half := len(requesters) * each / 2
	b := f.responder(t, 1, queue, half, "persistent", "true", "priority", "7")
	select {
	case <-b:
	case <-within(t).Done():
		t.Fatal("not all requests of the first half have come to B")
	}
	c := f.responder(t, 2, queue, half)
	for _, r := range requesters {
		got := map[string]bool{}
		for len(got) < each {
			m := next(t, r.Conn)
			id := m.Header("correlation-id")
			if string(m.Body) != "answer to "+r.name+"-"+id || got[id] || m.Header("destination") != "/temp-queue/answers" {
				t.Fatalf("%s got %s", r.name, m)
			}
			got[id] = true
		}
	}
	select {
	case <-c:
	case <-within(t).Done():
		t.Error("the responder at C does not end")
	}
	f.awaitRest(t, queue, nil, nil, nil)
}

// An answer to who is gone is dropped, and the next one, to who is there, comes.
func requesterIsGone(t *testing.T, f *fleet) {
	const queue = "/queue/requests.gone"
	gone, there := f.connect(t, 0), f.connect(t, 0)
	for _, r := range []*client.Conn{gone, there} {
		must(t, "subscribe", r.Call("SUBSCRIBE", nil, "id", "mine", "destination", "/temp-queue/answers", "ack", "auto"))
		must(t, "send", r.Call("SEND", []byte("q"), "destination", queue, "reply-to", "/temp-queue/answers"))
	}
	leave(t, gone)
	ended := f.responder(t, 1, queue, 2)
	if m := next(t, there); string(m.Body) != "answer to q" {
		t.Errorf("got %s", m)
	}
	<-ended
}

// An answer that is sent in a transaction comes when that is committed.
func replyInATransaction(t *testing.T, f *fleet) {
	const queue = "/queue/requests.transaction"
	requester, responder := f.connect(t, 0), f.consumer(t, 1, queue)
	must(t, "subscribe", requester.Call("SUBSCRIBE", nil, "id", "mine", "destination", "/temp-queue/answers", "ack", "auto"))
	must(t, "send", requester.Call("SEND", []byte("q"), "destination", queue, "reply-to", "/temp-queue/answers"))
	request := next(t, responder).Clone()
	if address := request.Header("reply-to"); !strings.Contains(address, "@a.answers") {
		t.Errorf("the address is %s", address)
	}
	must(t, "begin", responder.Write("BEGIN", nil, "transaction", "t"))
	must(t, "send", responder.Write("SEND", []byte("first"), "destination", request.Header("reply-to"), "transaction", "t"))
	must(t, "ack", responder.Write("ACK", nil, "id", request.Header("ack"), "transaction", "t"))
	must(t, "commit", responder.Call("COMMIT", nil, "transaction", "t"))
	if m := next(t, requester); string(m.Body) != "first" {
		t.Errorf("got %s", m)
	}
}

// Answers to a broker that cannot be reached wait for it: those to who is still there come, each once. When it was killed there is
// nobody any more, and they are dropped.
func repliesWait(t *testing.T, f *fleet) {
	const queue = "/queue/requests.wait"
	requester, responder := f.connect(t, 0), f.consumer(t, 1, queue)
	must(t, "subscribe", requester.Call("SUBSCRIBE", nil, "id", "mine", "destination", "/temp-queue/answers", "ack", "auto"))
	must(t, "send", requester.Call("SEND", []byte("q"), "destination", queue, "reply-to", "/temp-queue/answers"))
	address := next(t, responder).Clone().Header("reply-to")

	for _, m := range f.members {
		for _, w := range m.ways {
			w.set(wayCut)
		}
	}
	f.await(1, "alone", func(s memberStatus) bool { return len(s.Peers) == 0 })
	want := numbered("r", 0, 100)
	send(t, responder, address, want)
	for _, m := range f.members {
		for _, w := range m.ways {
			w.set(wayOpen)
		}
	}
	once(t, bodies(read(t, requester, len(want))), want)

	f.kill(0)
	send(t, responder, address, want)
	f.restart(0)
	requester = f.connect(t, 0)
	must(t, "subscribe", requester.Call("SUBSCRIBE", nil, "id", "mine", "destination", "/temp-queue/answers", "ack", "auto"))
	must(t, "send", requester.Call("SEND", []byte("q"), "destination", queue, "reply-to", "/temp-queue/answers"))
	send(t, responder, next(t, responder).Clone().Header("reply-to"), []string{"behind them"})
	if m := next(t, requester); string(m.Body) != "behind them" {
		t.Errorf("got %s", m)
	}
	f.await(1, "rid of the answers", func(s memberStatus) bool { return s.Sent == 0 })
}
