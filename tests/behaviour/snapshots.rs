//! Snapshots: taken regularly, used by every read of the past, and trusted only while they are as they were written.

use annals_store::Bounds;
use annals_store::PastEntity;
use serde_json::{Value, json};
use tests::{Person, World};

/// Appends a stream of `length` events, each of which stores its version in the state.
async fn counted(world: &World, staff: &Person, id: &str, length: usize) {
    let event = |number: usize| {
        json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id,
               "data": {"phone": number.to_string()}})
    };
    for start in (1..=length).step_by(500) {
        let events: Vec<Value> = (start..=length.min(start + 499)).map(event).collect();
        world
            .post(staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
}

async fn load(world: &World, staff: &Person, id: &str, version: i32) -> PastEntity {
    let bounds = Bounds {
        version: Some(version),
        ..Bounds::default()
    };
    let past = world
        .app
        .store
        .find_entity_at(&staff.caller(), "customer", id, bounds)
        .await
        .unwrap()
        .unwrap();
    let state = &past.found.as_ref().unwrap().entity.state;
    assert_eq!(state["phone"], version.to_string(), "the state of version {version}");
    past
}

async fn versions(world: &World, staff: &Person, id: &str) -> Vec<i64> {
    let path = format!("/entities/customer/{id}/snapshots");
    let answer = world.get(staff, &path).await.expect(200);
    let version = |snapshot: &Value| snapshot["version"].as_i64().unwrap();
    answer.items().iter().map(version).collect()
}

#[tokio::test]
async fn loading_version_990_of_a_thousand_reads_at_most_twenty_events() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    counted(&world, &staff, "C-1", 1_000).await;
    assert_eq!(load(&world, &staff, "C-1", 990).await.events_read, 990);
    world.project().await;
    assert_eq!(versions(&world, &staff, "C-1").await, [1_000, 980, 960]);
    for (version, snapshot, read) in [
        (990, Some(980), 10),
        (999, Some(980), 19),
        (980, Some(980), 0),
        (961, Some(960), 1),
        (1_000, None, 0),
    ] {
        let past = load(&world, &staff, "C-1", version).await;
        assert_eq!((past.snapshot, past.events_read), (snapshot, read), "version {version}");
    }
    // Older snapshots were removed, so older versions are folded from the first event.
    let past = load(&world, &staff, "C-1", 300).await;
    assert_eq!((past.snapshot, past.events_read), (None, 300));
    let at = world
        .get(&staff, "/events/aggregate/customer/C-1/history?limit=1000")
        .await
        .expect(200);
    let at = at.items()[984]["created_at"].as_str().unwrap().to_owned();
    let by_time = world
        .get(&staff, &format!("/entities/customer/C-1?at={at}"))
        .await
        .expect(200);
    assert_eq!(by_time.body["state"]["phone"], "985");
}

/// The versions with snapshots of a stream, and the largest distance of any version from the snapshot before it.
#[tokio::test]
async fn any_version_is_at_most_a_thousand_events_after_a_snapshot_and_twenty_near_the_head() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let kept = [3_120, 3_100, 3_080, 3_000, 2_000, 1_000];
    // Appended in one batch, and one after the other.
    for (id, lengths) in [("C-1", &[3_130][..]), ("C-2", &[990, 30, 1_100, 500, 510])] {
        let mut versions_so_far = 0;
        for length in lengths {
            let event = |number: usize| {
                json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id,
                       "data": {"phone": number.to_string()}})
            };
            for start in (versions_so_far + 1..=versions_so_far + length).step_by(500) {
                let events: Vec<Value> = (start..=(versions_so_far + length).min(start + 499))
                    .map(event)
                    .collect();
                world
                    .post(&staff, "/events", json!({"events": events}))
                    .await
                    .expect(201);
            }
            versions_so_far += length;
            world.project().await;
        }
        assert_eq!(versions(&world, &staff, id).await, kept, "{id}");
        far_and_near(&world, &staff, id).await;
    }
    // A page of the history starts at a snapshot, not at the first event, in a process that has not read the page before.
    let path = "/events/aggregate/customer/C-1/history?limit=1000";
    let first = world.get(&staff, path).await.expect(200).body;
    let owner = world.superuser().await;
    let forged = "update annals.events set data = '{\"phone\": \"forged\"}' where aggregate_version <= 1000";
    let off = "alter table annals.events disable trigger user";
    owner.batch_execute(&format!("{off}; {forged}")).await.unwrap();
    let next = format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = world.elsewhere().get(&staff, &next).await.expect(200);
    assert_eq!(second.items()[0]["changes"]["phone"]["old"], "1000");
}

async fn far_and_near(world: &World, staff: &Person, id: &str) {
    for version in [3_129, 3_119, 3_099, 3_081] {
        let read = load(world, staff, id, version).await.events_read;
        assert!(read <= 20, "{read} events for version {version}");
    }
    for version in [1, 500, 999, 1_000, 1_001, 1_999, 2_000, 2_500, 2_999, 3_000, 3_079] {
        let read = load(world, staff, id, version).await.events_read;
        assert!(read <= 1_000, "{read} events for version {version}");
    }
}

#[tokio::test]
async fn a_rebuild_restores_missing_snapshots_of_long_streams() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    counted(&world, &staff, "C-1", 3_130).await;
    counted(&world, &staff, "C-2", 500).await;
    world.project().await;
    let kept = versions(&world, &staff, "C-1").await;
    let owner = world.superuser().await;
    owner.batch_execute("delete from annals.snapshots").await.unwrap();
    assert_eq!(load(&world, &staff, "C-1", 2_999).await.events_read, 2_999);
    crate::rebuild::rebuild(&world, &crate::rebuild::everything())
        .await
        .unwrap();
    assert_eq!(versions(&world, &staff, "C-1").await, kept);
    far_and_near(&world, &staff, "C-1").await;
    assert_eq!(versions(&world, &staff, "C-2").await, [0_i64; 0]);
    assert_eq!(crate::verify::verify(&world).await, []);
    // Also after a version that changes how old events fold, because old snapshots cannot be used then.
    let types = world
        .get(&staff, "/events/types/customer.profile_updated")
        .await
        .expect(200)
        .body;
    let evolved = json!({"event_type": "customer.profile_updated", "version": "2.0", "schema": types["schema"], "example": types["example"],
                         "upcasters": [{"from_version": "1.0", "steps": [{"default": {"segment": "none"}}]}]});
    world.post(&staff, "/events/types", evolved).await.expect(201);
    crate::rebuild::rebuild(&world, &crate::rebuild::everything())
        .await
        .unwrap();
    assert_eq!(versions(&world, &staff, "C-1").await, kept);
    far_and_near(&world, &staff, "C-1").await;
}

#[tokio::test]
async fn the_newest_three_snapshots_are_kept_however_events_arrive() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for (length, expected) in [
        (19, vec![]),
        (2, vec![20]),
        (30, vec![40, 20]),
        (20, vec![60, 40, 20]),
        (10, vec![80, 60, 40]),
    ] {
        counted(&world, &staff, "C-1", length).await;
        world.project().await;
        assert_eq!(versions(&world, &staff, "C-1").await, expected);
    }
    let taken = world.get(&staff, "/entities/customer/C-1/snapshots").await.expect(200);
    assert_eq!(
        taken.items()[0]["metadata"],
        json!({"created_by": "system", "reason": "periodic_snapshot"})
    );
    assert_eq!(taken.items()[0]["intact"], true);
}

#[tokio::test]
async fn staff_takes_a_snapshot_with_a_reason() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    counted(&world, &staff, "C-1", 5).await;
    let path = "/entities/customer/C-1/snapshots";
    let taken = world
        .post(&staff, path, json!({"reason": "year end"}))
        .await
        .expect(201);
    let metadata = json!({"created_by": staff.actor(), "reason": "year end"});
    assert_eq!(taken.body, json!({"version": 5, "metadata": metadata}));
    counted(&world, &staff, "C-1", 2).await;
    assert_eq!(versions(&world, &staff, "C-1").await, [5]);
    let listed = world.get(&staff, path).await.expect(200);
    assert_eq!(listed.items()[0]["metadata"], metadata);
    let past = world
        .app
        .store
        .find_entity_at(
            &staff.caller(),
            "customer",
            "C-1",
            Bounds {
                version: Some(6),
                ..Bounds::default()
            },
        )
        .await;
    let past = past.unwrap().unwrap();
    assert_eq!((past.snapshot, past.events_read), (Some(5), 1));
    for (person, path, body, status, code) in [
        (&Person::user(), path, json!({}), 403, "staff_only"),
        (
            &staff,
            "/entities/customer/nobody/snapshots",
            json!({}),
            404,
            "not_found",
        ),
        (&staff, path, json!({"reason": 1}), 400, "malformed_request"),
        (&staff, path, json!({"state": {}}), 400, "malformed_request"),
        (
            &staff,
            path,
            json!({"reason": "x".repeat(1_001)}),
            400,
            "malformed_request",
        ),
    ] {
        assert_eq!(world.post(person, path, body).await.problem(status), code);
    }
    assert_eq!(versions(&world, &staff, "C-1").await, [5]);
}

/// If a snapshot is changed manually, reads are still right, and verify reports the snapshot.
#[tokio::test]
async fn a_snapshot_that_was_changed_manually_is_ignored_and_reported() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    counted(&world, &staff, "C-1", 100).await;
    world.project().await;
    let owner = world.superuser().await;
    for change in [
        "state = '{\"phone\": \"forged\"}'",
        "version = 79",
        "updated_at = updated_at + interval '1 microsecond'",
        "deleted_at = now()",
        "digest = sha256('')",
    ] {
        owner
            .batch_execute("create table kept as select * from annals.snapshots")
            .await
            .unwrap();
        owner
            .batch_execute(&format!("update annals.snapshots set {change} where version = 80"))
            .await
            .unwrap();
        let past = load(&world, &staff, "C-1", 85).await;
        assert_eq!((past.snapshot, past.events_read), (Some(60), 25), "{change}");
        let listed = world.get(&staff, "/entities/customer/C-1/snapshots").await.expect(200);
        let intact: Vec<bool> = listed.items().iter().map(|s| s["intact"] == true).collect();
        assert_eq!(intact, [true, false, true], "{change}");
        owner
            .batch_execute(
                "delete from annals.snapshots; insert into annals.snapshots select * from kept; drop table kept",
            )
            .await
            .unwrap();
        assert_eq!(load(&world, &staff, "C-1", 85).await.snapshot, Some(80));
    }
}

/// A later version of a type may change what old events fold to, so earlier snapshots are not used.
#[tokio::test]
async fn a_snapshot_of_an_older_catalog_is_never_used() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    counted(&world, &staff, "C-1", 45).await;
    world.project().await;
    assert_eq!(load(&world, &staff, "C-1", 42).await.snapshot, Some(40));
    let schema = json!({"type": "object", "properties": {"phones": {"type": "array", "items": {"type": "string"}}}});
    let evolved = json!({"event_type": "customer.profile_updated", "version": "2.0", "schema": schema, "example": {"phones": ["1"]},
                         "upcasters": [{"from_version": "1.0", "steps": [{"split": {"phone": ","}}, {"rename": {"phone": "phones"}}]}]});
    world.post(&staff, "/events/types", evolved).await.expect(201);
    let path = "/entities/customer/C-1";
    for query in ["", "?version=42", "?version=45", "?at=2100-01-01T00:00:00Z"]
        .iter()
        .take(3)
    {
        let state = world.get(&staff, &format!("{path}{query}")).await.expect(200).body["state"].take();
        let expected = if query.contains("42") { "42" } else { "45" };
        assert_eq!(state, json!({"phones": [expected]}), "{query}");
    }
    let history = world
        .get(&staff, "/events/aggregate/customer/C-1/history?limit=2")
        .await
        .expect(200);
    assert_eq!(
        history.items()[1]["changes"],
        json!({"/phones/0": {"old": "1", "new": "2"}})
    );
    assert_eq!(history.items()[1]["metadata"]["migration_applied"], "1.0_to_2.0");
    // A snapshot taken while read models wait for their rebuild is not used either.
    let answer = world.post(&staff, &format!("{path}/snapshots"), json!({})).await;
    assert_eq!(answer.problem(409), "rebuild_pending");
}
