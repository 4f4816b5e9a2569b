//! Types that staff evolves at run time: every kind of step works over HTTP as documented in the catalog, through chains of any length.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{assert_reads_as, gauge, gauge_2, post, register, renamed, state, stored};

/// A version that accepts any object, with these steps from the version before.
fn anything(version: &str, example: &Value, upcasters: &Value) -> Value {
    json!({"event_type": "gauge.read", "version": version, "schema": {"type": "object"}, "example": example, "upcasters": upcasters})
}

#[tokio::test]
async fn events_of_old_versions_read_as_the_new_one_as_soon_as_it_is_registered() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let data = json!({"value": 20.50, "unit": "C"});
    let old = post(&world, &staff, "gauge.read", "G-1", "1.0", &data).await;
    world.project().await;
    let row = stored(&world, &old).await;
    let evolved = register(&world, &staff, gauge_2("2.0", &renamed()))
        .await
        .expect(201)
        .body;
    assert_eq!(
        evolved["upcasters"],
        json!([{"from_version": "1.0", "to_version": "2.0", "steps": [{"rename": {"value": "temperature"}}]}])
    );
    let upcast = json!({"temperature": 20.50, "unit": "C"});
    assert_reads_as(&world, &staff, &old, "2.0", "1.0_to_2.0", &upcast).await;
    assert_eq!(
        state(&world, &staff, "gauge", "G-1").await,
        upcast,
        "projected under the old version, and read under the new one"
    );
    assert_eq!(stored(&world, &old).await, row);
    // The old version can still be posted, and a retry of it is answered in the old version.
    let late = post(&world, &staff, "gauge.read", "G-2", "1.0", &json!({"value": 1})).await;
    assert_reads_as(&world, &staff, &late, "2.0", "1.0_to_2.0", &json!({"temperature": 1})).await;
    let new = post(&world, &staff, "gauge.read", "G-2", "2.0", &json!({"temperature": 2})).await;
    let read = world.get(&staff, &format!("/events/{new}")).await.expect(200).body;
    assert!(read["metadata"].get("migration_applied").is_none(), "{read}");
    world.project().await;
    assert_eq!(state(&world, &staff, "gauge", "G-2").await, json!({"temperature": 2}));
}

#[tokio::test]
async fn every_kind_of_step_works_over_http_as_the_catalog_documents_it() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let data = json!({"value": 1.1, "unit": "C", "tags": " a, b ,,c", "inner": {"old": 5, "text": "x|y"}, "gone": 1, "kind": "t", "null": null});
    let id = post(&world, &staff, "gauge.read", "G-1", "1.0", &data).await;
    let steps = r#"[
        {"rename": {"value": "temperature", "/inner/old": "/inner/new", "missing": "never"}},
        {"default": {"unit": "K", "site": "roof", "/deep/er/place": [1], "null": 5}},
        {"map": {"from": "kind", "to": "/deep/kind", "values": {"t": {"name": "thermometer"}}, "otherwise": null}},
        {"map": {"from": "unit", "to": "unit", "values": {"F": "Fahrenheit"}}},
        {"split": {"tags": ",", "/inner/text": "|", "temperature": ","}},
        {"set": {"checked": false, "/deep/set": 12345678901234567890.123}},
        {"remove": ["gone", "/inner/new", "never there"]}
    ]"#;
    let steps: Value = serde_json::from_str(steps).unwrap();
    let upcasters = json!([{"from_version": "1.0", "to_version": "2.0", "steps": steps}]);
    let answer = register(&world, &staff, anything("2.0", &json!({}), &upcasters))
        .await
        .expect(201);
    assert_eq!(
        answer.body["upcasters"][0]["steps"].to_string(),
        steps.to_string(),
        "with every digit"
    );
    let upcast = r#"{"temperature": 1.1, "unit": "C", "site": "roof", "tags": ["a", "b", "c"], "inner": {"text": ["x", "y"]},
                     "kind": "t", "null": null, "checked": false,
                     "deep": {"er": {"place": [1]}, "kind": {"name": "thermometer"}, "set": 12345678901234567890.123}}"#;
    let upcast: Value = serde_json::from_str(upcast).unwrap();
    assert_reads_as(&world, &staff, &id, "2.0", "1.0_to_2.0", &upcast).await;
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_chain_is_applied_to_its_end_and_each_version_starts_at_its_own_step() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let mut ids = vec![(
        "1.0",
        post(&world, &staff, "gauge.read", "G", "1.0", &json!({"value": 1})).await,
    )];
    register(&world, &staff, gauge_2("2.0", &renamed())).await.expect(201);
    ids.push((
        "2.0",
        post(&world, &staff, "gauge.read", "G", "2.0", &json!({"temperature": 2})).await,
    ));
    // A minor version without steps reads the data of the version before unchanged.
    register(&world, &staff, gauge_2("2.1", &json!([]))).await.expect(201);
    ids.push((
        "2.1",
        post(&world, &staff, "gauge.read", "G", "2.1", &json!({"temperature": 3})).await,
    ));
    let read = world
        .get(&staff, &format!("/events/{}", ids[1].1))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&read["version"], &read["metadata"].get("migration_applied")),
        (&json!("2.0"), &None),
        "it needs no upcasting"
    );
    let wrapped = json!([{"from_version": "2.1", "steps": [{"rename": {"temperature": "/reading/celsius"}}]}]);
    register(&world, &staff, anything("3.0", &json!({}), &wrapped))
        .await
        .expect(201);
    for (value, (version, id)) in ids.iter().enumerate() {
        let upcast = json!({"reading": {"celsius": value + 1}});
        assert_reads_as(&world, &staff, id, "3.0", &format!("{version}_to_3.0"), &upcast).await;
    }
    world.project().await;
    assert_eq!(
        state(&world, &staff, "gauge", "G").await,
        json!({"reading": {"celsius": 3}})
    );
    world.assert_read_models_are_the_fold().await;
}

/// An upcaster may skip versions, if the skipped ones have a path of their own.
#[tokio::test]
async fn an_upcaster_may_lead_to_an_intermediate_version_or_skip_one() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let old = post(&world, &staff, "gauge.read", "G", "1.0", &json!({"value": 1})).await;
    register(&world, &staff, gauge_2("1.1", &json!([]))).await.problem(422);
    register(&world, &staff, gauge_2("2.0", &renamed())).await.expect(201);
    let both = json!([{"from_version": "2.0", "to_version": "3.0", "steps": [{"set": {"seen": 3}}]}]);
    register(&world, &staff, anything("3.0", &json!({}), &both))
        .await
        .expect(201);
    assert_reads_as(
        &world,
        &staff,
        &old,
        "3.0",
        "1.0_to_3.0",
        &json!({"temperature": 1, "seen": 3}),
    )
    .await;
}

#[tokio::test]
async fn upcasting_keeps_every_digit_of_numbers() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let text = r#"{"event_type": "gauge.read", "aggregate_type": "gauge", "aggregate_id": "G", "data": {"value": 12345678901234567890.1234567890123456789}}"#;
    let posted = world.post_text(&staff, "/events", text).await.expect(201);
    let id = posted.body["id"].as_str().unwrap();
    register(&world, &staff, gauge_2("2.0", &renamed())).await.expect(201);
    let read = world.get(&staff, &format!("/events/{id}")).await.expect(200);
    assert_eq!(
        read.body["data"].to_string(),
        r#"{"temperature":12345678901234567890.1234567890123456789}"#
    );
    let entity = world.get(&staff, "/entities/gauge/G").await.expect(200);
    assert_eq!(
        entity.body["state"].to_string(),
        r#"{"temperature":12345678901234567890.1234567890123456789}"#
    );
}
