//! If a request has a parameter that the resource does not know, the refusal lists those that it knows.

use serde_json::json;
use tests::{Person, World};

#[tokio::test]
async fn an_unknown_parameter_is_refused_with_a_list_of_the_known_ones() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    for (path, known) in [
        ("/audit/count/C-1", "entity_type"),
        ("/entities/customer/C-1", "version, at, valid_at"),
        ("/events/types", "aggregate_type, cursor, limit"),
        (
            "/events",
            "event_type, aggregate_type, aggregate_id, user_id, created_by, correlation_id, causation_id, command_id, source, from, to, \
             data.<field>, processed, order, cursor, limit, upcast",
        ),
    ] {
        let answer = world.get(&staff, &format!("{path}?colour=red")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{path}");
        let expected = format!("colour is not a parameter of this resource; it accepts {known}");
        assert_eq!(answer.body["detail"], expected.as_str());
    }
    let answer = world.get(&staff, "/events/types/customer.created?colour=red").await;
    let expected = "colour is not a parameter of this resource; it accepts none";
    assert_eq!(answer.body["detail"], expected);
}

#[tokio::test]
async fn a_list_in_one_value_is_refused_with_the_correct_form() {
    let (world, staff) = (World::new().await, Person::staff());
    for list in [
        "/events",
        "/events/feed",
        "/audit/entity/C-1",
        "/audit/user/system",
        "/audit/recent",
    ] {
        let answer = world
            .get(&staff, &format!("{list}?event_type=order.created,order.placed"))
            .await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{list}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("?event_type=…&event_type=…"), "{detail}");
    }
    for path in [
        "/events?aggregate_type=order,customer",
        "/audit/entity/C-1?entity_type=order,customer",
        "/audit/user/system?entity_type=order,customer",
        "/audit/recent?entity_type=order,customer",
        "/audit/count/C-1?entity_type=order,customer",
        "/events/types?aggregate_type=order,customer",
        "/events/upcasters?event_type=order.created,order.placed",
        "/events?created_by=agent:a,agent:b",
        "/events/feed?created_by=agent:a,agent:b",
        "/audit/entity/C-1?created_by=agent:a,agent:b",
        "/audit/recent?created_by=agent:a,agent:b",
    ] {
        let answer = world.get(&staff, path).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{path}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.ends_with("must be one name, not a list"), "{detail}");
    }
}

/// An empty list would wrongly say that no such event exists yet; a name that is invalid can never match.
#[tokio::test]
async fn an_invalid_name_is_refused_in_every_list() {
    let (world, staff) = (World::new().await, Person::staff());
    let no_type = [
        "product*",
        "product.price_*",
        "*",
        "*.created",
        "product.*.*",
        "product.",
        ".*",
        "Product.created",
        "product",
        "",
    ];
    let lists = [
        "/events",
        "/events/feed",
        "/audit/entity/C-1",
        "/audit/user/system",
        "/audit/recent",
    ];
    for name in no_type {
        for list in lists {
            let answer = world.get(&staff, &format!("{list}?event_type={name}")).await;
            assert_eq!(answer.problem(400), "invalid_parameter", "{list} {name}");
            assert_eq!(answer.body["errors"][0]["pointer"], "?event_type");
        }
    }
    for path in [
        "/events?aggregate_type=Foo",
        "/events/feed?aggregate_type=foo.bar",
        "/audit/entity/C-1?entity_type=Foo",
        "/audit/user/system?entity_type=foo*",
        "/audit/recent?entity_type=",
        "/audit/count/C-1?entity_type=Foo",
        "/events/types?aggregate_type=foo.*",
        "/events/upcasters?event_type=foo.*",
        "/events?created_by=ada",
        "/events?created_by=user:7D0C54A6-6F4C-4F5E-9F0E-0C8F1B1A2C3D",
        "/audit/entity/C-1?created_by=admin:ada",
    ] {
        assert_eq!(
            world.get(&staff, path).await.problem(400),
            "invalid_parameter",
            "{path}"
        );
    }
    for path in [
        "/events?aggregate_id=%ff",
        "/events/feed?source=a%C3",
        "/audit/recent?command_id=%F0%28",
    ] {
        assert_eq!(world.get(&staff, path).await.problem(400), "malformed_query", "{path}");
    }
    // A valid name that is not registered is accepted, because it may be registered later.
    for path in [
        "/events?event_type=nosuch.thing&event_type=nosuch.*&event_type=organization.gst.*",
        "/events?aggregate_type=nosuch",
        "/events?created_by=user:test",
        "/events?aggregate_id=%F0%9F%9A%80",
    ] {
        assert_eq!(world.get(&staff, path).await.expect(200).items().len(), 0, "{path}");
    }
}

#[tokio::test]
async fn an_unknown_entity_type_has_another_problem_than_an_unknown_entity() {
    let (world, staff) = (World::new().await, Person::staff());
    for path in [
        "/entities/nosuch",
        "/entities/nosuch/1",
        "/entities/nosuch/1?version=1",
        "/entities/nosuch/1/diff?from=0",
        "/entities/nosuch/1/snapshots",
        "/events/aggregate/nosuch/1/history",
    ] {
        let answer = world.get(&staff, path).await;
        assert_eq!(answer.problem(404), "not_found", "{path}");
        let expected = "there is no entity type nosuch; GET /api/v1/events/types lists all event types";
        assert_eq!(answer.body["detail"], expected, "{path}");
    }
    let nobody = "/entities/customer/nobody";
    for answer in [
        world.get(&staff, nobody).await,
        world.patch(&staff, nobody, json!({"name": "N"})).await,
        world.delete(&staff, nobody).await,
    ] {
        assert_eq!(answer.problem(404), "not_found");
        assert_eq!(
            answer.body["detail"],
            "there is no customer with the id nobody, or you may not see it"
        );
    }
}

#[tokio::test]
async fn a_fault_of_the_whole_body_has_no_empty_pointer() {
    let (world, staff) = (World::new().await, Person::staff());
    for path in ["/events", "/entities/customer"] {
        let answer = world.post(&staff, path, json!(5)).await;
        assert_eq!(answer.problem(400), "malformed_request", "{path}");
        assert!(
            answer.body["detail"].as_str().unwrap().starts_with("the body must"),
            "{}",
            answer.text
        );
    }
    // A fault inside the body has the pointer of its place.
    let answer = world
        .post_text(&staff, "/events", r#"{"data": {"a": 1, "a": 2}}"#)
        .await;
    assert_eq!(answer.problem(400), "duplicate_key");
    assert_eq!(answer.body["detail"], "/data/a occurs twice in its object");
}
