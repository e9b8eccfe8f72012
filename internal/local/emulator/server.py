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


class Malformed(ServiceException):
    """The error of a call that does not match its model."""


def refuse_malformed_calls():
    """moto accepts calls that do not match the model of their service, which botocore has.

    AWS validates required members, enumerations, patterns, lengths and ranges first.
    """
    codes = {"json": "ValidationException", "rest-json": "ValidationException", "ec2": "InvalidParameterValue"}

    def dispatch(self, request, full_url, headers):
        self.setup_class(request, full_url, headers)
        service = moto.core.utils.get_service_model(self.boto3_service_name)
        action = self._get_action()
        if action in service.operation_names:
            parameters = parsed_parameters(self, request)
            problems = violations(service.operation_model(action).input_shape, parameters, "")
            if problems:
                count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
                error = Malformed(codes.get(service.protocol, "ValidationError"), count + "; ".join(problems))
                status, headers, body = self.serialized(moto.core.responses.ActionResult(error))
                return status, {**headers, "status": status}, body
        return self.call_action()

    moto.core.responses.BaseResponse._dispatch = dispatch


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


def refuse_sizes_that_fargate_lacks():
    """RegisterTaskDefinition and the overrides of RunTask take any CPU and memory."""
    responses = ecs_responses.EC2ContainerServiceResponse
    register, run = responses.register_task_definition, responses.run_task

    def check(cpu, memory):
        if int(memory) not in FARGATE.get(int(cpu), ()):
            raise ecs_exceptions.EcsClientException(
                f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
                "See the Amazon ECS documentation for the valid values."
            )

    def register_task_definition(self):
        parameters = self._get_params()
        if "FARGATE" in parameters.get("requiresCompatibilities", []):
            check(parameters["cpu"], parameters["memory"])
        return register(self)

    def run_task(self):
        parameters = self._get_params()
        overrides = parameters.get("overrides", {})
        if "cpu" in overrides or "memory" in overrides:
            definition = self.ecs_backend.describe_task_definition(parameters["taskDefinition"])
            check(overrides.get("cpu", definition.cpu), overrides.get("memory", definition.memory))
        return run(self)

    responses.register_task_definition, responses.run_task = register_task_definition, run_task


def keep_service_fields():
    """CreateService drops these fields, so DescribeServices cannot return them.

    moto writes the answer from attributes of the service object, so that it is
    enough to set them.
    """
    kept = {
        "availabilityZoneRebalancing": "availability_zone_rebalancing",
        "capacityProviderStrategy": "capacity_provider_strategy",
        "deploymentConfiguration": "deployment_configuration",
        "enableECSManagedTags": "enable_ecs_managed_tags",
        "enableExecuteCommand": "enable_execute_command",
        "healthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
    }
    ecs_models.Service.availability_zone_rebalancing = "DISABLED"  # AWS's default
    responses = ecs_responses.EC2ContainerServiceResponse
    original = responses.create_service

    def create_service(self):
        answer = original(self)
        for field, attribute in kept.items():
            value = self._get_params().get(field)
            if value is not None:
                setattr(answer.result["service"], attribute, value)
        return answer

    responses.create_service = create_service


def run_all_tasks_of_a_service():
    """A service is stable at once. With moto it runs no task until it is updated, and Terraform would wait for it."""
    init = ecs_models.Service.__init__

    def steady(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.running_count, self.pending_count = self.desired_count, 0
        for deployment in self.deployments:
            deployment.update(
                runningCount=self.desired_count,
                pendingCount=0,
                rolloutState="COMPLETED",
                rolloutStateReason=f"ECS deployment {deployment['id']} completed.",
            )

    ecs_models.Service.__init__ = steady


def update_deployment_with_service():
    """UpdateService leaves the deployment as it was, and drops settings of deployments that the call does not have.

    Another task definition is a new deployment. The one before stays as long as tasks of it
    are protected; without protection its tasks count as stopped.
    """
    backend = ecs_models.EC2ContainerServiceBackend
    update, describe = backend.update_service, backend.describe_services

    def update_service(self, service_properties):
        service = self._get_service(service_properties.get("cluster", "default"), service_properties["service"].split("/")[-1])
        if service_properties.get("deployment_configuration"):
            before = getattr(service, "deployment_configuration", None) or {}
            service_properties["deployment_configuration"] = before | service_properties["deployment_configuration"]
        before = service.task_definition
        service = update(self, service_properties)
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

    def describe_services(self, cluster, names):
        services, failures = describe(self, cluster, names)
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

    backend.update_service, backend.describe_services = update_service, describe_services


def is_protected(task):
    return task.last_status != "STOPPED" and getattr(task, "protected_until", 0) > time.time()


def protect_tasks():
    """UpdateTaskProtection and GetTaskProtection are missing."""

    def answer(self, change):
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

    def change(self, params, task, known):
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

    responses = ecs_responses.EC2ContainerServiceResponse
    responses.update_task_protection = lambda self: answer(self, change)
    responses.get_task_protection = lambda self: answer(self, lambda *_: None)


def scale_services():
    """A target of Application Auto Scaling has no tags, and a changed policy has another ARN."""
    responses = autoscaling_responses.ApplicationAutoScalingResponse
    register = responses.register_scalable_target
    backend = autoscaling_models.ApplicationAutoscalingBackend
    put = backend.put_scaling_policy

    def tags_of(self, arn):
        return self.applicationautoscaling_backend.__dict__.setdefault("tags", {}).setdefault(arn, {})

    def register_scalable_target(self):
        answer = register(self)
        tags_of(self, json.loads(answer)["ScalableTargetARN"]).update(self._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(self):
        return json.dumps({"Tags": tags_of(self, self._get_param("ResourceARN"))})

    def tag_resource(self):
        tags_of(self, self._get_param("ResourceARN")).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self):
        for key in self._get_param("TagKeys"):
            tags_of(self, self._get_param("ResourceARN")).pop(key, None)
        return "{}"

    def put_scaling_policy(self, **named):
        key = autoscaling_models.FakeApplicationAutoscalingPolicy.formulate_key(
            named["service_namespace"], named["resource_id"], named["scalable_dimension"], named["policy_name"]
        )
        before = self.policies.get(key)
        policy = put(self, **named)
        if before:
            policy.policy_arn = before.policy_arn
        return policy

    responses.register_scalable_target = register_scalable_target
    responses.list_tags_for_resource = list_tags_for_resource
    responses.tag_resource, responses.untag_resource = tag_resource, untag_resource
    backend.put_scaling_policy = put_scaling_policy


def run_tasks_as_fargate():
    """RunTask's tasks wait for their agent, and only its reports change them.

    moto's are RUNNING at once and go one state on with each DescribeTasks. Here
    they are PROVISIONING until SubmitTaskStateChange, the agent's call, reports
    on them, and each change is sent as an event to the rules of EventBridge.
    """
    backend, task_class = ecs_models.EC2ContainerServiceBackend, ecs_models.Task
    task_class.advance = lambda self: None
    task_class.status = property(
        lambda self: self.__dict__.get("reported", "PROVISIONING"),
        lambda self, value: self.__dict__.__setitem__("reported", value),
    )
    # The memory of a task on Fargate is its own and not that of its containers,
    # which moto adds up.
    backend._calculate_task_resource_requirements = staticmethod(
        lambda _: {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []}
    )
    original_init, original_run = task_class.__init__, backend.run_task

    def init(self, *args, **named):
        original_init(self, *args, **named)
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

    def run_task(self, cluster, definition, count, overrides, started_by, tags, launch_type, network, group, platform, strategy):
        # With a capacity provider strategy there is no launch type; all are Fargate's.
        if not launch_type:
            launch_type, strategy = "FARGATE", None
        tasks = original_run(
            self, cluster, definition, count, overrides, started_by, tags, launch_type, network, group, platform, strategy
        )
        for task in tasks:
            send_event(self, task)
        return tasks

    def stop_task(self, cluster, wanted, reason):
        for task in self.tasks.get(self._get_cluster(cluster).name, {}).values():
            if task.id == wanted.split("/")[-1]:
                if task.desired_status != "STOPPED":
                    task.desired_status, task.stop_code = "STOPPED", "UserInitiated"
                    task.stopped_reason = reason or "Task stopped by user"
                    send_event(self, task)
                return task
        raise ecs_exceptions.InvalidParameterException("The referenced task was not found.")

    task_class.__init__ = init
    backend.run_task, backend.stop_task = run_task, stop_task

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

    def deregister(backend, task):
        discovery = servicediscovery_backends[backend.account_id][backend.region_name]
        for registry in getattr(task, "registries", []):
            if registry in discovery.services and any(i.instance_id == task.id for i in discovery.services[registry].instances):
                discovery.deregister_instance(registry, task.id)

    original_delete = backend.delete_service

    def delete_service(self, cluster, name, force):
        """ECS takes the tasks of a service out of Cloud Map before the service is gone."""
        service = original_delete(self, cluster, name, force)
        for task in self.tasks.get(self._get_cluster(cluster).name, {}).values():
            if getattr(task, "group", None) == "service:" + service.name:
                deregister(self, task)
        return service

    backend.delete_service = delete_service

    def submit_task_state_change(self):
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
        discovery = servicediscovery_backends[backend.account_id][backend.region_name]
        for registry in getattr(task, "registries", []):  # ECS registers the tasks of a service in Cloud Map
            if status == "RUNNING":
                discovery.register_instance(registry, task.id, "", {"AWS_INSTANCE_IPV4": "127.0.0.1"})
        if status == "STOPPED":
            deregister(backend, task)
        if status == "RUNNING":
            task.started_at = now
        if status == "STOPPED":
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

    ecs_responses.EC2ContainerServiceResponse.submit_task_state_change = (
        submit_task_state_change
    )


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


def send_events_to_topics():
    """A rule of EventBridge cannot have a topic of SNS as its target."""
    original = events_models.Rule.send_to_targets

    def send_to_targets(self, event, *others):
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

    events_models.Rule.send_to_targets = send_to_targets


def list_tasks_of_a_service():
    """ListTasks ignores the name of a service."""
    backend = ecs_models.EC2ContainerServiceBackend
    original = backend.list_tasks

    def list_tasks(self, *others):
        tasks = original(self, *others)
        service_name = others[4]
        if not service_name:
            return tasks
        group = "service:" + service_name.split("/")[-1]
        return [task for task in tasks if getattr(task, "group", None) == group]

    backend.list_tasks = list_tasks


def delete_hosted_zone_with_namespace():
    """DeleteNamespace leaves its private hosted zone behind."""
    backend = discovery_models.ServiceDiscoveryBackend
    original = backend.delete_namespace

    def delete_namespace(self, namespace_id):
        namespace = self.namespaces.get(namespace_id)
        answer = original(self, namespace_id)
        properties = getattr(namespace, "dns_properties", None) or {}
        zone = properties.get("HostedZoneId", "").split("/")[-1]
        if zone:
            partition = get_partition(self.region_name)
            route53_backends[self.account_id][partition].zones.pop(zone, None)
        return answer

    backend.delete_namespace = delete_namespace


def tell_vpc_of_hosted_zone():
    """CreatePrivateDnsNamespace makes a hosted zone that is of no VPC."""
    backend = discovery_models.ServiceDiscoveryBackend
    original = backend.create_private_dns_namespace

    def create_private_dns_namespace(self, *args, **kwargs):
        operation = original(self, *args, **kwargs)
        zones = route53_backends[self.account_id][get_partition(self.region_name)].zones
        for namespace in self.namespaces.values():
            properties = getattr(namespace, "dns_properties", None) or {}
            zone = zones.get(properties.get("HostedZoneId", "").split("/")[-1])
            if zone and namespace.vpc:
                zone.vpcs = [{"VPCId": namespace.vpc, "VPCRegion": self.region_name}]
        return operation

    backend.create_private_dns_namespace = create_private_dns_namespace


def delete_interface_with_nat_gateway():
    """DeleteNatGateway leaves its network interface behind."""
    backend = nat_gateways.NatGatewayBackend
    original = backend.delete_nat_gateway

    def delete_nat_gateway(self, nat_gateway_id):
        gateway = original(self, nat_gateway_id)
        self.enis.pop(gateway._eni.id, None)
        return gateway

    backend.delete_nat_gateway = delete_nat_gateway


def tell_databases_apart():
    """All databases have one resource id, by which the provider looks for its own."""
    original = rds_models.DBInstance.__init__

    def __init__(self, *others, **named):
        original(self, *others, **named)
        letters = string.ascii_uppercase + string.digits
        self.dbi_resource_id = "db-" + "".join(random.choices(letters, k=26))

    rds_models.DBInstance.__init__ = __init__


def say_who_set_a_parameter():
    """DescribeDBParameters with Source "user" lists what a user set."""
    group = rds_models.DBParameterGroup
    original = group.update_parameters

    def update_parameters(self, new_parameters):
        new_parameters = list(new_parameters)
        original(self, new_parameters)
        for parameter in new_parameters:
            self.parameters[parameter["ParameterName"]]["Source"] = "user"

    group.update_parameters = update_parameters


def replace_metric_filters():
    """PutMetricFilter adds a second filter where there is one of the name."""
    original = MetricFilters.add_filter

    def add_filter(self, filter_name, filter_pattern, log_group_name, *others):
        self.metric_filters = [
            f
            for f in self.metric_filters
            if (f["filterName"], f["logGroupName"]) != (filter_name, log_group_name)
        ]
        original(self, filter_name, filter_pattern, log_group_name, *others)

    MetricFilters.add_filter = add_filter


def keep_descriptions_of_rules():
    """A rule's description is lost where its peer is a security group or a prefix list."""
    rule, backend = security_groups.SecurityGroupRule, security_groups.SecurityGroupBackend
    original_init, original_modify = rule.__init__, backend.modify_security_group_rules

    def __init__(self, backend, protocol, group_id, first, last, ip_range, source_group=None, prefix_list_id=None, **named):
        original_init(self, backend, protocol, group_id, first, last, ip_range, source_group, prefix_list_id, **named)
        self.peer = self.ip_range or self.source_group or prefix_list_id or {}

    def modify_security_group_rules(self, group_id, rules):
        original_modify(self, group_id, rules)
        for rule in map(self.get_security_group_by_name_or_id(group_id).get_rule, rules):
            if rule.peer is not rule.ip_range:
                rule.peer.update(rule.ip_range)
                rule.ip_range = {}

    rule.__init__, backend.modify_security_group_rules = __init__, modify_security_group_rules
    rule.description = property(lambda rule: rule.peer.get("Description"))


def route_to_gateway_endpoints():
    """The type of an endpoint has no default, and ModifyVpcEndpoint changes no route, for want of which
    DeleteVpcEndpoints fails.
    """
    backend, endpoint = vpcs.VPCBackend, vpcs.VPCEndPoint
    original_create, original_modify = backend.create_vpc_endpoint, endpoint.modify

    def create_vpc_endpoint(self, **named):
        return original_create(self, **{**named, "endpoint_type": named["endpoint_type"] or "Gateway"})

    def modify(self, policy, add_subnets, remove_subnets, add_tables, remove_tables, *others):
        original_modify(self, policy, add_subnets, remove_subnets, add_tables, remove_tables, *others)
        destination = self.destination_prefix_list_id
        for table in add_tables or []:
            self.ec2_backend.create_route(table, None, gateway_id=self.id, destination_prefix_list_id=destination)
        for table in remove_tables or []:
            self.ec2_backend.delete_route(table, destination)

    backend.create_vpc_endpoint, endpoint.modify = create_vpc_endpoint, modify


def refuse_to_delete_what_is_in_use():
    """DeleteVpc takes what others have in it along, and Cloud Map and ECS delete what holds services or instances."""
    network, discovery, ecs = vpcs.VPCBackend, discovery_models.ServiceDiscoveryBackend, ecs_models.EC2ContainerServiceBackend
    delete_cluster = ecs.delete_cluster
    delete_vpc, delete_namespace, delete_service = network.delete_vpc, discovery.delete_namespace, discovery.delete_service

    def of_vpc(self, vpc_id):
        inside = [s for zone in self.subnets.values() for s in zone.values()] + list(self.vpc_end_points.values())
        groups = self.groups.get(vpc_id, {}).values()
        if any(group.name != "default" for group in groups) or any(one.vpc_id == vpc_id and one.state != "deleted" for one in inside):
            raise ec2_exceptions.DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return delete_vpc(self, vpc_id)

    def in_use(kind):
        return JsonRESTError("ResourceInUse", f"The specified {kind} can't be deleted because it contains other resources.")

    def of_namespace(self, namespace_id):
        if any(service.namespace_id == namespace_id for service in self.services.values()):
            raise in_use("namespace")
        return delete_namespace(self, namespace_id)

    def of_service(self, service_id):
        if service_id in self.services and self.services[service_id].instances:
            raise in_use("service")
        return delete_service(self, service_id)

    def of_cluster(self, cluster_str):
        name = self._get_cluster(cluster_str).name
        if any(service.cluster_name == name and service.status == "ACTIVE" for service in self.services.values()):
            raise JsonRESTError("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
        return delete_cluster(self, cluster_str)

    ecs.delete_cluster = of_cluster
    network.delete_vpc, discovery.delete_namespace, discovery.delete_service = of_vpc, of_namespace, of_service


def refuse_capacity_providers_that_the_cluster_lacks():
    """RunTask, CreateService and UpdateService take any strategy."""
    responses = ecs_responses.EC2ContainerServiceResponse

    def checked(original):
        def call(self):
            parameters = self._get_params()
            wanted = {item["capacityProvider"] for item in parameters.get("capacityProviderStrategy") or []}
            if wanted and wanted - set(self.ecs_backend._get_cluster(parameters.get("cluster", "default")).capacity_providers or []):
                raise ecs_exceptions.InvalidParameterException(
                    "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                    "with the cluster. Associate the capacity provider with the cluster and try again."
                )
            return original(self)

        return call

    for name in ("run_task", "create_service", "update_service"):
        setattr(responses, name, checked(getattr(responses, name)))


def keep_the_description_of_a_role():
    """UpdateRole takes a description away that the call does not have."""
    backend = iam_models.IAMBackend
    original = backend.update_role

    def update_role(self, role_name, role_description, *others):
        if role_description is None:
            role_description = self.get_role(role_name).description
        return original(self, role_name, role_description, *others)

    backend.update_role = update_role


def keep_the_policies_of_a_queue():
    """Setting any other attribute of a queue takes its policy away.

    And its redrive policy is given with spaces, which Terraform takes for a change.
    """
    queue = sqs_models.Queue
    original = queue._set_attributes
    attributes_of = queue.attributes.fget

    def attributes(self):
        all_of_them = attributes_of(self)
        if self.redrive_policy:
            all_of_them["RedrivePolicy"] = json.dumps(
                self.redrive_policy, separators=(",", ":")
            )
        return all_of_them

    def _set_attributes(self, attributes, *others):
        policy = attributes.get("Policy", getattr(self, "policy", None))
        original(self, attributes, *others)
        self.policy = policy

    queue._set_attributes = _set_attributes
    queue.attributes = property(attributes)


def wait_for_messages_without_the_lock():
    """A long poll of SQS would keep all other requests out for 20 s."""
    backend = sqs_models.SQSBackend
    original = backend.receive_message

    def receive_message(self, queue_name, count, wait_seconds_timeout, *others, **named):
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

    backend.receive_message = receive_message


def answer_quickly():
    """With each request moto reads its own folder and looks through the class that answers."""
    modules = list(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: modules
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
    refuse_malformed_calls()
    refuse_sizes_that_fargate_lacks()
    keep_service_fields()
    run_all_tasks_of_a_service()
    update_deployment_with_service()
    run_tasks_as_fargate()
    protect_tasks()
    scale_services()
    send_events_to_topics()
    list_tasks_of_a_service()
    delete_hosted_zone_with_namespace()
    tell_vpc_of_hosted_zone()
    delete_interface_with_nat_gateway()
    tell_databases_apart()
    say_who_set_a_parameter()
    replace_metric_filters()
    keep_descriptions_of_rules()
    route_to_gateway_endpoints()
    refuse_to_delete_what_is_in_use()
    refuse_capacity_providers_that_the_cluster_lacks()
    keep_the_description_of_a_role()
    keep_the_policies_of_a_queue()
    wait_for_messages_without_the_lock()
    answer_quickly()

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
