"""Publishes the state of one worker service in Prefect and ECS as metrics.

Runs as a Lambda function each minute, with the standard library and boto3, which
the runtime provides. A query that fails is counted in the metric ProbeErrors, and the
others run. The credential is in no error and no log.
"""

import base64
import collections
import itertools
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone

import boto3
from botocore.config import Config

NAMESPACE = "PrefectWorker"
PAGE = 200  # The most that Prefect's API gives at once.
LONGEST = 1000  # Of the runs that are due, so many are looked at.
READING = 25  # Seconds for the logs of runs that Prefect 2 has underway: the function has 55.

# A question that AWS does not answer must not take the time of the others.
BRIEFLY = Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 1})


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credential to another server."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)

# With Prefect 2 only this line of a run's log names the worker that took it.
SUBMITTING = re.compile(r"^Worker '(.+)' submitting flow run '")

# The id of a task on Fargate, with which the name of a worker of the service ends.
TASK = re.compile(r"^[0-9a-f]{32}$")

# The worker of each state of a run that is underway: kept while the function is warm.
WORKERS = {}


def authorization():
    """The header's value, or "" where the API needs none."""
    source = os.environ.get("CREDENTIAL", "")
    if not source:
        return ""
    # As in a task definition: the secret's ARN, and :key:: for a value in JSON.
    parts = source.split(":")
    answer = boto3.client("secretsmanager", config=BRIEFLY).get_secret_value(SecretId=":".join(parts[:7]))
    value = answer["SecretString"]
    if len(parts) > 7:
        value = json.loads(value)[parts[7]]
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        # What the standard library would say of it holds the value.
        raise RuntimeError("the secret's value cannot be a credential")
    if os.environ["AUTHENTICATION"] == "basic":
        return "Basic " + base64.b64encode(value.encode()).decode()
    return "Bearer " + value


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def stamp(when):
    return when.isoformat().replace("+00:00", "Z")


class Probe:
    """The queries: each is a method that returns metric values by name."""

    def __init__(self, now, authorized):
        self.now = now
        self.authorized = authorized
        self.cluster, self.service = os.environ["CLUSTER"], os.environ["SERVICE"]
        self.pool = os.environ["WORK_POOL"]
        self.queues = json.loads(os.environ["QUEUES"])
        self.in_pool = {"work_pools": {"name": {"any_": [self.pool]}}}
        self.where = dict(self.in_pool)
        if self.queues:
            self.where["work_pool_queues"] = {"name": {"any_": self.queues}}
        # Not get_scheduled_flow_runs, which marks queues and deployments as ready. What waits
        # for a retry is due as well and never Late.
        self.is_due = {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": stamp(now)},
        }
        self.until = time.monotonic() + READING
        # What a query has found, for those after it.
        self.found = {}

    def call(self, path, body=None, method="POST"):
        """One call of Prefect's API. "Try again" answers are tried again."""
        if self.authorized is None:
            raise RuntimeError("there is no credential")
        headers = {"Content-Type": "application/json", "User-Agent": "prefect-worker-probe"}
        if self.authorized:
            headers["Authorization"] = self.authorized
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(os.environ["PREFECT_API_URL"] + path, data, headers, method=method)
        for pause in (0.2, 0.5, 1, None):
            try:
                with OPENER.open(request, timeout=6) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 502, 503) or pause is None:
                    raise RuntimeError(f"{method} {path}: {error.code}") from None
            time.sleep(pause)

    def pages(self, path, body):
        offset = 0
        while True:
            page = self.call(path, {**body, "limit": PAGE, "offset": offset})
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE

    def pool_path(self):
        return "/work_pools/" + urllib.parse.quote(self.pool, safe="")

    # The queries.

    def tasks(self):
        answer = boto3.client("ecs", config=BRIEFLY).describe_services(cluster=self.cluster, services=[self.service])
        service = answer["services"][0]
        self.found["desired"] = service["desiredCount"]
        return {"TasksDesired": service["desiredCount"], "TasksRunning": service["runningCount"]}

    def paused(self):
        pool = self.found["pool"] = self.call(self.pool_path(), method="GET")
        return {"PoolPaused": int(pool["is_paused"])}

    def late(self):
        # Late is the name of a state; its type is SCHEDULED.
        late = {**self.where, "flow_runs": {"state": {"name": {"any_": ["Late"]}}}}
        return {"FlowRunsLate": self.call("/flow_runs/count", late)}

    def due(self):
        return {"FlowRunsDue": self.call("/flow_runs/count", {**self.where, "flow_runs": self.is_due})}

    def underway(self):
        states = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
        # Of all queues: they share the limit of the pool.
        body = {**self.in_pool, "flow_runs": states, "sort": "ID_DESC"}
        taken = self.found["taken"] = list(self.pages("/flow_runs/filter", body))
        active = [run for run in taken if not self.queues or run["work_queue_name"] in self.queues]
        self.found["active"] = active
        pending = len([run for run in active if run["state_type"] == "PENDING"])
        return {"FlowRunsRunning": len(active) - pending, "FlowRunsPending": pending}

    def workers(self):
        # After the runs: a worker that has taken one has sent a heartbeat before.
        online = set()
        body = {"workers": {"status": {"any_": ["ONLINE"]}}}
        for worker in self.pages(self.pool_path() + "/workers/filter", body):
            heartbeat = worker["last_heartbeat_time"]
            # Prefect counts a worker as online for three intervals after its end; a live one
            # has sent one within two (its interval varies by 30 %).
            fresh = 2 * (worker.get("heartbeat_interval_seconds") or 30) + 5
            if self.own(worker["name"]) and heartbeat and self.age(heartbeat) <= fresh:
                online.add(worker["name"])
        self.found["online"] = online
        return {"WorkersOnline": len(online)}

    def abandoned(self):
        """Runs whose process or task has ended, or has not come for long."""
        active, online = self.found["active"], self.found["online"]
        if os.environ["WORK_POOL_TYPE"] == "ecs":
            workers, of = {}, {run["id"]: (run["infrastructure_pid"] or "").rpartition("::")[2] for run in active}
            ended = self.stopped({run: task.rpartition("/")[2] for run, task in of.items() if f":task/{self.cluster}/" in task})
        else:
            # A run whose worker is not known counts as alive.
            workers = {run["id"]: self.worker_of(run) for run in active}
            for state in set(WORKERS) - {run["state_id"] for run in active}:
                del WORKERS[state]
            # The runs of a worker that is frozen, or cut off from the API, go on.
            ended = {run for run, worker in workers.items() if self.own(worker) and worker not in online}
            tasks = {run: workers[run].rpartition("-")[2] for run in ended}
            tasks = {run: task for run, task in tasks.items() if TASK.match(task)}
            ended -= tasks.keys() - self.stopped(tasks)
        orphaned, lost, alive = [], [], []
        for run in active:
            age = self.age(run["state"]["timestamp"])
            if run["state_type"] == "PENDING":
                # The process or task of a run that was taken just now may not be there yet.
                left = age > 60 * float(os.environ["PENDING_MINUTES"]) or run["id"] in ended and age > 60
                (orphaned if left else alive).append(run)
            else:
                (lost if run["id"] in ended else alive).append(run)
        # Those of other workers are none of this service's.
        own = [workers.get(run["id"], "") for run in alive]
        self.found["busy"] = [worker for worker in own if not worker or self.own(worker)]
        return {"FlowRunsOrphaned": len(orphaned), "FlowRunsLost": len(lost)}

    def startable(self):
        """Runs that are due and that neither a pause nor a limit in Prefect holds back."""
        pool, taken = self.found["pool"], self.found["taken"]
        body = {**self.where, "flow_runs": self.is_due, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
        waiting = list(itertools.islice(self.pages("/flow_runs/filter", body), LONGEST))
        startable, free = [], self.free(pool, taken, waiting) if waiting else {}
        for run in waiting:
            limits = [key for key in ("pool", run["work_queue_id"], run["deployment_id"]) if key in free]
            if all(free[key] > 0 for key in limits):
                startable.append(run)
                for key in limits:
                    free[key] -= 1
        self.found["startable"] = startable
        oldest = self.age(startable[0]["next_scheduled_start_time"]) if startable else 0.0
        return {"OldestDueSeconds": max(0.0, oldest)}

    def scaling(self):
        """How many tasks the runs need: each has as many slots as the worker's limit."""
        if "SCALING" not in os.environ:
            return {}
        scaling, busy = json.loads(os.environ["SCALING"]), self.found["busy"]
        demand = len(self.found["startable"]) + len(busy)
        # No fewer than have runs: ECS refuses to protect more tasks than are wanted.
        needed = max(-(-demand // scaling["slots"]), len(set(busy) - {""}))
        wanted = min(scaling["max"], max(scaling["min"], needed))
        return {"FlowRunsDemand": demand, "TasksNeeded": needed, "TasksMissing": wanted - self.found["desired"]}

    # What they share.

    def age(self, text):
        return (self.now - moment(text)).total_seconds()

    def free(self, pool, taken, waiting):
        """The slots that are left of each limit, by the id of a queue or a deployment."""
        limits = {"pool": 0 if pool["is_paused"] else pool["concurrency_limit"]}
        for queue in self.pages(self.pool_path() + "/queues/filter", {}):
            limits[queue["id"]] = 0 if queue["is_paused"] else queue["concurrency_limit"]
        deployments = list({run["deployment_id"] for run in waiting} - {None})
        for start in range(0, len(deployments), PAGE):
            body = {"deployments": {"id": {"any_": deployments[start : start + PAGE]}}, "limit": PAGE}
            for deployment in self.call("/deployments/filter", body):
                shared = deployment.get("global_concurrency_limit") or {}
                limits[deployment["id"]] = shared.get("limit", deployment.get("concurrency_limit"))
        used = collections.Counter()
        for run in taken:
            used.update(("pool", run["work_queue_id"], run["deployment_id"]))
        return {key: limit - used[key] for key, limit in limits.items() if limit is not None}

    def own(self, worker):
        return worker.startswith(self.service + "-")

    def worker_of(self, run):
        """The worker that took the run: a label with Prefect 3, with 2 a line in its log."""
        label = (run.get("labels") or {}).get("prefect.worker.name")
        if label:
            return label
        state = run["state_id"]
        if state not in WORKERS and time.monotonic() > self.until:
            return ""  # the next time
        if state not in WORKERS:
            # The last line before the state: a run that was put back has one for each worker.
            logs = {"flow_run_id": {"any_": [run["id"]]}, "timestamp": {"before_": run["state"]["timestamp"]}}
            lines = self.call("/logs/filter", {"logs": logs, "sort": "TIMESTAMP_DESC", "limit": PAGE})
            matches = [SUBMITTING.match(line["message"]) for line in lines]
            names = [match[1] for match in matches if match]
            if not names:
                return ""  # The worker sends its lines some seconds later.
            WORKERS[state] = names[0]
        return WORKERS[state]

    def stopped(self, tasks):
        """The ids of the runs whose ECS task has stopped. tasks are their tasks by the ids of runs."""
        ids = sorted(set(tasks.values()))
        ecs, living = boto3.client("ecs", config=BRIEFLY), set()
        for start in range(0, len(ids), 100):
            answer = ecs.describe_tasks(cluster=self.cluster, tasks=ids[start : start + 100])
            living |= {task["taskArn"].rpartition("/")[2] for task in answer["tasks"] if task["lastStatus"] != "STOPPED"}
        return {run for run, task in tasks.items() if task not in living}


# In this order: the later ones need what the others have found.
QUERIES = ("tasks", "paused", "late", "due", "underway", "workers", "abandoned", "startable", "scaling")


def handler(event, context):
    now = datetime.now(timezone.utc)
    metrics, failed, authorized = {}, {}, None
    try:
        authorized = authorization()  # Each time: a new key works at once.
    except Exception as error:
        failed["credential"] = f"{type(error).__name__}: {error}"
    probe = Probe(now, authorized)
    for name in QUERIES:
        try:
            metrics.update(getattr(probe, name)())
        except KeyError as error:
            failed[name] = f"without {error}"  # the query that finds it has failed
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    metrics["ProbeErrors"] = len(failed)

    def datum(name, value, **dimensions):
        return {
            "MetricName": name,
            "Timestamp": now,
            "Value": value,
            "Unit": "Seconds" if name.endswith("Seconds") else "Count",
            "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
        }

    data = [datum(name, value, Service=probe.service) for name, value in metrics.items()]
    data += [datum("CallFailed", 1, Service=probe.service, Call=name) for name in failed]
    boto3.client("cloudwatch", config=BRIEFLY).put_metric_data(Namespace=NAMESPACE, MetricData=data)
    print(json.dumps({"metrics": metrics, "failed": failed}))
