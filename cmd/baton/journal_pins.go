package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"baton/broker"
	"baton/destinations"
	"baton/journal"

	"github.com/spf13/cobra"
)

// mostPins is how many destinations are named for each file, unless all are asked for.
const mostPins = 3

func journalPinsCommand() *cobra.Command {
	var all bool
	const short = "Say for each file of the journal which destinations and messages keep it on disk; change nothing"
	cmd := journalTool("pins", short, func(cmd *cobra.Command, dir string) error {
		return inspect(cmd, dir, func(out io.Writer, l *loaded) error {
			most := mostPins
			if all {
				most = -1
			}
			return printPins(out, l, most)
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "name all destinations, not only those that keep most of a file")
	return cmd
}

// pin is what one destination keeps in one file.
type pin struct {
	destination destinations.Destination
	messages    int
	bytes       int64
	oldest      destinations.Stored
}

// printPins names at most so many destinations for each file; -1: all.
func printPins(out io.Writer, l *loaded, most int) error {
	pins, live := l.pins(), l.machine.Live()
	for i, f := range l.Files {
		fmt.Fprintf(out, "%s  seq %d to %d, %d bytes%s\n", f.Name, f.First, f.Last, f.Bytes, stateOf(f))
		for n, p := range pins[i] {
			if n == most {
				fmt.Fprintf(out, "  and %s: see --all\n", count(len(pins[i])-n, "more destination"))
				break
			}
			fmt.Fprintf(out, "  %s  %s, %d bytes; the oldest: %s\n", p.destination, count(p.messages, "message"), p.bytes, l.nameOf(p.oldest))
		}
		if len(pins[i]) > 0 {
			continue
		}
		why, err := l.whyKept(i, live)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  no message; %s\n", why)
	}
	return nil
}

func stateOf(f journal.SegmentFile) string {
	switch {
	case !f.Sealed:
		return ", in use"
	case f.Sparse:
		return ", sparse"
	}
	return ""
}

// nameOf is a message as its consumers see it.
func (l *loaded) nameOf(s destinations.Stored) string {
	text := fmt.Sprintf("message-id %s, seq %d, %d bytes", broker.MessageID(brokerName(l.ID), s.ID.Seq), s.ID.Seq, s.Size)
	if s.Dead != nil {
		text += fmt.Sprintf(", since %s, %s from %s", s.Dead.Time.Format(time.RFC3339), s.Dead.Reason, s.Dead.Destination)
	}
	return text
}

// pins returns for each file what is kept in it, of which destinations: those with most bytes first.
func (l *loaded) pins() [][]*pin {
	type place struct {
		file        int
		destination destinations.Destination
	}
	pins, places := make([][]*pin, len(l.Files)), map[place]*pin{}
	l.machine.EachStored(func(s destinations.Stored) {
		counted := -1 // in that file
		s.Needs(func(seq uint64, bytes int64) {
			at := place{l.fileOf(seq), s.Queue}
			if at.file < 0 {
				return
			}
			p := places[at]
			if p == nil {
				p = &pin{destination: s.Queue, oldest: s}
				places[at], pins[at.file] = p, append(pins[at.file], p)
			}
			if at.file != counted {
				p.messages++
				counted = at.file
			}
			p.bytes += bytes
		})
	})
	for _, list := range pins {
		slices.SortStableFunc(list, func(a, b *pin) int {
			return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.oldest.ID.Seq, b.oldest.ID.Seq))
		})
	}
	return pins
}

// whyKept says why a file is there that holds no message.
func (l *loaded) whyKept(i int, live *destinations.Live) (string, error) {
	f := l.Files[i]
	if !f.Sealed {
		return "it is in use", nil
	}
	if f.Last >= live.Oldest() { // else it is trimmed, whatever is in it
		n, err := l.needsOf(i, live)
		if why := l.explain(n); err != nil || why != "" {
			return why, err
		}
	}
	if l.Checkpoint.Bytes > 0 && f.Last > l.Checkpoint.From {
		return "it is newer than the checkpoint, and stays until there is one that knows it", nil
	}
	return "nothing in it is needed: it goes when a broker cleans next", nil
}

// needs is what is needed in a file that holds no message.
type needs struct {
	changes  int          // without which what lies in other files would come back
	blockers map[int]bool // these files
	attempts int          // to deliver messages that are stored
	times    int          // at which messages that are stored come again
	durables int          // subscriptions that are there
	ids      int          // of deduplication
	start    bool         // the newest
}

// needsOf decides as a cleaner would that rewrites this file alone.
func (l *loaded) needsOf(i int, live *destinations.Live) (needs, error) {
	n, kept := needs{blockers: map[int]bool{}}, map[uint64]bool{}
	err := l.Read(i, func(r journal.Record) error {
		e, blocked := broker.EntryOf(r), false
		keep, err := live.Keep(e, func(seq uint64) bool {
			at := l.fileOf(seq)
			if at == i {
				return !kept[seq]
			}
			if l.gone(seq) {
				return true
			}
			n.blockers[at], blocked = true, true
			return false
		})
		if err == nil && keep {
			kept[e.Seq] = true
			n.count(e.Kind, blocked)
		}
		return err
	})
	return n, err
}

// count adds an entry. It is blocked when a file keeps it.
func (n *needs) count(kind destinations.EntryKind, blocked bool) {
	switch {
	case kind == destinations.KindStart:
		n.start = true
	case kind == destinations.KindAttempt:
		n.attempts++
	case kind == destinations.KindSchedule && !blocked:
		n.times++
	case kind == destinations.KindDurable:
		n.durables++
	case kind == destinations.KindDedup:
		n.ids++
	default:
		n.changes++
	}
}

// explain is empty when nothing is needed.
func (l *loaded) explain(n needs) string {
	var why []string
	if len(n.blockers) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(n.blockers)))
		why = append(why, fmt.Sprintf("%s and the like, kept until %s is cleaned%s",
			count(n.changes, "acknowledgement"), l.Files[first].Name, andOthers(len(n.blockers)-1)))
	}
	if n.attempts > 0 {
		why = append(why, fmt.Sprintf("%s of failed deliveries, kept as long as the messages are", count(n.attempts, "record")))
	}
	if n.times > 0 {
		why = append(why, fmt.Sprintf("%s of scheduled messages, kept until they come again", count(n.times, "record")))
	}
	if n.durables > 0 {
		why = append(why, fmt.Sprintf("%s, kept until deleted", count(n.durables, "durable subscription")))
	}
	if n.ids > 0 {
		why = append(why, fmt.Sprintf("%s, kept for the dedup.window", count(n.ids, "deduplication id")))
	}
	if n.start {
		why = append(why, "the newest start of a broker, kept until there is a newer one")
	}
	return strings.Join(why, "; ")
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func andOthers(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}
