package main

import (
	"fmt"
	"os"

	"baton/config"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	return group("config", "Check and print the configuration", configCheckCommand(), configPrintCommand(), configPolicyCommand())
}

func configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find everything wrong with a configuration file and the environment",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := config.Load(sources(args)); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "configuration ok")
			return nil
		},
	}
}

func configPrintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "print [FILE]",
		Short: "Print the configuration as a broker would use it, and where each value came from",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := config.Describe(sources(args))
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
}

func configPolicyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "policy NAME [FILE]",
		Short: "Print the policy of a destination, such as /queue/orders.eu, and which rule each value is from",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(sources(args[1:]))
			if err != nil {
				return err
			}
			d, err := names(cfg).Parse(args[0])
			if err != nil {
				return usagef("%s", err)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), cfg.DescribePolicy(policies(cfg).Rules(d)))
			return err
		},
	}
}

func sources(args []string) config.Sources {
	s := config.Sources{Env: os.Environ(), Check: checkDestinations}
	if len(args) == 1 {
		s.File = args[0]
	}
	return s
}
