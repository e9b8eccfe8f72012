package run

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/ecstask"
	"prefect-worker-ecs/internal/local/postgres"
	"prefect-worker-ecs/internal/local/prefectserver"
	"prefect-worker-ecs/internal/prefect/api"
)

// databaseVariable is the variable with the URL of the server's database.
const databaseVariable = "PREFECT_API_DATABASE_CONNECTION_URL"

// serverTimeout is how long a Prefect server may take: all migrations since 2021, on a loaded
// machine.
const serverTimeout = 3 * time.Minute

// forServer sets what differs from the server's definition: its process listens on
// this machine only, and its database is here too.
func (r *run) forServer(options *ecstask.Options) error {
	options.PortVariable, options.Port = "PREFECT_SERVER_API_PORT", r.state.Prefect.Port
	connection := "sqlite+aiosqlite:///" + filepath.Join(string(r.serverTasks()), "prefect.db")
	if database := r.state.OwnServer.Database; database != nil {
		deployed, err := databaseURL(options.Definition)
		if err != nil {
			return err
		}
		deployed.Host = fmt.Sprintf("127.0.0.1:%d", database.Port)
		connection = deployed.String()
	}
	options.Local = []string{
		"PREFECT_SERVER_API_HOST=127.0.0.1", databaseVariable + "=" + connection,
		// By default the pages go to the installed package, which others share.
		"PREFECT_UI_STATIC_DIRECTORY=" + filepath.Join(string(r.serverTasks()), "ui"),
	}
	return nil
}

// databaseURL returns the URL of the database in the server's definition.
func databaseURL(definition types.TaskDefinition) (*url.URL, error) {
	i := slices.IndexFunc(definition.ContainerDefinitions[0].Environment, func(v types.KeyValuePair) bool { return aws.ToString(v.Name) == databaseVariable })
	if i < 0 {
		return nil, errors.New("the server's definition has no " + databaseVariable)
	}
	return url.Parse(aws.ToString(definition.ContainerDefinitions[0].Environment[i].Value))
}

func secretOf(definition types.TaskDefinition, name string) string {
	for _, s := range definition.ContainerDefinitions[0].Secrets {
		if aws.ToString(s.Name) == name {
			return aws.ToString(s.ValueFrom)
		}
	}
	return ""
}

// startOwnServer runs the task of the in-stack Prefect server, unless that very revision
// runs already, and waits until its API answers.
func (u *up) startOwnServer(ctx context.Context, port int) error {
	cfg := u.aws()
	definition, err := definitionOf(ctx, cfg, u.env.Cluster.Name, u.env.Server.Name)
	if err != nil {
		return err
	}
	arn := *definition.TaskDefinitionArn
	own := u.state.OwnServer
	if own == nil || u.state.Prefect == nil || own.TaskDefinition != arn || !u.state.Prefect.Process.Alive() {
		if err := u.stopOwnServer(ctx); err != nil {
			return err
		}
		if own == nil {
			own = &OwnServer{}
		}
		if err := u.update(func(s *State) {
			s.OwnServer, own.TaskDefinition = own, arn
			s.Prefect = &prefectserver.Server{Port: port}
		}); err != nil {
			return err
		}
		if err := u.provideDatabase(ctx, cfg, definition); err != nil {
			return err
		}
		before := fmt.Sprintf("running the task definition %s as ECS would, until its API answers", iam.ResourceName(arn))
		if err := u.p.Step(before, func() (string, error) {
			return fmt.Sprintf("Prefect server %s, from task definition %s", u.state.Prefect.URL(), iam.ResourceName(arn)), u.launchOwnServer(ctx)
		}); err != nil {
			return err
		}
	}
	return u.connectOwnServer(ctx, cfg, definition)
}

// stopOwnServer stops the task of an older revision.
func (u *up) stopOwnServer(ctx context.Context) error {
	if u.state.Prefect != nil {
		if err := stopTask(ctx, u.state.Prefect.Process, u.serverTasks().Events(), serverGrace); err != nil {
			return fmt.Errorf("stop the Prefect server: %w", err)
		}
	}
	return u.serverTasks().Clear()
}

// provideDatabase starts PostgreSQL in place of RDS where it is installed, with the user and
// the password that the server gets.
func (u *up) provideDatabase(ctx context.Context, cfg aws.Config, definition types.TaskDefinition) error {
	if u.state.OwnServer.Database == nil && postgres.Find() == "" {
		return nil
	}
	return u.p.Step("starting PostgreSQL in place of RDS", func() (string, error) {
		if u.state.OwnServer.Database == nil {
			database, err := postgres.Start(ctx, u.starting)
			if err != nil {
				return "", err
			}
			if err := u.update(func(s *State) { s.OwnServer.Database = database; s.started(database.Process) }); err != nil {
				return "", err
			}
		}
		deployed, err := databaseURL(definition)
		if err != nil {
			return "", err
		}
		password, err := ecstask.Secret(ctx, cfg, secretOf(definition, "PGPASSWORD"))
		if err != nil {
			return "", fmt.Errorf("the database's password: %w", err)
		}
		return fmt.Sprintf("PostgreSQL on port %d in place of RDS, over TLS, with the password of the secret", u.state.OwnServer.Database.Port),
			u.state.OwnServer.Database.Provide(ctx, deployed.User.Username(), password, strings.TrimPrefix(deployed.Path, "/"))
	})
}

// launchOwnServer starts the supervisor of the server's task and waits for the API.
func (u *up) launchOwnServer(ctx context.Context) error {
	id, err := u.startSupervisor(u.serverLog(), "--server")
	if err != nil {
		return err
	}
	if err := u.update(func(s *State) { s.Prefect.Process = id }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	err = poll.Until(ctx, 200*time.Millisecond, func() (bool, error) {
		for _, e := range u.serverTasks().Events() {
			if e.Kind == ecstask.Failed || e.Kind == ecstask.Stopped {
				return false, fmt.Errorf("the task of the Prefect server ended: %s", e.Reason)
			}
		}
		if !id.Alive() {
			return false, fmt.Errorf("the supervisor of the Prefect server ended; the end of %s:\n%s", u.serverLog(), proc.Tail(u.serverLog(), 10))
		}
		return u.state.Prefect.Ready(ctx), nil
	})
	if err != nil {
		return fmt.Errorf("%w; the end of its output:\n%s", err, proc.Tail(u.serverTasks().Log(), 30))
	}
	return nil
}

// connectOwnServer makes the client, with the credential that the stack made.
func (u *up) connectOwnServer(ctx context.Context, cfg aws.Config, definition types.TaskDefinition) (err error) {
	if u.env.Prefect.Authentication != config.AuthBasic {
		u.client, err = api.New(u.state.Prefect.APIURL(), "")
		return err
	}
	credential, err := ecstask.Secret(ctx, cfg, secretOf(definition, "PREFECT_SERVER_API_AUTH_STRING"))
	if err != nil {
		return fmt.Errorf("the server's password: %w", err)
	}
	u.client, err = api.NewBasic(u.state.Prefect.APIURL(), credential)
	return err
}
