package stackrules

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
)

// taskRules are about the task definitions, their containers and the services. What a container
// may have at all, neither privileged nor user, mounts or ports, is in arguments.
var taskRules = []rule{
	{"fargate-isolation", "a task that shares network or processes with its host sees those of others", func(s *stack) {
		s.all("aws_ecs_task_definition", "network_mode", "awsvpc")
		s.all("aws_ecs_task_definition", "requires_compatibilities", []string{"FARGATE"})
	}},
	{"size-and-capacity-as-configured", "another size is out of memory or costs more, and AWS stops Spot with two minutes' notice", func(s *stack) {
		w, server := s.env.Worker, s.env.Server
		for _, of := range []struct {
			name        string
			cpu, memory int
		}{{"worker", w.CPU, w.MemoryMiB}, {"server", server.CPU, server.MemoryMiB}} {
			s.all("aws_ecs_task_definition."+of.name, "cpu", strconv.Itoa(of.cpu))
			s.all("aws_ecs_task_definition."+of.name, "memory", strconv.Itoa(of.memory))
		}
		insights := map[bool]string{true: "enabled", false: "disabled"}[s.env.Cluster.ContainerInsights]
		s.all("aws_ecs_cluster", "setting", []map[string]string{{"name": "containerInsights", "value": insights}})
		var storage, strategy any
		if w.EphemeralStorageGiB > 0 {
			storage = w.EphemeralStorageGiB
		}
		launch := any("FARGATE")
		if w.Spot {
			spot := []map[string]any{{"capacity_provider": "FARGATE_SPOT", "weight": 1}}
			if w.OnDemandBase+w.OnDemandWeight > 0 {
				spot = append([]map[string]any{{"capacity_provider": "FARGATE", "base": w.OnDemandBase, "weight": w.OnDemandWeight}}, spot...)
			}
			launch, strategy = nil, spot
		}
		s.all("aws_ecs_task_definition.worker", "ephemeral_storage.size_in_gib", storage)
		s.all("aws_ecs_task_definition", "runtime_platform", map[string]string{"cpu_architecture": strings.ToUpper(string(w.Architecture)), "operating_system_family": "LINUX"})
		s.all("aws_ecs_service.worker", "launch_type", launch)
		s.all("aws_ecs_service.worker", "capacity_provider_strategy", strategy)
		s.all("aws_ecs_service.server", "launch_type", "FARGATE")
		s.all("aws_ecs_service", "platform_version", "LATEST")
		s.all("aws_ecs_service", "propagate_tags", "SERVICE") // whose costs the tasks are
	}},
	{"image-and-command-as-configured", "another image, registry or command runs other code with the credentials, or serves another pool", func(s *stack) {
		s.all("container", "image", s.env.Worker.Image)
		s.all("container", "repositoryCredentials.credentialsParameter", optional(s.env.Worker.RegistryCredentials))
		s.all("container.server", "command", []string{"prefect", "server", "start"})
		guard := ""
		if s.env.Worker.ProtectRuns {
			guard = startGuard
		}
		start := fmt.Sprintf(`/bin/sh -c %stask=$${ECS_CONTAINER_METADATA_URI_V4##*/}; exec "$@" --name "%s-$${task%%%%-*}" worker prefect worker start --pool %s --type %s `,
			guard, s.env.Worker.ServiceName, literal(s.env.WorkPool.Name), s.env.WorkPool.Type)
		s.each("container.worker", func(e element) {
			command := e.list("command")
			const program = 4
			if guard != "" && len(command) > program {
				if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(fmt.Sprint(command[program])))); sum != guardSum {
					s.report(e.address()+".command", "runs another guard, of the sum %s", sum)
				}
				command = slices.Delete(slices.Clone(command), program, program+1)
			}
			options, ok := strings.CutPrefix(strings.Trim(fmt.Sprint(command), "[]")+" ", start)
			for word := range strings.FieldsSeq(options) {
				ok = ok && (!strings.HasPrefix(word, "--") || slices.Contains(workerOptions, word))
			}
			if !ok {
				s.report(e.address()+".command", "is %s", show(e.get("command")))
			}
		})
	}},
	{"environment-as-configured", "variables are in plaintext for whoever may read the task definition, and decide where the credential is sent and what is installed", func(s *stack) {
		s.each("container", func(e element) {
			allowed, have := s.environment(e.name), map[string]bool{}
			for _, v := range e.list("environment") {
				name := fmt.Sprint(Get(v, "name"))
				have[name] = true
				if want, ok := allowed[name]; ok && Get(v, "value") != want || !ok && !slices.Contains(strings.Fields(settings), name) {
					s.report(e.address()+".environment", "sets %s, which no option does, or to another value", name)
				}
			}
			for name, want := range allowed {
				if want != "" && !have[name] {
					s.report(e.address()+".environment", "lacks %s", name)
				}
			}
		})
	}},
	{"secrets-as-configured", "a container gets its own secrets, by reference; without the password a server is open to the whole VPC", func(s *stack) {
		s.each("container", func(e element) {
			have, want := map[string]string{}, s.secrets(e.name)
			for _, v := range e.list("secrets") {
				have[fmt.Sprint(Get(v, "name"))] = fmt.Sprint(Get(v, "valueFrom"))
			}
			if !maps.Equal(have, want) {
				s.report(e.address()+".secrets", "are %s, want %s", show(have), show(want))
			}
		})
	}},
	{"hung-tasks-are-replaced", "a task that hangs looks like one that works", func(s *stack) {
		s.all("container", "essential", true)
		s.each("container", func(e element) {
			url := map[string]string{"worker": "http://127.0.0.1:8080/health", "server": "http://127.0.0.1:4200/api/health"}[e.name]
			s.want(e, "healthCheck.command", []string{"CMD", "python", "-c", "import urllib.request as u; u.urlopen('" + url + "', timeout=8)"})
			for name, bounds := range map[string][2]float64{"interval": {5, 60}, "timeout": {9, 60}, "retries": {2, 5}, "startPeriod": {60, 300}} {
				s.within(e, "healthCheck."+name, bounds[0], bounds[1])
			}
		})
	}},
	{"logs-arrive", "without its log nobody learns why a task stopped, and a log that blocks stops the container", func(s *stack) {
		s.all("container", "logConfiguration.logDriver", "awslogs")
		s.all("container", "logConfiguration.options.awslogs-group", s.logGroup("name"))
		s.all("container", "logConfiguration.options.mode", "non-blocking")
		s.all("container.worker", "logConfiguration.options.awslogs-stream-prefix", config.WorkerStream)
		s.all("container.server", "logConfiguration.options.awslogs-stream-prefix", "prefect-server")
	}},
	{"deployments-roll-back", "a revision that cannot start must not replace one that runs", func(s *stack) {
		s.all("aws_ecs_service", "deployment_circuit_breaker", map[string]bool{"enable": true, "rollback": true})
		desired := s.env.Worker.DesiredCount
		if s.env.Worker.Scaling.Max > 0 {
			desired = s.env.Worker.Scaling.Min
		}
		s.all("aws_ecs_service.server", "wait_for_steady_state", true)
		// Protected tasks of the revision before may go on for hours.
		s.all("aws_ecs_service.worker", "wait_for_steady_state", !s.env.Worker.ProtectRuns)
		s.all("aws_ecs_service.worker", "desired_count", desired)
		s.all("aws_ecs_service.worker", "deployment_minimum_healthy_percent", 100)
		s.all("aws_ecs_service.worker", "deployment_maximum_percent", 200) // or no new task starts
		s.each("aws_ecs_service", func(e element) { s.want(e, "task_definition", ref("aws_ecs_task_definition."+e.name+".arn")) })
	}},
	{"one-server", "two servers at once start runs twice, and their migrations ruin the database", func(s *stack) {
		s.all("aws_ecs_service.server", "desired_count", 1)
		s.all("aws_ecs_service.server", "deployment_maximum_percent", 100)
	}},
	{"shell-as-configured", "ECS Exec gives whoever may call it a shell beside the credentials, and is the connection to the server's user interface", func(s *stack) {
		var worker any
		if s.env.Worker.ExecuteCommand {
			worker = true
		}
		s.all("aws_ecs_service.worker", "enable_execute_command", worker)
		s.all("aws_ecs_service.server", "enable_execute_command", true)
	}},
	{"services-wait", "a task that starts before its routes, permissions, secret and server fails, and ECS rolls the deployment back", func(s *stack) {
		s.each("aws_ecs_service", func(service element) {
			for _, e := range s.elements {
				if s.needs(service.name, e) && !slices.Contains(service.list("depends_on"), any(e.address())) {
					s.report(service.address()+".depends_on", "lacks %s", e.address())
				}
			}
		})
	}},
}

// startGuard starts the guard beside the worker, and guardSum is the SHA-256 of its code: it runs with the
// task's role, and a change of it is reviewed.
const (
	startGuard = `guard=$1; shift; while :; do python -c "$guard"; echo "task protection: flow runs of this task may be stopped: the guard ended with status $?"; sleep 10; done & `
	guardSum   = "75534acebd1ad24842b63ec354c851245e794a384f93629294c9910878d940db"
)

// workerOptions are the options that may follow the pool and its type.
var workerOptions = []string{"--work-queue", "--limit", "--with-healthcheck", "--no-create-pool-if-not-found"}

// settings are variables of the containers that lead nowhere and install nothing.
const settings = "DO_NOT_TRACK PREFECT_API_REQUEST_TIMEOUT PREFECT_CLIENT_MAX_RETRIES PREFECT_CLIENT_RETRY_EXTRA_CODES PREFECT_CLI_WRAP_LINES PREFECT_LOGGING_COLORS PREFECT_LOGGING_TO_API_BATCH_SIZE" +
	" PREFECT_SERVER_ANALYTICS_ENABLED"

// environment returns the other variables that a container may have.
func (s *stack) environment(of string) map[string]string {
	all := s.env.ProxyVariables(account.Region)
	if all == nil {
		all = map[string]string{}
	}
	if of == "server" {
		host, _ := s.database()
		d := s.env.Server.Database
		all["PREFECT_SERVER_API_HOST"], all["PREFECT_SERVER_API_PORT"], all["PREFECT_UI_API_URL"] = "0.0.0.0", strconv.Itoa(config.ServerPort), "/api"
		all["PREFECT_API_DATABASE_CONNECTION_URL"] = fmt.Sprintf("postgresql+asyncpg://%s@%s:%d/%s?ssl=require", d.User, host, d.Port, d.Name)
		return all
	}
	all["PREFECT_API_URL"], all["PREFECT_WORK_POOL_NAME"] = "${local.prefect_api_url}", literal(s.env.WorkPool.Name)
	all["EXTRA_PIP_PACKAGES"] = strings.Join(s.env.PipPackages(), " ")
	all["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] = s.env.EventQueue()
	for name, value := range s.env.Worker.Environment {
		all[name] = literal(value)
	}
	return all
}

// secrets returns the secrets of a container: variable and ARN, with a JSON key if any.
func (s *stack) secrets(of string) map[string]string {
	all, variable := map[string]string{}, s.env.Prefect.Authentication.Variable()
	if of == "server" {
		variable = "PREFECT_SERVER_API_AUTH_STRING"
		_, all["PGPASSWORD"] = s.database()
	} else {
		maps.Copy(all, s.env.Worker.Secrets)
	}
	if credential := s.credential(); credential != "" {
		all[variable] = credential
	}
	return all
}

// credential returns where a container finds the credential of the Prefect API, "" without one.
func (s *stack) credential() string {
	if key := s.env.Secret.JSONKey; key != "" {
		return s.secretARN() + ":" + key + "::"
	}
	return s.secretARN()
}

// needs reports whether the tasks of a service cannot start without an element.
func (s *stack) needs(service string, e element) bool {
	server := service == "server"
	switch e.kind {
	case "aws_route", "aws_route_table_association":
		return true
	case "aws_vpc_endpoint":
		return e.name != "s3"
	case "aws_iam_role_policy", "aws_iam_role_policy_attachment":
		return !slices.Contains([]string{"probe", "probe_schedule", "flow_logs"}, roleOf(e)) && server == strings.HasPrefix(roleOf(e), "server_")
	case "aws_secretsmanager_secret_version":
		return server || e.name == "prefect_api_key"
	case "aws_vpc_security_group_egress_rule":
		return e.text("security_group_id") == workerGroup && !server || e.text("security_group_id") == serverGroup && server
	case "aws_db_instance":
		return server
	}
	return (e.kind == "aws_ecs_cluster_capacity_providers" || e.address() == "aws_ecs_service.server") && !server
}
