package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/terminal"
	"prefect-worker-ecs/internal/ops/verify"
	"prefect-worker-ecs/internal/terraform/stackjson"
)

// page is something that a person looks at in a browser.
type page struct{ name, url string }

// consoles returns the pages of a deployment in the AWS console, which are among the stack's outputs.
func consoles(opt verify.Options) ([]page, error) {
	env := opt.Environment
	stack, err := stackjson.Parse(opt.Stack, iam.Account{Partition: env.Partition(), Region: env.Region}, opt.Variables)
	if err != nil {
		return nil, err
	}
	var pages []page
	for _, p := range []page{{"service", "console_service_url"}, {"log", "console_logs_url"}, {"dashboard", "console_dashboard_url"}} {
		if url, ok := stack.Output(p.url).(string); ok {
			pages = append(pages, page{p.name, url})
		}
	}
	return pages, nil
}

func noBrowserFlag(cmd *cobra.Command, noBrowser *bool) {
	cmd.Flags().BoolVar(noBrowser, "no-browser", false, "only print the addresses")
}

// showPages prints pages, and opens them where a person with a desktop sits at the terminal.
func showPages(out io.Writer, pages []page, noBrowser bool) error {
	opener := ""
	if terminal.Is(out) && !noBrowser {
		opener = browser()
	}
	for _, p := range pages {
		if _, err := fmt.Fprintf(out, "  %-14s  %s\n", p.name, p.url); err != nil {
			return err
		}
		if opener != "" {
			_ = exec.Command(opener, p.url).Start() // without a page there is still its address
		}
	}
	return nil
}

// browser returns the program that opens an address in the browser of the desktop, or "" where there
// is no desktop.
func browser() string {
	if runtime.GOOS == "darwin" {
		return "open"
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	return "xdg-open"
}
