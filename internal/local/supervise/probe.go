package supervise

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/local/emulator"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/probe"
)

// probeEvery is how often the probe runs here; on AWS it is each minute.
const probeEvery = 5 * time.Second

// watchProbe runs the probe, where the stack has one, until ctx ends, and scales the service by what it publishes.
func (s *supervisor) watchProbe(ctx context.Context) {
	_ = poll.Until(ctx, probeEvery, func() (bool, error) {
		if err := s.runProbe(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(s.Log, "the probe:", err)
		}
		return false, nil
	})
}

// runProbe runs the deployed function as Lambda would, again and again until ctx ends or the stack changes: the
// code of its archive, with its variables and the credentials of its role.
func (s *supervisor) runProbe(ctx context.Context) error {
	env, stack, err := s.Deployed()
	if err != nil || !env.HasProbe() {
		return err
	}
	function, err := query.New(s.aws).Function(ctx, env.Probe())
	if err != nil {
		return fmt.Errorf("read the function %s: %w", env.Probe(), err)
	}
	archive := filepath.Join(s.StackDir, probe.ArchiveName)
	content, err := os.ReadFile(archive)
	if err != nil {
		return fmt.Errorf("read the code of the function: %w", err)
	}
	if sum := sha256.Sum256(content); base64.StdEncoding.EncodeToString(sum[:]) != function.CodeSHA256 {
		return fmt.Errorf("%s is not the code of the deployed function %s", archive, env.Probe())
	}
	python, err := pyenv.Ensure(ctx, pyenv.Moto, pyenv.Options{Root: s.Root}) // it has boto3
	if err != nil {
		return err
	}
	role := s.proxy.Config(enforce.Function, function.Role, env.Probe())
	logs, stream := cloudwatchlogs.NewFromConfig(role), aws.String(time.Now().UTC().Format("2006/01/02/[$LATEST]150405"))
	if _, err := logs.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String(env.ProbeLogGroup()), LogStreamName: stream}); err != nil {
		return fmt.Errorf("write the log of the function: %w", err)
	}
	variables := append(emulator.WithoutUserSettings(pyenv.Environ()), s.platform()...)
	for name, value := range function.Environment.Variables {
		variables = append(variables, name+"="+value)
	}
	code := probe.Function{Python: python.Python(), Archive: archive}
	defer code.Close()
	return poll.Until(ctx, probeEvery, func() (bool, error) {
		credentials, err := role.Credentials.Retrieve(ctx)
		if err != nil {
			return false, err
		}
		printed, err := code.Run(ctx, append(variables,
			"AWS_ACCESS_KEY_ID="+credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+credentials.SecretAccessKey, "AWS_SESSION_TOKEN="+credentials.SessionToken))
		if err != nil {
			printed += err.Error()
		}
		if _, err := logs.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String(env.ProbeLogGroup()), LogStreamName: stream,
			LogEvents: []logtypes.InputLogEvent{{Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String(strings.TrimSpace(printed))}}}); err != nil && ctx.Err() == nil {
			fmt.Fprintln(s.Log, "write the log of the function:", err)
		}
		if scaled, err := s.scale(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(s.Log, "scaling:", err)
		} else if scaled != "" {
			fmt.Fprintf(s.Log, "%s scaled %s\n", time.Now().Format("15:04:05"), scaled)
		}
		_, now, err := s.Deployed()
		return err == nil && !bytes.Equal(now, stack), err
	})
}
