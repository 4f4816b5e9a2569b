"""Large files: the address, the bucket, its events, the importer, and the schedule that needs no event."""

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
    """Where a file may be sent."""
    return expect(site.request("POST", "/data/uploads", json={"dataset": "sales", **fields}), 201).json()


def send(asked: dict, file: str) -> requests.Response:
    """Sends a file as whoever asked would: with nothing but the answer."""
    return requests.request(asked["method"], asked["url"], data=file.encode(), headers=asked["headers"], timeout=60)


def ended(site: Site, upload: str, limit: float = 90) -> dict:
    """What has become of an upload."""

    def told() -> dict | None:
        answer = told_so_far(site, upload)
        return answer if answer["status"] in ("completed", "failed") else None

    return until(f"upload {upload} ends", told, limit)


def told_so_far(site: Site, upload: str) -> dict:
    """How far an upload is: 200 when it has ended, 202 before."""
    answer = site.request("GET", f"/data/uploads/{upload}")
    return answer.json() if answer.status_code == 202 else expect(answer, 200).json()


def objects(site: Site) -> list[str]:
    found = site.aws.s3.list_objects_v2(Bucket=site.stack.output("UploadBucketName"))
    return sorted(entry["Key"] for entry in found.get("Contents", []))


def a_file_sent_to_the_bucket_is_imported_by_its_event(site: Site) -> None:
    asked = ask(site)
    same(told_so_far(site, asked["upload_id"])["status"], "waiting")
    expect(send(asked, sales("big") + "big-x,never,1.00\n"), 200)
    told = ended(site, asked["upload_id"])
    figures = [told[name] for name in ("status", "rows_total", "rows_accepted", "rows_rejected", "events_appended")]
    same(figures, ["completed", ROWS + 1, ROWS, 1, ROWS])
    same((told["errors"][0]["row"], told["errors"][0]["line"]), (ROWS + 1, ROWS + 2))
    site.wait_until_projected("sale", f"big-{ROWS}", limit=60)
    until("the file is deleted", lambda: objects(site) == [])
    types = [event["event_type"] for event in site.get(f"/events/aggregate/import/{asked['upload_id']}/history")["items"]]
    same(types, ["import.requested", "import.started", "import.completed"])


def the_same_file_again_appends_nothing(site: Site) -> None:
    asked = ask(site)
    expect(send(asked, sales("big")), 200)
    told = ended(site, asked["upload_id"])
    same((told["rows_duplicate"], told["events_appended"]), (ROWS, 0))


def a_file_that_is_none_fails_with_its_reason(site: Site) -> None:
    asked = ask(site)
    expect(send(asked, "PK\x03\x04 is a zip file"), 200)
    told = ended(site, asked["upload_id"])
    same((told["status"], told["events_appended"]), ("failed", 0))
    same(told["failure"]["code"], "not_csv")


def objects_of_unknown_keys_are_left_alone_and_fail_nothing(site: Site) -> None:
    bucket = site.stack.output("UploadBucketName")
    strangers = [f"uploads/{uuid.uuid4()}", "uploads/no id & +%C3%BC.csv", "uploads/", "elsewhere/sales.csv"]
    for key in strangers:
        site.aws.s3.put_object(Bucket=bucket, Key=key, Body=sales("stranger", 3).encode())
    # What the bucket would say, doubled and about objects that nobody has ever seen.
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


def large_uploads_are_asked_for_as_data_are(site: Site) -> None:
    expect_problem(site.request("POST", "/data/uploads", role=None, json={"dataset": "sales"}), 401, "unauthorized")
    expect_problem(site.request("POST", "/data/uploads", json={"dataset": "orders"}), 400, "malformed_request")
    expect_problem(site.request("POST", "/data/uploads", role="user", json={"dataset": "sales"}), 403, "event_type_forbidden")
    expect_problem(site.request("GET", f"/data/uploads/{uuid.uuid4()}"), 404, "not_found")


CHECKS = [
    large_uploads_are_asked_for_as_data_are,
    a_file_sent_to_the_bucket_is_imported_by_its_event,
    the_same_file_again_appends_nothing,
    a_file_that_is_none_fails_with_its_reason,
    objects_of_unknown_keys_are_left_alone_and_fail_nothing,
    a_file_whose_event_got_lost_is_found_by_the_schedule,
]
