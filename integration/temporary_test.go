package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"baton/integration/client"
)

// temporary queues take the answers to requests that are not temporary. They go with the broker, and nothing of them stays.
var temporary = feature{"temporary queues", []func(worker) error{worker.request, worker.reply}}

const (
	answer      = "an answer in a temporary queue" // the body of all of them; it is nowhere else
	questioning = "requester-"                     // begins the correlation-id of all requests
)

// request sends requests, and answers each itself too, for those of killed brokers may keep all others busy. Only answers to
// requests of this connection may come. Half of the time it does not acknowledge the first, and the others wait until the broker
// dies.
func (w worker) request() error {
	me := fmt.Sprint(questioning, w.rng.Uint64())
	return w.converse(func(p *producing) error {
		p.answered = func(f *client.Frame) error {
			if string(f.Body) != answer || f.Header("correlation-id") != me {
				return protocolError(fmt.Sprintf("%s got %s", me, f))
			}
			w.answers.Add(1)
			return nil
		}
		acks := []string{"auto", "client"}[w.rng.IntN(2)]
		err := p.c.Write("SUBSCRIBE", nil, "destination", "/temp-queue/answers", "id", "answers", "ack", acks, "prefetch-count", "1")
		return errors.Join(err, p.answer(me), p.c.Flush())
	}, func(p *producing) error {
		if err := p.answer(me); err != nil {
			return err
		}
		return p.send(sending{
			producer: requester, places: []uint32{queueRequests},
			headers: []string{"reply-to", "/temp-queue/answers", "correlation-id", me},
		})
	})
}

func (p *producing) answer(requester string) error {
	return p.c.Write("SEND", []byte(answer), "destination", "/temp-queue/answers", "correlation-id", requester)
}

// reply answers each request, also those whose requester is gone, and acknowledges it.
func (w worker) reply() error {
	return w.consume("client-individual", []uint32{queueRequests}, func(s *consuming, m held) error {
		if !strings.HasPrefix(m.replyTo, "/remote-temp-queue/") {
			return protocolError(fmt.Sprintf("request %v says reply-to:%s", m.id, m.replyTo))
		}
		err := s.c.Write("SEND", []byte(answer), "destination", m.replyTo, "correlation-id", m.correlationID)
		return errors.Join(err, s.ack(m.id.N%3 == 0, m))
	})
}

// lookForAnswers fails when an answer is on disk. It returns whether a request is, which may and should be.
func lookForAnswers(t *testing.T, dir string) (requests bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(answer)) {
			t.Errorf("%s holds an answer in a temporary queue", name)
		}
		requests = requests || bytes.Contains(content, []byte(questioning))
	}
	return requests
}
