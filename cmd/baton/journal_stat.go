package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func journalStatCommand() *cobra.Command {
	const short = "Say what the journal holds, and how much of it is needed; change nothing"
	return journalTool("stat", short, func(cmd *cobra.Command, dir string) error {
		return inspect(cmd, dir, func(out io.Writer, l *loaded) error {
			printStat(out, l)
			return nil
		})
	})
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
