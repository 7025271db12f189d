package main

import "github.com/spf13/cobra"

// keyFlag is a flag that stands for a key of the configuration.
type keyFlag struct{ name, key, usage string }

var logLevelFlag = keyFlag{"log-level", "log.level", "log from `LEVEL` on: debug, info, warn or error (default info)"}

func addKeyFlags(cmd *cobra.Command, flags []keyFlag) {
	for _, f := range flags {
		cmd.Flags().String(f.name, "", f.usage)
	}
	complete(cmd, logLevelFlag.name, "debug", "info", "warn", "error")
}

// givenFlags are the values of those flags that are there, by their keys.
func givenFlags(cmd *cobra.Command, flags []keyFlag) map[string]any {
	given := map[string]any{}
	for _, f := range flags {
		if flag := cmd.Flags().Lookup(f.name); flag.Changed {
			given[f.key] = flag.Value.String()
		}
	}
	return given
}
