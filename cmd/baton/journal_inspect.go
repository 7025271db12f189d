package main

import (
	"fmt"
	"io"
	"slices"
	"sort"

	"baton/broker"
	"baton/destinations"
	"baton/journal"

	"github.com/spf13/cobra"
)

// loaded is a journal that was read, and what it means.
type loaded struct {
	*journal.Inspection
	dir     string
	machine *destinations.Machine
	kinds   map[destinations.EntryKind]int
	seqs    [][]uint64 // of each sparse file, the Seqs that it has
}

// inspect reads the journal in dir whole and lets show print what it wants of it.
func inspect(cmd *cobra.Command, dir string, show func(io.Writer, *loaded) error) error {
	in, err := journal.Inspect(nil, dir)
	if err != nil {
		return err
	}
	defer in.Close()
	p := newProgress(cmd.ErrOrStderr())
	l, err := load(in, dir, p)
	p.done()
	if err != nil {
		return fmt.Errorf("read journal %s: %w", dir, err)
	}
	if in.Locked != nil {
		fmt.Fprintln(cmd.OutOrStdout(), "a broker is using it: its newest records may be missing here")
	}
	return show(cmd.OutOrStdout(), l)
}

// load brings the destinations to the state of the log, without contents.
func load(in *journal.Inspection, dir string, p *progress) (*loaded, error) {
	l := &loaded{
		Inspection: in, dir: dir, seqs: make([][]uint64, len(in.Files)),
		machine: destinations.New(destinations.Options{MemoryBytes: 1}),
		kinds:   map[destinations.EntryKind]int{},
	}
	done := int64(0)
	for i, f := range in.Files {
		err := in.Read(i, func(r journal.Record) error {
			e := broker.EntryOf(r)
			l.kinds[e.Kind]++
			if f.Sparse {
				l.seqs[i] = append(l.seqs[i], r.Seq)
			}
			return l.machine.Replay(e)
		})
		if err != nil {
			return nil, err
		}
		done += f.Bytes
		p.reading(done, in.Bytes)
	}
	return l, l.machine.Resume(in.Last)
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
