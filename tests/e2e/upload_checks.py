"""Large files: the upload address, the bucket, its events, the importer, and the schedule that works without an event."""

import json
import uuid

import requests

from machine import until
from site_under_test import Site, expect, expect_problem, same

ROWS = 5_000


def sales(lot: str, rows: int = ROWS) -> str:
    lines = (f"{lot}-{row},2026-01-{row % 28 + 1:02},{row}.25\n" for row in range(1, rows + 1))
    return "sale_id,sale_date,amount\n" + "".join(lines)


def ask(site: Site, **fields: object) -> dict:
    """Requests an upload and returns the address for the file."""
    return expect(site.request("POST", "/data/uploads", json={"dataset": "sales", **fields}), 201).json()


def send(asked: dict, file: str) -> requests.Response:
    """Sends a file as a client would, using only the answer."""
    return requests.request(asked["method"], asked["url"], data=file.encode(), headers=asked["headers"], timeout=60)


def ended(site: Site, upload: str, limit: float = 90) -> dict:
    """Waits until an upload has ended, and returns its status."""

    def status() -> dict | None:
        answer = upload_status(site, upload)
        return answer if answer["status"] in ("completed", "failed") else None

    return until(f"upload {upload} ends", status, limit)


def upload_status(site: Site, upload: str) -> dict:
    """The current status of an upload: 200 when it has ended, 202 before."""
    answer = site.request("GET", f"/data/uploads/{upload}")
    return answer.json() if answer.status_code == 202 else expect(answer, 200).json()


def objects(site: Site) -> list[str]:
    found = site.aws.s3.list_objects_v2(Bucket=site.stack.output("UploadBucketName"))
    return sorted(entry["Key"] for entry in found.get("Contents", []))


def a_file_sent_to_the_bucket_is_imported_by_its_event(site: Site) -> None:
    asked = ask(site)
    same(upload_status(site, asked["upload_id"])["status"], "waiting")
    expect(send(asked, sales("big") + "big-x,never,1.00\n"), 200)
    status = ended(site, asked["upload_id"])
    figures = [status[name] for name in ("status", "rows_total", "rows_accepted", "rows_rejected", "events_appended")]
    same(figures, ["completed", ROWS + 1, ROWS, 1, ROWS])
    same((status["errors"][0]["row"], status["errors"][0]["line"]), (ROWS + 1, ROWS + 2))
    site.wait_until_projected("sale", f"big-{ROWS}", limit=60)
    until("the file is deleted", lambda: objects(site) == [])
    types = [event["event_type"] for event in site.get(f"/events/aggregate/import/{asked['upload_id']}/history")["items"]]
    same(types, ["import.requested", "import.started", "import.completed"])


def the_same_file_again_appends_nothing(site: Site) -> None:
    asked = ask(site)
    expect(send(asked, sales("big")), 200)
    status = ended(site, asked["upload_id"])
    same((status["rows_duplicate"], status["events_appended"]), (ROWS, 0))


def an_invalid_file_fails_with_a_reason(site: Site) -> None:
    asked = ask(site)
    expect(send(asked, "PK\x03\x04 is a zip file"), 200)
    status = ended(site, asked["upload_id"])
    same((status["status"], status["events_appended"]), ("failed", 0))
    same(status["failure"]["code"], "not_csv")


def objects_with_unknown_keys_are_ignored_and_fail_nothing(site: Site) -> None:
    bucket = site.stack.output("UploadBucketName")
    strangers = [f"uploads/{uuid.uuid4()}", "uploads/no id & +%C3%BC.csv", "uploads/", "elsewhere/sales.csv"]
    for key in strangers:
        site.aws.s3.put_object(Bucket=bucket, Key=key, Body=sales("stranger", 3).encode())
    # Events of the bucket, sent twice and about unknown objects.
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}}}
    for key in [*strangers, "uploads/never-there", "%"]:
        event = {"Records": [{**record, "s3": {**record["s3"], "object": {"key": key, "size": 3}}}] * 2}
        same(site.invoke("Importer", event)["error"], None)
    for event in ({"hello": 1}, {"Records": []}, {"Records": [{}]}, [], None):
        same(site.invoke("Importer", event)["error"], None)
    same(site.postgres.rows("select count(*) from annals.events where aggregate_id like 'stranger%%'"), [(0,)])
    same(objects(site), sorted(strangers))
    for key in strangers:
        site.aws.s3.delete_object(Bucket=bucket, Key=key)


def a_file_whose_event_got_lost_is_found_by_the_schedule(site: Site) -> None:
    bucket = site.stack.output("UploadBucketName")
    events = site.aws.s3.get_bucket_notification_configuration(Bucket=bucket)
    events.pop("ResponseMetadata")
    same(json.dumps(events).count("ObjectCreated"), 1)
    site.aws.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    asked = ask(site)
    expect(send(asked, sales("lost", 10)), 200)
    same(ended(site, asked["upload_id"], limit=150)["rows_accepted"], 10)
    site.aws.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=events)


def invalid_requests_for_large_uploads_are_refused(site: Site) -> None:
    expect_problem(site.request("POST", "/data/uploads", role=None, json={"dataset": "sales"}), 401, "unauthorized")
    expect_problem(site.request("POST", "/data/uploads", json={"dataset": "orders"}), 400, "malformed_request")
    expect_problem(site.request("POST", "/data/uploads", role="user", json={"dataset": "sales"}), 403, "event_type_forbidden")
    expect_problem(site.request("GET", f"/data/uploads/{uuid.uuid4()}"), 404, "not_found")


CHECKS = [
    invalid_requests_for_large_uploads_are_refused,
    a_file_sent_to_the_bucket_is_imported_by_its_event,
    the_same_file_again_appends_nothing,
    an_invalid_file_fails_with_a_reason,
    objects_with_unknown_keys_are_ignored_and_fail_nothing,
    a_file_whose_event_got_lost_is_found_by_the_schedule,
]
