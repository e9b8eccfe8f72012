"""Protects the ECS task that it runs in from scale-in and deployments while the task has flow runs.

A flow run is a process with PREFECT__FLOW_RUN_ID in its environment, in Prefect 2 and 3. The address
of the ECS agent, which only processes of this task have, excludes others where /proc shows more.
"""

import http.client
import json
import os
import time
import urllib.parse

# Seconds without a flow run after which the task is released. A worker polls each 10 s, and a run that it has taken
# has a process at the latest when a request without an answer was given up and repeated.
IDLE = 30 + float(os.environ["PREFECT_API_REQUEST_TIMEOUT"])
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
        if wanted != protected or wanted and now - since > MINUTES * 30:
            protect(wanted)
            protected, since, problem = wanted, now, ""
    except Exception as error:
        pause = 5  # ECS limits how often it is called
        if str(error) != problem:
            problem = str(error)
            print("task protection: flow runs of this task may be stopped:", problem, flush=True)
    time.sleep(pause)
