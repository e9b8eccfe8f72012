package ecsworker

import (
	_ "embed"
	"maps"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/constructs/fargate"
	"prefect-worker-ecs/constructs/tf"
)

// Time that a worker may take to start before a failed health check counts. A quarter of
// a vCPU needs about 15 s for Prefect alone; ECS allows 300 s at most, which is left for
// packages that are installed first.
const (
	startPeriodSeconds        = 120
	installStartPeriodSeconds = 300
)

func newContainer(cfg Config) fargate.Container {
	c := fargate.Container{
		Name:        cfg.Worker.ContainerName,
		Image:       cfg.Worker.Image,
		Essential:   true,
		Command:     command(cfg),
		Environment: environment(cfg),
		Secrets:     secretVariables(cfg),
		// The worker's own health server.
		HealthCheck:      fargate.HTTPHealthCheck("http://127.0.0.1:8080/health", startPeriodSeconds),
		StopTimeout:      cfg.Worker.StopTimeoutSeconds,
		LogConfiguration: fargate.AWSLogs(cfg.LogGroup, cfg.Account.Region, config.WorkerStream),
	}
	c.RepositoryCredentials = fargate.FromSecret(cfg.Worker.RegistryCredentials)
	if cfg.Credential.Variable != "" {
		// ECS does not see that a secret's value changed; a changed label makes a new
		// revision, and the service replaces its tasks.
		c.DockerLabels = map[string]string{"prefect-api-key-version": strconv.Itoa(cfg.Credential.Version)}
	}
	if len(cfg.PipPackages) > 0 {
		c.HealthCheck.StartPeriod = installStartPeriodSeconds
	}
	if cfg.Runtime.Official && cfg.Runtime.Major() == 2 {
		// The image's own entrypoint, "tini -g", sends SIGTERM to the flow runs too, and they
		// crash. Without -g the worker stops taking runs and waits for those it has.
		c.EntryPoint = []string{"/usr/bin/tini", "--", "/opt/prefect/entrypoint.sh"}
	}
	return c
}

// guard protects the task while it has flow runs.
//
//go:embed guard.py
var guard string

// startGuard is a shell command that runs the guard, the first argument, beside the worker. Its end is logged and
// changes nothing for the worker.
const startGuard = `guard=$1; shift; while :; do python -c "$guard"; echo "task protection: flow runs of this task may be stopped: the guard ended with status $?"; sleep 10; done & `

// command starts the worker. The arguments are a list that no shell reads, so that any
// name of a pool arrives as written. The shell only makes the worker's name and then
// becomes the worker (exec), which therefore gets the stop signal itself.
func command(cfg Config) []string {
	args := []string{"/bin/sh", "-c", tf.Literal(workerName(cfg.Worker.ServiceName)), "worker"}
	if cfg.Worker.ProtectRuns {
		args[2] = startGuard + args[2]
		args = append(args, tf.Literal(guard))
	}
	args = append(args, "prefect", "worker", "start",
		"--pool", tf.Literal(cfg.WorkPool.Name),
		"--type", string(cfg.WorkPool.Type),
	)
	for _, queue := range cfg.WorkPool.Queues {
		args = append(args, "--work-queue", tf.Literal(queue))
	}
	if cfg.Worker.ConcurrencyLimit > 0 {
		args = append(args, "--limit", strconv.Itoa(cfg.Worker.ConcurrencyLimit))
	}
	if cfg.Runtime.CanRefuseToCreatePool() && !cfg.CreatePool {
		args = append(args, "--no-create-pool-if-not-found")
	}
	return append(args, "--with-healthcheck")
}

const batchSize = "PREFECT_LOGGING_TO_API_BATCH_SIZE"

// environment returns the container's variables, which are in plaintext.
func environment(cfg Config) []fargate.Variable {
	values := map[string]string{
		"PREFECT_API_URL": cfg.APIURL,
		// Nothing in Prefect reads this one; the original design has it, and it shows a
		// person in the console which pool the task serves.
		"PREFECT_WORK_POOL_NAME": tf.Literal(cfg.WorkPool.Name),
		// A message that is wrapped at 80 columns is several log events, and no search finds it.
		"PREFECT_CLI_WRAP_LINES": "false",
		"PREFECT_LOGGING_COLORS": "false",
		// A request that is given up is repeated, and a server that was only slow, or frozen, commits both: lines of a
		// flow's log would be there twice. A batch of them is sent in one piece, by default of up to 3 MB, here of 1.
		"PREFECT_API_REQUEST_TIMEOUT": "120",
		batchSize:                     "2000000", // from which Prefect subtracts the longest line
		"DO_NOT_TRACK":                "1",
		// By default Prefect does not repeat a request that is answered by 500: half a minute
		// without its database on the server's side then ends a worker, and leaves its runs
		// Running indefinitely. Seven tries are about four minutes. Flow runs inherit both.
		"PREFECT_CLIENT_MAX_RETRIES":       "7",
		"PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,502,503,504",
	}
	if len(cfg.PipPackages) > 0 {
		values["EXTRA_PIP_PACKAGES"] = strings.Join(cfg.PipPackages, " ")
	}
	if cfg.EventQueue != "" {
		values["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] = cfg.EventQueue
	}
	maps.Copy(values, cfg.Proxy)
	for name, value := range cfg.Worker.Environment {
		values[name] = tf.Literal(value)
	}
	_, longLines := cfg.Worker.Environment["PREFECT_LOGGING_TO_API_MAX_LOG_SIZE"]
	if _, given := cfg.Worker.Environment[batchSize]; longLines && !given {
		delete(values, batchSize) // a worker whose longest line is longer than a batch does not start
	}
	return fargate.Environment(values)
}

func secretVariables(cfg Config) []fargate.Secret {
	var secrets []fargate.Secret
	if cfg.Credential.Variable != "" {
		secrets = append(secrets, fargate.Secret{Name: cfg.Credential.Variable, ValueFrom: cfg.Credential.ValueFrom})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Worker.Secrets)) {
		secrets = append(secrets, fargate.Secret{Name: name, ValueFrom: cfg.Worker.Secrets[name]})
	}
	return secrets
}
