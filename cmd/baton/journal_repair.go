package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"baton/failover"
	"baton/journal"

	"github.com/spf13/cobra"
)

func journalRepairCommand() *cobra.Command {
	var quarantine bool
	const short = "Make a damaged journal usable with all that is legible; without --quarantine, say what that would be"
	cmd := journalTool("repair", short, func(cmd *cobra.Command, dir string) error {
		to, data := "", filepath.Dir(dir)
		if quarantine {
			if err := notOfAPair(data); err != nil {
				return err
			}
			to = filepath.Join(data, "quarantine", time.Now().UTC().Format("20060102T150405.000Z"))
		}
		p := newProgress(cmd.ErrOrStderr())
		r, err := journal.Repair(nil, dir, to, p.reading)
		p.done()
		printRepairs(cmd.OutOrStdout(), dir, to, r, err)
		return err
	})
	cmd.Long = `Make a damaged journal usable with every record that can still be read, while no broker runs on it. Without --quarantine
nothing is changed: it says what is damaged, what would be saved and what is lost. With --quarantine the damaged files, and the
checkpoint, are moved into a new directory below DIR/quarantine, together with the report. Nothing is ever deleted.`
	cmd.Flags().BoolVar(&quarantine, "quarantine", false, "do it: move what is damaged aside")
	return cmd
}

// notOfAPair refuses the data directory of a node: its journal may be named in the register as one that holds everything, and
// would be so still with records missing.
func notOfAPair(data string) error {
	if !isOfAPair(data) {
		return nil
	}
	return fmt.Errorf("%s is of a node of a pair: %s", data, helpOfAPair)
}

// isOfAPair says that a data directory is that of a node of a pair, as far as it can be read.
func isOfAPair(data string) bool {
	_, found, _ := failover.LoadPair(nil, data, "")
	return found
}

// helpOfAPair is what an operator can do about a damaged journal of one of a pair.
const helpOfAPair = "if the other node serves, or served last, it has all that was acknowledged: move the directory away and start this node " +
	"with an empty one, it gets a copy. If the other node has nothing any more, take the file pair out of the directory, " +
	"see what `baton journal repair` can save, start this node and promote it with --accept-loss"

// A damaged error is of a journal of one of a pair, which by itself knows of no pairs: whatever it advises, another thing helps.
type damaged struct {
	error
	hint string
}

func (d damaged) Error() string { return strings.ReplaceAll(d.error.Error(), d.hint, helpOfAPair) }
func (d damaged) Unwrap() error { return d.error }

// advise has an error of the journal in dir say what helps there. What a node has moved aside no other one has.
func advise(dir string, err error) error {
	var damage *journal.CorruptError
	if data := filepath.Dir(dir); !errors.As(err, &damage) || damage.Hint == "" || dir != journalDir(data) || !isOfAPair(data) {
		return err
	}
	return damaged{err, damage.Hint}
}

// printRepairs also says how far it came when there was an error.
func printRepairs(out io.Writer, dir, quarantine string, r journal.Repairs, err error) {
	fmt.Fprint(out, r)
	switch {
	case err != nil:
	case len(r.Damage) == 0 && r.TornBytes > 0:
		fmt.Fprintf(out, "journal %s is sound: there is nothing to repair; %d bytes at its end are what a crash left, the next start cuts them\n", dir, r.TornBytes)
	case len(r.Damage) == 0:
		fmt.Fprintf(out, "journal %s is sound: there is nothing to repair\n", dir)
	case quarantine == "":
		fmt.Fprintln(out, "nothing was changed; with --quarantine the journal is repaired like this")
	default:
		fmt.Fprintf(out, "journal %s is repaired; what was damaged is in %s\n", dir, quarantine)
	}
}
