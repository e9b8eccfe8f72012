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

# The runtime of Lambda holds both; whoever runs the tests need not.
AWS = {}
sys.modules["boto3"] = types.SimpleNamespace(client=lambda name, config: AWS[name])
sys.modules["botocore"] = types.ModuleType("botocore")
sys.modules["botocore.config"] = types.SimpleNamespace(Config=dict)

import probe  # noqa: E402

NOW = datetime.now(timezone.utc)
KEY = "pnu_marker"


def ago(**time):
    return (NOW - timedelta(**time)).isoformat().replace("+00:00", "Z")


def run(number, state, since, **more):
    return {"id": f"run-{number}", "state_id": f"state-{number}", "state_type": state, "state": {"timestamp": since},
            "infrastructure_pid": None, "labels": {}, **more}


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
        self.secret, self.tasks, self.data, self.asked = secret, tasks, None, None

    def get_secret_value(self, SecretId):
        self.asked = SecretId
        return {"SecretString": self.secret}

    def describe_services(self, cluster, services):
        assert (cluster, services) == ("c", ["w"])
        return {"services": [{"desiredCount": 2, "runningCount": 1}]}

    def describe_tasks(self, cluster, tasks):
        return {"tasks": [{"taskArn": t, "lastStatus": s} for t, s in self.tasks if t in tasks]}

    def put_metric_data(self, Namespace, MetricData):
        assert Namespace == "PrefectWorker"
        self.data = MetricData


class ProbeTest(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Prefect)
        self.server.calls = []
        self.server.answers = {
            "/work_pools/a%20b": {"is_paused": False},
            "/work_pools/a%20b/workers/filter": [
                {"name": "w-1", "last_heartbeat_time": ago(seconds=64), "heartbeat_interval_seconds": 30},
                {"name": "w-2", "last_heartbeat_time": ago(seconds=70), "heartbeat_interval_seconds": None},
                {"name": "other-1", "last_heartbeat_time": ago(seconds=1), "heartbeat_interval_seconds": 30},
            ],
            "/flow_runs/count": lambda body: 1 if "name" in body["flow_runs"]["state"] else 3,
            "/flow_runs/filter": lambda body: (
                [{"next_scheduled_start_time": ago(seconds=600)}] if body["limit"] == 1 else
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
        os.environ.pop("CREDENTIAL", None)
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
        self.assertEqual(metrics["CallsFailed"], len(failed))
        self.assertNotIn("marker", out.getvalue())
        return metrics, failed, out.getvalue()

    def test_all_figures(self):
        metrics, failed, _ = self.measure()
        self.assertEqual(failed, set())
        self.assertAlmostEqual(metrics.pop("OldestDueSeconds"), 600, delta=5)
        self.assertEqual(metrics, {
            "TasksDesired": 2, "TasksRunning": 1, "PoolPaused": 0, "FlowRunsLate": 1, "FlowRunsDue": 3, "FlowRunsRunning": 1,
            "FlowRunsPending": 2, "FlowRunsOrphaned": 1, "WorkersOnline": 1, "FlowRunsLost": 0, "CallsFailed": 0,
        })
        # This call would mark the pool's queues and deployments as served.
        self.assertNotIn("get_scheduled", json.dumps(self.server.calls))
        self.assertEqual({call[2] for call in self.server.calls}, {"Bearer " + KEY})

    def test_only_the_queues_that_the_worker_serves(self):
        self.measure(QUEUES='["high"]')
        for path, body, _ in self.server.calls:
            if path.startswith("/flow_runs"):
                self.assertEqual(body["work_pools"], {"name": {"any_": ["a b"]}})
                self.assertEqual(body["work_pool_queues"], {"name": {"any_": ["high"]}})

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
            self.assertEqual(failed, {"credential", "paused", "late", "due", "underway", "workers", "lost"})
            self.assertEqual(metrics["TasksDesired"], 2)
            self.assertEqual(self.server.calls, [])

    def test_each_call_fails_alone(self):
        for path, broken in (
            ("/work_pools/a%20b", {"paused"}),
            ("/work_pools/a%20b/workers/filter", {"workers", "lost"}),
            ("/flow_runs/count", {"late", "due"}),
            ("/flow_runs/filter", {"due", "underway", "lost"}),
            ("/logs/filter", {"lost"}),
        ):
            for status in (403, 307):
                with self.subTest(path, status=status):
                    before = self.server.answers[path]
                    self.server.answers[path] = status
                    probe.WORKERS.clear()
                    _, failed, out = self.measure()
                    self.assertEqual(failed, broken)
                    self.assertIn(f"{path}: {status}", out)
                    self.server.answers[path] = before
        self.assertNotIn("/elsewhere", [call[0] for call in self.server.calls])

    def test_nothing_answers(self):
        metrics, failed, _ = self.measure(PREFECT_API_URL="http://127.0.0.1:1/api")
        self.assertEqual(failed, {"paused", "late", "due", "underway", "workers", "lost"})
        self.assertEqual(metrics["TasksRunning"], 1)

    def test_too_many_requests_are_asked_again(self):
        answers = [429, {"is_paused": True}]
        self.server.answers["/work_pools/a%20b"] = lambda _: answers.pop(0)
        metrics, failed, _ = self.measure()
        self.assertEqual((metrics["PoolPaused"], failed), (1, set()))

    def lost(self, *runs, **environment):
        self.server.answers["/flow_runs/filter"] = lambda body: [] if body["limit"] == 1 else list(runs)
        metrics, failed, _ = self.measure(**environment)
        self.assertEqual(failed, set())
        return metrics["FlowRunsLost"]

    def test_a_run_whose_worker_is_gone(self):
        def by(worker):
            return run(1, "RUNNING", ago(hours=1), labels={"prefect.worker.name": worker})
        self.assertEqual(self.lost(by("w-3")), 1)
        self.assertEqual(self.lost(by("w-1")), 0)
        self.assertEqual(self.lost(by("other-3")), 0)
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1))), 0)
        self.assertEqual(self.lost(run(1, "PENDING", ago(hours=1), labels={"prefect.worker.name": "w-3"})), 0)

    def test_the_worker_is_in_the_log_with_prefect_2(self):
        self.server.answers["/logs/filter"] = [{"message": "Completed"}, {"message": "Worker 'w-3' submitting flow run 'run-1'"},
                                               {"message": "Worker 'w-1' submitting flow run 'run-1'"}]
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels=None)), 1)
        asked = len(self.server.calls)
        self.assertEqual(self.lost(run(1, "RUNNING", ago(hours=1), labels=None)), 1)
        self.assertNotIn("/logs/filter", [call[0] for call in self.server.calls[asked:]])

    def test_a_run_of_an_ecs_pool_is_lost_with_its_task(self):
        def on(task):
            return run(1, "RUNNING", ago(hours=1), labels={"prefect.worker.name": "w-3"}, infrastructure_pid=f"arn:aws:ecs:c::{task}")
        arn = "arn:aws:ecs:us-east-1:123456789012:task/"
        self.aws.tasks = [(arn + "c/1", "RUNNING"), (arn + "c/2", "STOPPED")]
        for task, want in ((arn + "c/1", 0), (arn + "c/2", 1), (arn + "c/3", 1), (arn + "d/3", 0), ("", 0)):
            with self.subTest(task):
                self.assertEqual(self.lost(on(task), WORK_POOL_TYPE="ecs"), want)


if __name__ == "__main__":
    unittest.main()
