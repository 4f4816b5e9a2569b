"""The deployed stack as the checks see it: its API, its queues, its functions and its database."""

import json
import time
import uuid
from pathlib import Path

import jwt
import requests

from aws import Aws
from machine import ROOT, Failure, until
from postgres import Postgres
from stack import Stack

DEFAULT_TENANT = "00000000-0000-0000-0000-000000000000"


class Site:
    """Everything that a check may use."""

    def __init__(self, folder: Path, aws: Aws, postgres: Postgres, stack: Stack):
        self.folder = folder
        self.aws = aws
        self.postgres = postgres
        self.stack = stack
        self.tokens: dict[str, str] = {}
        self.jwt_secret = ""

    def sign_tokens(self, jwt_secret: str) -> None:
        """A token for each role, in Supabase's shape."""
        self.jwt_secret = jwt_secret
        for role in ("staff", "user"):
            claims = {
                "sub": str(uuid.uuid4()),
                "aud": "authenticated",
                "exp": int(time.time()) + 86400,
                "role": "authenticated",
                "app_metadata": {"role": role},
            }
            self.tokens[role] = jwt.encode(claims, jwt_secret, algorithm="HS256")

    def request(self, method: str, path: str, role: str | None = "staff", **options) -> requests.Response:
        """A request through the gateway to the functions. `path` is sent unchanged."""
        headers = options.pop("headers", {})
        if role:
            headers = {"Authorization": f"Bearer {self.tokens[role]}", **headers}
        return requests.request(method, f"{self.stack.url}/api/v1{path}", headers=headers, timeout=60, **options)

    def get(self, path: str) -> dict:
        """The answer to a GET, which must be 200."""
        return expect(self.request("GET", path), 200).json()

    def append(self, event_type: str, aggregate_id: str, data: dict) -> dict:
        """Appends an event and returns it."""
        aggregate_type = event_type.split(".")[0]
        event = {"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": aggregate_id, "data": data}
        return expect(self.request("POST", "/events", json=event), 201).json()

    def invoke(self, function: str, event: object) -> dict:
        """Invokes a function directly, as an operator would."""
        payload = event if isinstance(event, str) else json.dumps(event)
        answer = self.aws.functions.invoke(FunctionName=self.stack.functions[function], Payload=payload.encode())
        return {"error": answer.get("FunctionError"), "payload": json.loads(answer["Payload"].read() or b"null")}

    def is_projected(self, aggregate_type: str, aggregate_id: str) -> bool:
        """Whether this stream is projected to its end."""
        heads = self.postgres.rows(
            "select version = projected_version from annals.heads where aggregate_type = %s and aggregate_id = %s",
            aggregate_type,
            aggregate_id,
        )
        return bool(heads) and heads[0][0]

    def wait_until_projected(self, aggregate_type: str, aggregate_id: str, limit: float = 30) -> None:
        """Waits for the projector."""
        what = f"{aggregate_type}/{aggregate_id} is projected"
        until(what, lambda: self.is_projected(aggregate_type, aggregate_id), limit)

    def queue_attribute(self, output: str, name: str) -> int:
        """A numeric attribute of the queue that this output of the template names."""
        attributes = self.aws.sqs.get_queue_attributes(QueueUrl=self.stack.output(output), AttributeNames=[name])
        return int(attributes["Attributes"][name])


def fixture(name: str) -> str:
    """A recorded event, as text."""
    return (ROOT / "tests" / "events" / name).read_text()


def expect(response: requests.Response, status: int) -> requests.Response:
    """The response, if it has this status."""
    if response.status_code != status:
        raise Failure(f"{response.request.method} {response.url}: {response.status_code} {response.text[:2000]}")
    return response


def expect_problem(response: requests.Response, status: int, code: str) -> None:
    """Fails unless the response is a complete problem with that status and code."""
    expect(response, status)
    same(response.headers["content-type"], "application/problem+json")
    problem = response.json()
    same((problem["status"], problem["code"]), (status, code))
    if not problem["request_id"]:
        raise Failure(f"a problem without a request's id: {problem}")


def same(found: object, expected: object) -> None:
    """Fails unless both are equal."""
    if found != expected:
        raise Failure(f"expected {expected!r}, found {found!r}")
