"""Renders templates with the worker's own code: what it registers and runs, without the network's look-up in AWS.

Reads {name: {"change": [path, value] or null, "variables": {...}}} and writes {"template": ..., "jobs": {name: ...}}:
the worker's default template, and what it makes of it with each change and the variables, or an error.
"""

import asyncio
import copy
import json
import logging
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import prefect
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker

logging.disable()
MAJOR = int(prefect.__version__.split(".")[0])


async def job(template, variables):
    # Without a client Prefect 2 would start an API with a database for each template.
    configuration = await ECSJobConfiguration.from_template_and_values(template, variables, client=nullcontext())
    worker = ECSWorker(work_pool_name="p")
    worker._custom_network_configuration = lambda vpc, network, _: {"awsvpcConfiguration": network}
    worker._load_network_configuration = lambda *_: None
    run = SimpleNamespace(deployment_id="d", flow_id="f")
    definition = worker._prepare_task_definition(configuration, region="us-east-1", flow_run=run)
    arn = configuration.task_run_request.get("taskDefinition") or "arn"
    more = () if MAJOR == 2 else (False,)
    request = worker._prepare_task_run_request(configuration, definition, arn, *more)
    return {"definition": definition, "request": request}


async def main():
    default = ECSWorker.get_default_base_job_template()
    jobs = {}
    for name, case in json.load(sys.stdin).items():
        template = copy.deepcopy(default)
        if case["change"]:
            *path, last = case["change"][0]
            place = template
            for key in path:
                place = place[key]
            if case["change"][1] is None:
                del place[last]
            else:
                place[last] = case["change"][1]
        try:
            jobs[name] = {"template": template, **await job(template, case["variables"])}
        except Exception as error:
            jobs[name] = {"template": template, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(jobs))


asyncio.run(main())
