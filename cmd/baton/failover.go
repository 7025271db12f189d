package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"baton/config"
	"baton/failover"

	"github.com/spf13/cobra"
)

func failoverCommand() *cobra.Command {
	return group("failover", "See and change who is master of a pair",
		failoverStatusCommand(), failoverSwitchoverCommand(), failoverPromoteCommand(), failoverResyncCommand())
}

// controlTimeout is when a node that has not answered hangs. A switchover takes less than a second.
const controlTimeout = failover.OperatorPatience + 10*time.Second

// failoverTool is a command that asks the node that runs on the data directory which the flag or the environment names.
func failoverTool(use, short, long string, run func(ctx context.Context, cmd *cobra.Command, node *failover.Control) error) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := config.Sources{Env: os.Environ(), Flags: map[string]any{}}
			if data != "" {
				s.Flags["data.dir"] = data
			}
			cfg, err := config.Load(s)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), controlTimeout)
			defer cancel()
			return run(ctx, cmd, failover.NewControl(cfg.Data.Dir))
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data `DIR` of the node (default ./baton-data, or BATON_DATA_DIR)")
	return cmd
}

func failoverStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := failoverTool("status", "Print the node's role, epoch, peer, lag, register and alarms", "",
		func(ctx context.Context, cmd *cobra.Command, node *failover.Control) error {
			status, err := node.Status(ctx)
			if err != nil {
				return err
			}
			if !asJSON {
				return status.Print(cmd.OutOrStdout())
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(status)
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func failoverSwitchoverCommand() *cobra.Command {
	return failoverTool("switchover", "Make the standby the master, without loss",
		`Make the standby the master. Ask the master's node. Nothing is lost and nothing is doubled: the master stops taking messages,
waits until the standby has everything, and hands over. Clients that know both brokers go on after a fraction of a second. The
command ends when the new master serves them, or says that this was not heard within 10 s.`,
		func(ctx context.Context, cmd *cobra.Command, node *failover.Control) error {
			if err := node.Switchover(ctx); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the standby is the master now")
			return nil
		})
}

func failoverPromoteCommand() *cobra.Command {
	var acceptLoss bool
	cmd := failoverTool("promote", "Make this node the master though messages may be lost",
		`Make this node the master although the register does not list it as in sync. What was acknowledged and is not here is
lost to the clients; it is kept on the other node when that comes back, in a directory divergent-EPOCH-SEQ. Without
--accept-loss nothing is done, and you are told what may be lost.`,
		func(ctx context.Context, cmd *cobra.Command, node *failover.Control) error {
			if err := node.Promote(ctx, acceptLoss); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "this node is the master now")
			return nil
		})
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false, "do it")
	return cmd
}

func failoverResyncCommand() *cobra.Command {
	return failoverTool("resync", "Have this standby get a copy of the master's journal in the place of its own",
		`Have this standby get a copy of the master's journal in the place of its own. Until that is complete the standby cannot take over.
A journal that has what the master's does not is kept, in a directory divergent-EPOCH-SEQ.`,
		func(ctx context.Context, cmd *cobra.Command, node *failover.Control) error {
			if err := node.Resync(ctx); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "with its next connection to the master this node gets a copy of that journal in the place of its own")
			return nil
		})
}
