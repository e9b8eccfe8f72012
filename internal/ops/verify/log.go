package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/logs"
	"prefect-worker-ecs/internal/prefect/symptoms"
)

// logLines is how many of the last lines a report holds.
const logLines = 15

// readLog checks that the log group exists, and looks in it for the reason of a failure.
func (c *checklist) readLog(ctx context.Context) finding {
	group, lines, err := c.Log(ctx, c.aws.logs, c.env)
	switch {
	case is(err, "ResourceNotFoundException"):
		return failed("the log group "+group+" does not exist, so that no task can start", c.deployFix())
	case err != nil:
		return unreadable("the log group "+group, err)
	}
	c.await(checkWorker)
	return c.judgeLog(group, lines)
}

func (c *checklist) judgeLog(group string, lines []string) finding {
	if !c.online {
		telling := symptoms.WithoutFrames(lines)
		c.log = telling[max(0, len(telling)-logLines):]
	}
	count := fmt.Sprintf("%d lines in %s since the deployment", len(lines), group)
	s, line, found := symptoms.Last(symptoms.OfWorker(lines), c.env.WorkPool.FlowsAreTasks())
	contradiction := ""
	if found {
		contradiction = contradictedBy[s.Lines[0]]
	}
	switch {
	case found && contradiction != "" && c.await(contradiction).status == OK:
		return ok("%s. One says: %s; but the %s is as it should be now. If it was changed since the task started, that needs a new task: aws ecs update-service --force-new-deployment", count, s.Explanation, contradiction)
	case found && s.OfRun && c.await(checkPool).status == OK && c.await(checkRoles).status == OK:
		return unknown(s.Explanation+"\nline: "+line+"\nno flow run was started since; the template and the roles are as they should be now", "workerctl verify --flow shows whether flow runs start now")
	case found && (!c.online || s.OfRun):
		return failed(s.Explanation+"\nline: "+line, s.Fix)
	case found:
		return ok("%s; one of them says: %s. The worker is online all the same", count, s.Explanation)
	case !c.online && slices.ContainsFunc(lines, symptoms.Started.MatchString):
		return ok("%s, none of them a known failure; that a worker \"started\" is no proof", count)
	}
	return ok("%s, none of them a known failure", count)
}

// contradictedBy are the checks which, when all is well with them, exclude that a symptom is the cause, by its
// first text.
var contradictedBy = map[string]string{
	"401 Unauthorized": checkAPI, "404 Not Found": checkAPI, "Illegal header value": checkSecret,
	"Worker type mismatch": checkPool, "is currently paused": checkPool, "' not found!": checkPool, "Workers are not required for": checkPool,
}

// Log reads the newest lines of the worker since the current deployment: those of the streams of its
// container, and not of flow tasks or of the Prefect server, which are in the same group.
func (e *Evidence) Log(ctx context.Context, client *cloudwatchlogs.Client, env *config.Environment) (group string, lines []string, err error) {
	group, prefix := env.Logs.Group, ""
	if configured := e.Container.LogConfiguration; configured != nil && configured.Options["awslogs-group"] != "" {
		group = configured.Options["awslogs-group"]
		if of := configured.Options["awslogs-stream-prefix"]; of != "" {
			prefix = of + "/" + aws.ToString(e.Container.Name) + "/"
		}
	}
	lines, err = logs.Newest(ctx, client, group, prefix, aws.ToTime(e.Deployment.CreatedAt))
	return group, lines, err
}
