// Package logs reads the newest lines of log streams in CloudWatch Logs.
package logs

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"prefect-worker-ecs/internal/base/redact"
)

const (
	// enough is how many lines end the search for older ones.
	enough = 1000
	// firstWindow is the first window of time to be read. Each further one, before it, is ten times as long.
	firstWindow = 10 * time.Minute
	// pagesOfWindow is how many pages of a window are read: each has up to 10,000 lines. Of a window with
	// more, the last tenth is read instead.
	pagesOfWindow = 3
)

// Newest returns the newest lines of a group since a point of time, oldest first and with credentials
// hidden, of the streams whose names begin with prefix. CloudWatch gives the oldest lines of a window of
// time first, so that windows are read backwards from now.
func Newest(ctx context.Context, client *cloudwatchlogs.Client, group, prefix string, since time.Time) ([]string, error) {
	if oldest := time.Now().AddDate(-1, 0, 0); since.Before(oldest) {
		since = oldest
	}
	var all []string
	window := firstWindow
	for end := time.Now().Add(time.Minute); len(all) < enough && end.After(since); { // a minute, because clocks differ
		begin := end.Add(-window)
		if begin.Before(since) {
			begin = since
		}
		lines, complete, err := between(ctx, client, group, prefix, begin, end)
		if err != nil {
			return nil, err
		}
		if !complete && window > time.Second {
			window /= 10
			continue
		}
		all, end = append(lines, all...), begin
		window *= 10
	}
	return all, nil
}

// between returns the lines of a window, without its end, and whether they are all.
func between(ctx context.Context, client *cloudwatchlogs.Client, group, prefix string, begin, end time.Time) (lines []string, complete bool, err error) {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, StartTime: aws.Int64(begin.UnixMilli()), EndTime: aws.Int64(end.UnixMilli() - 1)}
	if prefix != "" {
		in.LogStreamNamePrefix = &prefix
	}
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(client, in)
	for range pagesOfWindow {
		if !pages.HasMorePages() {
			break
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, false, err
		}
		for _, e := range page.Events {
			if strings.HasPrefix(aws.ToString(e.LogStreamName), prefix) { // moto returns those of all streams
				lines = append(lines, redact.Text(strings.TrimRight(aws.ToString(e.Message), "\n")))
			}
		}
	}
	return lines, !pages.HasMorePages(), nil
}
