"""The emulator of AWS, on loopback, and its clients."""

import os
import sys
from functools import cached_property
from pathlib import Path

import boto3
import requests
from botocore.config import Config

from machine import Failure, Program, free_port, until

REGION = "eu-central-1"
ACCOUNT = "000000000000"


class Aws:
    """MiniStack: runs the functions' binaries as processes, so it needs no Docker."""

    def __init__(self, folder: Path):
        self.folder = folder / "aws"
        self.folder.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # For all AWS clients: the emulator verifies no signature, and no request must reach the real AWS.
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.program = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        environment = {
            **os.environ,
            **self.environment,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(self.folder),
            "HOME": str(self.folder),
            # Servers for other protocols, which are not needed and would listen on ports of their own.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        self.program = Program(
            sys.executable, "-m", "ministack", log=self.folder / "ministack.log", env=environment
        )
        until("the emulator answers", self._answers)

    def _answers(self) -> bool:
        self.program.check()
        try:
            return requests.get(f"{self.url}/_ministack/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """Ends it and the functions that it runs."""
        if self.program:
            self.program.stop()

    def client(self, service: str):
        """A client of this service."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 1}, read_timeout=120),
        )

    @cached_property
    def cloudformation(self):
        return self.client("cloudformation")

    @cached_property
    def apigateway(self):
        return self.client("apigatewayv2")

    @cached_property
    def functions(self):
        return self.client("lambda")

    @cached_property
    def logs(self):
        return self.client("logs")

    @cached_property
    def s3(self):
        return self.client("s3")

    @cached_property
    def secrets(self):
        return self.client("secretsmanager")

    @cached_property
    def sqs(self):
        return self.client("sqs")

    def log_lines(self) -> list[str]:
        """What the functions have logged so far, group by group."""
        lines = []
        for group in self.logs.describe_log_groups()["logGroups"]:
            name = group["logGroupName"]
            for page in self.logs.get_paginator("filter_log_events").paginate(logGroupName=name):
                lines += [f"{name}: {event['message'].rstrip()}" for event in page["events"]]
        return lines


def output_of(outputs: list[dict], key: str) -> str:
    """One output of a stack."""
    for output in outputs:
        if output["OutputKey"] == key:
            return output["OutputValue"]
    raise Failure(f"the stack has no output {key}")
