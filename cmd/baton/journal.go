package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

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

func journalVerifyCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole journal and check every checksum; change nothing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := journalOf(data)
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr())
			report, err := journal.Verify(nil, dir, p.reading)
			p.done()
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), dir, report)
		},
	}
	addDataFlag(cmd, &data)
	return cmd
}

func journalDumpCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print a line for each record of the journal; change nothing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := journalOf(data)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			if err := journal.Dump(nil, dir, out, describe); err != nil {
				return err
			}
			return out.Flush()
		},
	}
	addDataFlag(cmd, &data)
	return cmd
}

func addDataFlag(cmd *cobra.Command, data *string) {
	cmd.Flags().StringVar(data, "data", "", "data `DIR` of the broker (default ./baton-data, or BATON_DATA_DIR)")
}

// journalOf is the journal's directory, where the flag or the environment says.
func journalOf(data string) (string, error) {
	s := config.Sources{Env: os.Environ(), Flags: map[string]any{}}
	if data != "" {
		s.Flags["data.dir"] = data
	}
	cfg, err := config.Load(s)
	return journalDir(cfg.Data.Dir), err
}

// describe says what a record means to the machine.
func describe(r journal.Record) string {
	return entryOf(r).String()
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
		fmt.Fprintln(out, damage)
	}
	if len(r.Damage) > 0 {
		return fmt.Errorf("journal %s is damaged (places: %d)", dir, len(r.Damage))
	}
	fmt.Fprintln(out, "sound")
	return nil
}
