package ecstask

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// logSink sends lines to the stream that the awslogs driver would use, and to a
// file.
type logSink struct {
	client        *cloudwatchlogs.Client // nil: only the file
	group, stream string
	file          *os.File
}

// newLogSink creates the log stream. A missing log group is an error, as on
// Fargate, where the task then does not start.
func newLogSink(ctx context.Context, client *cloudwatchlogs.Client, c types.ContainerDefinition, taskID string, file *os.File) (*logSink, error) {
	l := c.LogConfiguration
	if l == nil || l.LogDriver != types.LogDriverAwslogs {
		return &logSink{file: file}, nil
	}
	s := &logSink{
		client: client,
		group:  l.Options["awslogs-group"],
		stream: l.Options["awslogs-stream-prefix"] + "/" + aws.ToString(c.Name) + "/" + taskID,
		file:   file,
	}
	if _, err := client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &s.group, LogStreamName: &s.stream}); err != nil {
		return nil, fmt.Errorf("ResourceInitializationError: failed to create a stream in the log group %s: %w", s.group, err)
	}
	return s, nil
}

// sendEvery is how long lines wait for others: the emulator answers one call at a time.
const sendEvery = 100 * time.Millisecond

// copy reads output until its end, and writes and sends what is there each time. The client's
// failures do not stop it (the driver's mode is non-blocking): they go to the file.
func (s *logSink) copy(output io.Reader) {
	in := bufio.NewReaderSize(output, 64*1024)
	var batch []logtypes.InputLogEvent
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			line := strings.TrimRight(text, "\r\n")
			fmt.Fprintln(s.file, line)
			batch = append(batch, logtypes.InputLogEvent{
				Message:   aws.String(cmp.Or(line, " ")), // CloudWatch takes no empty events
				Timestamp: aws.Int64(time.Now().UnixMilli()),
			})
		}
		rest, _ := in.Peek(in.Buffered())
		if err != nil || !bytes.Contains(rest, []byte("\n")) {
			s.send(batch)
			batch = nil
			if err != nil {
				return
			}
			time.Sleep(sendEvery)
		}
	}
}

// send puts events into the log stream.
func (s *logSink) send(events []logtypes.InputLogEvent) {
	if len(events) == 0 || s.client == nil {
		return
	}
	// The end of the output must arrive although the caller has given up.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := s.client.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: &s.group, LogStreamName: &s.stream, LogEvents: events})
	if err != nil {
		fmt.Fprintf(s.file, "[%d lines did not reach the log group %s: %v]\n", len(events), s.group, err)
	}
}
