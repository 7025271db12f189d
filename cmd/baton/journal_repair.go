package main

import (
	"fmt"
	"io"
	"path/filepath"
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
	if _, found, _ := failover.LoadPair(nil, data, ""); !found {
		return nil
	}
	return fmt.Errorf("%s is of a node of a pair, and what is lost here may be whole on the other node: move the directory away and start this node "+
		"with an empty one, it gets a copy. If the other node has nothing any more, take the file pair out of the directory, repair, "+
		"start this node and promote it with --accept-loss", data)
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
