package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/spf13/cobra"

	"prefect-worker-ecs/internal/base/redact"
	"prefect-worker-ecs/internal/ops/verify"
)

// followPause is the time between two looks at the log. CloudWatch takes a few seconds to show
// a line anyway.
const followPause = 2 * time.Second

func newLogsCommand() *cobra.Command {
	var follow bool
	var since time.Duration
	var task, run string
	cmd := workerCommand("logs", "Show the worker's log from CloudWatch", "",
		func(cmd *cobra.Command, opt verify.Options) error {
			reader := logReader{client: cloudwatchlogs.NewFromConfig(opt.AWS), group: opt.Environment.Logs.Group, task: task, run: run, flows: opt.Environment.FlowStream(), named: map[string]bool{}, from: time.Now().Add(-since), seen: map[string]bool{}}
			err := reader.read(cmd.Context(), cmd.OutOrStdout())
			for follow && err == nil {
				select {
				case <-cmd.Context().Done():
					return nil // Ctrl-C is how one stops to look
				case <-time.After(followPause):
					err = reader.read(cmd.Context(), cmd.OutOrStdout())
				}
			}
			if follow && cmd.Context().Err() != nil {
				return nil
			}
			return err
		})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	cmd.Flags().DurationVar(&since, "since", time.Hour, "how far back")
	cmd.Flags().StringVar(&task, "task", "", "only of the task whose id begins so")
	cmd.Flags().StringVar(&run, "run", "", "only of the flow run of this name or id: lines of the worker that name it, and its own task from there on")
	return cmd
}

// ownTime is the time with which Prefect begins a line.
var ownTime = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} \| `)

// logReader shows the events of a group, each once.
type logReader struct {
	client *cloudwatchlogs.Client
	group  string
	task   string
	run    string
	flows  string          // the streams of flow tasks begin so
	named  map[string]bool // streams of flow tasks that have named the flow run
	from   time.Time
	seen   map[string]bool // ids of events at or after from
}

func (r *logReader) read(ctx context.Context, out io.Writer) error {
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(r.client, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: &r.group, StartTime: aws.Int64(r.from.UnixMilli())})
	for pages.HasMorePages() {
		limited, cancel := context.WithTimeout(ctx, verify.Timeout)
		page, err := pages.NextPage(limited)
		cancel()
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing):
			return fmt.Errorf("there is no log group %s: the environment is not deployed, or in another account or region", r.group)
		case err != nil:
			return fmt.Errorf("read the log group %s: %s", r.group, verify.Reason(err))
		}
		for _, e := range page.Events {
			id := aws.ToString(e.EventId)
			// The stream is <prefix>/<container>/<task id>.
			stream := aws.ToString(e.LogStreamName)
			ofTask := stream[strings.LastIndex(stream, "/")+1:]
			message := strings.TrimRight(aws.ToString(e.Message), "\n")
			if r.seen[id] || !strings.HasPrefix(ofTask, r.task) || !r.ofRun(stream, message) {
				continue
			}
			r.seen[id] = true
			at := time.UnixMilli(aws.ToInt64(e.Timestamp))
			// Later looks begin here. Some seconds earlier, because events may come late.
			if late := at.Add(-10 * time.Second); late.After(r.from) {
				r.from = late
			}
			fmt.Fprintf(out, "%s %.8s %s\n", at.UTC().Format("15:04:05"), ofTask, redact.Text(ownTime.ReplaceAllString(message, "")))
		}
	}
	return nil
}

// ofRun reports whether a line is of the selected flow run. Without one all are.
func (r *logReader) ofRun(stream, message string) bool {
	named := strings.Contains(message, r.run)
	if named && strings.HasPrefix(stream, r.flows) {
		r.named[stream] = true
	}
	return named || r.named[stream]
}
