"""HTTP through the gateway: every HTTP function by its real binary, and what callers may do wrong."""

import json
import os
import re
from urllib.parse import quote

import requests

from machine import ROOT, Failure, run, until
from site_under_test import Site, expect, expect_problem, fixture, same
from stack import zip_sizes

SALES = "sale_id,sale_date,amount,product\ne2e-1,2026-01-02,261.96,row-marker-of-a-file\ne2e-2,2026-01-03,-5.00,Return\n"
FOUR_MIB = 4 * 1024 * 1024
FIVE_MIB = 5 * 1024 * 1024


def every_function_has_at_most_five_mebibytes_zipped(site: Site) -> None:
    sizes = zip_sizes(site.stack.build_folder)
    print("   " + ", ".join(f"{name} {size / 1024 / 1024:.2f} MiB" for name, size in sizes.items()))
    same([name for name, size in sizes.items() if size > FIVE_MIB], [])


def health_needs_no_token(site: Site) -> None:
    answer = expect(site.request("GET", "/health", role=None), 200).json()
    same(answer["features"], {"auth": "active", "database": "active", "events": "active", "agents": "active"})


def every_feature_is_active(site: Site) -> None:
    same(set(site.get("/status")["features"].values()), {"active"})


def the_deployment_has_migrated_and_migrating_again_changes_nothing(site: Site) -> None:
    again = site.invoke("Migrate", fixture("migrate_by_hand.json"))
    same((again["error"], again["payload"]["applied"], again["payload"]["ahead"]), (None, [], []))


def a_request_without_a_token_is_refused(site: Site) -> None:
    refused = site.request("GET", "/events", role=None)
    expect_problem(refused, 401, "unauthorized")
    same(refused.headers["www-authenticate"], "Bearer")
    expect_problem(site.request("POST", "/projector/sweep", role="user"), 403, "staff_only")


def an_event_is_appended_read_back_and_projected(site: Site) -> None:
    event = site.append("product.created", "PUMP", {"sku": "PUMP", "name": "Pump", "base_price": 5999.00})
    same((event["aggregate_version"], event["event_type"]), (1, "product.created"))
    found = expect(site.request("GET", f"/events/{event['id']}"), 200)
    same(found.json()["data"], event["data"])
    if '"base_price":5999.0' not in found.text.replace(" ", ""):
        raise Failure(f"a number has lost its digits: {found.text}")
    same([e["id"] for e in site.get("/events/aggregate/product/PUMP/history")["items"]], [event["id"]])
    site.wait_until_projected("product", "PUMP")
    same(site.postgres.rows("select name, base_price::text from public.products where id = 'PUMP'"), [("Pump", "5999.0")])


def the_smoke_script_succeeds(site: Site) -> None:
    settings = {"ANNALS_URL": f"{site.stack.url}/api/v1", "JWT_SECRET": site.jwt_secret}
    said = run(ROOT / "scripts/smoke", env={**os.environ, **settings})
    if "it works" not in said:
        raise Failure(f"the smoke script: {said}")
    same(site.postgres.rows("select count(*) from annals.events where source = 'smoke'"), [(1,)])


def a_retry_with_the_same_key_appends_nothing(site: Site) -> None:
    event = {"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "RETRY", "data": {"name": "Ada"}}
    headers = {"Idempotency-Key": "e2e-retry"}
    first = expect(site.request("POST", "/events", json=event, headers=headers), 201).json()
    again = expect(site.request("POST", "/events", json=event, headers=headers), 200).json()
    same(again["id"], first["id"])
    other = site.request("POST", "/events", json={**event, "data": {"name": "Eve"}}, headers=headers)
    expect(other, 422)


def entities_are_created_changed_and_deleted_by_version(site: Site) -> None:
    expect(site.request("POST", "/entities/customer", json={"id": "CRUD", "name": "Ada"}), 201)
    stale = {"If-Match": '"7"'}
    expect(site.request("PATCH", "/entities/customer/CRUD", json={"name": "Eve"}, headers=stale), 412)
    changed = site.request("PATCH", "/entities/customer/CRUD", json={"name": "Eve"}, headers={"If-Match": '"1"'})
    same(expect(changed, 200).headers["etag"], '"2"')
    diff = site.get("/entities/customer/CRUD/diff?from=1&to=2")
    same(diff["changes"]["name"], {"old": "Ada", "new": "Eve"})
    expect(site.request("POST", "/entities/customer/CRUD/snapshots", json={"reason": "e2e"}), 201)
    same(len(site.get("/entities/customer/CRUD/snapshots")["items"]), 1)
    expect(site.request("DELETE", "/entities/customer/CRUD"), 200)
    same(site.get("/audit/count/CRUD")["count"], 3)


def ids_of_any_characters_can_be_read(site: Site) -> None:
    # The emulator, unlike AWS, matches a route before it decodes `%`. It splits at slashes as AWS does.
    for aggregate_id in ("with space", "ünï-世界", "hash#tag", "a+b", "slash/in/it", "dot.and~tilde"):
        path = f"/entities/customer/{quote(aggregate_id, safe='')}"
        site.append("customer.created", aggregate_id, {"name": aggregate_id})
        same(site.get(path)["aggregate_id"], aggregate_id)
        expect(site.request("PATCH", path, json={"name": "changed"}), 200)
        same(site.get(f"{path}/diff?from=1&to=2")["changes"]["name"], {"old": aggregate_id, "new": "changed"})
        history = site.get(f"/events/aggregate/customer/{quote(aggregate_id, safe='')}/history")
        same([event["aggregate_id"] for event in history["items"]], [aggregate_id] * 2)
        same(site.get(f"/audit/count/{quote(aggregate_id, safe='')}")["count"], 2)


def filters_and_pages_survive_the_gateway(site: Site) -> None:
    first = site.get("/events?event_type=customer.*&event_type=product.created&order=asc&limit=2")
    same(len(first["items"]), 2)
    rest = site.get(f"/events?event_type=customer.*&event_type=product.created&order=asc&limit=2&cursor={first['next_cursor']}")
    same({event["id"] for event in rest["items"]} & {event["id"] for event in first["items"]}, set())


def a_body_that_arrives_in_base64_is_read(site: Site) -> None:
    event = {"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "BASE64", "data": {"name": "Añ 世"}}
    body = json.dumps(event, ensure_ascii=False).encode()
    # A media type that the gateway does not treat as text.
    headers = {"Content-Type": "application/vnd.annals+json"}
    stored = expect(site.request("POST", "/events", data=body, headers=headers), 201).json()
    same(stored["data"], event["data"])


def a_sales_file_is_uploaded_once(site: Site) -> None:
    files = {"file": ("sales.csv", SALES, "text/csv")}
    first = expect(site.request("POST", "/data/upload-sales-csv", files=files), 200).json()
    same((first["rows_accepted"], first["rows_rejected"], first["events_appended"]), (2, 0, 2))
    headers = {"Content-Type": "text/csv"}
    again = expect(site.request("POST", "/data/upload-sales-csv", data=SALES, headers=headers), 200).json()
    same((again["rows_duplicate"], again["events_appended"]), (2, 0))
    site.wait_until_projected("sale", "e2e-1")
    same(site.postgres.rows("select amount_cents from public.sales where id like 'e2e-%%' order by id", ""), [(26196,), (-500,)])
    template = expect(site.request("GET", "/data/upload-template/sales"), 200)
    same(template.text.split(",")[0].strip('"'), "sale_date")


def unknown_routes_and_methods_are_answered_by_problems(site: Site) -> None:
    for path in ("/nothing", "/events/aggregate", "/entities", "/data/upload-nothing-csv", "/events/a/b/c", "/a%20b%23c"):
        expect_problem(site.request("GET", path), 404, "not_found")
    expect_problem(site.request("GET", "/../../etc/passwd"), 404, "not_found")
    for method, path in (
        ("PUT", "/events"),
        ("POST", "/health"),
        ("DELETE", "/events/types"),
        ("PUT", "/entities/customer/CRUD"),
        ("PATCH", "/entities/customer"),
        ("GET", "/events/00000000-0000-0000-0000-000000000000/processing"),
        ("DELETE", "/events/00000000-0000-0000-0000-000000000000/compensate"),
        ("GET", "/projector/sweep"),
        ("GET", "/projector/rebuild"),
        ("GET", "/data/upload-sales-csv"),
        ("DELETE", "/data/upload-template/sales"),
    ):
        expect_problem(site.request(method, path), 405, "method_not_allowed")


def pages_are_answered_and_a_problem_leads_to_one(site: Site) -> None:
    def page(path: str) -> requests.Response:
        return expect(requests.get(site.stack.url + path, timeout=60), 200)

    for path in ("/docs", "/redoc", "/docs/problems"):
        same(page(path).headers["content-type"], "text/html; charset=utf-8")
    problem = site.request("GET", "/events", role=None).json()
    if "<h1><code>unauthorized</code></h1>" not in page(problem["type"]).text:
        raise Failure(f"{problem['type']} is another page")
    # The script is answered in gzip. `requests` inflates it.
    script = page(re.search(r'src="(/docs/assets/swagger-ui-[0-9a-f]+\.js)"', page("/docs").text)[1])
    same((script.headers["content-encoding"], len(script.content) > 1_000_000), ("gzip", True))
    expect(requests.get(f"{site.stack.url}/docs/nothing", timeout=60), 404)


def invalid_bodies_are_answered_by_problems(site: Site) -> None:
    headers = {"Content-Type": "application/json"}
    expect_problem(site.request("POST", "/events", data="{", headers=headers), 400, "malformed_json")
    expect_problem(site.request("POST", "/events", data="hello", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    expect_problem(site.request("POST", "/events"), 415, "unsupported_media_type")
    expect(site.request("POST", "/events", data=b"\xff\xfe\x00", headers=headers), 400)
    expect(site.request("POST", "/data/upload-sales-csv", data=b"PK\x03\x04", headers={"Content-Type": "text/csv"}), 400)


def bodies_over_four_mebibytes_are_refused(site: Site) -> None:
    headers = {"Content-Type": "application/json"}
    event = json.dumps({"data": "x" * FOUR_MIB})
    expect_problem(site.request("POST", "/events", data=event, headers=headers), 413, "body_too_large")
    row = "2026-01-02,1.00\n"
    file = "sale_date,amount\n" + row * (FOUR_MIB // len(row) + 1)
    refused = site.request("POST", "/data/upload-sales-csv", data=file, headers={"Content-Type": "text/csv"})
    expect_problem(refused, 413, "body_too_large")
    files = {"file": ("sales.csv", file, "text/csv")}
    expect_problem(site.request("POST", "/data/upload-sales-csv", files=files), 413, "body_too_large")
    expect(site.request("GET", "/health", role=None), 200)


def a_poison_event_parks_its_stream_alone_and_staff_frees_it(site: Site) -> None:
    site.postgres.rows("alter table public.customers add constraint no_poison check (name not like 'poison%%')", "")
    parked = site.append("customer.created", "POISONED", {"name": "poison-marker-in-a-row"})
    site.append("customer.created", "BESIDE", {"name": "fine"})
    site.wait_until_projected("customer", "BESIDE")
    status = until("the stream is parked", lambda: parked_streams(site))
    same([stream["aggregate_id"] for stream in status], ["POISONED"])
    site.postgres.rows("alter table public.customers drop constraint no_poison")
    decision = {"action": "retry", "reason": "the constraint was wrong"}
    expect(site.request("PUT", f"/events/{parked['id']}/processing", json=decision), 200)
    site.wait_until_projected("customer", "POISONED")
    same(parked_streams(site), [])


def parked_streams(site: Site) -> list[dict]:
    return site.get("/projector/status")["parked_streams"]


def a_recorded_request_is_answered_when_a_function_is_invoked_directly(site: Site) -> None:
    invoked = site.invoke("PostEvent", fixture("http_post_event.json").replace("TOKEN", site.tokens["staff"]))
    same((invoked["error"], invoked["payload"]["statusCode"]), (None, 201))
    site.append("product.created", "A /ü", {"sku": "S", "name": "N"})
    invoked = site.invoke("AuditQuery", fixture("http_get_history.json").replace("TOKEN", site.tokens["staff"]))
    same((invoked["error"], invoked["payload"]["statusCode"]), (None, 200))
    invoked = site.invoke("CsvUpload", fixture("http_upload_csv.json").replace("TOKEN", site.tokens["staff"]))
    same((invoked["error"], invoked["payload"]["statusCode"]), (None, 200))


def events_that_are_no_request_are_refused_and_the_function_keeps_running(site: Site) -> None:
    for function in ("PostEvent", "AuditQuery", "CsvUpload", "Console"):
        older = site.invoke(function, fixture("http_v1_get_health.json"))
        same((older["error"], older["payload"]["statusCode"]), (None, 400))
        same(json.loads(older["payload"]["body"])["code"], "payload_format")
        for event in (fixture("sqs_wake_up.json"), "{}", "[]", "null", '"text"'):
            if not site.invoke(function, event)["error"]:
                raise Failure(f"{function} accepted {event[:40]} as a request")
    broken = json.loads(fixture("http_post_event.json"))
    broken["body"] = "not base64!"
    if not site.invoke("PostEvent", broken)["error"]:
        raise Failure("a body that is not base64 was accepted")
    expect(site.request("GET", "/health", role=None), 200)


CHECKS = [
    every_function_has_at_most_five_mebibytes_zipped,
    health_needs_no_token,
    every_feature_is_active,
    the_deployment_has_migrated_and_migrating_again_changes_nothing,
    a_request_without_a_token_is_refused,
    an_event_is_appended_read_back_and_projected,
    the_smoke_script_succeeds,
    a_retry_with_the_same_key_appends_nothing,
    entities_are_created_changed_and_deleted_by_version,
    ids_of_any_characters_can_be_read,
    filters_and_pages_survive_the_gateway,
    a_body_that_arrives_in_base64_is_read,
    a_sales_file_is_uploaded_once,
    unknown_routes_and_methods_are_answered_by_problems,
    pages_are_answered_and_a_problem_leads_to_one,
    invalid_bodies_are_answered_by_problems,
    bodies_over_four_mebibytes_are_refused,
    a_poison_event_parks_its_stream_alone_and_staff_frees_it,
    a_recorded_request_is_answered_when_a_function_is_invoked_directly,
    events_that_are_no_request_are_refused_and_the_function_keeps_running,
]
