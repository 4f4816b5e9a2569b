//! Invariant 7: an event that cannot be applied parks its stream visibly, and no other stream. Nothing is skipped without a decision by
//! staff. The tests check the tables.

mod decisions;
mod races;

use serde_json::{Value, json};
use tests::{Person, World};

const O: &str = "/entities/organization";

/// A financial year that its schema accepts and its table refuses.
fn backwards_year(id: &str) -> Value {
    json!({"id": id, "start_date": "2026-03-31", "end_date": "2025-04-01"})
}

fn gst(id: &str) -> Value {
    json!({"id": id, "gstin": "27AAPFU0939F1ZV"})
}

/// Posts O-1 (two good events, a poison event, a good one) and O-2 (only good ones). Returns the poison event.
async fn post_history(world: &World, staff: &Person, after_each: impl AsyncFn(&World)) -> Value {
    let mut poison = Value::Null;
    for (event_type, id, data) in [
        ("organization.created", "O-1", json!({"name": "One"})),
        ("organization.created", "O-2", json!({"name": "Two"})),
        ("organization.gst.added", "O-1", gst("g1")),
        ("organization.financial_year.added", "O-1", backwards_year("fy")),
        ("organization.gst.added", "O-1", gst("g2")),
        ("organization.gst.added", "O-2", gst("g1")),
    ] {
        let event = world.append(staff, event_type, id, data).await;
        if event["event_type"] == "organization.financial_year.added" {
            poison = event;
        }
        after_each(world).await;
    }
    poison
}

/// The contents of the tables, without times: (organizations, registrations, years, (id, version, projected) of heads, parked).
async fn outcome(world: &World) -> Vec<String> {
    let client = world.superuser().await;
    let rows = client
        .query(
            "select 'organization ' || id || ' ' || version || ' ' || name from public.organizations
             union all select 'gst ' || organization_id || ' ' || id from public.organization_gst_registrations
             union all select 'year ' || organization_id || ' ' || id from public.organization_financial_years
             union all select 'head ' || aggregate_id || ' ' || version || ' ' || projected_version from annals.heads
             union all select 'state ' || aggregate_id || ' ' || version || ' ' || state::text from annals.entities
             union all select 'parked ' || aggregate_id || ' ' || aggregate_version || ' ' || error_code || ' ' || attempts || retrying from annals.parked_streams
             order by 1",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn expected() -> Vec<&'static str> {
    vec![
        "gst O-1 g1",
        "gst O-2 g1",
        "head O-1 4 2",
        "head O-2 2 2",
        "organization O-1 2 One",
        "organization O-2 2 Two",
        "parked O-1 3 23514 1false",
        r#"state O-1 2 {"gst": [{"id": "g1", "gstin": "27AAPFU0939F1ZV"}], "name": "One"}"#,
        r#"state O-2 2 {"gst": [{"id": "g1", "gstin": "27AAPFU0939F1ZV"}], "name": "Two"}"#,
    ]
}

#[tokio::test]
async fn a_poison_event_stops_its_stream_at_that_point_and_no_other_stream() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_history(&world, &staff, async |_| ()).await;
    world.project().await;
    assert_eq!(outcome(&world).await, expected());
}

#[tokio::test]
async fn the_list_of_unprocessed_events_marks_parked_ones() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_history(&world, &staff, async |_| ()).await;
    world.project().await;
    world
        .append(&staff, "organization.created", "O-3", json!({"name": "Three"}))
        .await;
    for path in ["/events/unprocessed", "/events?processed=false&order=asc"] {
        let listed = world.get(&staff, path).await.expect(200);
        let parked = |event: &Value| (event["aggregate_id"].clone(), event["parked"].clone());
        let listed: Vec<_> = listed.items().iter().map(parked).collect();
        let in_parked_stream = (json!("O-1"), json!(true));
        assert_eq!(
            listed,
            [in_parked_stream.clone(), in_parked_stream, (json!("O-3"), Value::Null)]
        );
    }
}

#[tokio::test]
async fn parking_does_not_depend_on_how_events_are_batched() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_history(&world, &staff, World::project).await;
    assert_eq!(outcome(&world).await, expected());
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_history(&world, &staff, async |_| ()).await;
    drop(world.take_wake_ups().await);
    world.sweep().await;
    assert_eq!(outcome(&world).await, expected());
}

#[tokio::test]
async fn many_streams_are_projected_around_several_parked_ones() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let mut events = Vec::new();
    for place in 0..60 {
        let data = if place % 17 == 3 {
            backwards_year("fy")
        } else {
            json!({"id": "fy", "start_date": "2025-04-01", "end_date": "2026-03-31"})
        };
        events.push(
            json!({"event_type": "organization.financial_year.added", "aggregate_type": "organization",
                           "aggregate_id": format!("O-{place}"), "data": data}),
        );
    }
    world
        .post(&staff, "/events", json!({"events": events}))
        .await
        .expect(201);
    world.project().await;
    assert_eq!(world.rows_of("public.organization_financial_years").await.len(), 56);
    assert_eq!(world.rows_of("annals.entities").await.len(), 56);
    let status = world.get(&staff, "/projector/status").await.expect(200);
    assert_eq!(
        (&status.body["parked_count"], &status.body["lag_events"]),
        (&json!(4), &json!(0))
    );
}

#[tokio::test]
async fn a_parked_stream_is_visible_in_the_status_and_in_lists() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let poison = post_history(&world, &staff, async |_| ()).await;
    world.project().await;
    let status = world.get(&staff, "/projector/status").await.expect(200);
    let parked = &status.body["parked_streams"][0];
    for field in ["event_number", "aggregate_type", "aggregate_id", "aggregate_version"] {
        assert_eq!(parked[field], poison[field], "{field}");
    }
    assert_eq!(parked["event_id"], poison["id"]);
    assert_eq!(
        (&parked["attempts"], &parked["error_code"]),
        (&json!(1), &json!("23514"))
    );
    assert!(
        parked["error"]
            .as_str()
            .unwrap()
            .contains("organization_financial_years_order"),
        "{parked}"
    );
    assert_eq!(status.body["lag_events"], 0, "parked events do not count as lag");

    let unprocessed = world.get(&staff, "/events/unprocessed").await.expect(200);
    let versions: Vec<&Value> = unprocessed
        .items()
        .iter()
        .map(|event| &event["aggregate_version"])
        .collect();
    assert_eq!(versions, [&json!(3), &json!(4)]);
    assert!(
        unprocessed
            .items()
            .iter()
            .all(|event| event["aggregate_id"] == "O-1" && event["processed"] == false)
    );
    let id = poison["id"].as_str().unwrap();
    assert_eq!(
        world.get(&staff, &format!("/events/{id}")).await.expect(200).body["processed"],
        false
    );
    let entity = world.get(&staff, &format!("{O}/O-1")).await.expect(200);
    assert_eq!(
        (&entity.body["version"], &entity.body["projected_version"]),
        (&json!(4), &json!(2))
    );
}

#[tokio::test]
async fn a_value_that_cannot_be_cast_parks_too() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let born = json!({"event_type": "customer.born", "effect": "merge", "schema": {"type": "object", "minProperties": 1},
                      "example": {"created_date": "2024-01-01"}});
    world.post(&staff, "/events/types", born).await.expect(201);
    let sold = json!({"event_type": "sale.counted", "effect": "merge", "schema": {"type": "object"}, "example": {}});
    world.post(&staff, "/events/types", sold).await.expect(201);
    for (event_type, id, data) in [
        ("customer.born", "date", json!({"created_date": "the day before"})),
        ("customer.born", "fine", json!({"created_date": "2024-01-01"})),
        ("sale.counted", "fraction", json!({"amount_cents": 100.5})),
        (
            "sale.counted",
            "huge",
            serde_json::from_str(r#"{"amount_cents": 1e40}"#).unwrap(),
        ),
        ("sale.counted", "word", json!({"quantity": {"many": true}})),
        ("sale.counted", "fine", json!({"amount_cents": 100.0})),
    ] {
        world.append(&staff, event_type, id, data).await;
    }
    world.project().await;
    let rows = world.rows_of("annals.parked_streams").await;
    let mut parked: Vec<(&str, &str)> = rows
        .iter()
        .map(|r| (r["aggregate_id"].as_str().unwrap(), r["error_code"].as_str().unwrap()))
        .collect();
    parked.sort_unstable();
    assert_eq!(
        parked,
        [
            ("date", "22007"),
            ("fraction", "22P02"),
            ("huge", "22003"),
            ("word", "22P02")
        ]
    );
    assert_eq!(world.rows_of("public.sales").await[0]["amount_cents"], 100);
    assert_eq!(world.rows_of("public.customers").await[0]["created_date"], "2024-01-01");
}

/// A missing table affects only its own streams.
#[tokio::test]
async fn a_module_whose_table_is_broken_stops_its_own_streams() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .owner()
        .await
        .batch_execute("alter table public.products rename to products_moved")
        .await
        .unwrap();
    world
        .append(&staff, "product.created", "P", json!({"sku": "S", "name": "N"}))
        .await;
    world
        .append(&staff, "customer.created", "C", json!({"name": "N"}))
        .await;
    world.project().await;
    assert_eq!(world.rows_of("public.customers").await.len(), 1);
    let parked = world.rows_of("annals.parked_streams").await;
    assert_eq!((parked.len(), &parked[0]["error_code"]), (1, &json!("42P01")));
}
