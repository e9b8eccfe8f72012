package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"prefect-worker-ecs/internal/aws/query"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/local/alarm"
	"prefect-worker-ecs/internal/local/autoscaling"
	"prefect-worker-ecs/internal/local/enforce"
	"prefect-worker-ecs/internal/local/pyenv"
	"prefect-worker-ecs/internal/prefect/probe"
	"prefect-worker-ecs/internal/terraform/project"
)

// probeEvery is how often the probe runs here; on AWS it is each minute.
const probeEvery = 5 * time.Second

// watch runs the probe, where the stack has one, until ctx ends, and scales the service by what it publishes.
func (r *run) watch(ctx context.Context, local string, log io.Writer) {
	_ = poll.Until(ctx, probeEvery, func() (bool, error) {
		if err := r.runProbe(ctx, local, log); err != nil && ctx.Err() == nil {
			fmt.Fprintln(log, "the probe:", err)
		}
		return false, nil
	})
}

// runProbe runs the deployed function as Lambda would, again and again until ctx ends or the stack changes: the
// code of its archive, with its variables and the credentials of its role.
func (r *run) runProbe(ctx context.Context, local string, log io.Writer) error {
	checklist, err := r.checklist()
	if err != nil || !checklist.Environment.HasProbe() {
		return err
	}
	env, cfg := checklist.Environment, awsConfig(r.state)
	scaler := autoscaling.Scaler{AWS: cfg, Cluster: env.Cluster.Name, Service: env.Worker.ServiceName, Minute: probeEvery}
	function, err := query.NewLambda(cfg).Function(ctx, env.Probe())
	if err != nil {
		return fmt.Errorf("read the function %s: %w", env.Probe(), err)
	}
	archive := filepath.Join(project.Workspace{Dir: r.workspaceDir()}.StackDir(env.Name), probe.ArchiveName)
	content, err := os.ReadFile(archive)
	if err != nil {
		return fmt.Errorf("read the code of the function: %w", err)
	}
	if sum := sha256.Sum256(content); base64.StdEncoding.EncodeToString(sum[:]) != function.CodeSHA256 {
		return fmt.Errorf("%s is not the code of the deployed function %s", archive, env.Probe())
	}
	python, err := pyenv.Ensure(ctx, pyenv.Moto, pyenv.Options{Root: local}) // it has boto3
	if err != nil {
		return err
	}
	proxy, err := r.probeProxy(log)
	if err != nil {
		return err
	}
	defer proxy.Close()

	role := proxy.Config(enforce.Function, function.Role, env.Probe())
	logs, stream := cloudwatchlogs.NewFromConfig(role), aws.String(time.Now().UTC().Format("2006/01/02/[$LATEST]150405"))
	if _, err := logs.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: aws.String(env.ProbeLogGroup()), LogStreamName: stream}); err != nil {
		return fmt.Errorf("write the log of the function: %w", err)
	}
	variables := append(withoutUsers(pyenv.Environ()), platform(r.state, proxy)...)
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
			fmt.Fprintln(log, "write the log of the function:", err)
		}
		if scaled, err := scaler.Scale(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(log, "scaling:", err)
		} else if scaled != "" {
			fmt.Fprintf(log, "%s scaled %s\n", time.Now().Format("15:04:05"), scaled)
		}
		now, err := r.checklist()
		return err == nil && !bytes.Equal(now.Stack, checklist.Stack), err
	})
}

// probeProxy enforces the rights of the probe's role. Of calls that are made again and again
// the first is on record, and each that is refused.
func (r *run) probeProxy(log io.Writer) (*enforce.Proxy, error) {
	calls, err := newJournal(r.callPath())
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	return enforce.Start(enforce.Options{
		AWS: awsConfig(r.state), Stack: r.policies,
		Journal: func(c enforce.Call) {
			mu.Lock()
			defer mu.Unlock()
			if key := c.Action + c.Problem; !seen[key] {
				seen[key] = true
				if err := calls.write(c); err != nil {
					fmt.Fprintln(log, "record a call:", err)
				}
			}
			if !c.Allowed {
				fmt.Fprintln(log, c)
			}
		},
	})
}

// watchedTimeout is how long CloudWatch may take to show that all is well: as many data points as
// the alarm with the longest view looks at.
const watchedTimeout = time.Minute

// watched says what CloudWatch shows of the worker, when none of its alarms is red any more.
func (u *up) watched(ctx context.Context) error {
	return u.p.Step("looking at what CloudWatch shows", func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, watchedTimeout)
		defer cancel()
		var red []string
		var last alarm.Sample
		err := poll.Until(ctx, time.Second, func() (bool, error) {
			alarms, samples, err := alarm.Read(ctx, awsConfig(u.state), u.env.Worker.ServiceName)
			if err != nil || len(samples) == 0 {
				return false, err
			}
			red, last = nil, samples[len(samples)-1]
			for _, a := range alarms {
				// The alarms of scaling change the number of tasks; nobody is called.
				forPeople := slices.ContainsFunc(a.AlarmActions, func(arn string) bool { return !strings.Contains(arn, ":scalingPolicy:") })
				if forPeople && alarm.InAlarm(a, samples) {
					red = append(red, aws.ToString(a.AlarmName))
				}
			}
			return len(red) == 0, nil
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("red in CloudWatch: %s; the last metrics are %v", strings.Join(red, ", "), last)
		}
		return fmt.Sprintf("CloudWatch: %.0f worker online, %.0f of %.0f tasks, %.0f flow runs due, %.0f lost; no alarm is red",
			last["WorkersOnline"], last["TasksRunning"], last["TasksDesired"], last["FlowRunsDue"], last["FlowRunsLost"]), err
	})
}
