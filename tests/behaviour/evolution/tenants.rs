//! A tenant may take a built-in type further; nobody else notices.

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
    assert_eq!(ways, ["1.0", "2.0"], "the built-in one and the tenant's");

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
    let shaped = "select count(*) from annals.shapes where tenant_id is not null";
    assert_eq!(session.query_one(shaped, &[]).await.unwrap().get::<_, i64>(0), 0);
    // A version of the one tenant is unknown to the other.
    let event = super::event("opportunity.created", "P", "3.0", &json!({"headline": "H"}));
    assert_eq!(
        world.post(&there, "/events", event.clone()).await.problem(422),
        "unknown_version"
    );
    world.post(&here, "/events", event).await.expect(201);
}

/// A tenant that knows better what its old data mean puts its own step in place of the built-in one.
#[tokio::test]
async fn a_tenants_own_upcaster_goes_before_the_built_in_one() {
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
