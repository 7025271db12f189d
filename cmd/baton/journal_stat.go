package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"baton/destinations"
	"baton/journal"

	"github.com/spf13/cobra"
)

func journalStatCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Say what the journal holds, and how much of it is needed; change nothing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return inspect(cmd, data, func(out io.Writer, l *loaded) error {
				printStat(out, l)
				return nil
			})
		},
	}
	addDataFlag(cmd, &data)
	return cmd
}

// loaded is a journal that was read, and what it means.
type loaded struct {
	*journal.Inspection
	dir     string
	machine *destinations.Machine
	kinds   map[destinations.EntryKind]int
	seqs    [][]uint64 // of each sparse file, the Seqs that it has
}

// inspect reads a journal whole and lets show print what it wants of it.
func inspect(cmd *cobra.Command, data string, show func(io.Writer, *loaded) error) error {
	dir, err := journalOf(data)
	if err != nil {
		return err
	}
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
			e := entryOf(r)
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

// entryOf says a record in the words of package destinations.
func entryOf(r journal.Record) destinations.Entry {
	return destinations.Entry{Seq: r.Seq, Kind: destinations.EntryKind(r.Type), Body: r.Body}
}

func printStat(out io.Writer, l *loaded) {
	live := l.machine.Live()
	needed := live.Bytes(1, live.AsOf())
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-12s"+format+"\n", append([]any{name}, args...)...)
	}
	line("journal", "%s, id %x", l.dir, l.ID)
	line("segments", "%d, of which %d are sparse: cleaned", l.Segments, l.Sparse)
	line("on disk", "%d bytes in segments", l.Bytes)
	line("needed", "%d bytes, about: %s", needed, amplification(l.Bytes, needed))
	line("records", "%s", l.countKinds())
	line("seq", "%d to %d, the oldest that is needed is %d, trimmed below %d", l.First, l.Last, live.Oldest(), max(l.Floor, 1))
	line("messages", "%d", l.machine.Stats().Messages)
	switch c := l.Checkpoint; {
	case c.Bytes == 0:
		line("checkpoint", "none: a start reads everything")
	case c.Err != nil:
		line("checkpoint", "%d bytes, of no use: %v", c.Bytes, c.Err)
	default:
		line("checkpoint", "%d bytes, from seq %d, upto %d: a start reads what follows seq %d", c.Bytes, c.From, c.Upto, c.From)
	}
	if l.SpareBytes == 0 {
		line("spare", "none")
	} else {
		line("spare", "%d bytes", l.SpareBytes)
	}
	if l.Locked == nil {
		line("torn", "%d bytes", l.TornBytes)
	}
}

func amplification(disk, needed int64) string {
	if needed == 0 {
		return "nothing is stored"
	}
	return fmt.Sprintf("%.1f on disk for each", float64(disk)/float64(needed))
}

func (l *loaded) countKinds() string {
	all := 0
	var each []string
	for _, k := range slices.Sorted(maps.Keys(l.kinds)) {
		all += l.kinds[k]
		each = append(each, fmt.Sprintf("%d %s", l.kinds[k], k))
	}
	return strings.Join(append([]string{fmt.Sprint(all)}, each...), ", ")
}
