package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"baton/broker"
	"baton/destinations"
	"baton/journal"

	"github.com/spf13/cobra"
)

// mostPins is how many destinations are named for each file, unless all are asked for.
const mostPins = 3

func journalPinsCommand() *cobra.Command {
	var data string
	var all bool
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "Say for each file of the journal which destinations and messages keep it on disk; change nothing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inspect(cmd, data, func(out io.Writer, l *loaded) error {
				most := mostPins
				if all {
					most = -1
				}
				return printPins(out, l, most)
			})
		},
	}
	addDataFlag(cmd, &data)
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

// fileOf is the index of the file in whose range seq lies, -1 when that is before all.
func (l *loaded) fileOf(seq uint64) int {
	return sort.Search(len(l.Files), func(i int) bool { return l.Files[i].First > seq }) - 1
}

// gone tells whether no file has a record with that Seq.
func (l *loaded) gone(seq uint64) bool {
	i := l.fileOf(seq)
	if i < 0 || seq > l.Files[i].Last {
		return true
	}
	if !l.Files[i].Sparse {
		return false
	}
	_, found := slices.BinarySearch(l.seqs[i], seq)
	return !found
}

// whyKept says why a file is there that holds no message.
func (l *loaded) whyKept(i int, live *destinations.Live) (string, error) {
	f := l.Files[i]
	if !f.Sealed {
		return "it is in use", nil
	}
	blockers := map[int]bool{}
	changes := 0
	err := l.Read(i, func(r journal.Record) error {
		keep, err := live.Keep(entryOf(r), func(seq uint64) bool {
			if l.gone(seq) {
				return true
			}
			blockers[l.fileOf(seq)] = true
			return false
		})
		if keep {
			changes++
		}
		return err
	})
	delete(blockers, i)
	first := len(l.Files)
	for n := range blockers {
		first = min(first, n)
	}
	switch {
	case err != nil:
		return "", err
	case len(blockers) > 0:
		return fmt.Sprintf("%s and the like, kept until %s is cleaned%s", count(changes, "acknowledgement"), l.Files[first].Name, andOthers(len(blockers)-1)), nil
	case l.Checkpoint.Bytes > 0 && f.Last > l.Checkpoint.From:
		return "it is newer than the checkpoint, and stays until there is one that knows it", nil
	}
	return "nothing in it is needed: it goes when a broker cleans next", nil
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
