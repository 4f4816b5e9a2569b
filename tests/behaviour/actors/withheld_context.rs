//! The starter of a stream may see events of other actors if their type says so. Only callers who see the whole tenant also see
//! what the server observed of those actors (`recorded`) and the context that they sent (`metadata`).

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

const HEADERS: [(&str, &str); 3] = [
    ("user-agent", "staff-browser/1"),
    ("x-forwarded-for", "192.0.2.77"),
    ("x-request-id", "staff-request-1"),
];

/// A user's opportunity, order and application, to each of which staff has appended; returns the ids of staff's events.
async fn worked_on() -> (World, Person, Person, Vec<String>) {
    let (world, ada, staff) = (World::new().await, Person::user(), Person::staff());
    let wanted =
        json!({"opportunity_id": "123", "title": "AI Chatbot", "ai_solution_type": "nlp", "market_size_estimate": 1});
    for (event_type, id, data) in [
        ("opportunity.created", "OP-1", wanted),
        ("order.created", "O-1", json!({"customer_id": "C-1"})),
        (
            "dealer.application_submitted",
            "D-1",
            json!({"name": "Kaveri", "email": "a@b.cd"}),
        ),
    ] {
        world.append(&ada, event_type, id, data).await;
    }
    let patch = Some(json!({"title": "t2"}));
    let path = "/entities/opportunity/OP-1?reason=internal%20note";
    world
        .request(Method::PATCH, &staff, path, &HEADERS, patch)
        .await
        .expect(200);
    for (event_type, kind, id, data) in [
        ("order.placed", "order", "O-1", json!({"currency": "INR"})),
        ("dealer.approved", "dealer", "D-1", json!({"reason": "checked"})),
    ] {
        let event = json!({"event_type": event_type, "aggregate_type": kind, "aggregate_id": id, "data": data,
                           "metadata": {"reason": "internal note"}});
        let batch = Some(json!({"events": [event]}));
        world
            .request(Method::POST, &staff, "/events", &HEADERS, batch)
            .await
            .expect(201);
    }
    let theirs = world
        .all_pages(&staff, &format!("/events?created_by={}", staff.actor()))
        .await;
    let ids = theirs
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    (world, ada, staff, ids)
}

/// Every path that returns events of these streams.
fn paths(staff: &Person, ids: &[String]) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/events",
        "/events?order=asc",
        "/events?event_type=order.*&event_type=dealer.approved&event_type=opportunity.updated",
        "/events/feed",
        "/events/unprocessed",
        "/audit/recent",
        "/audit/entity/O-1",
        "/audit/entity/OP-1?field=title",
        "/events/aggregate/opportunity/OP-1/history",
        "/events/aggregate/dealer/D-1/history",
    ]
    .map(str::to_owned)
    .into();
    paths.push(format!("/audit/user/{}", staff.sub));
    paths.extend(ids.iter().map(|id| format!("/events/{id}")));
    paths
}

const BY_SQL: [&str; 6] = [
    "select to_jsonb(e) from annals.events e",
    "select to_jsonb(e) from public.events e",
    "select to_jsonb(e) from public.event_stream e",
    "select to_jsonb(e) from public.get_aggregate_events('order', 'O-1') e",
    "select to_jsonb(e) from public.read_events() e",
    "select to_jsonb(w) from annals.withheld_context w",
];

const SECRETS: [&str; 4] = ["internal note", "192.0.2.77", "staff-browser/1", "staff-request-1"];

async fn by_sql(world: &World, person: &Person, select: &str) -> Vec<Value> {
    let session = world.session_of(person).await;
    let rows = session
        .query(&format!("select t.row::text from ({select}) as t (row)"), &[])
        .await
        .unwrap();
    rows.iter()
        .map(|row| serde_json::from_str(row.get::<_, &str>(0)).unwrap())
        .collect()
}

#[tokio::test]
async fn a_starter_reads_events_of_others_without_their_address_and_reason() {
    let (world, ada, staff, ids) = worked_on().await;
    assert_eq!(ids.len(), 3);
    for _ in 0..2 {
        for path in paths(&staff, &ids) {
            let answer = world.get(&ada, &path).await.expect(200);
            for secret in SECRETS {
                assert!(!answer.text.contains(secret), "{path}: {secret} in {}", answer.text);
            }
        }
        let events = world.all_pages(&ada, "/events").await;
        assert_eq!(events.len(), 6);
        for event in events {
            match event["created_by"] == ada.actor() {
                true => assert_eq!(event["recorded"]["posted_by"], ada.actor(), "{event}"),
                false => assert_eq!((&event["recorded"], &event["metadata"]), (&json!({}), &json!({}))),
            }
        }
        // The starter still sees what was changed.
        let history = world
            .get(&ada, "/events/aggregate/opportunity/OP-1/history")
            .await
            .expect(200);
        assert_eq!(history.items()[1]["changes"]["title"]["new"], "t2");
        world.project().await;
    }
}

#[tokio::test]
async fn the_starter_gets_neither_by_sql() {
    let (world, ada, _, _) = worked_on().await;
    for select in BY_SQL {
        let rows = by_sql(&world, &ada, select).await;
        for secret in SECRETS {
            assert!(!json!(rows).to_string().contains(secret), "{select}: {secret}");
        }
        assert_eq!(rows.is_empty(), select.contains("withheld"), "{select}");
    }
}

#[tokio::test]
async fn callers_who_see_the_tenant_read_both_everywhere() {
    let (world, _, staff, ids) = worked_on().await;
    for person in [&staff, &Person::staff(), &Person::service("crm")] {
        for path in paths(&staff, &ids) {
            if path == "/events/unprocessed" {
                continue;
            }
            let answer = world.get(person, &path).await.expect(200);
            for secret in SECRETS {
                assert!(answer.text.contains(secret), "{path}: no {secret} in {}", answer.text);
            }
        }
        for select in &BY_SQL[1..] {
            let rows = by_sql(&world, person, select).await;
            for secret in SECRETS {
                assert!(json!(rows).to_string().contains(secret), "{select}: no {secret}");
            }
        }
    }
    // The owner, as in psql.
    let owner = world.owner().await;
    let read = "select count(*) from public.events where metadata ->> 'reason' = 'internal note' and recorded ->> 'ip_address' = '192.0.2.77'";
    assert_eq!(owner.query_one(read, &[]).await.unwrap().get::<_, i64>(0), 3);
    let stranger = Person::staff().in_tenant(uuid::Uuid::new_v4());
    assert!(by_sql(&world, &stranger, BY_SQL[5]).await.is_empty());
}

/// If a service acts for the starter, metadata are the starter's own. A retry is compared with the metadata that were sent.
#[tokio::test]
async fn the_starters_own_event_and_its_retry_keep_their_context() {
    let (world, ada, staff) = (World::new().await, Person::user(), Person::staff());
    let service = Person::service("shop");
    let order = |by: Value, metadata: Value, key: &str| {
        json!({"event_type": "order.placed", "aggregate_type": "order", "aggregate_id": "O-1", "data": {"currency": "INR"},
               "created_by": by, "metadata": metadata, "idempotency_key": key})
    };
    world
        .append(&ada, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    let own = order(json!(ada.actor()), json!({"reason": "my words"}), "k-1");
    let own = world.post(&service, "/events", own).await.expect(201).body;
    let path = format!("/events/{}", own["id"].as_str().unwrap());
    let read = world.get(&ada, &path).await.expect(200).body;
    assert_eq!(read["metadata"], json!({"reason": "my words"}));
    let noted = json!({"reason": "internal note"});
    let first = world
        .post(&staff, "/events", order(Value::Null, noted.clone(), "k-2"))
        .await
        .expect(201)
        .body;
    let again = world
        .post(&staff, "/events", order(Value::Null, noted, "k-2"))
        .await
        .expect(200)
        .body;
    assert_eq!((&again["id"], &again["metadata"]), (&first["id"], &first["metadata"]));
    assert_eq!(again["recorded"], first["recorded"]);
    let other = world
        .post(
            &staff,
            "/events",
            order(Value::Null, json!({"reason": "another"}), "k-2"),
        )
        .await;
    assert_eq!(other.problem(422), "idempotency_key_reused");
}

/// The reason of a compensation is not copied into data that the starter reads, and the starter cannot read snapshots that staff took.
#[tokio::test]
async fn the_reason_of_a_compensation_or_a_snapshot_is_kept_from_the_starter() {
    let (world, ada, staff) = (World::new().await, Person::user(), Person::staff());
    let secret = json!({"reason": "suspected fraud"});
    let created = world
        .append(&ada, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    world.project().await;
    world
        .post(&staff, "/entities/order/O-1/snapshots", secret.clone())
        .await
        .expect(201);
    let path = format!("/events/{}/compensate", created["id"].as_str().unwrap());
    let deleted = world.post(&staff, &path, secret).await.expect(201).body;
    assert_eq!(deleted["metadata"]["reason"], "suspected fraud");
    for path in [
        "/events?aggregate_id=O-1",
        "/events/aggregate/order/O-1/history",
        "/entities/order/O-1/snapshots",
    ] {
        let seen = world.get(&ada, path).await.expect(200);
        assert!(!seen.text.contains("suspected fraud"), "{path}: {}", seen.text);
    }
    for select in [
        "select data::text from public.events",
        "select metadata::text from annals.snapshots",
    ] {
        assert!(
            !json!(by_sql(&world, &ada, select).await)
                .to_string()
                .contains("suspected fraud"),
            "{select}"
        );
    }
}
