"""Publishes the state of one worker service in Prefect and ECS as metrics.

Runs as a Lambda function each minute, with the standard library and boto3, which
the runtime provides. A query that fails is counted in the metric CallsFailed, and the
others run. The credential is in no error and no log.
"""

import base64
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
from botocore.config import Config

NAMESPACE = "PrefectWorker"
PAGE = 200  # The most that Prefect's API gives at once.

# A question that AWS does not answer must not take the time of the others.
BRIEFLY = Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 1})


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the credential to another server."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)

# With Prefect 2 only this line of a run's log names the worker that took it.
SUBMITTING = re.compile(r"^Worker '(.+)' submitting flow run '")

# The worker of each state of a run that is underway: kept while the function is warm.
WORKERS = {}


def authorization():
    """The header's value, or "" where the API asks for none."""
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
        self.where = {"work_pools": {"name": {"any_": [self.pool]}}}
        queues = json.loads(os.environ["QUEUES"])
        if queues:
            self.where["work_pool_queues"] = {"name": {"any_": queues}}
        self.active = self.online = None

    def ask(self, path, body=None, method="POST"):
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
            page = self.ask(path, {**body, "limit": PAGE, "offset": offset})
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
        return {"TasksDesired": service["desiredCount"], "TasksRunning": service["runningCount"]}

    def paused(self):
        return {"PoolPaused": int(self.ask(self.pool_path(), method="GET")["is_paused"])}

    def late(self):
        # Late is the name of a state; its type is SCHEDULED.
        late = {**self.where, "flow_runs": {"state": {"name": {"any_": ["Late"]}}}}
        return {"FlowRunsLate": self.ask("/flow_runs/count", late)}

    def due(self):
        # Not get_scheduled_flow_runs, which marks queues and deployments as ready. What waits
        # for a retry is due as well and never Late.
        due = {
            **self.where,
            "flow_runs": {
                "state": {"type": {"any_": ["SCHEDULED"]}},
                "next_scheduled_start_time": {"before_": stamp(self.now)},
            },
        }
        count = self.ask("/flow_runs/count", due)
        first = self.ask("/flow_runs/filter", {**due, "sort": "NEXT_SCHEDULED_START_TIME_ASC", "limit": 1})
        oldest = 0.0
        if first:
            oldest = (self.now - moment(first[0]["next_scheduled_start_time"])).total_seconds()
        return {"FlowRunsDue": count, "OldestDueSeconds": max(0.0, oldest)}

    def underway(self):
        states = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
        active = list(self.pages("/flow_runs/filter", {**self.where, "flow_runs": states, "sort": "ID_DESC"}))
        limit = self.now - timedelta(minutes=float(os.environ["PENDING_MINUTES"]))
        pending = [run for run in active if run["state_type"] == "PENDING"]
        self.active = active
        return {
            "FlowRunsRunning": len(active) - len(pending),
            "FlowRunsPending": len(pending),
            "FlowRunsOrphaned": len([run for run in pending if moment(run["state"]["timestamp"]) < limit]),
        }

    def workers(self):
        # After the runs: a worker that has taken one has sent a heartbeat before.
        online = set()
        body = {"workers": {"status": {"any_": ["ONLINE"]}}}
        for worker in self.pages(self.pool_path() + "/workers/filter", body):
            heartbeat = worker["last_heartbeat_time"]
            # Prefect counts a worker as online for three intervals after its end; a live one
            # has sent one within two (its interval varies by 30 %).
            fresh = 2 * (worker.get("heartbeat_interval_seconds") or 30) + 5
            if self.own(worker["name"]) and heartbeat and (self.now - moment(heartbeat)).total_seconds() <= fresh:
                online.add(worker["name"])
        self.online = online
        return {"WorkersOnline": len(online)}

    def lost(self):
        """Runs in a Running state whose process or task has ended."""
        if self.active is None or self.online is None:
            raise RuntimeError("the runs or the workers are not known")
        running = [run for run in self.active if run["state_type"] != "PENDING"]
        if os.environ["WORK_POOL_TYPE"] == "ecs":
            return {"FlowRunsLost": self.without_task(running)}
        # A run whose worker cannot be told counts as alive.
        names = [self.worker_of(run) for run in running]
        for state in set(WORKERS) - {run["state_id"] for run in running}:
            del WORKERS[state]
        return {"FlowRunsLost": len([name for name in names if self.own(name) and name not in self.online])}

    def own(self, worker):
        return worker.startswith(self.service + "-")

    def worker_of(self, run):
        """The worker that took the run: a label with Prefect 3, with 2 a line in its log."""
        label = (run.get("labels") or {}).get("prefect.worker.name")
        if label:
            return label
        state = run["state_id"]
        if state not in WORKERS:
            # The last line before the state: a run that was put back has one for each worker.
            logs = {"flow_run_id": {"any_": [run["id"]]}, "timestamp": {"before_": run["state"]["timestamp"]}}
            lines = self.ask("/logs/filter", {"logs": logs, "sort": "TIMESTAMP_DESC", "limit": PAGE})
            matches = [SUBMITTING.match(line["message"]) for line in lines]
            names = [match[1] for match in matches if match]
            if not names:
                return ""  # The worker sends its lines some seconds later.
            WORKERS[state] = names[0]
        return WORKERS[state]

    def without_task(self, runs):
        """How many runs of an ecs pool have a task that has ended: its worker is no matter."""
        ours = f":task/{self.cluster}/"
        tasks = [(run["infrastructure_pid"] or "").rpartition("::")[2] for run in runs]
        tasks = [task for task in tasks if ours in task]
        ecs, living = boto3.client("ecs", config=BRIEFLY), set()
        for start in range(0, len(tasks), 100):
            answer = ecs.describe_tasks(cluster=self.cluster, tasks=tasks[start : start + 100])
            living |= {task["taskArn"] for task in answer["tasks"] if task["lastStatus"] != "STOPPED"}
        return len([task for task in tasks if task not in living])


# In this order: lost needs what underway and workers found.
QUERIES = ("tasks", "paused", "late", "due", "underway", "workers", "lost")


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
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    metrics["CallsFailed"] = len(failed)

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
