//! `/audit/entity/{id}?field=` lists only events that changed that value, or a part of it.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{id, ids};

#[tokio::test]
async fn the_field_is_given_by_name_or_pointer() {
    let (world, staff) = (World::new().await, Person::staff());
    let changed = |settings: Value| json!({"changes": {"notification_settings": {"old": null, "new": settings}}});
    let mut events = Vec::new();
    for (event_type, data) in [
        (
            "user.created",
            json!({"email": "a@b.cd", "name": "A", "notification_settings": {"frequency": "daily", "channels": ["email"]}}),
        ),
        ("user.updated", json!({"changes": {"name": {"old": "A", "new": "B"}}})),
        (
            "user.updated",
            changed(json!({"frequency": "daily", "channels": ["sms"]})),
        ),
        (
            "user.updated",
            changed(json!({"frequency": "weekly", "channels": ["sms"]})),
        ),
        ("organization.created", json!({"phone": "1", "name": "B"})),
        ("organization.gst.added", json!({"id": "g", "gstin": "27AAPFU0939F1ZV"})),
        (
            "organization.gst.updated",
            json!({"id": "g", "gstin": "30AAPFU0939F1ZV"}),
        ),
        ("organization.deleted", json!({"name": "B"})),
    ] {
        events.push(world.append(&staff, event_type, "O-1", data).await);
    }
    for _ in 0..2 {
        for (field, expected) in [
            ("name", vec![0, 1, 4]),
            ("/name", vec![0, 1, 4]),
            ("phone", vec![4]),
            ("notification_settings", vec![0, 2, 3]),
            ("/notification_settings/channels", vec![0, 2]),
            ("/notification_settings/channels/0", vec![0, 2]),
            ("/notification_settings/channels/1", vec![]),
            ("/notification_settings/frequency", vec![0, 3]),
            ("gst", vec![5, 6]),
            ("/gst/g/gstin", vec![5, 6]),
            ("/gst/h", vec![]),
            ("nothing", vec![]),
            ("name&event_type=user.updated", vec![1]),
            ("name&entity_type=product", vec![]),
        ] {
            for limit in [1, 100] {
                let path = format!("/audit/entity/O-1?order=asc&field={field}&limit={limit}");
                let wanted: Vec<&str> = expected.iter().map(|place: &usize| id(&events[*place])).collect();
                assert_eq!(ids(&world.all_pages(&staff, &path).await), wanted, "{path}");
            }
        }
        world.project().await;
    }
    for bad in ["field=", "field=/a~2", "field=name&field=address"] {
        let answer = world.get(&staff, &format!("/audit/entity/O-1?{bad}")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{bad}");
    }
}

/// 1,300 events of which two set the name: one page folds about a thousand and returns a cursor for the rest.
#[tokio::test]
async fn a_search_reads_a_limited_number_of_events_per_page() {
    let (world, staff) = (World::new().await, Person::staff());
    let member = |n: usize| match n {
        0 => {
            json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "N0"}})
        }
        1_295 => json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1",
                            "data": {"name": format!("N{n}")}}),
        _ => json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1",
                    "data": {"phone": n.to_string()}}),
    };
    for first in (0..1_300).step_by(325) {
        let events: Vec<Value> = (first..first + 325).map(member).collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    world.project().await;
    let versions =
        |items: &[Value]| -> Vec<i64> { items.iter().map(|e| e["aggregate_version"].as_i64().unwrap()).collect() };
    for (order, expected) in [("asc", [1, 1_296]), ("desc", [1_296, 1])] {
        let path = format!("/audit/entity/C-1?field=name&order={order}");
        let first = world.get(&staff, &path).await.expect(200);
        assert_eq!(versions(first.items()), expected[..1], "{order}");
        let next = first.body["next_cursor"]
            .as_str()
            .expect("a cursor for the remaining events");
        let second = world.get(&staff, &format!("{path}&cursor={next}")).await.expect(200);
        assert_eq!(versions(second.items()), expected[1..], "{order}");
        assert_eq!(second.body["next_cursor"], Value::Null);
    }
    // A few events far apart are each folded from the nearest snapshot, without all events between them.
    let far = world
        .all_pages(&staff, "/audit/entity/C-1?field=phone&order=desc&limit=700")
        .await;
    assert_eq!(far.len(), 1_298);
    assert_eq!(far[0]["changes"], json!({"phone": {"old": "1298", "new": "1299"}}));
}

/// Changes contain whole values, so a page of few events can exceed the size limit of an answer.
#[tokio::test]
async fn a_page_of_large_changes_ends_early_with_a_cursor() {
    let (world, staff) = (World::new().await, Person::staff());
    let text = |letter: char| letter.to_string().repeat(240_000);
    for place in 0..24u8 {
        let data = json!({"name": text(char::from(b'a' + place))});
        let event_type = if place == 0 {
            "customer.created"
        } else {
            "customer.profile_updated"
        };
        world.append(&staff, event_type, "C-1", data).await;
    }
    for order in ["asc", "desc"] {
        for more in ["", "&field=name"] {
            let path = format!("/audit/entity/C-1?order={order}{more}");
            let first = world.get(&staff, &path).await.expect(200);
            assert!(
                first.text.len() < 5_000_000 && first.body["next_cursor"].is_string(),
                "{path}"
            );
            let mut versions: Vec<i64> = world
                .all_pages(&staff, &path)
                .await
                .iter()
                .map(|event| event["aggregate_version"].as_i64().unwrap())
                .collect();
            if order == "desc" {
                versions.reverse();
            }
            assert_eq!(versions, (1..=24).collect::<Vec<_>>(), "{path}");
        }
    }
}
