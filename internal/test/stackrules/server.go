package stackrules

import (
	"fmt"
	"strconv"
	"strings"

	"prefect-worker-ecs/config"
	"prefect-worker-ecs/internal/aws/iam"
)

// database is the address of the server's database, and where the server finds its password.
func (r rules) database() (host, secret string) {
	if d := r.env.Server.Database; d.ExistingHost != "" {
		return d.ExistingHost, d.ExistingSecret
	}
	return ref("aws_db_instance.server.address"), ref("aws_secretsmanager_secret.database.arn")
}

// ephemeral are the values that stand in no plan and no state.
func (r rules) ephemeral() map[string]rule {
	all := map[string]rule{}
	if r.env.GeneratedCredential() {
		all["aws_secretsmanager_random_password.prefect_api"] = rule{why: "a password could be guessed", shape: fields{"password_length": is(40), "exclude_punctuation": is(true)}}
	}
	if s := r.env.Server; s.Enabled && s.OwnDatabase() {
		all["aws_secretsmanager_random_password.database"] = rule{why: "a password could be guessed", shape: fields{"password_length": is(40), "exclude_characters": is(`/@" `)}}
		all["aws_secretsmanager_secret_version.database"] = rule{why: "the database would have another password than the server", shape: fields{
			"secret_id": is(ref("aws_secretsmanager_secret.database.id")), "version_id": is(ref("aws_secretsmanager_secret_version.database.version_id")),
		}}
	}
	return all
}

// server is a Prefect server of the stack's own, with its database.
func (r rules) server(all map[string]rule) {
	s, d := r.env.Server, r.env.Server.Database
	host, secret := r.database()
	const lets = "others than the worker, its flows and the server could connect, or the server to what it does not need"
	group := func(name string) {
		all["aws_security_group."+name] = rule{why: lets, shape: fields{"name": r.groupName(name), "description": text, "vpc_id": r.vpc(), "tags": tags}}
	}
	groupRule := func(direction, name, of, peer string, port int) {
		shape := fields{
			"security_group_id": is(ref("aws_security_group." + of + ".id")), "description": text, "tags": tags,
			"ip_protocol": is("tcp"), "from_port": is(port), "to_port": is(port),
		}
		if peer == "" {
			shape["cidr_ipv4"] = is("0.0.0.0/0")
		} else {
			shape["referenced_security_group_id"] = is(ref("aws_security_group." + peer + ".id"))
		}
		all["aws_vpc_security_group_"+direction+"_rule."+name] = rule{why: lets, shape: shape}
	}
	group("prefect_server_sg")
	groupRule("ingress", "server", "prefect_server_sg", "prefect_worker_sg", 4200)
	groupRule("egress", "prefect_api", "prefect_worker_sg", "prefect_server_sg", config.APIPort(r.env.Prefect.APIURL))
	groupRule("egress", "server_https", "prefect_server_sg", "", 443)
	if p := r.env.Network.ProxyPort(); p != 0 && p != 443 {
		groupRule("egress", "server_proxy", "prefect_server_sg", "", p)
	}
	r.endpointIngress(all, "endpoints_server", "prefect_server_sg")
	if s.OwnDatabase() {
		group("prefect_database_sg")
		groupRule("egress", "server_database", "prefect_server_sg", "prefect_database_sg", d.Port)
		groupRule("ingress", "database", "prefect_database_sg", "prefect_server_sg", d.Port)
		r.ownDatabase(all)
	} else {
		groupRule("egress", "server_database", "prefect_server_sg", "", d.Port)
	}
	r.serverRoles(all, secret)

	variables := map[string]string{
		"DO_NOT_TRACK": "1", "PREFECT_CLI_WRAP_LINES": "false", "PREFECT_LOGGING_COLORS": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
		"PREFECT_API_DATABASE_CONNECTION_URL": fmt.Sprintf("postgresql+asyncpg://%s@%s:%d/%s?ssl=require", d.User, host, d.Port, d.Name),
		"PREFECT_SERVER_API_HOST":             "0.0.0.0", "PREFECT_SERVER_API_PORT": "4200", "PREFECT_UI_API_URL": "/api",
	}
	r.proxy(variables)
	variable := func(j *judge, at, why string, value any) {
		given, _ := value.(map[string]any)
		name, _ := given["name"].(string)
		if want, known := variables[name]; known {
			object(fields{"name": is(name), "value": is(want)})(j, at, why, value)
			return
		}
		j.find(at, fmt.Sprintf("sets %q, which %s", name, notListed), why)
	}
	secrets := []any{map[string]string{"name": "PGPASSWORD", "valueFrom": secret}}
	labels := map[string]string{"prefect-database-password-version": strconv.Itoa(d.PasswordVersion)}
	if r.secret != "" {
		secrets = append(secrets, map[string]string{"name": "PREFECT_SERVER_API_AUTH_STRING", "valueFrom": r.secret})
		labels["prefect-api-key-version"] = strconv.Itoa(r.env.Secret.Version)
	}
	settings := fields{
		"name": is("prefect-server"), "essential": is(true),
		"image":       because("another image runs other code with both passwords", is(r.env.Worker.Image)),
		"command":     because("another command runs other code with both passwords", is([]string{"prefect", "server", "start"})),
		"environment": because("variables are in clear text, and steer which database is used and whether TLS is", each(variable)),
		"secrets":     because("the server would get a secret that is not its own, or none and be open to all in the VPC", is(secrets)),
		"stopTimeout": is(30), "dockerLabels": is(labels),
		"healthCheck":      r.healthCheck("http://127.0.0.1:4200/api/health", 300),
		"logConfiguration": r.logConfiguration("prefect-server"),
	}
	r.registry(settings)
	all["aws_ecs_task_definition.server"] = rule{why: "the container would be less isolated, or not start", shape: fields{
		"family": is(s.Name), "cpu": is(strconv.Itoa(s.CPU)), "memory": is(strconv.Itoa(s.MemoryMiB)),
		"network_mode": is("awsvpc"), "requires_compatibilities": is([]string{"FARGATE"}),
		"runtime_platform": object(fields{
			"cpu_architecture": is(strings.ToUpper(string(r.env.Worker.Architecture))), "operating_system_family": is("LINUX"),
		}),
		"execution_role_arn":    because(rights, is(ref("aws_iam_role.server_execution.arn"))),
		"task_role_arn":         because(rights, is(ref("aws_iam_role.server_task.arn"))),
		"container_definitions": document(list(object(settings))),
	}}
	all["aws_service_discovery_service.server"] = rule{why: "another name, or another address for it, leads the worker and its password elsewhere", shape: fields{
		"name": is("prefect"), "description": text, "dns_config": object(fields{
			"namespace_id": is(ref("aws_service_discovery_private_dns_namespace.main.id")), "routing_policy": is("MULTIVALUE"),
			"dns_records": list(object(fields{"type": is("A"), "ttl": is(10)})),
		}),
	}}
	const overlap = "two servers would run at once: schedulers start runs twice, migrations ruin the database"
	all["aws_ecs_service.server"] = rule{why: "the service would run otherwise than it was judged", shape: fields{
		"name": is(s.Name), "cluster": is(r.cluster("id")), "task_definition": is(ref("aws_ecs_task_definition.server.arn")),
		"desired_count": because(overlap, is(1)), "platform_version": is("LATEST"), "launch_type": is("FARGATE"),
		"network_configuration":              r.placement("prefect_server_sg"),
		"deployment_circuit_breaker":         object(fields{"enable": is(true), "rollback": is(true)}),
		"deployment_minimum_healthy_percent": because(overlap, is(0)), "deployment_maximum_percent": because(overlap, is(100)),
		"wait_for_steady_state": is(true), "enable_ecs_managed_tags": is(true), "propagate_tags": is("SERVICE"),
		"service_registries":     object(fields{"registry_arn": is(ref("aws_service_discovery_service.server.arn"))}),
		"enable_execute_command": because("without it nobody reaches the user interface", is(true)),
		"timeouts":               tags, "depends_on": dependsOn,
	}}
}

func (r rules) ownDatabase(all map[string]rule) {
	s, d := r.env.Server, r.env.Server.Database
	secret := fields{"name": is(s.Name + "-database"), "description": text, "recovery_window_in_days": is(r.env.Secret.RecoveryWindowDays)}
	if key := r.env.Secret.KMSKeyARN; key != "" {
		secret["kms_key_id"] = because("the password would not be encrypted with the customer's key", is(key))
	}
	const shown = "the password would stand in the plan and the state"
	all["aws_secretsmanager_secret.database"] = rule{why: "the secret would be copied, or readable by others", shape: r.protected(secret)}
	all["aws_secretsmanager_secret_version.database"] = rule{why: shown, shape: fields{
		"secret_id":                is(ref("aws_secretsmanager_secret.database.id")),
		"secret_string_wo":         is(ref("ephemeral.aws_secretsmanager_random_password.database.random_password")),
		"secret_string_wo_version": is(d.PasswordVersion),
	}}
	subnets := subnetRefs("aws_subnet.private_", len(r.env.Network.PrivateSubnetCIDRs))
	if r.env.Network.Exists() {
		subnets = r.taskSubnets()
	}
	all["aws_db_subnet_group.server"] = rule{why: "the database would lie where others reach it", shape: fields{"name": is(s.Name), "description": text, "subnet_ids": is(subnets)}}
	all["aws_db_parameter_group.server"] = rule{why: "the database would take connections in clear text", shape: fields{
		"name": is(s.Name + "-postgres" + d.EngineVersion), "description": text, "family": is("postgres" + d.EngineVersion),
		"parameter": list(object(fields{"name": is("rds.force_ssl"), "value": is("1")})),
		"lifecycle": object(fields{"create_before_destroy": is(true)}),
	}}
	database := fields{
		"identifier": is(s.Name), "engine": is("postgres"), "engine_version": is(d.EngineVersion), "instance_class": is(d.InstanceClass),
		"allow_major_version_upgrade": is(true), "auto_minor_version_upgrade": is(true), "apply_immediately": is(true),
		"allocated_storage": is(d.StorageGiB), "max_allocated_storage": is(5 * d.StorageGiB), "storage_type": is("gp3"),
		"storage_encrypted": because("the database would lie in clear text", is(true)),
		"db_name":           is(d.Name), "username": is(d.User), "port": is(d.Port),
		"password_wo":          because(shown, is(ref("ephemeral.aws_secretsmanager_secret_version.database.secret_string"))),
		"password_wo_version":  is(d.PasswordVersion),
		"db_subnet_group_name": is(ref("aws_db_subnet_group.server.name")), "parameter_group_name": is(ref("aws_db_parameter_group.server.name")),
		"vpc_security_group_ids": is([]string{ref("aws_security_group.prefect_database_sg.id")}),
		"publicly_accessible":    because("the database would have a public address", is(false)),
		"multi_az":               is(d.MultiAZ), "backup_retention_period": is(d.BackupDays), "copy_tags_to_snapshot": is(true),
		"deletion_protection": is(d.DeletionProtection), "skip_final_snapshot": is(!d.FinalSnapshot),
	}
	if d.FinalSnapshot {
		database["final_snapshot_identifier"] = is(s.Name + `-final-${trimprefix(aws_security_group.prefect_database_sg.id, "sg-")}`)
	}
	all["aws_db_instance.server"] = rule{why: "the database would be less guarded than it was judged", shape: r.protected(database)}
}

// serverRoles are the roles of the server's own.
func (r rules) serverRoles(all map[string]rule, secret string) {
	s := r.env.Server
	r.role(all, "server_execution", s.Name+"-execution-role", trust("ecs-tasks.amazonaws.com", account.Of("ecs", "*")))
	r.role(all, "server_task", s.Name+"-task-role", trust("ecs-tasks.amazonaws.com", account.Of("ecs", "*")))
	all["aws_iam_role_policy_attachment.server_execution"] = rule{why: rights, shape: fields{
		"role": is(ref("aws_iam_role.server_execution.name")), "policy_arn": is(account.AWSPolicy("service-role/AmazonECSTaskExecutionRolePolicy")),
	}}
	own := config.SecretARN(secret)
	secrets := []string{own}
	if r.secretARN != "" && r.secretARN != own {
		secrets = append(secrets, r.secretARN)
	}
	keys := []string{r.env.Secret.KMSKeyARN}
	if from := r.env.Worker.RegistryCredentials; from != "" {
		secrets, keys = append(secrets, from), append(keys, r.env.Worker.KMSKeyARNs...)
	}
	reads := append([]iam.Statement{iam.Allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...)}, decrypt("DecryptSecrets", "secretsmanager", keys)...)
	r.inline(all, "server_execution", "read-passwords", reads...)
	r.inline(all, "server_task", "ecs-exec", ecsExec)
}
