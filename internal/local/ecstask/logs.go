package ecstask

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Limits of PutLogEvents in the CloudWatch Logs API reference.
const (
	batchEvents   = 10_000
	batchBytes    = 1_048_576
	eventOverhead = 26
	// eventBytes is where a longer line is cut into several events, as the
	// awslogs driver does (256 KiB less the overhead).
	eventBytes = 256*1024 - eventOverhead
)

// flushEvery is how long a line may wait for others before it is sent.
const flushEvery = time.Second

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
	if l.Options["awslogs-create-group"] == "true" {
		var exists *logtypes.ResourceAlreadyExistsException
		_, err := client.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &s.group})
		if err != nil && !errors.As(err, &exists) {
			return nil, fmt.Errorf("ResourceInitializationError: failed to create the log group %s: %w", s.group, err)
		}
	}
	if _, err := client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &s.group, LogStreamName: &s.stream}); err != nil {
		return nil, fmt.Errorf("ResourceInitializationError: failed to create a stream in the log group %s: %w", s.group, err)
	}
	return s, nil
}

// copy reads output until its end and sends it on. The client's failures do not
// stop it (the driver's mode is non-blocking): they go to the file.
func (s *logSink) copy(output io.Reader) {
	lines := make(chan logtypes.InputLogEvent, 1024)
	go func() {
		defer close(lines)
		s.read(output, lines)
	}()

	var batch []logtypes.InputLogEvent
	size := 0
	send := func() {
		s.send(batch)
		batch, size = nil, 0
	}
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case event, ok := <-lines:
			if !ok {
				send()
				return
			}
			n := len(*event.Message) + eventOverhead
			if len(batch) == batchEvents || size+n > batchBytes {
				send()
			}
			batch, size = append(batch, event), size+n
		case <-tick.C:
			send()
		}
	}
}

// read writes each line of output to the file, and hands it on as events.
func (s *logSink) read(output io.Reader, events chan<- logtypes.InputLogEvent) {
	in := bufio.NewReaderSize(output, 64*1024)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			_, _ = s.file.WriteString(strings.TrimSuffix(text, "\n") + "\n")
			now := time.Now().UnixMilli()
			for _, part := range split(strings.TrimRight(text, "\r\n"), eventBytes) {
				events <- logtypes.InputLogEvent{Message: aws.String(part), Timestamp: aws.Int64(now)}
			}
		}
		if err != nil {
			return
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

// split cuts text into parts of at most n bytes. An empty line is one blank:
// CloudWatch takes no empty events.
func split(text string, n int) []string {
	if text == "" {
		return []string{" "}
	}
	var parts []string
	for len(text) > n {
		cut := n
		for !utf8.RuneStart(text[cut]) {
			cut-- // Not within a character.
		}
		parts = append(parts, text[:cut])
		text = text[cut:]
	}
	return append(parts, text)
}
