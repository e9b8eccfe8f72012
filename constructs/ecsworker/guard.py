"""Protects the ECS task that it runs in from scale-in and deployments while the task has flow runs.

A flow run is a process with PREFECT__FLOW_RUN_ID in its environment, in Prefect 2 and 3. The address
of the ECS agent, which only processes of this task have, excludes others where /proc shows more.
"""

import base64
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

import certifi

# Seconds without a flow run after which the task is released.
IDLE = 60
# Seconds after which it is released although the work pool has a Pending run, or the API does not answer.
LONGEST = 900
# The longest time for which ECS protects a task (48 hours), renewed after half of it.
MINUTES = 2880

AGENT = os.environ["ECS_AGENT_URI"]


def busy():
    own = b"\0ECS_AGENT_URI=" + AGENT.encode() + b"\0"
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/environ", "rb") as file:
                    environ = b"\0" + file.read()
            except OSError:  # it has ended
                continue
            if b"\0PREFECT__FLOW_RUN_ID=" in environ and own in environ:
                return True
    return False


def pending():
    """Reports whether a run of the work pool is Pending: a worker has taken it, and it may have no process yet."""
    env = os.environ
    headers = {"Content-Type": "application/json", **json.loads(env.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}")}
    if env.get("PREFECT_API_KEY"):
        headers["Authorization"] = "Bearer " + env["PREFECT_API_KEY"]
    elif env.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = "Basic " + base64.b64encode(env["PREFECT_API_AUTH_STRING"].encode()).decode()
    runs = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING"]}}},
        "work_pools": {"name": {"any_": [env["PREFECT_WORK_POOL_NAME"]]}},
    }
    request = urllib.request.Request(env["PREFECT_API_URL"] + "/flow_runs/count", json.dumps(runs).encode(), headers)
    # The same certificates as Prefect's client has.
    certificates = env.get("PREFECT_API_SSL_CERT_FILE") or env.get("SSL_CERT_FILE") or certifi.where()
    try:
        tls = ssl.create_default_context(cafile=certificates)
        with urllib.request.urlopen(request, timeout=10, context=tls) as answer:
            return json.load(answer) > 0
    except urllib.error.HTTPError as error:
        return error.code >= 500 or error.code == 429  # a worker whose requests are refused takes no runs
    except Exception:
        return True


def protect(on):
    url = urllib.parse.urlsplit(AGENT)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    try:
        body = {"ProtectionEnabled": on, **({"ExpiresInMinutes": MINUTES} if on else {})}
        path = url.path + "/task-protection/v1/state"
        connection.request("PUT", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    problem = answer.get("failure") or answer.get("error")
    if problem:
        raise RuntimeError(problem.get("Reason") or problem.get("Message") or problem)


# A task is mostly started for a flow run that waits.
protected, since, seen, problem = False, 0, time.monotonic(), ""
while True:
    now, pause = time.monotonic(), 1
    try:
        if busy():
            seen = now
        wanted = now - seen < IDLE
        if protected and not wanted and now - seen < LONGEST and pending():
            wanted, pause = True, 5
        if wanted != protected or wanted and now - since > MINUTES * 30:
            protect(wanted)
            protected, since, problem = wanted, now, ""
    except Exception as error:
        pause = 5  # ECS limits how often it is called
        if str(error) != problem:
            problem = str(error)
            print("task protection: flow runs of this task may be stopped:", problem, flush=True)
    time.sleep(pause)
