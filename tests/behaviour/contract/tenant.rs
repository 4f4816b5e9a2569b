//! `?tenant=current`: each event type that the caller may post has a schema of its own.

use jsonschema::Validator;
use serde_json::{Value, json};
use tests::{Person, World, compiled};

/// What the document of this caller says about an event in the body of `POST /events`.
async fn body_of(world: &World, who: &Person) -> (Value, Validator) {
    let document = world.get(who, "/openapi.json?tenant=current").await.expect(200).body;
    let media = &document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"];
    let body = compiled(&media["schema"], &document);
    (document, body)
}

#[tokio::test]
async fn the_example_of_every_type_that_the_caller_may_post_is_a_body() {
    let world = World::new().await;
    let types = world.all_pages(&Person::staff(), "/events/types").await;
    for who in [Person::staff(), Person::user()] {
        let (document, body) = body_of(&world, &who).await;
        let mut posted = 0;
        for kind in &types {
            let (name, aggregate_type) = (&kind["event_type"], &kind["aggregate_type"]);
            let event = json!({"event_type": name, "aggregate_type": aggregate_type, "aggregate_id": "A-1", "data": kind["example"]});
            let may_post = kind["closed"] == false && kind["posters"].as_array().unwrap().contains(&json!(who.role));
            assert_eq!(body.is_valid(&event), may_post, "{name}");
            assert_eq!(body.is_valid(&json!({"events": [event]})), may_post, "{name}");
            posted += usize::from(may_post);
        }
        let schema = &document["components"]["schemas"]["NewEvent"];
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), posted);
        assert!(posted > 0, "{:?}", who.role);
    }
}

#[tokio::test]
async fn a_type_of_the_tenant_is_described_with_its_schema_and_only_for_the_tenant() {
    let (world, staff) = (World::new().await, Person::staff());
    let schema = json!({"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}});
    let kind = json!({"event_type": "ticket.opened", "schema": schema, "example": {"title": "No water"}});
    world.post(&staff, "/events/types", kind).await.expect(201);
    let event = |data: Value| json!({"event_type": "ticket.opened", "aggregate_type": "ticket", "aggregate_id": "T-1", "data": data});
    let (_, body) = body_of(&world, &staff).await;
    assert!(body.is_valid(&event(json!({"title": "No water"}))));
    assert!(!body.is_valid(&event(json!({"title": 1}))));
    assert!(!body.is_valid(&event(json!({}))));
    let stranger = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let (_, body) = body_of(&world, &stranger).await;
    assert!(!body.is_valid(&event(json!({"title": "No water"}))));
}

#[tokio::test]
async fn the_document_of_a_tenant_needs_a_token() {
    let world = World::new().await;
    let request =
        |path: &str| axum::http::Request::get(format!("/api/v1/openapi.json{path}")).body(axum::body::Body::empty());
    let answer = world.send(request("?tenant=current").unwrap()).await;
    assert_eq!(answer.problem(401), "unauthorized");
    let answer = world.send(request("?tenant=other").unwrap()).await;
    assert_eq!(answer.problem(400), "invalid_parameter");
}
