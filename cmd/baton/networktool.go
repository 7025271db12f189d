package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"baton/config"
	"baton/network"

	"github.com/spf13/cobra"
)

func networkCommand() *cobra.Command {
	mode := func(use, short string, m network.Mode) *cobra.Command {
		return networkTool(use, short, noArguments, func(ctx context.Context, _ *cobra.Command, node network.Operator, _ []string) error {
			return node.SetMode(ctx, m)
		})
	}
	return group("network", "See and change how a broker takes part in its network", networkStatusCommand(), networkExplainCommand(),
		mode("drain", "Give what is here to the consumers of other brokers, and take nothing, until start or a restart", network.Draining),
		mode("stop", "Forward and take nothing, until start or a restart", network.Stopped),
		mode("start", "Take part again", network.Running))
}

// networkTool is a command that asks the broker that runs on the data directory which the flag or the environment names.
func networkTool(use, short string, args cobra.PositionalArgs,
	run func(ctx context.Context, cmd *cobra.Command, node network.Operator, args []string) error) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,
		RunE: func(cmd *cobra.Command, args []string) error {
			s := config.Sources{Env: os.Environ(), Flags: map[string]any{}}
			if data != "" {
				s.Flags["data.dir"] = data
			}
			cfg, err := config.Load(s)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cmd, network.NewControl(cfg.Data.Dir), args)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data `DIR` of the broker (default ./baton-data, or BATON_DATA_DIR)")
	return cmd
}

func networkStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := networkTool("status", "Print the other brokers, what they want, and what is under way to them", noArguments,
		func(ctx context.Context, cmd *cobra.Command, node network.Operator, _ []string) error {
			s, err := node.Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s)
			}
			return printNetwork(cmd.OutOrStdout(), s)
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func networkExplainCommand() *cobra.Command {
	var asJSON bool
	cmd := networkTool("explain QUEUE", "Say of each broker why messages of a queue wait there", cobra.ExactArgs(1),
		func(ctx context.Context, cmd *cobra.Command, node network.Operator, args []string) error {
			all, err := node.Explain(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printExplanations(cmd.OutOrStdout(), all)
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printNetwork(w io.Writer, s network.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "member\t%s (%s)\n", s.Member, s.Mode)
	fmt.Fprintf(t, "under way\t%d batches from here, %d kept here until their sender decides\n", s.Sent, s.Held)
	if len(s.Peers) == 0 {
		fmt.Fprintf(t, "peers\tnone is heard of\n")
	}
	for _, p := range s.Peers {
		fmt.Fprintf(t, "peer\t%s, heard %s ago, %d batches under way to it\n", p.Member, p.Heard, p.Transfers)
		for _, l := range p.Links {
			what := "everything"
			if len(l.Selectors) > 0 {
				what = strings.Join(l.Selectors, "; ")
			}
			if l.Static {
				fmt.Fprintf(t, "  is given\t/queue/%s: room for %d, %d under way, by network.static", l.Queue, l.Room, l.UnderWay)
			} else {
				fmt.Fprintf(t, "  wants\t/queue/%s: %d consumers, room for %d, %d under way, of %s", l.Queue, l.Consumers, l.Room, l.UnderWay, what)
			}
			if l.Failed > 0 {
				fmt.Fprintf(t, "; %d transfers failed, the last for: %s", l.Failed, l.Why)
			}
			fmt.Fprintln(t)
		}
	}
	return t.Flush()
}

func printExplanations(w io.Writer, all []network.Explanation) error {
	for _, e := range all {
		if _, err := fmt.Fprintf(w, "%s: %d messages of /queue/%s wait, %d are in flight, %d consumers\n",
			e.Member, e.Waiting, e.Queue, e.InFlight, e.Consumers); err != nil {
			return err
		}
		for _, why := range e.Why {
			fmt.Fprintf(w, "  %s\n", why)
		}
	}
	return nil
}
