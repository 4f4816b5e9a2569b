//! A module that is added when a tenant has already registered a type of the same name and version by itself.

use serde_json::json;
use tests::{Person, World};
use uuid::Uuid;

use super::{event, post, register, state};

#[tokio::test]
async fn a_tenants_own_type_stays_what_it_was_when_a_module_brings_one_of_its_name() {
    let (world, staff) = (World::new().await, Person::staff());
    let own = json!({"event_type": "deposit.received", "effect": "create", "description": "A deposit was received.",
        "schema": {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}}, "example": {"sum": 1}});
    register(&world, &staff, own).await.expect(201);
    post(&world, &staff, "deposit.received", "P-1", "1.0", &json!({"sum": 5})).await;
    let module = r#"select annals.declare_event_type('deposit.received', '"create"', '{staff,service}', 'A deposit came in.',
        '{"type": "object", "required": ["amount_cents", "currency"],
          "properties": {"amount_cents": {"type": "integer"}, "currency": {"type": "string"}}}',
        '{"amount_cents": 5, "currency": "INR"}')"#;
    world.owner().await.batch_execute(module).await.unwrap();

    post(&world, &staff, "deposit.received", "P-2", "1.0", &json!({"sum": 6})).await;
    let data = json!({"amount_cents": 5, "currency": "INR"});
    let built_in = event("deposit.received", "P-3", "1.0", &data);
    assert_eq!(
        world.post(&staff, "/events", built_in.clone()).await.problem(422),
        "schema_violation"
    );
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    world.post(&elsewhere, "/events", built_in).await.expect(201);
    world.sweep().await;
    assert_eq!(state(&world, &staff, "deposit", "P-1").await, json!({"sum": 5}));
    assert_eq!(state(&world, &staff, "deposit", "P-2").await, json!({"sum": 6}));
    assert_eq!(state(&world, &elsewhere, "deposit", "P-3").await, data);
    world.assert_read_models_are_the_fold().await;
}
