"""Ways to deploy, and the effects of the template's parameters."""

import re
import shutil
import subprocess
from pathlib import Path

from machine import ROOT, Failure, run
from site_under_test import Site, same
from stack import architecture, zip_sizes

HTTP_FUNCTIONS = ("PostEvent", "AuditQuery", "CsvUpload")
BUCKET = "annals-packages"


def the_guided_deployment_asks_for_parameters_and_not_about_routes(site: Site) -> None:
    # It saves its answers in the file that it reads.
    config = site.folder / "samconfig.guided.toml"
    shutil.copy(ROOT / "samconfig.toml", config)
    command = ["sam", "deploy", "--guided", "--template-file", site.stack.build_folder / "template.yaml", "--config-file", config]
    # The stack's name, the region, the first parameter; the default for all others. The last default is not to deploy.
    answers = ["annals-guided", "", site.stack.secret, *[""] * 60]
    guided = subprocess.run(
        command, input="\n".join(answers), cwd=site.folder, env=site.stack.tools, timeout=300, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = guided.stdout
    if guided.returncode != 0 or "Deploy this changeset?" not in said:
        raise Failure(f"sam deploy --guided: exit code {guided.returncode}\n{said}")
    same(said.count("has no authentication"), 0)
    same(len(re.findall(r"\tParameter \w+ \[", said)), len(site.stack.template.processed["Parameters"]))


def the_build_is_packaged_and_can_be_deployed_from_the_bucket(site: Site) -> None:
    settings = {**site.stack.tools, "ANNALS_BUILD": str(site.stack.build_folder), "BUCKET": BUCKET}
    site.aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": site.aws.s3.meta.region_name})
    run(ROOT / "scripts/package", architecture(), env=settings)
    template = (ROOT / "dist/template.yaml").read_text()
    names = sorted(path.name for path in (ROOT / "dist").glob("*.zip"))
    same(names, sorted(f"{name}.zip" for name in zip_sizes(site.stack.build_folder)))
    same([name for name in names if f"CodeUri: {name}" not in template], [])
    # The packaged template needs only the bucket.
    packaged = Path(shutil.copy(ROOT / "dist/packaged.yaml", site.folder))
    sizes = {path.stat().st_size for path in (ROOT / "dist").glob("*.zip")}
    stored = site.aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    same({stored_file["Size"] for stored_file in stored} & sizes, sizes)
    same([line for line in packaged.read_text().splitlines() if "CodeUri:" in line and f"s3://{BUCKET}/" not in line], [])
    run(
        "sam", "deploy", "--template-file", packaged, "--stack-name", "annals-packaged", "--s3-bucket", BUCKET,
        "--no-execute-changeset", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND",
        "--parameter-overrides", f"SecretArn={site.stack.secret}",
        env=settings,
    )  # fmt: skip


def schedules_run_as_often_as_the_parameter_says_and_appends_request_sweeps_if_it_is_rare(site: Site) -> None:
    template = site.stack.template
    rules = [name for name, it in template.processed["Resources"].items() if it["Type"] == "AWS::Events::Rule"]
    same(sorted(rules), ["ImporterDue", "ProjectorSweep", "RebuilderDue"])
    for minutes, rate, asks, missing in (("1", "rate(1 minute)", "false", "breaching"), ("60", "rate(60 minutes)", "true", "notBreaching")):
        for rule in rules:
            same(template.properties(rule, ScheduleMinutes=minutes)["ScheduleExpression"], rate)
        for function in (*HTTP_FUNCTIONS, "Importer", "Projector"):
            variables = template.properties(function, ScheduleMinutes=minutes)["Environment"]["Variables"]
            same((variables["SWEEP_BY_WAKE_UPS"], variables["WAKE_QUEUE_URL"] if function != "AuditQuery" else None),
                 (asks, {"Ref": "WakeQueue"} if function != "AuditQuery" else None))
        same(template.properties("ProjectionLag", ScheduleMinutes=minutes)["TreatMissingData"], missing)
    same(template.properties("ProjectorSweep")["ScheduleExpression"], "rate(1 minute)")
    # A sweep that leaves work requests the next one. It is allowed to, and Lambda's loop detection does not end the chain.
    same(template.properties("Projector")["RecursiveLoop"], "Allow")
    statements = template.properties("ProjectorRole")["Policies"][0]["PolicyDocument"]["Statement"]
    sends = [statement["Resource"] for statement in statements if statement["Action"] == "sqs:SendMessage"]
    same({"Fn::GetAtt": ["WakeQueue", "Arn"]} in sends[0], True)


def a_deployment_with_other_migrations_runs_them(site: Site) -> None:
    """CloudFormation runs Migrate when a property of Schema changes. One is the version that SAM publishes when the function's code changes."""
    resources = site.stack.template.processed["Resources"]
    version = resources[resources["Schema"]["Properties"]["Code"]["Ref"]]
    same((version["Type"], version["Properties"]["FunctionName"]), ("AWS::Lambda::Version", {"Ref": "Migrate"}))


def each_http_functions_concurrency_may_be_limited_and_none_is_by_default(site: Site) -> None:
    for function in HTTP_FUNCTIONS:
        same(site.stack.template.properties(function).get("ReservedConcurrentExecutions"), None)
        capped = site.stack.template.properties(function, FunctionConcurrency="20")
        same(capped["ReservedConcurrentExecutions"], "20")
        deployed = site.aws.functions.get_function_concurrency(FunctionName=site.stack.functions[function])
        same(deployed.get("ReservedConcurrentExecutions"), None)
        required = site.stack.template.properties(function, JwtRequireRole="true")
        same(required["Environment"]["Variables"]["JWT_REQUIRE_ROLE"], "true")


def requests_are_throttled_and_the_feed_has_its_own_limit(site: Site) -> None:
    stage = site.stack.template.properties("ApiApiGatewayDefaultStage", RequestsPerSecond="7", FeedRequestsPerSecond="3")
    same(stage["DefaultRouteSettings"], {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "100"})
    same(stage["RouteSettings"], {"GET /api/v1/events/feed": {"ThrottlingRateLimit": "3", "ThrottlingBurstLimit": 10}})
    # AWS would refuse a route that does not exist.
    same("get" in site.stack.template.properties("Api")["Body"]["paths"]["/api/v1/events/feed"], True)


def the_api_has_one_or_two_addresses_no_authorizer_and_headers_that_scripts_may_read(site: Site) -> None:
    def body(**parameters: str) -> dict:
        return site.stack.template.properties("Api", **parameters)["Body"]

    def disabled(**parameters: str) -> object:
        return body(**parameters)["servers"][0]["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"]

    same((disabled(), disabled(DomainName="a.example.com")), (False, False))
    same(disabled(DomainName="a.example.com", ExecuteApiAddress="disabled"), True)
    exposed = [
        "content-disposition", "etag", "idempotency-replayed", "link", "location", "retry-after", "www-authenticate", "x-request-id",
    ]
    same(body()["x-amazon-apigateway-cors"]["exposeHeaders"], exposed)
    same("securitySchemes" in body().get("components", {}), False)


def a_functions_code_is_denied_every_right_that_is_only_for_lambda_itself(site: Site) -> None:
    """Lambda uses a function's role to place it in a VPC, so the role has these rights, and without the denial the function's code would, too."""

    def statements(effect: str, **parameters: str) -> list[dict]:
        policy = site.stack.template.properties("RunPolicy", **parameters)["PolicyDocument"]
        return [statement for statement in policy["Statement"] if statement["Effect"] == effect]

    def network(found: list[dict]) -> set[str]:
        actions = [action for statement in found for action in as_list(statement["Action"])]
        return {action for action in actions if action.startswith("ec2:")}

    inside = {"VpcSubnetIds": "subnet-1"}
    allowed, denied = network(statements("Allow", **inside)), network(statements("Deny", **inside))
    same((len(allowed) > 0, allowed - denied), (True, set()))
    for statement in statements("Deny", **inside):
        same(list(statement["Condition"]), ["ArnLike"])
        same(list(statement["Condition"]["ArnLike"]), ["lambda:SourceFunctionArn"])
    same((network(statements("Allow")), statements("Deny")), (set(), []))


def the_function_of_pages_has_no_secret_and_is_in_no_network(site: Site) -> None:
    properties = site.stack.template.properties("Console", VpcSubnetIds="subnet-1", VpcSecurityGroupIds="sg-1")
    same(("VpcConfig" in properties, properties["Environment"]["Variables"]["SECRET_ARN"]), (False, ""))
    same("VpcConfig" in site.stack.template.properties("AuditQuery", VpcSubnetIds="subnet-1"), True)


def as_list(value: object) -> list:
    return value if isinstance(value, list) else [value]


CHECKS = [
    schedules_run_as_often_as_the_parameter_says_and_appends_request_sweeps_if_it_is_rare,
    a_deployment_with_other_migrations_runs_them,
    each_http_functions_concurrency_may_be_limited_and_none_is_by_default,
    requests_are_throttled_and_the_feed_has_its_own_limit,
    the_api_has_one_or_two_addresses_no_authorizer_and_headers_that_scripts_may_read,
    a_functions_code_is_denied_every_right_that_is_only_for_lambda_itself,
    the_function_of_pages_has_no_secret_and_is_in_no_network,
    the_guided_deployment_asks_for_parameters_and_not_about_routes,
    the_build_is_packaged_and_can_be_deployed_from_the_bucket,
]
