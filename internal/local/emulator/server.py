"""The AWS emulator of the local run: moto's server, and the answers it lacks.

usage: server.py PORT_FILE

Listens on 127.0.0.1, on a port that the system chooses and that is therefore
free, and writes the port to PORT_FILE once it listens.

Each patch below makes moto 5.2.5 answer as AWS does where the AWS provider
would otherwise plan the same change indefinitely, or a destroyed stack would leave
something behind. Remove one when moto does it by itself: the life cycle tests
then still pass.
"""

import collections
import copy
import datetime
import functools
import json
import os
import random
import re
import string
import sys
import threading
import time
import uuid

import botocore.session
import moto.utilities.utils
import waitress

# moto makes sessions while it is imported and later, and each would read botocore's folders.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)

# Nothing here runs on machines of EC2. Their types in all regions are 92 files, a sixth of the start.
load_resource = moto.utilities.utils.load_resource
moto.utilities.utils.load_resource = lambda path: {} if path.startswith("ec2/resources/instance_type") else load_resource(path)

import moto.applicationautoscaling.models as autoscaling_models
import moto.applicationautoscaling.responses as autoscaling_responses
import moto.backends
import moto.core.responses
import moto.core.utils
import moto.ec2.exceptions as ec2_exceptions
import moto.ec2.models.nat_gateways as nat_gateways
import moto.ec2.models.security_groups as security_groups
import moto.ec2.models.vpcs as vpcs
import moto.ecs.exceptions as ecs_exceptions
import moto.ecs.models as ecs_models
import moto.ecs.responses as ecs_responses
import moto.events.models as events_models
import moto.iam.models as iam_models
import moto.rds.models as rds_models
import moto.servicediscovery.models as discovery_models
import moto.sqs.models as sqs_models
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.events import events_backends
from moto.events.utils import EventTemplateParser
from moto.logs.metric_filters import MetricFilters
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    create_backend_app,
)
from moto.route53 import route53_backends
from moto.servicediscovery import servicediscovery_backends
from moto.sns import sns_backends
from moto.utilities.utils import get_partition

# Held by the one request that is being answered, see one_at_a_time.
LOCK = threading.Lock()


def patch(owner, name):
    """Replaces a method by the decorated function, which gets the original as its first argument."""

    def replace(function):
        original = getattr(owner, name, None)
        setattr(owner, name, lambda self, *args, **named: function(original, self, *args, **named))
        return function

    return replace


EcsBackend = ecs_models.EC2ContainerServiceBackend
EcsResponse = ecs_responses.EC2ContainerServiceResponse
ScalingResponse = autoscaling_responses.ApplicationAutoScalingResponse
DiscoveryBackend = discovery_models.ServiceDiscoveryBackend


class Malformed(ServiceException):
    """The error of a call that does not match its model."""


CODES = {"json": "ValidationException", "rest-json": "ValidationException", "ec2": "InvalidParameterValue"}


@patch(moto.core.responses.BaseResponse, "_dispatch")
def refuse_malformed_calls(_, self, request, full_url, headers):
    """moto accepts calls that do not match the model of their service, which botocore has.

    AWS validates required members, enumerations, patterns, lengths and ranges first.
    """
    self.setup_class(request, full_url, headers)
    service = moto.core.utils.get_service_model(self.boto3_service_name)
    action = self._get_action()
    if action in service.operation_names:
        parameters = parsed_parameters(self, request)
        problems = violations(service.operation_model(action).input_shape, parameters, "")
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
            error = Malformed(CODES.get(service.protocol, "ValidationError"), count + "; ".join(problems))
            status, headers, body = self.serialized(moto.core.responses.ActionResult(error))
            return status, {**headers, "status": status}, body
    return self.call_action()


def parsed_parameters(response, request):
    """The parameters of a call in the structure of its model."""
    kept = response.__dict__.get("params")
    response.parse_parameters(request)
    parsed, response.params = response.params, kept
    return parsed


def violations(shape, value, path):
    """The constraints of a shape that a value violates, in AWS's words."""
    if shape is None:
        return []
    rules, found = shape.metadata, []

    def refuse(constraint):
        shown = "Value at " if rules.get("sensitive") else f"Value {value!r} at "
        found.append(f"{shown}'{path[:-1]}' failed to satisfy constraint: Member must {constraint}")

    if shape.type_name == "structure":
        value = value or {}
        for name in shape.required_members:
            if value.get(name) is None:
                found.append(f"Value null at '{path}{name}' failed to satisfy constraint: Member must not be null")
        for name, member in shape.members.items():
            if value.get(name) is not None:
                found += violations(member, value[name], path + name + ".")
    elif shape.type_name == "list":
        for number, item in enumerate(value, 1):
            found += violations(shape.member, item, f"{path}{number}.member.")
    elif shape.type_name == "map":
        for key, item in value.items():
            found += violations(shape.key, key, path) + violations(shape.value, item, f"{path}{key}.")
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            refuse(f"satisfy enum value set: {shape.enum}")
        elif "pattern" in rules and matches(rules["pattern"], value) is None:
            refuse("satisfy regular expression pattern: " + rules["pattern"])
    size = len(value) if hasattr(value, "__len__") else value
    kind = "value" if size is value else "length"
    if isinstance(size, (int, float)) and size < rules.get("min", size):
        refuse(f"have {kind} greater than or equal to {rules['min']}")
    if isinstance(size, (int, float)) and size > rules.get("max", size):
        refuse(f"have {kind} less than or equal to {rules['max']}")
    return found


def matches(pattern, value):
    """The match of a pattern of Java, or True where Python cannot read it."""
    try:
        return re.fullmatch(pattern, value, re.DOTALL)
    except re.error:
        return True


# Memory in MiB by CPU units ("Task CPU and memory" in the developer guide of Fargate).
FARGATE = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}


def check_size(cpu, memory):
    if int(memory) not in FARGATE.get(int(cpu), ()):
        raise ecs_exceptions.EcsClientException(
            f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )


@patch(EcsResponse, "register_task_definition")
def refuse_definitions_that_fargate_lacks(original, self):
    """RegisterTaskDefinition takes any CPU and memory."""
    parameters = self._get_params()
    if "FARGATE" in parameters.get("requiresCompatibilities", []):
        check_size(parameters["cpu"], parameters["memory"])
    return original(self)


@patch(EcsResponse, "run_task")
def refuse_overrides_that_fargate_lacks(original, self):
    """And so do the overrides of RunTask."""
    parameters = self._get_params()
    overrides = parameters.get("overrides", {})
    if "cpu" in overrides or "memory" in overrides:
        definition = self.ecs_backend.describe_task_definition(parameters["taskDefinition"])
        check_size(overrides.get("cpu", definition.cpu), overrides.get("memory", definition.memory))
    return original(self)


# Fields of a service that CreateService drops, and the attributes from which moto writes DescribeServices.
SERVICE_FIELDS = {
    "availabilityZoneRebalancing": "availability_zone_rebalancing",
    "capacityProviderStrategy": "capacity_provider_strategy",
    "deploymentConfiguration": "deployment_configuration",
    "enableECSManagedTags": "enable_ecs_managed_tags",
    "enableExecuteCommand": "enable_execute_command",
    "healthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
}
ecs_models.Service.availability_zone_rebalancing = "DISABLED"  # AWS's default


@patch(EcsResponse, "create_service")
def keep_service_fields(original, self):
    answer = original(self)
    for field, attribute in SERVICE_FIELDS.items():
        value = self._get_params().get(field)
        if value is not None:
            setattr(answer.result["service"], attribute, value)
    return answer


@patch(ecs_models.Service, "__init__")
def run_all_tasks_of_a_service(original, self, *args, **kwargs):
    """A service is stable at once. With moto it runs no task until it is updated, and Terraform would wait for it."""
    original(self, *args, **kwargs)
    self.running_count, self.pending_count = self.desired_count, 0
    for deployment in self.deployments:
        deployment.update(
            runningCount=self.desired_count,
            pendingCount=0,
            rolloutState="COMPLETED",
            rolloutStateReason=f"ECS deployment {deployment['id']} completed.",
        )


@patch(EcsBackend, "update_service")
def update_deployment_with_service(original, self, service_properties):
    """UpdateService leaves the deployment as it was, and drops settings of deployments that the call does not have.

    Another task definition is a new deployment.
    """
    service = self._get_service(service_properties.get("cluster", "default"), service_properties["service"].split("/")[-1])
    if service_properties.get("deployment_configuration"):
        before = getattr(service, "deployment_configuration", None) or {}
        service_properties["deployment_configuration"] = before | service_properties["deployment_configuration"]
    before = service.task_definition
    service = original(self, service_properties)
    deployment = service.deployments[0]
    if service.task_definition != before:
        now = datetime.datetime.now(datetime.timezone.utc)
        service.deployments.insert(1, {**deployment, "status": "ACTIVE"})
        deployment.update(id=f"ecs-svc/{random.randint(0, 32**12)}", createdAt=now, updatedAt=now)
    deployment["taskDefinition"] = service.task_definition
    deployment["desiredCount"] = service.desired_count
    deployment["runningCount"] = service.running_count
    deployment["pendingCount"] = service.pending_count
    return service


@patch(EcsBackend, "describe_services")
def show_deployments_of_protected_tasks(original, self, cluster, names):
    """The deployment before stays as long as tasks of it are protected; without protection its tasks count as stopped."""
    services, failures = original(self, cluster, names)
    shown = []
    for service in services:
        tasks = [task for task in self.tasks.get(service.cluster_name, {}).values() if is_protected(task)]
        service = copy.copy(service)
        service.deployments = service.deployments[:1] + [
            {**deployment, "runningCount": count}
            for deployment in service.deployments[1:]
            if (count := len([task for task in tasks if task.started_by == deployment["id"]]))
        ]
        shown.append(service)
    return shown, failures


def is_protected(task):
    return task.last_status != "STOPPED" and getattr(task, "protected_until", 0) > time.time()


@patch(EcsResponse, "update_task_protection")
def update_task_protection(_, self):
    """UpdateTaskProtection and GetTaskProtection are missing."""
    return answer_protection(self, protect)


@patch(EcsResponse, "get_task_protection")
def get_task_protection(_, self):
    return answer_protection(self, lambda *_: None)


def answer_protection(self, change):
    params, protected, failures = self._get_params(), [], []
    cluster = self.ecs_backend._get_cluster(params["cluster"])
    known = {task.id: task for task in self.ecs_backend.tasks.get(cluster.name, {}).values()}
    for name in params.get("tasks") or []:
        task = known.get(name.split("/")[-1])
        reason = "MISSING" if task is None or task.last_status == "STOPPED" else change(self, params, task, known)
        if reason:
            failures.append({"arn": name, "reason": reason})
            continue
        shown = {"taskArn": task.task_arn, "protectionEnabled": is_protected(task)}
        if is_protected(task):
            shown["expirationDate"] = task.protected_until
        protected.append(shown)
    return ecs_responses.ActionResult({"protectedTasks": protected, "failures": failures})


def protect(self, params, task, known):
    group = getattr(task, "group", None) or ""
    if not group.startswith("service:"):
        return "TASK_NOT_VALID"
    if not params["protectionEnabled"]:
        task.protected_until = 0
        return None
    service = self.ecs_backend._get_service(params["cluster"], group.removeprefix("service:"))
    others = [t for t in known.values() if t is not task and t.group == group and is_protected(t)]
    if len(others) > service.desired_count:
        return "DEPLOYMENT_BLOCKED"
    task.protected_until = time.time() + 60 * params.get("expiresInMinutes", 120)
    return None


# Tags of targets of Application Auto Scaling, which have none, by the ARN.
SCALING_TAGS = collections.defaultdict(dict)


@patch(ScalingResponse, "register_scalable_target")
def register_scalable_target(original, self):
    answer = original(self)
    SCALING_TAGS[json.loads(answer)["ScalableTargetARN"]].update(self._get_param("Tags") or {})
    return answer


@patch(ScalingResponse, "list_tags_for_resource")
def list_tags_for_resource(_, self):
    return json.dumps({"Tags": SCALING_TAGS[self._get_param("ResourceARN")]})


@patch(ScalingResponse, "tag_resource")
def tag_resource(_, self):
    SCALING_TAGS[self._get_param("ResourceARN")].update(self._get_param("Tags"))
    return "{}"


@patch(ScalingResponse, "untag_resource")
def untag_resource(_, self):
    for key in self._get_param("TagKeys"):
        SCALING_TAGS[self._get_param("ResourceARN")].pop(key, None)
    return "{}"


@patch(autoscaling_models.ApplicationAutoscalingBackend, "put_scaling_policy")
def keep_the_arn_of_a_policy(original, self, **named):
    """A changed policy has another ARN."""
    key = autoscaling_models.FakeApplicationAutoscalingPolicy.formulate_key(
        named["service_namespace"], named["resource_id"], named["scalable_dimension"], named["policy_name"]
    )
    before = self.policies.get(key)
    policy = original(self, **named)
    if before:
        policy.policy_arn = before.policy_arn
    return policy


# RunTask's tasks wait for their agent, and only its reports change them.
#
# moto's are RUNNING at once and go one state on with each DescribeTasks. Here
# they are PROVISIONING until SubmitTaskStateChange, the agent's call, reports
# on them, and each change is sent as an event to the rules of EventBridge.
ecs_models.Task.advance = lambda self: None
ecs_models.Task.status = property(
    lambda self: self.__dict__.get("reported", "PROVISIONING"),
    lambda self, value: self.__dict__.__setitem__("reported", value),
)
# The memory of a task on Fargate is its own and not that of its containers,
# which moto adds up.
EcsBackend._calculate_task_resource_requirements = staticmethod(
    lambda _: {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
)


@patch(ecs_models.Task, "__init__")
def make_task_as_on_fargate(original, self, *args, **named):
    original(self, *args, **named)
    definition = named.get("task_definition") or args[1]
    self.id = uuid.uuid4().hex
    self.cpu, self.memory = definition.cpu, definition.memory
    self.created_at = datetime.datetime.now(datetime.timezone.utc)
    self.version, self.stop_code = 1, None
    for container in self.containers:
        container.task_arn, container.exitCode = self.task_arn, None
        container.health_status = "UNKNOWN"
        # Text in the API; moto has numbers, which the SDK for Go refuses.
        container.cpu = str(container.cpu or 0)
        container.memory = str(container.memory) if container.memory else None


@patch(EcsBackend, "run_task")
def run_task_on_fargate(
    original, self, cluster, definition, count, overrides, started_by, tags, launch_type, network, group, platform, strategy
):
    # With a capacity provider strategy there is no launch type; all are Fargate's.
    if not launch_type:
        launch_type, strategy = "FARGATE", None
    tasks = original(
        self, cluster, definition, count, overrides, started_by, tags, launch_type, network, group, platform, strategy
    )
    for task in tasks:
        send_event(self, task)
    return tasks


@patch(EcsBackend, "stop_task")
def ask_agent_to_stop_task(_, self, cluster, wanted, reason):
    for task in self.tasks.get(self._get_cluster(cluster).name, {}).values():
        if task.id == wanted.split("/")[-1]:
            if task.desired_status != "STOPPED":
                task.desired_status, task.stop_code = "STOPPED", "UserInitiated"
                task.stopped_reason = reason or "Task stopped by user"
                send_event(self, task)
            return task
    raise ecs_exceptions.InvalidParameterException("The referenced task was not found.")


def service_task(backend, cluster, arn, deployment):
    """A service's task, of which its agent's first report is the first that is
    known here; ECS itself placed it. The reason names the deployment."""
    service, definition = next(
        (service, d["taskDefinition"])
        for service in backend.services.values()
        for d in service.deployments
        if d["id"] == deployment
    )
    definition = copy.copy(backend.describe_task_definition(definition))
    definition.network_mode = "none"  # the process has no interface here
    task = ecs_models.Task(
        cluster, definition, None, None, backend, "", "FARGATE", None, deployment
    )
    task.id = arn.split("/")[-1]
    task.group = "service:" + service.name
    task.registries = [r["registryArn"].split("/")[-1] for r in service.service_registries]
    for number, container in enumerate(task.containers):
        container.runtime_id = f"{task.id}-{number:010}"
    return task


def discovery_of(backend):
    return servicediscovery_backends[backend.account_id][backend.region_name]


def deregister(backend, task):
    discovery = discovery_of(backend)
    for registry in getattr(task, "registries", []):
        if registry in discovery.services and any(i.instance_id == task.id for i in discovery.services[registry].instances):
            discovery.deregister_instance(registry, task.id)


@patch(EcsBackend, "delete_service")
def deregister_tasks_with_service(original, self, cluster, name, force):
    """ECS takes the tasks of a service out of Cloud Map before the service is gone."""
    service = original(self, cluster, name, force)
    for task in self.tasks.get(self._get_cluster(cluster).name, {}).values():
        if getattr(task, "group", None) == "service:" + service.name:
            deregister(self, task)
    return service


@patch(EcsResponse, "submit_task_state_change")
def submit_task_state_change(_, self):
    params = self._get_params()
    backend = self.ecs_backend
    cluster = backend._get_cluster(params.get("cluster", "default"))
    tasks = backend.tasks.setdefault(cluster.name, {})
    arn, status = params["task"], params["status"]
    reason, changes = params.get("reason", ""), params.get("containers") or []
    if arn not in tasks:
        tasks[arn], reason = service_task(backend, cluster, arn, reason), ""
    task = tasks[arn]
    task.last_status, task.version = status, task.version + 1
    now = datetime.datetime.now(datetime.timezone.utc)
    if status == "RUNNING":
        task.started_at = now
        for registry in getattr(task, "registries", []):  # ECS registers the tasks of a service in Cloud Map
            discovery_of(backend).register_instance(registry, task.id, "", {"AWS_INSTANCE_IPV4": "127.0.0.1"})
    if status == "STOPPED":
        deregister(backend, task)
        task.stopped_at, task.desired_status = now, "STOPPED"
        task.stopped_reason = task.stopped_reason or reason
        task.stop_code = task.stop_code or (
            "EssentialContainerExited" if changes else "TaskFailedToStart"
        )
    for container in task.containers:
        container.last_status = status
    for container, change in zip(task.containers, changes):
        container.exitCode = change.get("exitCode", container.exitCode)
    send_event(backend, task)
    return ecs_responses.ActionResult({"acknowledgment": "ACCEPT"})


def send_event(backend, task):
    """ "ECS Task State Change", with the fields of its documentation."""
    containers = [
        {
            "containerArn": container.container_arn,
            "taskArn": task.task_arn,
            "name": container.name,
            "lastStatus": container.last_status,
            **({} if container.exitCode is None else {"exitCode": container.exitCode}),
        }
        for container in task.containers
    ]
    detail = {
        "clusterArn": task.cluster_arn,
        "taskArn": task.task_arn,
        "taskDefinitionArn": task.task_definition_arn,
        "group": task.group,
        "launchType": "FARGATE",
        "startedBy": task.started_by,
        "lastStatus": task.last_status,
        "desiredStatus": task.desired_status,
        "version": task.version,
        "createdAt": task.created_at.isoformat(),
        "containers": containers,
        "overrides": {"containerOverrides": [{"name": c["name"]} for c in containers]},
        **({"stoppedReason": task.stopped_reason} if task.stopped_reason else {}),
        **({"stopCode": task.stop_code} if task.stop_code else {}),
    }
    events_backends[backend.account_id][backend.region_name].put_events(
        [
            {
                "Source": "aws.ecs",
                "DetailType": "ECS Task State Change",
                "Detail": json.dumps(detail),
                "Resources": [task.task_arn],
            }
        ]
    )


@patch(events_models.Rule, "send_to_targets")
def send_events_to_topics(original, self, event, *others):
    """A rule of EventBridge cannot have a topic of SNS as its target."""
    targets = self.targets
    topics = [target for target in targets if ":sns:" in target["Arn"]]
    self.targets = [target for target in targets if target not in topics]
    try:
        original(self, event, *others)
    finally:
        self.targets = targets
    if not topics or not self.event_pattern.matches_event(event):
        return
    for target in topics:
        transformer = target.get("InputTransformer", {})
        message = EventTemplateParser.parse(
            transformer.get("InputTemplate"),
            transformer.get("InputPathsMap", {}),
            event,
        )
        backend = sns_backends[self.account_id][self.region_name]
        if target["Arn"] in backend.topics:  # others are not here
            backend.topics[target["Arn"]].publish(json.dumps(message))


@patch(EcsBackend, "list_tasks")
def list_tasks_of_a_service(original, self, *others):
    """ListTasks ignores the name of a service."""
    tasks = original(self, *others)
    service_name = others[4]
    if not service_name:
        return tasks
    group = "service:" + service_name.split("/")[-1]
    return [task for task in tasks if getattr(task, "group", None) == group]


@patch(DiscoveryBackend, "delete_namespace")
def delete_hosted_zone_with_namespace(original, self, namespace_id):
    """DeleteNamespace leaves its private hosted zone behind."""
    namespace = self.namespaces.get(namespace_id)
    answer = original(self, namespace_id)
    zones_of(self).pop(zone_of(namespace), None)
    return answer


@patch(DiscoveryBackend, "create_private_dns_namespace")
def tell_vpc_of_hosted_zone(original, self, *args, **kwargs):
    """CreatePrivateDnsNamespace makes a hosted zone that is of no VPC."""
    operation = original(self, *args, **kwargs)
    for namespace in self.namespaces.values():
        zone = zones_of(self).get(zone_of(namespace))
        if zone and namespace.vpc:
            zone.vpcs = [{"VPCId": namespace.vpc, "VPCRegion": self.region_name}]
    return operation


def zones_of(discovery):
    return route53_backends[discovery.account_id][get_partition(discovery.region_name)].zones


def zone_of(namespace):
    properties = getattr(namespace, "dns_properties", None) or {}
    return properties.get("HostedZoneId", "").split("/")[-1]


@patch(nat_gateways.NatGatewayBackend, "delete_nat_gateway")
def delete_interface_with_nat_gateway(original, self, nat_gateway_id):
    """DeleteNatGateway leaves its network interface behind."""
    gateway = original(self, nat_gateway_id)
    self.enis.pop(gateway._eni.id, None)
    return gateway


@patch(rds_models.DBInstance, "__init__")
def tell_databases_apart(original, self, *others, **named):
    """All databases have one resource id, by which the provider looks for its own."""
    original(self, *others, **named)
    letters = string.ascii_uppercase + string.digits
    self.dbi_resource_id = "db-" + "".join(random.choices(letters, k=26))


@patch(rds_models.DBParameterGroup, "update_parameters")
def say_who_set_a_parameter(original, self, new_parameters):
    """DescribeDBParameters with Source "user" lists what a user set."""
    new_parameters = list(new_parameters)
    original(self, new_parameters)
    for parameter in new_parameters:
        self.parameters[parameter["ParameterName"]]["Source"] = "user"


@patch(MetricFilters, "add_filter")
def replace_metric_filters(original, self, filter_name, filter_pattern, log_group_name, *others):
    """PutMetricFilter adds a second filter where there is one of the name."""
    self.metric_filters = [
        f
        for f in self.metric_filters
        if (f["filterName"], f["logGroupName"]) != (filter_name, log_group_name)
    ]
    original(self, filter_name, filter_pattern, log_group_name, *others)


# A rule's description is lost where its peer is a security group or a prefix list.
security_groups.SecurityGroupRule.description = property(lambda rule: rule.peer.get("Description"))


@patch(security_groups.SecurityGroupRule, "__init__")
def keep_the_peer_of_a_rule(
    original, self, backend, protocol, group_id, first, last, ip_range, source_group=None, prefix_list_id=None, **named
):
    original(self, backend, protocol, group_id, first, last, ip_range, source_group, prefix_list_id, **named)
    self.peer = self.ip_range or self.source_group or prefix_list_id or {}


@patch(security_groups.SecurityGroupBackend, "modify_security_group_rules")
def keep_descriptions_of_rules(original, self, group_id, rules):
    original(self, group_id, rules)
    for rule in map(self.get_security_group_by_name_or_id(group_id).get_rule, rules):
        if rule.peer is not rule.ip_range:
            rule.peer.update(rule.ip_range)
            rule.ip_range = {}


@patch(vpcs.VPCBackend, "create_vpc_endpoint")
def make_gateway_endpoints_by_default(original, self, **named):
    """The type of an endpoint has no default."""
    return original(self, **{**named, "endpoint_type": named["endpoint_type"] or "Gateway"})


@patch(vpcs.VPCEndPoint, "modify")
def route_to_gateway_endpoints(original, self, policy, add_subnets, remove_subnets, add_tables, remove_tables, *others):
    """ModifyVpcEndpoint changes no route, for want of which DeleteVpcEndpoints fails."""
    original(self, policy, add_subnets, remove_subnets, add_tables, remove_tables, *others)
    destination = self.destination_prefix_list_id
    for table in add_tables or []:
        self.ec2_backend.create_route(table, None, gateway_id=self.id, destination_prefix_list_id=destination)
    for table in remove_tables or []:
        self.ec2_backend.delete_route(table, destination)


@patch(vpcs.VPCBackend, "delete_vpc")
def keep_vpc_in_use(original, self, vpc_id):
    """DeleteVpc takes what others have in it along."""
    inside = [s for zone in self.subnets.values() for s in zone.values()] + list(self.vpc_end_points.values())
    groups = self.groups.get(vpc_id, {}).values()
    if any(group.name != "default" for group in groups) or any(one.vpc_id == vpc_id and one.state != "deleted" for one in inside):
        raise ec2_exceptions.DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
    return original(self, vpc_id)


def in_use(kind):
    return JsonRESTError("ResourceInUse", f"The specified {kind} can't be deleted because it contains other resources.")


@patch(DiscoveryBackend, "delete_namespace")
def keep_namespace_in_use(original, self, namespace_id):
    """Cloud Map and ECS delete what holds services or instances."""
    if any(service.namespace_id == namespace_id for service in self.services.values()):
        raise in_use("namespace")
    return original(self, namespace_id)


@patch(DiscoveryBackend, "delete_service")
def keep_service_in_use(original, self, service_id):
    if service_id in self.services and self.services[service_id].instances:
        raise in_use("service")
    return original(self, service_id)


@patch(EcsBackend, "delete_cluster")
def keep_cluster_in_use(original, self, cluster_str):
    name = self._get_cluster(cluster_str).name
    if any(service.cluster_name == name and service.status == "ACTIVE" for service in self.services.values()):
        raise JsonRESTError("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
    return original(self, cluster_str)


@patch(EcsResponse, "run_task")
@patch(EcsResponse, "create_service")
@patch(EcsResponse, "update_service")
def refuse_capacity_providers_that_the_cluster_lacks(original, self):
    """RunTask, CreateService and UpdateService take any strategy."""
    parameters = self._get_params()
    wanted = {item["capacityProvider"] for item in parameters.get("capacityProviderStrategy") or []}
    if wanted and wanted - set(self.ecs_backend._get_cluster(parameters.get("cluster", "default")).capacity_providers or []):
        raise ecs_exceptions.InvalidParameterException(
            "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
            "with the cluster. Associate the capacity provider with the cluster and try again."
        )
    return original(self)


@patch(iam_models.IAMBackend, "update_role")
def keep_the_description_of_a_role(original, self, role_name, role_description, *others):
    """UpdateRole takes a description away that the call does not have."""
    if role_description is None:
        role_description = self.get_role(role_name).description
    return original(self, role_name, role_description, *others)


@patch(sqs_models.Queue, "_set_attributes")
def keep_the_policies_of_a_queue(original, self, attributes, *others):
    """Setting any other attribute of a queue takes its policy away."""
    policy = attributes.get("Policy", getattr(self, "policy", None))
    original(self, attributes, *others)
    self.policy = policy


attributes_of_queue = sqs_models.Queue.attributes.fget


def attributes_with_compact_policy(queue):
    """A redrive policy is given with spaces, which Terraform takes for a change."""
    attributes = attributes_of_queue(queue)
    if queue.redrive_policy:
        attributes["RedrivePolicy"] = json.dumps(queue.redrive_policy, separators=(",", ":"))
    return attributes


sqs_models.Queue.attributes = property(attributes_with_compact_policy)


@patch(sqs_models.SQSBackend, "receive_message")
def wait_for_messages_without_the_lock(original, self, queue_name, count, wait_seconds_timeout, *others, **named):
    """A long poll of SQS would keep all other requests out for 20 s."""
    end = time.monotonic() + wait_seconds_timeout
    while True:
        messages = original(self, queue_name, count, 0, *others, **named)
        if messages or time.monotonic() >= end:
            return messages
        LOCK.release()
        try:
            time.sleep(0.1)
        finally:
            LOCK.acquire()


# With each request moto reads its own folder and looks through the class that answers.
MODULES = list(moto.backends.list_of_moto_modules())
moto.backends.list_of_moto_modules = lambda: MODULES
moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)
moto.core.utils.create_loader = functools.cache(moto.core.utils.create_loader)


def one_at_a_time(app):
    """Answer requests one after the other, and each once.

    moto keeps everything in plain dictionaries, and the server has a thread for
    each connection; Terraform sends ten requests at the same time. Without this,
    one of them can see another's work half done and fail.

    On a machine under load an answer is lost now and then, and the client repeats the request:
    a second CreateNatGateway fails, which AWS would know by its token. What was
    done is not done again, but answered again.
    """
    done = collections.OrderedDict()

    def locked(environ, start_response):
        with LOCK:
            request = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
            attempt = re.search(r"attempt=(\d+)", environ.get("HTTP_AMZ_SDK_REQUEST", ""))
            if request in done and attempt and attempt[1] != "1":
                print("answered again:", environ.get("HTTP_AMZ_SDK_REQUEST"), flush=True)
                body, answer = done[request]
                start_response(*answer)
                return body
            answer = []

            def remember(*args):
                answer[:] = args[:2]
                return start_response(*args)

            body = list(app(environ, remember))
            if not answer[0].startswith("2"):
                print(environ["REQUEST_METHOD"], environ["PATH_INFO"], answer[0], flush=True)
            elif request:
                done[request] = body, answer
                if len(done) > 1000:
                    done.popitem(last=False)
            return body

    return locked


def main(port_file):
    app = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    # Not with moto's own server, which makes a connection and a thread for each request. Long
    # polls of SQS keep a thread; idle connections are the clients' to end.
    server = waitress.create_server(
        app,
        host="127.0.0.1",
        port=0,
        threads=32,
        connection_limit=1000,
        channel_timeout=24 * 3600,
        asyncore_use_poll=True,
    )
    # moto reads its own address from this variable.
    os.environ["MOTO_PORT"] = str(server.effective_port)
    # A reader never sees half a file: rename is atomic.
    with open(port_file + ".new", "w", encoding="ascii") as new:
        new.write(str(server.effective_port))
    os.replace(port_file + ".new", port_file)
    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
