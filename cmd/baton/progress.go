package main

import (
	"fmt"
	"io"
	"time"
)

// progressEvery is how often the line on the terminal changes: often enough to look alive, seldom enough to cost nothing.
const progressEvery = 200 * time.Millisecond

// progress shows on a terminal how far long work has come; elsewhere it shows nothing.
type progress struct {
	out   io.Writer // nil when nobody watches
	shown time.Time
	drawn bool
}

// newProgress watches over work that reports to out.
func newProgress(out io.Writer) *progress {
	if isTerminal(out) {
		return &progress{out: out, shown: time.Now()}
	}
	return &progress{}
}

// show replaces the line.
func (p *progress) show(format string, args ...any) {
	if p.out == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown, p.drawn = time.Now(), true
	fmt.Fprintf(p.out, "\r\x1b[K"+format, args...)
}

// done takes the line away.
func (p *progress) done() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// replaying shows how far the destinations are back.
func (p *progress) replaying(done, total uint64) {
	p.show("recovering the destinations: %d%% of %d changes", 100*done/total, total)
}

// reading shows how much of a journal is read.
func (p *progress) reading(done, total int64) {
	if total > 0 {
		p.show("reading the journal: %d%% of %d MiB", 100*done/total, total>>20)
	}
}
