//! The state at any moment: as recorded at a time or version, as true at a business time, and the differences in between.

use serde_json::{Value, json};
use tests::{Person, World};

async fn post_at(world: &World, person: &Person, event_type: &str, data: Value, timestamp: &str) -> Value {
    let event = json!({"event_type": event_type, "aggregate_type": "customer", "aggregate_id": "C-1", "data": data, "timestamp": timestamp});
    world.post(person, "/events", event).await.expect(201).body
}

/// Ada's story, which was recorded in one order and true in another.
async fn ada(world: &World, staff: &Person) -> Vec<Value> {
    vec![
        post_at(
            world,
            staff,
            "customer.created",
            json!({"name": "Ada"}),
            "2026-01-01T00:00:00Z",
        )
        .await,
        post_at(
            world,
            staff,
            "customer.profile_updated",
            json!({"phone": "3"}),
            "2026-03-01T00:00:00Z",
        )
        .await,
        // Recorded late: it had been true before.
        post_at(
            world,
            staff,
            "customer.profile_updated",
            json!({"phone": "2", "address": "Pisa"}),
            "2026-02-01T00:00:00Z",
        )
        .await,
    ]
}

async fn state(world: &World, person: &Person, query: &str) -> Value {
    world
        .get(person, &format!("/entities/customer/C-1{query}"))
        .await
        .expect(200)
        .body["state"]
        .take()
}

fn at(event: &Value) -> &str {
    event["created_at"].as_str().unwrap()
}

#[tokio::test]
async fn recorded_time_is_inclusive_and_versions_are_counted_from_one() {
    let (world, staff) = (World::new().await, Person::staff());
    let events = ada(&world, &staff).await;
    for projected in [false, true] {
        let first = json!({"name": "Ada"});
        let second = json!({"name": "Ada", "phone": "3"});
        let third = json!({"name": "Ada", "phone": "2", "address": "Pisa"});
        for (place, expected) in [first, second, third].iter().enumerate() {
            let by_version = format!("?version={}", place + 1);
            let answer = world
                .get(&staff, &format!("/entities/customer/C-1{by_version}"))
                .await
                .expect(200);
            assert_eq!(&answer.body["state"], expected, "{by_version}, {projected}");
            assert_eq!(answer.body["version"], place + 1);
            assert_eq!(answer.body["updated_at"], events[place]["created_at"]);
            assert_eq!(answer.body["created_at"], events[0]["created_at"]);
            assert_eq!(answer.body["projected_version"], if projected { 3 } else { 0 });
            assert_eq!(answer.header("etag"), None);
            assert_eq!(
                &state(&world, &staff, &format!("?at={}", at(&events[place]))).await,
                expected
            );
        }
        // A microsecond before the second event was recorded.
        let before = chrono::DateTime::parse_from_rfc3339(at(&events[1])).unwrap() - chrono::TimeDelta::microseconds(1);
        let before = before.to_rfc3339().replace('+', "%2B");
        assert_eq!(
            state(&world, &staff, &format!("?at={before}")).await,
            json!({"name": "Ada"})
        );
        world.project().await;
    }
}

#[tokio::test]
async fn business_time_has_its_own_order_and_can_be_combined_with_recorded_time() {
    let (world, staff) = (World::new().await, Person::staff());
    let events = ada(&world, &staff).await;
    for _ in 0..2 {
        for (valid_at, expected) in [
            ("2026-01-31T23:59:59Z", json!({"name": "Ada"})),
            (
                "2026-02-01T00:00:00Z",
                json!({"name": "Ada", "phone": "2", "address": "Pisa"}),
            ),
            (
                "2026-03-01T00:00:00Z",
                json!({"name": "Ada", "phone": "3", "address": "Pisa"}),
            ),
            (
                "2100-01-01T00:00:00Z",
                json!({"name": "Ada", "phone": "3", "address": "Pisa"}),
            ),
        ] {
            assert_eq!(
                state(&world, &staff, &format!("?valid_at={valid_at}")).await,
                expected,
                "{valid_at}"
            );
        }
        // What was believed about February when only two events were recorded.
        let known = format!("?at={}&valid_at=2026-02-15T00:00:00Z", at(&events[1]));
        assert_eq!(state(&world, &staff, &known).await, json!({"name": "Ada"}));
        let known = "?version=3&valid_at=2026-02-15T00:00:00Z";
        assert_eq!(
            state(&world, &staff, known).await,
            json!({"name": "Ada", "phone": "2", "address": "Pisa"})
        );
        let answer = world
            .get(&staff, "/entities/customer/C-1?valid_at=2026-02-15T00:00:00Z")
            .await
            .expect(200);
        assert_eq!(
            (&answer.body["version"], &answer.body["updated_at"]),
            (&json!(3), &events[2]["created_at"])
        );
        world.project().await;
    }
}

/// More events than one page of a read, recorded in another order, many of them true from the same hour on.
#[tokio::test]
async fn business_time_orders_long_streams_too() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let facts: Vec<(usize, &str)> = (0..600)
        .map(|place| (place * 7 % 10, if place % 3 == 0 { "phone" } else { "address" }))
        .collect();
    let event = |(place, (hour, field)): (usize, &(usize, &str))| {
        json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1",
               "data": {*field: place.to_string()}, "timestamp": format!("2026-01-01T{hour:02}:00:00Z")})
    };
    let events: Vec<Value> = facts.iter().enumerate().map(event).collect();
    for batch in events.chunks(300) {
        world
            .post(&staff, "/events", json!({"events": batch}))
            .await
            .expect(201);
    }
    for hour in [0, 4, 9] {
        let path = format!("/entities/customer/C-1?valid_at=2026-01-01T{hour:02}:59:59Z");
        let answer = world.get(&staff, &path).await.expect(200);
        let last = |field: &str| {
            let fitting = facts
                .iter()
                .enumerate()
                .filter(|(_, fact)| fact.0 <= hour && fact.1 == field);
            fitting
                .max_by_key(|(place, fact)| (fact.0, *place))
                .unwrap()
                .0
                .to_string()
        };
        assert_eq!(
            answer.body["state"],
            json!({"phone": last("phone"), "address": last("address")}),
            "{path}"
        );
        // The version is the highest among those events, not that of the last one in business time.
        let highest = facts.iter().rposition(|fact| fact.0 <= hour).unwrap() + 1;
        assert_eq!(answer.body["version"], highest, "{path}");
    }
}

#[tokio::test]
async fn times_before_the_first_event_and_missing_versions_have_different_problems() {
    let (world, staff) = (World::new().await, Person::staff());
    ada(&world, &staff).await;
    world.project().await;
    for (query, status, code) in [
        ("at=2000-01-01T00:00:00Z", 404, "not_found"),
        ("version=0", 404, "not_found"),
        ("valid_at=2025-12-31T23:59:59Z", 404, "not_found"),
        ("at=2100-01-01T00:00:00Z", 422, "time_in_future"),
        ("version=4", 422, "version_in_future"),
        ("version=-1", 400, "invalid_parameter"),
        ("version=1.0", 400, "invalid_parameter"),
        ("version=99999999999", 400, "invalid_parameter"),
        ("at=yesterday", 400, "invalid_parameter"),
        ("at=2026-01-01", 400, "invalid_parameter"),
        ("valid_at=", 400, "invalid_parameter"),
        ("at=2026-01-01T00:00:00Z&version=1", 400, "contradictory_parameters"),
        (
            "at=2026-01-01T00:00:00Z&at=2026-01-01T00:00:00Z",
            400,
            "invalid_parameter",
        ),
    ] {
        let answer = world.get(&staff, &format!("/entities/customer/C-1?{query}")).await;
        assert_eq!(answer.problem(status), code, "{query}");
    }
    for path in [
        "/entities/customer/nobody?version=1",
        "/entities/nothing/C-1?at=2026-01-01T00:00:00Z",
        "/entities/customer/nobody/diff?from=1",
    ] {
        assert_eq!(world.get(&staff, path).await.problem(404), "not_found", "{path}");
    }
    for (query, code) in [
        ("", "missing_parameter"),
        ("?to=1", "missing_parameter"),
        ("?from=1&from_at=2026-01-01T00:00:00Z", "contradictory_parameters"),
        ("?from=one", "invalid_parameter"),
    ] {
        let answer = world.get(&staff, &format!("/entities/customer/C-1/diff{query}")).await;
        assert_eq!(answer.problem(400), code, "{query}");
    }
}

#[tokio::test]
async fn the_past_is_visible_to_callers_who_see_the_present() {
    let world = World::new().await;
    let (staff, user, stranger) = (Person::staff(), Person::user(), Person::user());
    let mine = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "Ada", "email": "ada@example.com"}});
    world.post(&user, "/events", mine).await.expect(201);
    world
        .append(&user, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "Bob"}))
        .await;
    // The user has appended one event to another actor's stream. A state without the other events would be wrong, so none is shown.
    let service = Person::service("billing");
    let spoken = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-2",
                        "data": {"phone": "2"}, "created_by": user.actor()});
    world.post(&service, "/events", spoken).await.expect(201);
    for _ in 0..2 {
        for query in [
            "?version=2",
            "?valid_at=2100-01-01T00:00:00Z",
            "/diff?from=0",
            "/snapshots",
        ] {
            world
                .get(&user, &format!("/entities/customer/C-1{query}"))
                .await
                .expect(200);
        }
        for (person, id) in [
            (&stranger, "C-1"),
            (&user, "C-2"),
            (&Person::staff().in_tenant(uuid::Uuid::new_v4()), "C-1"),
        ] {
            for query in ["?version=1", "?valid_at=2100-01-01T00:00:00Z", "/diff?from=0"] {
                let answer = world.get(person, &format!("/entities/customer/{id}{query}")).await;
                assert_eq!(answer.problem(404), "not_found", "{person:?} {id} {query}");
            }
        }
        let history = world
            .get(&user, "/events/aggregate/customer/C-2/history")
            .await
            .expect(200);
        assert_eq!(history.items().len(), 1);
        assert_eq!(history.items()[0]["changes"], Value::Null);
        assert_eq!(history.items()[0]["deleted"], Value::Null);
        world.project().await;
    }
}

#[tokio::test]
async fn a_diff_lists_changed_fields_between_any_two_moments() {
    let (world, staff) = (World::new().await, Person::staff());
    let events = ada(&world, &staff).await;
    world
        .append(&staff, "customer.deleted", "C-1", json!({"name": "Ada"}))
        .await;
    let diff = async |query: &str| {
        world
            .get(&staff, &format!("/entities/customer/C-1/diff?{query}"))
            .await
            .expect(200)
            .body
    };
    let whole = diff("from=1&to=3").await;
    assert_eq!(
        whole["changes"],
        json!({"phone": {"old": null, "new": "2"}, "address": {"old": null, "new": "Pisa"}})
    );
    assert_eq!(
        (&whole["from"], &whole["to"]),
        (
            &json!({"version": 1, "deleted": false}),
            &json!({"version": 3, "deleted": false})
        )
    );
    assert_eq!(
        diff("from=3&to=2").await["changes"],
        json!({"phone": {"old": "2", "new": "3"}, "address": {"old": "Pisa", "new": null}})
    );
    let born = diff("from=0&to=1").await;
    assert_eq!(born["changes"], json!({"name": {"old": null, "new": "Ada"}}));
    let times = format!("from_at={}&to_at={}", at(&events[0]), at(&events[1]));
    assert_eq!(
        diff(&times).await["changes"],
        json!({"phone": {"old": null, "new": "3"}})
    );
    let gone = diff("from=3").await;
    assert_eq!((&gone["changes"], &gone["to"]["deleted"]), (&json!({}), &json!(true)));
}

#[tokio::test]
async fn history_shows_what_each_event_changed_on_every_page() {
    let (world, staff) = (World::new().await, Person::staff());
    let steps = [
        (
            "organization.created",
            json!({"name": "A"}),
            json!({"name": {"old": null, "new": "A"}}),
        ),
        (
            "organization.updated",
            json!({"changes": {"name": {"old": "never", "new": "B"}}}),
            json!({"name": {"old": "A", "new": "B"}}),
        ),
        (
            "organization.gst.added",
            json!({"id": "g", "gstin": "27AAPFU0939F1ZV"}),
            json!({"gst": {"old": null, "new": [{"id": "g", "gstin": "27AAPFU0939F1ZV"}]}}),
        ),
        ("organization.deleted", json!({"name": "B"}), json!({})),
    ];
    for (event_type, data, _) in &steps {
        world.append(&staff, event_type, "O-1", data.clone()).await;
    }
    for _ in 0..2 {
        for limit in [1, 2, 100] {
            let path = format!("/events/aggregate/organization/O-1/history?limit={limit}");
            let items = world.all_pages(&staff, &path).await;
            let changes: Vec<&Value> = items.iter().map(|item| &item["changes"]).collect();
            let expected: Vec<&Value> = steps.iter().map(|(_, _, changes)| changes).collect();
            assert_eq!(changes, expected, "{limit} a page");
            assert!(items.iter().all(|item| item["skipped"] == false));
            let deleted: Vec<bool> = items.iter().map(|item| item["deleted"] == true).collect();
            assert_eq!(deleted, [false, false, false, true]);
        }
        world.project().await;
    }
}

/// For every type of every module: what was once the present state is the state at that version and that time ever after.
#[tokio::test]
async fn one_request_shows_the_past_state_of_any_module() {
    let (world, loader) = (World::without_requirements().await, Person::service("loader"));
    let kinds = world.all_pages(&loader, "/events/types").await;
    let mut presents = Vec::new();
    for kind in kinds.iter().filter(|kind| kind["closed"] == false) {
        let (name, of) = (
            kind["event_type"].as_str().unwrap(),
            kind["aggregate_type"].as_str().unwrap(),
        );
        let event = world.append(&loader, name, of, kind["example"].clone()).await;
        let path = format!("/entities/{of}/{of}");
        let present = world.get(&loader, &path).await.expect(200).body;
        presents.push((path, event, present));
    }
    for _ in 0..2 {
        for (path, event, present) in &presents {
            let version = &event["aggregate_version"];
            for query in [format!("version={version}"), format!("at={}", at(event))] {
                let past = world.get(&loader, &format!("{path}?{query}")).await.expect(200).body;
                for member in ["state", "version", "deleted", "created_at", "updated_at"] {
                    assert_eq!(past[member], present[member], "{member} of {path}?{query}");
                }
            }
        }
        world.project().await;
    }
}
