package stackrules

import "strings"

// dangers say what can come of attributes that are not on any list. Whatever is not named here
// is refused as well, with the reason of the place where it stands.
var dangers = map[string]string{
	"provisioner":            "a provisioner runs a program on the machine that deploys",
	"connection":             "a connection lets a provisioner run programs elsewhere",
	"count":                  "several copies or none of a resource are made, which no rule here has judged",
	"for_each":               "several copies or none of a resource are made, which no rule here has judged",
	"ignore_changes":         "Terraform would leave alone what somebody changed by hand",
	"lifecycle":              "Terraform would leave changes alone, or refuse to remove the resource",
	"provider":               "another provider deploys the resource elsewhere, or with other keys",
	"prevent_destroy":        "the environment could not be taken down",
	"replace_triggered_by":   "the resource would be replaced by changes elsewhere",
	"create_before_destroy":  "two of a name would exist at once, which AWS refuses",
	"module":                 "a module deploys whatever its source says",
	"moved":                  "a moved block gives a real resource to another address",
	"removed":                "a removed block lets real resources go unmanaged",
	"ingress":                "an inbound rule lets others connect to the task, and nothing needs to",
	"egress":                 "an inline rule opens more than the ports that the worker needs, and undoes the rules that stand by themselves",
	"privileged":             "a privileged container has the rights of root on its host",
	"user":                   "the container runs as another user than its image was made for, root among them",
	"linuxParameters":        "capabilities, devices and kernel settings reach beyond the container",
	"readonlyRootFilesystem": "Prefect writes to its home; a container that cannot start replaces one that does",
	"mountPoints":            "a mounted volume shows the container files of others",
	"volumesFrom":            "a mounted volume shows the container files of others",
	"volume":                 "a volume shows the container files of others",
	"portMappings":           "an open port lets others talk to the worker, and nothing needs to",
	"environmentFiles":       "variables from a file are read by no rule here, secrets in clear text among them",
	"extraHosts":             "names that point elsewhere lead the API key to another server",
	"dnsServers":             "another name server can lead the API key to another server",
	"dockerSecurityOptions":  "security options can switch off the container's isolation",
	"repositoryCredentials":  "the image would come from a registry that nobody named",
	"firelensConfiguration":  "the log would go where no rule here has looked",
	"workingDirectory":       "the command would start where its image was not made for",
	"pid_mode":               "the container would see the processes of others",
	"ipc_mode":               "the container would share memory with others",
	"proxy_configuration":    "the task's traffic, the API key in it, would go through a proxy",
	"enable_execute_command": "ECS Exec gives whoever may call it a shell beside the API key",
	"load_balancer":          "a load balancer lets others connect to the task",
	"service_registries":     "a registered address invites others to connect to the task",
	"managed_policy_arns":    "the role gets rights that are on no list",
	"inline_policy":          "the role gets rights that are on no list",
	"policy":                 "a policy of the resource's own lets others use it",
	"secret_string":          "the API key would stand in the plan and the state",
	"secret_binary":          "the API key would stand in the plan and the state",
	"access_key":             "keys of AWS would stand in the stack, which is no secret",
	"secret_key":             "keys of AWS would stand in the stack, which is no secret",
	"token":                  "a token of AWS would stand in the stack, which is no secret",
	"assume_role":            "another role, and with it another account, would be deployed to",
	"endpoints":              "the provider, and the API key with it, would talk to another server than AWS",
	"insecure":               "the provider would not check that it talks to AWS",
	"ephemeral":              "an ephemeral value of elsewhere is judged by no rule here",
	"sensitive":              "what is sensitive has no place here",
}

func danger(name, otherwise string) string {
	if why, ok := dangers[name]; ok {
		return why
	}
	return otherwise
}

// resourceDangers say what can come of types of resources that are on no list.
var resourceDangers = map[string]string{
	"aws_vpc_security_group_ingress_rule":    "an inbound rule lets others connect to the task, and nothing needs to",
	"aws_vpc_security_group_egress_rule":     "the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else",
	"aws_security_group_rule":                "a rule of this kind opens what the rules that stand by themselves do not show",
	"aws_security_group":                     "another security group can let others connect to what is in it",
	"aws_default_network_acl":                "a network ACL decides about traffic that the security group was written for",
	"aws_network_acl":                        "a network ACL decides about traffic that the security group was written for",
	"aws_network_acl_rule":                   "a network ACL decides about traffic that the security group was written for",
	"aws_iam_role":                           "a further role has rights, and somebody who may take it on",
	"aws_iam_role_policy":                    "a role gets rights that are on no list",
	"aws_iam_role_policy_attachment":         "a role gets rights that are on no list",
	"aws_iam_policy_attachment":              "a policy attached so is taken from everybody else who has it, in the whole account",
	"aws_iam_policy":                         "a policy of its own can be attached where no rule here looks",
	"aws_iam_user":                           "a user has keys that do not expire, and nothing here needs one",
	"aws_iam_access_key":                     "a key that does not expire would stand in the state",
	"aws_secretsmanager_secret_policy":       "a policy of the secret's own lets others read the API key",
	"aws_secretsmanager_secret":              "a secret that no rule here knows can hold and show anything",
	"aws_secretsmanager_secret_version":      "a value that no rule here knows would be written, and could stand in the state",
	"aws_sqs_queue_policy":                   "a policy of a queue lets others send events to the worker, or read them",
	"aws_sqs_queue":                          "a queue that no rule here knows can be read by others, in clear text",
	"aws_kms_key":                            "whoever may use a key reads what it encrypts",
	"aws_kms_grant":                          "whoever may use a key reads what it encrypts",
	"aws_kms_key_policy":                     "whoever may use a key reads what it encrypts",
	"aws_route":                              "another route leads the traffic elsewhere, or the internet in",
	"aws_route_table":                        "another route table leads the traffic elsewhere, or the internet in",
	"aws_route_table_association":            "a subnet with another route table is public where it should be private, or cut off",
	"aws_main_route_table_association":       "subnets without a route table of their own would follow this one",
	"aws_default_route_table":                "subnets without a route table of their own would follow this one",
	"aws_vpc_peering_connection":             "another network could reach into this one",
	"aws_vpc_endpoint_policy":                "an endpoint's policy decides who may use it",
	"aws_egress_only_internet_gateway":       "IPv6 would go out past the rules for IPv4",
	"aws_eip":                                "a public address is reachable from the internet",
	"aws_eip_association":                    "a public address is reachable from the internet",
	"aws_subnet":                             "a subnet that no rule here knows can be open to the internet",
	"aws_instance":                           "a machine runs what no rule here has looked at",
	"aws_lambda_function":                    "a function runs what no rule here has looked at",
	"aws_lambda_function_url":                "a function's address on the internet can be called by anybody",
	"aws_lb":                                 "a load balancer lets the internet in",
	"aws_ecs_service":                        "a further service runs what no rule here has looked at",
	"aws_ecs_task_definition":                "a further task definition runs what no rule here has looked at",
	"aws_ecs_cluster_capacity_providers":     "tasks would run on capacity that nobody chose",
	"aws_cloudwatch_log_group":               "a further log group can keep anything for ever, in clear text",
	"aws_cloudwatch_log_resource_policy":     "a policy of the logs lets others write or read them",
	"aws_cloudwatch_log_subscription_filter": "the log would be sent elsewhere",
	"aws_cloudwatch_event_rule":              "a further rule sends events of the account elsewhere",
	"aws_cloudwatch_event_target":            "events would be sent elsewhere",
	"aws_cloudwatch_event_permission":        "other accounts could send events to this one",
	"aws_s3_bucket":                          "a bucket can be open to the world",
	"null_resource":                          "it exists to run programs on the machine that deploys",
	"terraform_data":                         "it exists to run programs on the machine that deploys",
	"local_file":                             "it writes files on the machine that deploys",
	"external":                               "it runs a program on the machine that deploys",
	"http":                                   "it asks a server at each plan, and gives it what stands in the address",
	"aws_secretsmanager_random_password":     "a secret would stand in the state",
	"aws_ssm_parameter":                      "the value would stand in the state",
	"terraform_remote_state":                 "the state of another deployment, secrets in it, would be read",
}

func resourceDanger(kind, otherwise string) string {
	if why, ok := resourceDangers[kind]; ok {
		return why
	}
	if otherwise != "" {
		return otherwise
	}
	return "no rule here knows it, so nobody has judged what it opens, runs or costs"
}

// statementDanger says what is worst about a statement of a policy, and ends in "; so ".
func statementDanger(value any) string {
	s, _ := value.(map[string]any)
	has := func(field, text string) bool { return strings.Contains(encode(s[field]), text) }
	principal := s["Principal"] != nil
	switch {
	case s["NotAction"] != nil || s["NotResource"] != nil || s["NotPrincipal"] != nil:
		return "it allows all but what it names; so "
	case principal && has("Principal", `"*"`):
		return "it is for anybody in any account; so "
	case principal && has("Principal", `"AWS"`):
		return "it is for users and roles, of another account even; so "
	case has("Action", "*"):
		return "a star stands also for each action that AWS adds; so "
	case principal && s["Condition"] == nil:
		return "without a condition another account can make the service use it; so "
	case has("Resource", `"*"`):
		return "it is for all resources there are; so "
	}
	return ""
}
