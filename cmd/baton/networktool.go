package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

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
	if s.Restarts > 0 {
		fmt.Fprintf(t, "restarts\t%d, the last one for: %s\n", s.Restarts, s.LastError)
	}
	if !s.Ready {
		fmt.Fprintf(t, "\tstill reads what was under way before its start\n")
	}
	fmt.Fprintf(t, "under way\t%d batches from here, %d kept here until their sender decides\n", s.Sent, s.Held)
	for _, d := range s.Durables {
		home := "used last at " + d.Home
		if d.Home == "" {
			home = "used last at a broker that is not heard of"
		}
		fmt.Fprintf(t, "durable\t%s of /topic/%s, %s\n", d.Name, d.Topic, home)
	}
	if len(s.Peers) == 0 {
		fmt.Fprintf(t, "peers\tnone is heard of\n")
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		known := "demand known"
		if !p.Known {
			known = "demand not known"
		}
		fmt.Fprintf(t, "peer\t%s, there since %s, heard %s ago, %s since %s\n", p.Member, clock(p.Since), p.Heard, known, clock(p.Learned))
		printTraffic(t, &p.Counts, &p.Batches)
		for j := range p.Links {
			printLink(t, &p.Links[j])
		}
	}
	for i := range s.Lost {
		p := &s.Lost[i]
		fmt.Fprintf(t, "lost\t%s, since %s: %s\n", p.Member, clock(p.Since), p.Why)
		printTraffic(t, &p.Counts, &p.Batches)
	}
	return t.Flush()
}

func clock(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05") }

// printTraffic prints what has passed between this broker and another one, and what is on its way.
func printTraffic(w io.Writer, c *network.Counts, b *network.Batches) {
	fmt.Fprintf(w, "  queues\t%d messages (%d octets) forwarded, %d (%d) received\n", c.Forwarded, c.ForwardedOctets, c.Received, c.ReceivedOctets)
	fmt.Fprintf(w, "  topics\t%d messages left, %d came\n", c.Published, c.Shown)
	fmt.Fprintf(w, "  batches\t%d taken back, %d of them refused, %d questions said again\n", c.TakenBack, c.Refused, c.Resent)
	if b.Oldest != "" {
		fmt.Fprintf(w, "  under way\t%d offered, %d being decided, %d decided, %d kept here for it; the oldest for %s\n",
			b.Offered, b.Deciding, b.Decided, b.Held, b.Oldest)
	}
}

func printLink(w io.Writer, l *network.LinkStatus) {
	what := "everything"
	if len(l.Selectors) > 0 {
		what = strings.Join(l.Selectors, "; ")
	}
	if l.Static {
		fmt.Fprintf(w, "  is given\t%s (%s): room for %d, %d granted, %d under way, by network.static", queueName(l.Queue), l.State, l.Room, l.Granted, l.UnderWay)
	} else {
		fmt.Fprintf(w, "  wants\t%s (%s): %d consumers, room for %d, %d granted, %d under way, of %s",
			queueName(l.Queue), l.State, l.Consumers, l.Room, l.Granted, l.UnderWay, what)
	}
	if l.Failed > 0 {
		fmt.Fprintf(w, "; %d transfers failed, the last for: %s", l.Failed, l.Why)
	}
	if l.Rests != "" {
		fmt.Fprintf(w, "; tried again in %s", l.Rests)
	}
	fmt.Fprintln(w)
}

// queueName is what people call a queue, or a durable subscription, whose name says so.
func queueName(name string) string {
	if strings.HasPrefix(name, "/durable/") {
		return name
	}
	return "/queue/" + name
}

func printExplanations(w io.Writer, all []network.Explanation) error {
	for _, e := range all {
		if _, err := fmt.Fprintf(w, "%s: %d messages of %s wait, %d are in flight, %d consumers\n",
			e.Member, e.Waiting, queueName(e.Queue), e.InFlight, e.Consumers); err != nil {
			return err
		}
		for _, why := range e.Why {
			fmt.Fprintf(w, "  %s\n", why)
		}
	}
	return nil
}
