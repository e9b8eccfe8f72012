package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"prefect-worker-ecs/internal/base/redact"
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
	kept := c.logGroup(ctx, group)
	if kept.blocks {
		return kept
	}
	lines, err := c.logSince(ctx, group, aws.ToTime(c.service.deployment.CreatedAt))
	switch {
	case is(err, "ResourceNotFoundException"):
		return failed("the log group "+group+" does not exist, so that no task can start", c.deployFix())
	case err != nil:
		return unread("the log group "+group, err)
	}
	if !c.client.online {
		telling := withoutFrames(lines)
		c.report.Log = telling[max(0, len(telling)-logLines):]
	}
	count := fmt.Sprintf("%d lines in %s since the deployment", len(lines), group)
	s, line, found := lastSymptom(lines)
	switch {
	case found && !c.client.online:
		return failed(s.Explanation+"\nline: "+line, s.Fix)
	case kept.status != OK:
		return kept
	case found:
		return ok("%s; one of them says: %s. The worker is online all the same", count, s.Explanation)
	case !c.client.online && slices.ContainsFunc(lines, started.MatchString):
		return ok("%s, none of them a known failure. That a worker \"started\" proves nothing", count)
	}
	return ok("%s, none of them a known failure", count)
}

// logGroup compares the group with the synthesized one.
func (c *checklist) logGroup(ctx context.Context, name string) finding {
	want := c.stack.Resource("aws_cloudwatch_log_group", "worker")
	if !c.env.Logs.Existing && want["name"] != name {
		return ok("") // the task definition is not that of the configuration, which has been said
	}
	out, err := c.aws.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
	if err != nil {
		return unread("the log group "+name, err).block()
	}
	i := slices.IndexFunc(out.LogGroups, func(g types.LogGroup) bool { return aws.ToString(g.LogGroupName) == name })
	if i < 0 {
		return failed("the log group "+name+" does not exist, so that no task can start", c.deployFix()).block()
	}
	if c.env.Logs.Existing {
		return ok("") // how it is kept is not the program's
	}
	got := out.LogGroups[i]
	days, _ := want["retention_in_days"].(float64)
	if int(days) != int(aws.ToInt32(got.RetentionInDays)) {
		return failed(fmt.Sprintf("the log group %s keeps %d days, configured are %d (0 is for ever)", name, aws.ToInt32(got.RetentionInDays), int(days)), c.deploy())
	}
	if key, _ := want["kms_key_id"].(string); key != aws.ToString(got.KmsKeyId) {
		return failed(fmt.Sprintf("the KMS key of the log group %s is %s, configured is %s", name, orNone(aws.ToString(got.KmsKeyId)), orNone(key)), c.deploy())
	}
	return ok("")
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
			lines = append(lines, redact.Text(strings.TrimRight(aws.ToString(e.Message), "\n")))
		}
	}
	return lines, nil
}
