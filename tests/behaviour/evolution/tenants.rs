//! A tenant may evolve a built-in type for itself; other tenants are not affected.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::{assert_reads_as, post, register, state};

fn third(upcasters: &Value) -> Value {
    json!({"event_type": "opportunity.created", "version": "3.0", "upcasters": upcasters,
           "schema": {"type": "object", "required": ["headline"], "properties": {"headline": {"type": "string"}}},
           "example": {"headline": "AI Chatbot"}})
}

#[tokio::test]
async fn a_tenants_versions_and_upcasters_of_a_built_in_type_are_its_own() {
    let world = World::new().await;
    let (here, there) = (
        Person::staff().in_tenant(Uuid::new_v4()),
        Person::staff().in_tenant(Uuid::new_v4()),
    );
    let data = json!({"title": "T", "market_size": 5, "ai_solution_type": "ml"});
    let mine = post(&world, &here, "opportunity.created", "O", "1.0", &data).await;
    let theirs = post(&world, &there, "opportunity.created", "O", "1.0", &data).await;
    world.project().await;
    let steps = json!([{"from_version": "2.0", "steps": [{"rename": {"title": "headline"}}]}]);
    let answer = register(&world, &here, third(&steps)).await.expect(201).body;
    let ways: Vec<&str> = answer["upcasters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["from_version"].as_str().unwrap())
        .collect();
    assert_eq!(ways, ["1.0", "2.0"], "the built-in version and the tenant's");

    let two = json!({"title": "T", "ai_solution_type": "ml", "market_size_estimate": 5, "ai_solution_category": "machine_learning", "confidence_score": 0.7});
    let mut three = two.clone();
    three.as_object_mut().unwrap().remove("title");
    three["headline"] = json!("T");
    assert_reads_as(&world, &here, &mine, "3.0", "1.0_to_3.0", &three).await;
    assert_reads_as(&world, &there, &theirs, "2.0", "1.0_to_2.0", &two).await;
    assert_eq!(state(&world, &here, "opportunity", "O").await, three);
    assert_eq!(state(&world, &there, "opportunity", "O").await, two);
    let unseen = world
        .get(&there, "/events/types/opportunity.created")
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&unseen["version"], unseen["upcasters"].as_array().unwrap().len()),
        (&json!("2.0"), 1)
    );
    let session = world.session_of(&there).await;
    let seen = "select count(*) from annals.upcasters where tenant_id is not null";
    assert_eq!(session.query_one(seen, &[]).await.unwrap().get::<_, i64>(0), 0);
    let raised = "select count(*) from annals.fold_versions where tenant_id is not null";
    assert_eq!(session.query_one(raised, &[]).await.unwrap().get::<_, i64>(0), 0);
    // The version of one tenant is unknown to the other.
    let event = super::event("opportunity.created", "P", "3.0", &json!({"headline": "H"}));
    assert_eq!(
        world.post(&there, "/events", event.clone()).await.problem(422),
        "unknown_version"
    );
    world.post(&here, "/events", event).await.expect(201);
}

/// A tenant that knows more about its old data may replace the built-in step by its own.
#[tokio::test]
async fn a_tenants_own_upcaster_replaces_the_built_in_one() {
    let world = World::new().await;
    let (here, there) = (
        Person::staff().in_tenant(Uuid::new_v4()),
        Person::staff().in_tenant(Uuid::new_v4()),
    );
    let leap = json!([{"from_version": "1.0", "to_version": "3.0", "steps": [{"set": {"headline": "lost"}}]},
                      {"from_version": "2.0", "steps": [{"rename": {"title": "headline"}}]}]);
    register(&world, &here, third(&leap)).await.expect(201);
    let data = json!({"title": "T"});
    let mine = post(&world, &here, "opportunity.created", "O", "1.0", &data).await;
    assert_reads_as(
        &world,
        &here,
        &mine,
        "3.0",
        "1.0_to_3.0",
        &json!({"title": "T", "headline": "lost"}),
    )
    .await;
    let theirs = post(&world, &there, "opportunity.created", "O", "1.0", &data).await;
    assert_reads_as(
        &world,
        &there,
        &theirs,
        "2.0",
        "1.0_to_2.0",
        &json!({"title": "T", "confidence_score": 0.7}),
    )
    .await;
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

/// A module may bring a later version than the tenant's own. The tenant cannot post it until it registers a version itself, but an event
/// that was stored with it anyway is read unchanged.
#[tokio::test]
async fn a_version_later_than_the_tenants_current_one_cannot_be_posted() {
    let (world, staff) = (World::new().await, Person::staff());
    let gauge = json!({"event_type": "gauge.read", "schema": {"type": "object"}, "example": {}, "effect": "create"});
    register(&world, &staff, gauge).await.expect(201);
    let owner = world.owner().await;
    let module = "select annals.declare_event_type('gauge.read', '\"create\"', '{staff}', 'A module''s.', '{\"type\": \"object\"}', '{}', '1.5')";
    owner.batch_execute(module).await.unwrap();
    let event = super::event("gauge.read", "G-1", "1.5", &json!({"value": 1}));
    assert_eq!(
        world.post(&staff, "/events", event.clone()).await.problem(422),
        "unknown_version"
    );
    let session = world.session_of(&staff).await;
    let by_sql = "select public.post_event($1::text::jsonb)";
    let refused = session.execute(by_sql, &[&event.to_string()]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().constraint(), Some("unknown_version"));
    let unchecked = "select annals.append_event(current_setting('request.jwt.claims')::jsonb,
                         jsonb_build_object('id', gen_random_uuid(), 'event_type', 'gauge.read', 'aggregate_type', 'gauge', 'aggregate_id', 'G-1',
                                            'version', '1.5'), '{\"value\": 1}', '{}', '{}', null)";
    let appender = world.appender(Some(&staff)).await;
    appender.execute(unchecked, &[]).await.unwrap();
    world.sweep().await;
    assert_eq!(state(&world, &staff, "gauge", "G-1").await, json!({"value": 1}));
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
}

/// Each step is harmless, but together they would nest data deeper than any reader can parse. Steps that would exceed the limit are skipped.
#[tokio::test]
async fn steps_that_nest_too_deep_block_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let gauge = json!({"event_type": "gauge.read", "schema": {"type": "object"}, "example": {}, "effect": "create"});
    register(&world, &staff, gauge).await.expect(201);
    let nest: Vec<Value> = (0..20)
        .map(|number| json!({"rename": {format!("f{number}"): format!("/f{}{}", number + 1, "/x".repeat(15))}}))
        .collect();
    let nested = json!({"event_type": "gauge.read", "version": "2.0", "schema": {"type": "object"}, "example": {},
                        "upcasters": [{"from_version": "1.0", "steps": nest}]});
    register(&world, &staff, nested).await.expect(201);
    let deep = post(&world, &staff, "gauge.read", "deep", "1.0", &json!({"f0": 1})).await;
    post(&world, &staff, "gauge.read", "flat", "2.0", &json!({"f0": 1})).await;
    world.sweep().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    assert_eq!(state(&world, &staff, "gauge", "flat").await, json!({"f0": 1}));
    let levels = |value: &Value| value.to_string().matches('{').count();
    let event = world.get(&staff, &format!("/events/{deep}")).await.expect(200).body;
    assert_eq!(event["version"], "2.0");
    for deep in [&event["data"], &state(&world, &staff, "gauge", "deep").await] {
        assert!((90..=110).contains(&levels(deep)), "{deep}");
    }
    world.append(&staff, "gauge.read", "deep", json!({"f0": 2})).await;
    world.sweep().await;
    assert_eq!(state(&world, &staff, "gauge", "deep").await, json!({"f0": 2}));
}

/// The database refuses steps that a function could not read back, because all tenants share one catalog.
#[tokio::test]
async fn the_database_refuses_the_steps_that_functions_refuse() {
    let owner = World::new().await.owner().await;
    for (steps, fine) in [
        (json!([{"set": {"/a".repeat(16): 1}}]), true),
        (json!([{"set": {"/a".repeat(17): 1}}]), false),
        (json!([{"rename": {"a": "/a".repeat(17)}}]), false),
        (json!([{"rename": {"a": "/x/$serde_json::private::Number"}}]), false),
        (json!([{"remove": ["$serde_json::private::RawValue"]}]), false),
        (
            json!([{"map": {"from": "/a".repeat(17), "to": "b", "values": {}}}]),
            false,
        ),
        (json!([{"set": {"a": "x".repeat(65_536)}}]), false),
    ] {
        let row = owner
            .query_one("select annals.is_upcast($1::text::jsonb)", &[&steps.to_string()])
            .await;
        assert_eq!(row.unwrap().get::<_, Option<bool>>(0), Some(fine), "{steps}");
    }
}
