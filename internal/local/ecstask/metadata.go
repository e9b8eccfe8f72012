package ecstask

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// metadata is a small task metadata endpoint, version 4, with the fields that
// programs ask for most ("Amazon ECS task metadata endpoint version 4 for tasks
// on Fargate").
type metadata struct {
	server *http.Server
	// uri is the value for ECS_CONTAINER_METADATA_URI_V4.
	uri string
}

// containerRuntimeID stands for the number that Fargate adds to the task's id in
// the address of a container.
const containerRuntimeID = "0527074092"

func serveMetadata(opt Options, c types.ContainerDefinition, taskID string, started time.Time) (*metadata, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the task's metadata: %w", err)
	}
	taskARN := opt.taskARN(taskID)
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
	m := &metadata{
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		uri:    "http://" + listener.Addr().String() + base,
	}
	go func() { _ = m.server.Serve(listener) }()
	return m, nil
}

func (m *metadata) close() { _ = m.server.Shutdown(context.Background()) }
