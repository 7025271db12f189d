package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// release is the version of a build that packagers name, with -ldflags "-X main.release=VERSION". Empty: the module's is.
var release string

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  noArguments,
		Run: func(cmd *cobra.Command, _ []string) {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			fmt.Fprintln(cmd.OutOrStdout(), versionLine(info))
		},
	}
}

// versionLine is "baton VERSION commit COMMIT GO"; what the build does not know is left out.
func versionLine(info *debug.BuildInfo) string {
	words := []string{"baton", cmp.Or(release, info.Main.Version)}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if commit := settings["vcs.revision"]; commit != "" {
		words = append(words, "commit", commit)
	}
	if settings["vcs.modified"] == "true" {
		words = append(words, "modified")
	}
	words = append(words, info.GoVersion)
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
