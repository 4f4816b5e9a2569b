"""Between appending and projecting: the event source mapping and its failures, the schedules, and the functions' logs."""

import json
import re
import uuid

from machine import Failure, until
from site_under_test import DEFAULT_TENANT, Site, expect, expect_problem, fixture, same

# Foreign messages: none of them names a possible stream.
FOREIGN = [
    "hello",
    "{}",
    "null",
    '{"streams":[["x","customer","1"]]}',
    '{"streams":[],"more":1}',
    json.dumps({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "sales.csv"}}}]}),
    json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:0:t", "Message": '{"streams":[]}'}),
    "[" * 100_000,
    json.dumps({"streams": [[DEFAULT_TENANT, "customer", "x" * 200_000]]}),
]


def wake_up(aggregate_id: str) -> str:
    return json.dumps({"streams": [[DEFAULT_TENANT, "customer", aggregate_id]]})


def post_by_sql(site: Site, aggregate_id: str) -> None:
    """Appends by SQL, so that no wake-up is sent. Without pg_jsonschema only a service may."""
    claims = {"sub": str(uuid.uuid4()), "role": "authenticated", "app_metadata": {"role": "service", "name": "loader"}}
    event = {"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": aggregate_id, "data": {"name": "N"}}
    site.postgres.rows(
        "begin; set local role authenticated; select set_config('request.jwt.claims', %s, true);"
        " select public.post_event(%s); commit",
        json.dumps(claims),
        json.dumps(event),
    )


def send(site: Site, bodies: list[str], output: str = "WakeQueueUrl") -> None:
    for body in bodies:
        site.aws.sqs.send_message(QueueUrl=site.stack.output(output), MessageBody=body)


def messages(site: Site, output: str) -> int:
    """Number of messages in a queue, including those in flight."""
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return sum(site.queue_attribute(output, count) for count in counts)


def an_event_without_a_wake_up_waits_for_the_schedule(site: Site) -> None:
    for place in range(3):
        post_by_sql(site, f"SILENT-{place}")
    same(site.is_projected("customer", "SILENT-0"), False)


def a_rebuild_is_requested(site: Site) -> None:
    expect(site.request("POST", "/projector/rebuild", json={"module": "customer"}), 202)


def foreign_messages_become_dead_letters_and_block_no_others(site: Site) -> None:
    # Five receives at the template's six minutes each would take too long for a test.
    queue = site.stack.output("WakeQueueUrl")
    site.aws.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    for place in range(len(FOREIGN)):
        post_by_sql(site, f"AMONG-{place}")
        send(site, [FOREIGN[place], wake_up(f"AMONG-{place}")])
    for place in range(len(FOREIGN)):
        site.wait_until_projected("customer", f"AMONG-{place}")
    until("foreign messages are dead letters", lambda: messages(site, "WakeDeadLettersUrl") == len(FOREIGN), limit=90)
    same(sorted(dead_letters(site)), sorted(FOREIGN))
    until("the wake queue is empty", lambda: messages(site, "WakeQueueUrl") == 0)


def dead_letters(site: Site) -> list[str]:
    """The bodies of all dead letters, which become visible again immediately."""
    queue, bodies = site.stack.output("WakeDeadLettersUrl"), {}
    while True:
        answer = site.aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=5)
        found = answer.get("Messages", [])
        bodies |= {message["MessageId"]: message["Body"] for message in found}
        if not found:
            return list(bodies.values())


def redriven_dead_letters_are_tried_again(site: Site) -> None:
    """The runbook's redrive, once the cause is gone: a message that can be handled now is projected, the others return to the dead letters."""
    post_by_sql(site, "REDRIVEN")
    send(site, [wake_up("REDRIVEN")], "WakeDeadLettersUrl")
    # Without StartMessageMoveTask, which MiniStack 1.5 does not have.
    queue = site.stack.output("WakeDeadLettersUrl")

    def move() -> bool:
        for message in site.aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            send(site, [message["Body"]])
            site.aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return messages(site, "WakeDeadLettersUrl") == 0

    until("dead letters have been moved", move)
    site.wait_until_projected("customer", "REDRIVEN")
    until("the foreign messages are dead letters again", lambda: messages(site, "WakeDeadLettersUrl") == len(FOREIGN), limit=90)


def a_mixed_batch_invoked_directly_names_the_messages_at_fault(site: Site) -> None:
    answer = site.invoke("Projector", fixture("sqs_mixed_batch.json"))
    same(answer["error"], None)
    failed = [failure["itemIdentifier"][-1] for failure in answer["payload"]["batchItemFailures"]]
    same(failed, ["2", "4"])
    same(site.invoke("Projector", fixture("sqs_wake_up.json"))["payload"], {"batchItemFailures": []})
    answer = site.invoke("Projector", fixture("sqs_foreign_bodies.json"))
    same(len(answer["payload"]["batchItemFailures"]), len(json.loads(fixture("sqs_foreign_bodies.json"))["Records"]))


def while_the_database_is_down_requests_get_503_and_a_failed_sweep_is_kept(site: Site) -> None:
    before = messages(site, "SweepDeadLettersUrl")
    site.postgres.stop()
    try:
        refused = site.request("GET", "/events")
        expect_problem(refused, 503, "unavailable")
        same(refused.headers["retry-after"], "1")
        same(site.request("GET", "/health", role=None).json()["features"]["database"], "degraded")
        # Invoked as the schedule does it, without waiting for the answer.
        site.aws.functions.invoke(
            FunctionName=site.stack.functions["Projector"], InvocationType="Event", Payload=fixture("schedule_tick.json")
        )
        until("the failed sweep is kept", lambda: messages(site, "SweepDeadLettersUrl") > before, limit=120)
    finally:
        site.postgres.restart()
    until("the database is back", lambda: site.request("GET", "/events").status_code == 200)
    site.append("customer.created", "AFTERWARDS", {"name": "N"})
    site.wait_until_projected("customer", "AFTERWARDS")


def the_schedule_projects_events_without_a_wake_up(site: Site) -> None:
    for place in range(3):
        site.wait_until_projected("customer", f"SILENT-{place}", limit=150)
    rows = site.postgres.rows("select count(*) from public.customers where id like 'SILENT-%%'", "")
    same(rows, [(3,)])


def the_schedule_runs_the_rebuild(site: Site) -> None:
    def finished() -> list[dict]:
        rebuilds = site.get("/projector/status")["rebuilds"]
        return [rebuild for rebuild in rebuilds if rebuild["status"] == "done"]

    until("the rebuild is done", finished, limit=150)


def every_stream_is_projected_or_parked(site: Site) -> None:
    left = site.postgres.rows("select aggregate_type, aggregate_id from annals.heads where version > projected_version")
    same(left, [])
    status = site.get("/projector/status")
    same(status["parked_streams"], [])


def logs_are_json_and_hold_no_token_password_or_row(site: Site) -> None:
    lines = site.aws.log_lines()
    ours = [line for line in lines if '"level"' in line]
    if len(ours) < 50:
        raise Failure(f"only {len(ours)} lines of {len(lines)} are ours: {lines[:5]}")
    for name in ("post-event", "audit-query", "csv-upload", "console", "importer", "projector", "rebuilder"):
        if not any(name in line.split(":")[0] for line in lines):
            raise Failure(f"{name} has logged nothing")
    secrets = [*site.tokens.values(), site.postgres.api_password, "poison-marker-in-a-row", "row-marker-of-a-file"]
    for line in lines:
        for secret in secrets:
            if secret in line:
                raise Failure(f"a log line holds {secret[:12]}…: {line[:400]}")
    unreadable = [line for line in ours if not is_json(re.sub(r"^[^:]*: ", "", line))]
    same(unreadable[:3], [])


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


CHECKS = [
    an_event_without_a_wake_up_waits_for_the_schedule,
    a_rebuild_is_requested,
    foreign_messages_become_dead_letters_and_block_no_others,
    redriven_dead_letters_are_tried_again,
    the_schedule_projects_events_without_a_wake_up,
    the_schedule_runs_the_rebuild,
    # Not earlier, because one of its messages requests a sweep.
    a_mixed_batch_invoked_directly_names_the_messages_at_fault,
    while_the_database_is_down_requests_get_503_and_a_failed_sweep_is_kept,
    every_stream_is_projected_or_parked,
    logs_are_json_and_hold_no_token_password_or_row,
]
