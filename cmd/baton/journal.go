package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"baton/broker"
	"baton/config"
	"baton/journal"

	"github.com/spf13/cobra"
)

// journalDir is where the journal lies within the data directory.
func journalDir(data string) string { return filepath.Join(data, "journal") }

func journalCommand() *cobra.Command {
	return group("journal", "Look into a journal on disk, of a broker that runs or not, and repair it",
		journalVerifyCommand(), journalDumpCommand(), journalStatCommand(), journalPinsCommand(), journalRepairCommand())
}

// journalTool is a command that does something with the journal in the directory that the flag or the environment names.
func journalTool(use, short string, run func(cmd *cobra.Command, dir string) error) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := journalOf(data)
			if err != nil {
				return err
			}
			return advise(dir, run(cmd, dir))
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data `DIR` of the broker (default ./baton-data, or BATON_DATA_DIR), or a directory divergent-EPOCH-SEQ or surplus-EPOCH-SEQ in it")
	return cmd
}

// journalOf is the journal's directory, where the flag or the environment says. That may be a journal by itself: what a node
// of a pair has moved aside.
func journalOf(data string) (string, error) {
	s := config.Sources{Env: os.Environ(), Flags: map[string]any{}}
	if data != "" {
		s.Flags["data.dir"] = data
	}
	cfg, err := config.Load(s)
	if segments, _ := filepath.Glob(filepath.Join(cfg.Data.Dir, "*.seg")); len(segments) > 0 {
		return cfg.Data.Dir, err
	}
	return journalDir(cfg.Data.Dir), err
}

func journalVerifyCommand() *cobra.Command {
	const short = "Read the whole journal and check every checksum; change nothing"
	return journalTool("verify", short, func(cmd *cobra.Command, dir string) error {
		p := newProgress(cmd.ErrOrStderr())
		report, err := journal.Verify(nil, dir, p.reading)
		p.done()
		if err != nil {
			return err
		}
		return printReport(cmd.OutOrStdout(), dir, report)
	})
}

func printReport(out io.Writer, dir string, r journal.Report) error {
	fmt.Fprintf(out, "journal %s: id %x, %d records from seq %d to %d, %d segments, %d bytes\n",
		dir, r.ID, r.Records, r.First, r.Last, r.Segments, r.Bytes)
	if r.Locked != nil {
		fmt.Fprintln(out, "a broker is using it: its newest records may be under way")
	} else if r.TornBytes > 0 {
		fmt.Fprintf(out, "%d bytes after the last whole batch are torn: what a crash left; the next start cuts them\n", r.TornBytes)
	}
	for _, damage := range r.Damage {
		fmt.Fprintln(out, advise(dir, damage))
	}
	if len(r.Damage) > 0 {
		return fmt.Errorf("journal %s is damaged (places: %d)", dir, len(r.Damage))
	}
	fmt.Fprintln(out, "sound")
	return nil
}

func journalDumpCommand() *cobra.Command {
	const short = "Print a line for each record of the journal; change nothing"
	return journalTool("dump", short, func(cmd *cobra.Command, dir string) error {
		out := bufio.NewWriter(cmd.OutOrStdout())
		if err := journal.Dump(nil, dir, out, describe); err != nil {
			return err
		}
		return out.Flush()
	})
}

// describe says what a record means to the machine.
func describe(r journal.Record) string { return broker.EntryOf(r).String() }
