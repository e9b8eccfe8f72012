package ecstask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
)

// metadata is a small task metadata endpoint, version 4, with the fields that
// programs read most ("Amazon ECS task metadata endpoint version 4 for tasks
// on Fargate").
type metadata struct {
	server *http.Server
	// uri is the value for ECS_CONTAINER_METADATA_URI_V4, and agent that for ECS_AGENT_URI.
	uri, agent string
}

// containerRuntimeID stands for the number that Fargate adds to the task's id in
// the address of a container.
const containerRuntimeID = "0527074092"

func serveMetadata(opt Options, c types.ContainerDefinition, taskID string, started time.Time) (*metadata, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the task's metadata: %w", err)
	}
	taskARN := opt.TaskARN(taskID)
	containerInfo := map[string]any{
		"DockerId":      taskID + "-" + containerRuntimeID,
		"Name":          aws.ToString(c.Name),
		"Image":         aws.ToString(c.Image),
		"DesiredStatus": "RUNNING",
		"KnownStatus":   "RUNNING",
		"StartedAt":     started.UTC().Format(time.RFC3339Nano),
		"Type":          "NORMAL",
		"Labels": map[string]string{
			"com.amazonaws.ecs.cluster":                 opt.Cluster,
			"com.amazonaws.ecs.container-name":          aws.ToString(c.Name),
			"com.amazonaws.ecs.task-arn":                taskARN,
			"com.amazonaws.ecs.task-definition-family":  aws.ToString(opt.Definition.Family),
			"com.amazonaws.ecs.task-definition-version": fmt.Sprint(opt.Definition.Revision),
		},
	}
	task := map[string]any{
		"Cluster":       opt.Cluster,
		"ServiceName":   opt.Service,
		"TaskARN":       taskARN,
		"Family":        aws.ToString(opt.Definition.Family),
		"Revision":      fmt.Sprint(opt.Definition.Revision),
		"DesiredStatus": "RUNNING",
		"KnownStatus":   "RUNNING",
		"LaunchType":    "FARGATE",
		"Containers":    []any{containerInfo},
	}
	base := "/v4/" + taskID + "-" + containerRuntimeID
	mux := http.NewServeMux()
	for path, answer := range map[string]any{base: containerInfo, base + "/task": task} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	agent := "/api/" + taskID + "-" + containerRuntimeID
	mux.HandleFunc("PUT "+agent+"/task-protection/v1/state", protection(ecs.NewFromConfig(opt.TaskRole), opt.Cluster, taskARN))
	address := "http://" + listener.Addr().String()
	m := &metadata{server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, uri: address + base, agent: address + agent}
	go func() { _ = m.server.Serve(listener) }()
	return m, nil
}

// protection returns the agent's endpoint of task scale-in protection: it calls ECS with the task's role ("Amazon ECS
// task scale-in protection endpoint").
func protection(client *ecs.Client, cluster, taskARN string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ProtectionEnabled bool
			ExpiresInMinutes  *int32
		}
		answer := func(status int, name string, value any) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]any{name: value})
		}
		refuse := func(status int, code, message string) {
			answer(status, "error", map[string]string{"Arn": taskARN, "Code": code, "Message": message})
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			refuse(http.StatusBadRequest, "InvalidParameterException", err.Error())
			return
		}
		out, err := client.UpdateTaskProtection(r.Context(), &ecs.UpdateTaskProtectionInput{
			Cluster: &cluster, Tasks: []string{taskARN}, ProtectionEnabled: request.ProtectionEnabled, ExpiresInMinutes: request.ExpiresInMinutes,
		})
		switch {
		case err != nil:
			code, message := "ServerException", err.Error()
			if api, ok := errors.AsType[smithy.APIError](err); ok {
				code, message = api.ErrorCode(), api.ErrorMessage()
			}
			refuse(http.StatusBadRequest, code, message)
		case len(out.Failures) > 0:
			f := out.Failures[0]
			answer(http.StatusOK, "failure", map[string]string{"Arn": aws.ToString(f.Arn), "Reason": aws.ToString(f.Reason), "Detail": aws.ToString(f.Detail)})
		default:
			answer(http.StatusOK, "protection", map[string]any{"TaskArn": taskARN, "ProtectionEnabled": request.ProtectionEnabled})
		}
	}
}

func (m *metadata) close() { _ = m.server.Shutdown(context.Background()) }
