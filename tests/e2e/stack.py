"""The deployed stack: built, deployed and with its routes."""

import io
import json
import os
import platform
import shlex
import zipfile
from pathlib import Path

from aws import ACCOUNT, REGION, Aws, output_of
from machine import ROOT, Failure, run
from postgres import Postgres
from template import Template

NAME = "annals"
# The limit on two busy processors for a build from scratch.
BUILD_SECONDS = 3000
METHODS = {
    "get": "GET",
    "post": "POST",
    "put": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "x-amazon-apigateway-any-method": "ANY",
}


class Stack:
    """The stack that `sam deploy` creates from template.yaml."""

    def __init__(self, aws: Aws, folder: Path):
        self.aws = aws
        # To work on the checks, build once and name the folder.
        self.built = os.environ.get("ANNALS_E2E_BUILD")
        self.build_folder = Path(self.built or folder / "build")
        self.tools = {**os.environ, **aws.environment}
        self.functions: dict[str, str] = {}
        self.outputs: list[dict] = []
        self.secret = ""
        self.template: Template | None = None
        self.url = ""

    def build(self) -> None:
        """Builds for this machine's processor what `sam build` builds for AWS, so that it runs here."""
        if self.built:
            return
        run(
            "sam", "build",
            "--parameter-overrides", f"Architecture={architecture()}",
            "--build-dir", self.build_folder,
            env={**self.tools, "AWS_ENDPOINT_URL": ""}, limit=BUILD_SECONDS,
        )  # fmt: skip

    def deploy(self, postgres: Postgres, jwt_secret: str) -> None:
        """The README's deployment with its questions answered; it migrates the database by itself."""
        self.secret = self.create_secret("annals", {"DATABASE_URL": postgres.api_url, "JWT_SECRET": jwt_secret})
        migration_secret = self.create_secret("annals-migration", {"DATABASE_URL": postgres.owner_url})
        run(
            *readme_deployment({"SecretArn": self.secret, "MigrationSecretArn": migration_secret}),
            f"Architecture={architecture()}", "LogLevel=debug",
            "--template-file", self.build_folder / "template.yaml",
            "--config-file", ROOT / "samconfig.toml", "--stack-name", NAME, "--no-confirm-changeset",
            env=self.tools,
        )  # fmt: skip
        self.outputs = self.aws.cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]
        pages = self.aws.cloudformation.get_paginator("list_stack_resources").paginate(StackName=NAME)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        unfinished = [r for r in resources if r["ResourceStatus"] != "CREATE_COMPLETE"]
        if unfinished:
            raise Failure(f"not created: {unfinished}")
        self.functions = {
            r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::Lambda::Function"
        }
        processed = self.aws.cloudformation.get_template(StackName=NAME, TemplateStage="Processed")["TemplateBody"]
        self.template = Template(json.loads(processed) if isinstance(processed, str) else processed)
        api = next(r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::ApiGatewayV2::Api")
        self.create_routes(api)
        self.number_concurrency()
        self.url = f"{self.aws.url}/_aws/execute-api/{api}/$default"

    def create_secret(self, name: str, value: dict[str, str]) -> str:
        """Creates a secret and returns its ARN."""
        return self.aws.secrets.create_secret(Name=name, SecretString=json.dumps(value))["ARN"]

    def create_routes(self, api: str) -> None:
        """Creates the routes in the API's OpenAPI body, which MiniStack 1.5 does not do when the stack is created. The body is read from the
        transformed template."""
        routes = routes_of(self.template.processed["Resources"]["Api"]["Properties"]["Body"])
        integrations = {}
        for function in sorted(set(routes.values())):
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.functions[function]}"
            integrations[function] = self.aws.apigateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
            )["IntegrationId"]
        for key, function in routes.items():
            self.aws.apigateway.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integrations[function]}")

    def number_concurrency(self) -> None:
        """Turns the maximum concurrency into a number, as AWS does. MiniStack 1.5 keeps the parameter's text, and every poll then fails."""
        for mapping in self.aws.functions.list_event_source_mappings()["EventSourceMappings"]:
            limit = int(mapping["ScalingConfig"]["MaximumConcurrency"])
            self.aws.functions.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": limit}
            )

    def output(self, key: str) -> str:
        """The value of an output of the template."""
        return output_of(self.outputs, key)


def readme_deployment(arns: dict[str, str]) -> list[str]:
    """The words of the README's `sam deploy` command, with these values of its parameters for `ARN`."""
    command = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("sam build && sam deploy"))
    words = shlex.split(command.partition("&& ")[2])
    return [f"{name}={arns[name]}" if value == "ARN" else word for word in words for name, _, value in [word.partition("=")]]


def routes_of(body: dict) -> dict[str, str]:
    """The routes of an OpenAPI body, each with the logical name of its function."""
    routes = {}
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            if method not in METHODS:
                continue
            integration = operation["x-amazon-apigateway-integration"]
            if integration["payloadFormatVersion"] != "2.0":
                raise Failure(f"{method} {path} is integrated with another payload format: {integration}")
            function = integration["uri"]["Fn::Sub"].split("${")[-1].split(".Arn")[0]
            routes[path if path == "$default" else f"{METHODS[method]} {path}"] = function
    return routes


def architecture() -> str:
    """This machine's processor architecture, as the template names it."""
    return {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]


def zip_sizes(build_folder: Path) -> dict[str, int]:
    """The size of each function, zipped as `sam deploy` does it."""
    sizes = {}
    for bootstrap in sorted(build_folder.glob("*/bootstrap")):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(bootstrap, "bootstrap")
        sizes[bootstrap.parent.name] = archive.tell()
    return sizes
