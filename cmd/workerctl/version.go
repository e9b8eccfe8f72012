package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the revision of the project and the releases that belong together",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			info, _ := debug.ReadBuildInfo()
			fmt.Fprint(cmd.OutOrStdout(), versionText(info))
		},
	}
}

// versionText returns the revision of the project from which the program was built. It is no
// release with a number: the project is used as a checkout.
func versionText(info *debug.BuildInfo) string {
	if info == nil {
		return "workerctl, built without a record of how\n"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	switch {
	case revision == "":
		revision = "an unknown revision"
	case settings["vcs.modified"] == "true":
		revision = fmt.Sprintf("%.12s of %s, with changes", revision, settings["vcs.time"])
	default:
		revision = fmt.Sprintf("%.12s of %s", revision, settings["vcs.time"])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "workerctl %s\n%s %s/%s\n", revision, info.GoVersion, settings["GOOS"], settings["GOARCH"])
	return b.String()
}
