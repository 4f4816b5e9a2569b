//! One request for `/audit/entity/{id}` tells for each event what it changed, whichever filters are given.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{id, ids};

/// An organization, a user and a product with the same id; each event changes something else.
const STEPS: [(&str, &str); 9] = [
    ("organization.created", r#"{"name": "A"}"#),
    (
        "user.created",
        r#"{"email": "a@example.com", "notification_settings": {"frequency": "daily", "channels": ["email"], "quiet_hours": {"enabled": false}},
            "user_preferences": {}}"#,
    ),
    ("product.created", r#"{"sku": "S", "name": "P", "base_price": 100}"#),
    (
        "user.updated",
        r#"{"changes": {"notification_settings": {"old": null, "new": {"frequency": "daily", "channels": ["email", "sms"], "quiet_hours": {"enabled": true}}}}}"#,
    ),
    ("organization.gst.added", r#"{"id": "g", "gstin": "27AAPFU0939F1ZV"}"#),
    (
        "product.price_changed",
        r#"{"old_price": 100, "new_price": 90, "reason": "sale"}"#,
    ),
    ("organization.gst.added", r#"{"id": "h", "gstin": "29AAPFU0939F1ZV"}"#),
    ("organization.gst.updated", r#"{"id": "g", "gstin": "30AAPFU0939F1ZV"}"#),
    ("organization.deleted", r#"{"name": "A"}"#),
];

async fn scene() -> (World, Person, Vec<Value>) {
    let (world, staff) = (World::new().await, Person::staff());
    let mut events = Vec::new();
    for (event_type, data) in STEPS {
        let data = serde_json::from_str(data).unwrap();
        events.push(world.append(&staff, event_type, "X-1", data).await);
    }
    (world, staff, events)
}

fn expected_changes() -> [Value; 9] {
    let settings = json!({"frequency": "daily", "channels": ["email"], "quiet_hours": {"enabled": false}});
    [
        json!({"name": {"old": null, "new": "A"}}),
        json!({"email": {"old": null, "new": "a@example.com"}, "notification_settings": {"old": null, "new": settings},
               "user_preferences": {"old": null, "new": {}}}),
        json!({"sku": {"old": null, "new": "S"}, "name": {"old": null, "new": "P"}, "base_price": {"old": null, "new": 100}}),
        json!({"/notification_settings/channels/1": {"old": null, "new": "sms"},
               "/notification_settings/quiet_hours/enabled": {"old": false, "new": true}}),
        json!({"gst": {"old": null, "new": [{"id": "g", "gstin": "27AAPFU0939F1ZV"}]}}),
        json!({"base_price": {"old": 100, "new": 90}}),
        json!({"/gst/h": {"old": null, "new": {"id": "h", "gstin": "29AAPFU0939F1ZV"}}}),
        json!({"/gst/g/gstin": {"old": "27AAPFU0939F1ZV", "new": "30AAPFU0939F1ZV"}}),
        json!({}),
    ]
}

#[tokio::test]
async fn every_event_of_an_entity_comes_with_what_it_changed() {
    let (world, staff, events) = scene().await;
    let mut expected: Vec<(&str, Value)> = events.iter().map(id).zip(expected_changes()).collect();
    for _ in 0..2 {
        for order in ["asc", "desc"] {
            for limit in [1, 2, 3, 100] {
                let path = format!("/audit/entity/X-1?order={order}&limit={limit}");
                let items = world.all_pages(&staff, &path).await;
                let changes: Vec<(&str, Value)> =
                    items.iter().map(|item| (id(item), item["changes"].clone())).collect();
                assert_eq!(changes, expected, "{path}");
                for item in &items {
                    assert_eq!(item["deleted"], item["event_type"] == "organization.deleted");
                    assert_eq!(item["skipped"], false);
                }
            }
            expected.reverse();
        }
        world.project().await;
    }
}

#[tokio::test]
async fn history_and_audit_show_an_event_in_the_same_way() {
    let (world, staff, _) = scene().await;
    let history = world
        .get(&staff, "/events/aggregate/organization/X-1/history")
        .await
        .expect(200);
    let audit = world
        .get(&staff, "/audit/entity/X-1?entity_type=organization&order=asc")
        .await
        .expect(200);
    assert_eq!(history.items(), audit.items());
    assert_eq!(history.items().len(), 5);
}

#[tokio::test]
async fn events_of_an_entity_are_filtered_by_time_type_source_and_actor() {
    let (world, staff, events) = scene().await;
    let at = |place: usize| events[place]["created_at"].as_str().unwrap();
    let other = Person::staff();
    let changes = expected_changes();
    for (query, expected) in [
        (format!("from={}&to={}", at(2), at(5)), vec![4, 3, 2]),
        (format!("from={}&order=asc", at(7)), vec![7, 8]),
        ("event_type=organization.gst.*".to_owned(), vec![7, 6, 4]),
        (
            "event_type=product.price_changed&event_type=organization.deleted".to_owned(),
            vec![8, 5],
        ),
        ("event_type=nothing.*".to_owned(), vec![]),
        ("entity_type=product&order=asc".to_owned(), vec![2, 5]),
        ("entity_type=dealer".to_owned(), vec![]),
        ("source=web".to_owned(), vec![]),
        ("source=api&entity_type=product".to_owned(), vec![5, 2]),
        ("command_id=none".to_owned(), vec![]),
        (format!("created_by={}&entity_type=product", staff.actor()), vec![5, 2]),
        (format!("user_id={}", other.sub), vec![]),
    ] {
        for limit in [1, 100] {
            let path = format!("/audit/entity/X-1?{query}&limit={limit}");
            let items = world.all_pages(&staff, &path).await;
            let wanted: Vec<&str> = expected.iter().map(|place| id(&events[*place])).collect();
            assert_eq!(ids(&items), wanted, "{path}");
            for (item, place) in items.iter().zip(&expected) {
                assert_eq!(item["changes"], changes[*place], "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_other_lists_take_the_same_filters() {
    let (world, staff, events) = scene().await;
    let at = |place: usize| events[place]["created_at"].as_str().unwrap();
    let user = format!("/audit/user/{}", staff.sub);
    for list in [&*user, "/audit/recent"] {
        for (query, expected) in [
            ("order=asc&entity_type=product".to_owned(), vec![2, 5]),
            (format!("from={}&to={}", at(1), at(3)), vec![2, 1]),
            ("event_type=organization.gst.*".to_owned(), vec![7, 6, 4]),
            ("source=web".to_owned(), vec![]),
            ("command_id=none".to_owned(), vec![]),
            (format!("from={}&order=asc", at(7)), vec![7, 8]),
        ] {
            for limit in [1, 100] {
                let path = format!("{list}?{query}&limit={limit}");
                let wanted: Vec<&str> = expected.iter().map(|place| id(&events[*place])).collect();
                assert_eq!(ids(&world.all_pages(&staff, &path).await), wanted, "{path}");
            }
        }
    }
    // The last page, too, carries a cursor to continue from later.
    for list in ["/audit/entity/X-1", "/audit/recent", &*user] {
        let read = async |query: &str| {
            world
                .get(&staff, &format!("{list}?order=asc{query}"))
                .await
                .expect(200)
                .body
        };
        let page = read("").await;
        let cursor = format!("&cursor={}", page["cursor"].as_str().unwrap());
        assert_eq!(
            (&page["next_cursor"], &read(&cursor).await["items"]),
            (&Value::Null, &json!([]))
        );
        let late = world.append(
            &staff,
            "product.updated",
            "X-1",
            json!({"changes": {"name": {"old": "P", "new": list}}}),
        );
        let late = late.await;
        let next = read(&cursor).await;
        assert_eq!(ids(next["items"].as_array().unwrap()), [id(&late)], "{list}");
        let found = format!("{list}?order=asc&event_type=product.updated&limit=1");
        let found = world.get(&staff, &found).await.expect(200).body;
        assert!(found["cursor"].is_string() && found["items"][0]["event_type"] == "product.updated");
    }
    let both = format!("/audit/recent?hours=1&from={}", at(0));
    assert_eq!(world.get(&staff, &both).await.problem(400), "contradictory_parameters");
}

#[tokio::test]
async fn only_callers_who_see_the_state_see_changes() {
    let world = World::new().await;
    let (staff, user, service) = (Person::staff(), Person::user(), Person::service("billing"));
    let registered = json!({"name": "Ada", "email": "ada@example.com"});
    world.append(&user, "customer.registered", "C-1", registered).await;
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "Bob"}))
        .await;
    // The user has appended one event to another actor's stream. A state without the other events would be wrong, so none is shown.
    let spoken = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-2",
                        "data": {"phone": "2"}, "created_by": user.actor()});
    world.post(&service, "/events", spoken).await.expect(201);
    for _ in 0..2 {
        let own = world.get(&user, "/audit/entity/C-1").await.expect(200);
        assert_eq!(own.items()[0]["changes"]["name"], json!({"old": null, "new": "Ada"}));
        let others = world.get(&user, "/audit/entity/C-2").await.expect(200);
        assert_eq!(others.items().len(), 1);
        assert_eq!(
            (&others.items()[0]["changes"], &others.items()[0]["deleted"]),
            (&Value::Null, &Value::Null)
        );
        let searched = world.get(&user, "/audit/entity/C-2?field=phone").await.expect(200);
        assert_eq!(searched.body["items"], json!([]));
        let staffs = world.get(&staff, "/audit/entity/C-2").await.expect(200);
        assert_eq!(
            staffs.items()[0]["changes"],
            json!({"phone": {"old": null, "new": "2"}})
        );
        world.project().await;
    }
}
