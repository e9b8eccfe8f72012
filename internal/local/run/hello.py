"""The flow with which the local run proves that its worker works."""

from prefect import flow, get_run_logger


@flow
def hello():
    get_run_logger().info("Hello from a flow run on the worker of the local run")


if __name__ == "__main__":
    hello()
