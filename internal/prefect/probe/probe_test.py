"""Tests of probe.py against a small fake of Prefect's API and of boto3.

Go runs them (probe_test.go). internal/ops/verify runs the probe against real servers.
"""

import contextlib
import io
import json
import os
import sys
import threading
import types
import unittest
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

# Of the runtime of Lambda, and not of the tests.
AWS = {}
sys.modules["boto3"] = types.SimpleNamespace(client=lambda name, config: AWS[name])
sys.modules["botocore"] = types.ModuleType("botocore")
sys.modules["botocore.config"] = types.SimpleNamespace(Config=dict)

import probe  # noqa: E402

KEY = "pnu_marker"
SCALING = json.dumps({"min": 0, "max": 4, "slots": 2})


def ago(**time):
    return (datetime.now(timezone.utc) - timedelta(**time)).isoformat().replace("+00:00", "Z")


def run(number, state, since, **more):
    return {"id": f"run-{number}", "state_id": f"state-{number}", "state_type": state, "state": {"timestamp": since},
            "infrastructure_pid": None, "labels": {}, "work_queue_id": "q-1", "work_queue_name": "high", "deployment_id": "d-1", **more}


def due(number, since, **more):
    return {**run(number, "SCHEDULED", since, **more), "next_scheduled_start_time": since}


class Prefect(BaseHTTPRequestHandler):
    """Answers by path; an answer that is a number is an error's status."""

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or "null")
        path = self.path.removeprefix("/api")
        self.server.calls.append((path, body, self.headers.get("Authorization")))
        answer = self.server.answers[path]
        answer = answer(body) if callable(answer) else answer
        failed = isinstance(answer, int) and answer >= 300
        self.send_response(answer if failed else 200)
        if failed:
            self.send_header("Location", "/api/elsewhere")
        self.end_headers()
        if not failed:
            self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST

    def log_message(self, *_):
        pass


class AWSFake:
    """The four calls that the probe makes in AWS."""

    def __init__(self, secret=KEY, tasks=()):
        self.secret, self.tasks, self.data, self.asked, self.desired = secret, tasks, None, None, 2

    def get_secret_value(self, SecretId):
        self.asked = SecretId
        return {"SecretString": self.secret}

    def describe_services(self, cluster, services):
        assert (cluster, services) == ("c", ["w"])
        return {"services": [{"desiredCount": self.desired, "runningCount": 1}]}

    def describe_tasks(self, cluster, tasks):
        return {"tasks": [{"taskArn": t, "lastStatus": s} for t, s in self.tasks if t.rpartition("/")[2] in tasks]}

    def put_metric_data(self, Namespace, MetricData):
        assert Namespace == "PrefectWorker"
        self.data = MetricData


class ProbeTest(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Prefect)
        self.server.calls = []
        self.server.answers = {
            "/work_pools/a%20b": {"is_paused": False, "concurrency_limit": None},
            "/work_pools/a%20b/queues/filter": [{"id": "q-1", "is_paused": False, "concurrency_limit": None}],
            "/deployments/filter": [{"id": "d-1"}],
            "/work_pools/a%20b/workers/filter": [
                {"name": "w-1", "last_heartbeat_time": ago(seconds=64), "heartbeat_interval_seconds": 30},
                {"name": "w-2", "last_heartbeat_time": ago(seconds=70), "heartbeat_interval_seconds": None},
                {"name": "other-1", "last_heartbeat_time": ago(seconds=1), "heartbeat_interval_seconds": 30},
            ],
            "/flow_runs/count": lambda body: 1 if "name" in body["flow_runs"]["state"] else 3,
            "/flow_runs/filter": lambda body: (
                [due(4, ago(seconds=600))] if body["sort"].startswith("NEXT") else
                [run(1, "RUNNING", ago(hours=1)), run(2, "PENDING", ago(minutes=9)), run(3, "PENDING", ago(minutes=11))]),
            "/logs/filter": [],
        }
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.environment = {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.server.server_port}/api", "AUTHENTICATION": "api_key",
            "CREDENTIAL": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf", "QUEUES": "null",
            "WORK_POOL": "a b", "WORK_POOL_TYPE": "process", "SERVICE": "w", "CLUSTER": "c", "PENDING_MINUTES": "10",
        }
        probe.WORKERS.clear()
        self.aws = AWSFake()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def measure(self, **environment):
        """Runs the handler once. Returns the metrics, the calls that failed, and what it printed."""
        for name in ("CREDENTIAL", "SCALING"):
            os.environ.pop(name, None)
        os.environ.update({k: v for k, v in {**self.environment, **environment}.items() if v is not None})
        AWS.update({name: self.aws for name in ("secretsmanager", "ecs", "cloudwatch")})
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            probe.handler({}, None)
        metrics, failed = {}, set()
        for datum in self.aws.data:
            dimensions = {d["Name"]: d["Value"] for d in datum["Dimensions"]}
            self.assertEqual(dimensions.pop("Service"), "w")
            if datum["MetricName"] == "CallFailed":
                failed.add(dimensions.pop("Call"))
            else:
                metrics[datum["MetricName"]] = datum["Value"]
            self.assertEqual(dimensions, {})
        self.assertEqual(metrics["ProbeErrors"], len(failed))
        self.assertNotIn("marker", out.getvalue())
        return metrics, failed, out.getvalue()

    def test_all_figures(self):
        metrics, failed, _ = self.measure()
        self.assertEqual(failed, set())
        self.assertAlmostEqual(metrics.pop("OldestDueSeconds"), 600, delta=5)
        self.assertEqual(metrics, {
            "TasksDesired": 2, "TasksRunning": 1, "PoolPaused": 0, "FlowRunsLate": 1, "FlowRunsDue": 3, "FlowRunsRunning": 1,
            "FlowRunsPending": 2, "FlowRunsOrphaned": 1, "WorkersOnline": 1, "FlowRunsLost": 0, "ProbeErrors": 0,
        })
        # This call would mark the pool's queues and deployments as served.
        self.assertNotIn("get_scheduled", json.dumps(self.server.calls))
        self.assertEqual({call[2] for call in self.server.calls}, {"Bearer " + KEY})

    def test_only_the_queues_that_the_worker_serves(self):
        metrics, _, _ = self.measure(QUEUES='["low"]')
        self.assertEqual((metrics["FlowRunsRunning"], metrics["FlowRunsPending"]), (0, 0))
        for path, body, _ in self.server.calls:
            if path.startswith("/flow_runs"):
                self.assertEqual(body["work_pools"], {"name": {"any_": ["a b"]}})
                if body.get("sort") != "ID_DESC":
                    self.assertEqual(body["work_pool_queues"], {"name": {"any_": ["low"]}})

    def test_credentials(self):
        arn = self.environment["CREDENTIAL"]
        for name, secret, environment, header in (
            ("with a line break at its end", KEY + "\n", {}, "Bearer " + KEY),
            ("in JSON", json.dumps({"k": KEY}), {"CREDENTIAL": arn + ":k::"}, "Bearer " + KEY),
            ("user and password", "u:p w", {"AUTHENTICATION": "basic"}, "Basic dTpwIHc="),
            ("none", "", {"AUTHENTICATION": "none", "CREDENTIAL": None}, None),
        ):
            with self.subTest(name):
                self.aws, self.server.calls = AWSFake(secret), []
                _, failed, _ = self.measure(**environment)
                self.assertEqual(failed, set())
                self.assertEqual({call[2] for call in self.server.calls}, {header})
                self.assertIn(self.aws.asked, (arn, None))

    def test_a_credential_that_is_none_is_not_shown(self):
        for secret in ("pnu_mar\nker", "marker\u00e4", " "):
            self.aws = AWSFake(secret)
            metrics, failed, _ = self.measure()
            self.assertEqual(failed, {"credential", "paused", "late", "due", "underway", "workers", "abandoned", "startable"})
            self.assertEqual(metrics["TasksDesired"], 2)
            self.assertEqual(self.server.calls, [])

    def test_each_call_fails_alone(self):
        for path, broken in (
            ("/work_pools/a%20b", {"paused", "startable", "scaling"}),
            ("/work_pools/a%20b/workers/filter", {"workers", "abandoned", "scaling"}),
            ("/work_pools/a%20b/queues/filter", {"startable", "scaling"}),
            ("/deployments/filter", {"startable", "scaling"}),
            ("/flow_runs/count", {"late", "due"}),
            ("/flow_runs/filter", {"underway", "abandoned", "startable", "scaling"}),
            ("/logs/filter", {"abandoned", "scaling"}),
        ):
            for status in (403, 307):
                with self.subTest(path, status=status):
                    before = self.server.answers[path]
                    self.server.answers[path] = status
                    probe.WORKERS.clear()
                    metrics, failed, out = self.measure(SCALING=SCALING)
                    self.assertEqual(failed, broken)
                    # Without the number that is needed nothing is scaled.
                    self.assertEqual("TasksMissing" in metrics, "scaling" not in broken)
                    self.assertIn(f"{path}: {status}", out)
                    self.server.answers[path] = before
        self.assertNotIn("/elsewhere", [call[0] for call in self.server.calls])

    def test_nothing_answers(self):
        metrics, failed, _ = self.measure(PREFECT_API_URL="http://127.0.0.1:1/api")
        self.assertEqual(failed, {"paused", "late", "due", "underway", "workers", "abandoned", "startable"})
        self.assertEqual(metrics["TasksRunning"], 1)

    def test_too_many_requests_are_asked_again(self):
        answers = [429, {"is_paused": True, "concurrency_limit": None}]
        self.server.answers["/work_pools/a%20b"] = lambda _: answers.pop(0)
        metrics, failed, _ = self.measure()
        self.assertEqual((metrics["PoolPaused"], failed), (1, set()))

    def lost(self, *runs, **environment):
        self.server.answers["/flow_runs/filter"] = lambda body: [] if body["sort"].startswith("NEXT") else list(runs)
        metrics, failed, _ = self.measure(**environment)
        self.assertEqual(failed, set())
        return metrics["FlowRunsLost"] + metrics["FlowRunsOrphaned"]

    def test_a_run_whose_worker_is_gone(self):
        def by(worker):
            return run(1, "RUNNING", ago(hours=1), labels={"prefect.worker.name": worker})
        self.assertEqual(self.lost(by("w-3")), 1)
        self.assertEqual(self.lost(by("w-1")), 0)
        self.assertEqual(self.lost(by("other-3")), 0)
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1))), 0)
        for since, worker, want in ((50, "w-3", 0), (70, "w-3", 1), (70, "w-1", 0)):
            self.assertEqual(self.lost(run(1, "PENDING", ago(seconds=since), labels={"prefect.worker.name": worker})), want)

    def test_a_run_of_a_frozen_worker_is_not_lost(self):
        task = "0" * 32
        for status, want in (("RUNNING", 0), ("STOPPED", 1)):
            self.aws.tasks = [("arn:aws:ecs:us-east-1:123456789012:task/c/" + task, status)]
            self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels={"prefect.worker.name": "w-" + task})), want)

    def test_the_worker_is_in_the_log_with_prefect_2(self):
        self.server.answers["/logs/filter"] = [{"message": "Completed"}, {"message": "Worker 'w-3' submitting flow run 'run-1'"},
                                               {"message": "Worker 'w-1' submitting flow run 'run-1'"}]
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels=None)), 1)
        asked = len(self.server.calls)
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels=None)), 1)
        self.assertNotIn("/logs/filter", [call[0] for call in self.server.calls[asked:]])
        # Nor are the logs of so many runs read that the function's time is over.
        probe.WORKERS.clear()
        probe.READING = -1
        self.addCleanup(setattr, probe, "READING", 25)
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels=None)), 0)
        self.assertNotIn("/logs/filter", [call[0] for call in self.server.calls[asked:]])

    def test_a_run_of_an_ecs_pool_is_lost_with_its_task(self):
        def on(task):
            return run(1, "RUNNING", ago(hours=1), labels={"prefect.worker.name": "w-3"}, infrastructure_pid=f"arn:aws:ecs:c::{task}")
        arn = "arn:aws:ecs:us-east-1:123456789012:task/"
        self.aws.tasks = [(arn + "c/1", "RUNNING"), (arn + "c/2", "STOPPED")]
        for task, want in ((arn + "c/1", 0), (arn + "c/2", 1), (arn + "c/3", 1), (arn + "d/3", 0), ("", 0)):
            with self.subTest(task):
                self.assertEqual(self.lost(on(task), WORK_POOL_TYPE="ecs"), want)
        pending = {**on(arn + "c/2"), "state_type": "PENDING", "state": {"timestamp": ago(seconds=70)}}
        self.assertEqual(self.lost(pending, WORK_POOL_TYPE="ecs"), 1)

    def scaled(self, waiting=(), active=(), desired=2, changes=(), **scaling):
        """The demand, the tasks that are needed and those that are missing."""
        self.aws.desired = desired
        self.server.answers["/flow_runs/filter"] = lambda body: list(waiting if body["sort"].startswith("NEXT") else active)
        for path, change in changes:
            answer = self.server.answers[path]
            (answer if isinstance(answer, dict) else answer[0]).update(change)
        metrics, failed, _ = self.measure(SCALING=json.dumps({**json.loads(SCALING), **scaling}))
        self.assertEqual(failed, set())
        return tuple(metrics[name] for name in ("FlowRunsDemand", "TasksNeeded", "TasksMissing"))

    def test_tasks_for_the_runs(self):
        def by(worker):
            return run(worker, "RUNNING", ago(hours=9), labels={"prefect.worker.name": worker})
        five = [due(n, ago(minutes=1)) for n in range(5)]
        self.server.answers["/work_pools/a%20b/workers/filter"].append(
            {"name": "w-4", "last_heartbeat_time": ago(seconds=1), "heartbeat_interval_seconds": 30})
        for name, want, case in (
            ("nothing to do", (0, 0, -2), {}),
            ("and one task at the least", (0, 0, -1), {"min": 1}),
            ("runs that are due", (5, 3, 1), {"waiting": five}),
            ("more than the most", (5, 5, 2), {"waiting": five, "slots": 1}),
            ("runs underway", (1, 1, -1), {"active": [by("w-1")]}),
            ("of a worker that is not known yet", (1, 1, -1), {"active": [run(1, "PENDING", ago(seconds=1))]}),
            ("of a dead worker", (0, 0, -2), {"active": [by("w-3")]}),
            ("of another worker", (0, 0, -2), {"active": [by("other-1")]}),
            ("one run in each of two workers", (2, 2, 0), {"active": [by("w-1"), by("w-4")]}),
        ):
            with self.subTest(name):
                self.assertEqual(self.scaled(**case), want)

    def test_runs_that_wait_for_a_limit_are_no_demand(self):
        taken = run(9, "RUNNING", ago(hours=9), labels={"prefect.worker.name": "other-1"})
        # Four of one queue and deployment, and one of others.
        waiting = [due(n, ago(minutes=5 - n)) for n in range(4)] + [due(5, ago(seconds=9), work_queue_id="q-2", deployment_id="d-2")]
        pool, queue, deployment = "/work_pools/a%20b", "/work_pools/a%20b/queues/filter", "/deployments/filter"
        for name, want, oldest, change in (
            ("no limit", 5, 300, (pool, {})),
            ("a paused pool", 0, 0, (pool, {"is_paused": True})),
            ("the limit of the pool", 2, 300, (pool, {"concurrency_limit": 3})),
            ("a paused queue", 1, 9, (queue, {"is_paused": True})),
            ("the limit of a queue", 3, 300, (queue, {"concurrency_limit": 3})),
            ("the limit of a deployment with Prefect 3", 1, 9, (deployment, {"global_concurrency_limit": {"limit": 1}})),
            ("one that is overrun", 1, 9, (deployment, {"concurrency_limit": 0})),
        ):
            with self.subTest(name):
                self.tearDown()
                self.setUp()
                self.assertEqual(self.scaled(waiting, [taken], changes=[change])[0], want)
                found = [datum["Value"] for datum in self.aws.data if datum["MetricName"] == "OldestDueSeconds"]
                self.assertAlmostEqual(found[0], oldest, delta=5)


if __name__ == "__main__":
    unittest.main()
