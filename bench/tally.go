package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// stamp opens the body of every message: who sent it, as which, and when.
type stamp struct {
	producer uint32
	number   uint32        // from 0
	at       time.Duration // since the workload began
}

const stampBytes = 16

func (s stamp) write(body []byte) {
	binary.BigEndian.PutUint32(body[0:], s.producer)
	binary.BigEndian.PutUint32(body[4:], s.number)
	binary.BigEndian.PutUint64(body[8:], uint64(s.at))
}

// readStamp gives a body that is too short a producer that there is not.
func readStamp(body []byte) stamp {
	if len(body) < stampBytes {
		return stamp{producer: 1<<32 - 1}
	}
	return stamp{
		binary.BigEndian.Uint32(body[0:]), binary.BigEndian.Uint32(body[4:]), time.Duration(binary.BigEndian.Uint64(body[8:])),
	}
}

// tally compares what was sent with what came.
type tally struct {
	sent    []int     // by producer
	seen    [][]uint8 // by producer and number; how often
	foreign int       // messages that nobody sent
}

func newTally(producers int) *tally {
	return &tally{sent: make([]int, producers), seen: make([][]uint8, producers)}
}

func (t *tally) total() (n int) {
	for _, sent := range t.sent {
		n += sent
	}
	return n
}

func (t *tally) add(stamps []stamp) {
	for _, s := range stamps {
		if int(s.producer) >= len(t.sent) || int(s.number) >= t.sent[s.producer] {
			t.foreign++
			continue
		}
		if t.seen[s.producer] == nil {
			t.seen[s.producer] = make([]uint8, t.sent[s.producer])
		}
		if of := t.seen[s.producer]; of[s.number] < 255 {
			of[s.number]++
		}
	}
}

// check is an error when anything was lost, doubled or invented.
func (t *tally) check() error {
	lost, doubled := 0, 0
	for producer, sent := range t.sent {
		if t.seen[producer] == nil {
			lost += sent
		}
		for _, n := range t.seen[producer] {
			switch {
			case n == 0:
				lost++
			case n > 1:
				doubled++
			}
		}
	}
	if lost+doubled+t.foreign > 0 {
		return fmt.Errorf("of %d messages %d were lost and %d doubled; %d came that nobody sent", t.total(), lost, doubled, t.foreign)
	}
	return nil
}
