package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// logLines is how many of the last lines a report holds.
const logLines = 15

// log checks that the group exists, and looks in it for the reason of a failure.
func (c *checklist) log(ctx context.Context) finding {
	group := c.env.Logs.Group
	if configured := c.service.container.LogConfiguration; configured != nil {
		if name := configured.Options["awslogs-group"]; name != "" {
			group = name
		}
	}
	lines, err := c.logSince(ctx, group, aws.ToTime(c.service.deployment.CreatedAt))
	switch {
	case is(err, "ResourceNotFoundException"):
		return failed("the log group "+group+" does not exist, so that no task can start", c.deployFix())
	case err != nil:
		return unread("the log group "+group, err)
	}
	if !c.api.online {
		telling := withoutFrames(lines)
		c.report.Log = telling[max(0, len(telling)-logLines):]
	}
	count := fmt.Sprintf("%d lines in %s since the deployment", len(lines), group)
	s, line, found := lastSymptom(lines)
	switch {
	case found && c.api.online:
		return ok("%s; one of them says: %s. The worker is online all the same", count, s.explanation)
	case found:
		return failed(s.explanation+"\nline: "+line, s.fix)
	case !c.api.online && slices.ContainsFunc(lines, started.MatchString):
		return ok("%s, none of them a known failure. That a worker \"started\" proves nothing", count)
	}
	return ok("%s, none of them a known failure", count)
}

func (c *checklist) logSince(ctx context.Context, group string, since time.Time) ([]string, error) {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group}
	if !since.IsZero() {
		in.StartTime = aws.Int64(since.UnixMilli())
	}
	var lines []string
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(c.aws.logs, in)
	// Ten pages are up to 100,000 lines; more would take minutes.
	for range 10 {
		if !pages.HasMorePages() {
			break
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			lines = append(lines, strings.TrimRight(aws.ToString(e.Message), "\n"))
		}
	}
	return lines, nil
}
