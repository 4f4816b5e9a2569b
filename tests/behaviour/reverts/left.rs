//! Events that a revert leaves alone, each with the reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{Person, World};

use super::{assert_compensated, counts, dry_run, revert, rows, scalar, status, story, uploaded};

/// The entities that were left alone, with their codes.
fn codes(revert: &Value) -> BTreeMap<&str, &str> {
    let left = revert["left_alone"].as_array().unwrap().iter();
    left.map(|event| (event["aggregate_id"].as_str().unwrap(), event["code"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn entities_with_later_facts_are_listed_and_not_touched() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..12)).await;
    // A change of the same field, of another field, a deletion, a later upload, a compensation, and a compensation that was compensated.
    world
        .patch(&staff, "/entities/sale/S-1", json!({"product": "Lamp"}))
        .await
        .expect(200);
    world
        .patch(&staff, "/entities/sale/S-2", json!({"notes": "paid"}))
        .await
        .expect(200);
    world.delete(&staff, "/entities/sale/S-3").await;
    uploaded(&world, &staff, &rows(4..5).replace("Table", "Chair")).await;
    let compensate = async |id: &str| {
        let body = world
            .post(&staff, &format!("/events/{id}/compensate"), json!({}))
            .await
            .expect(201)
            .body;
        body["id"].as_str().unwrap().to_owned()
    };
    let created = async |id: &str| {
        let history = world
            .get(&staff, &format!("/events/aggregate/sale/{id}/history"))
            .await
            .expect(200);
        history.items()[0]["id"].as_str().unwrap().to_owned()
    };
    compensate(&created("S-5").await).await;
    let deletion = compensate(&created("S-6").await).await;
    compensate(&deletion).await;
    let expected = BTreeMap::from([
        ("S-1", "changed_since"),
        ("S-2", "changed_since"),
        ("S-3", "changed_since"),
        ("S-4", "changed_since"),
        ("S-5", "already_compensated"),
        ("S-6", "already_compensated"),
    ]);
    let told = dry_run(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(codes(&told["revert"]), expected);
    let versions =
        "select sum(version) from annals.heads where aggregate_id in ('S-1', 'S-2', 'S-3', 'S-4', 'S-5', 'S-6')";
    let before = scalar(&world, versions).await;
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(answer["status"], "reverted");
    assert_eq!(counts(&answer["revert"]), [12, 6, 6]);
    assert_eq!(codes(&answer["revert"]), expected);
    assert_eq!(
        answer["revert"]["left_by_code"],
        json!({"changed_since": 4, "already_compensated": 2})
    );
    assert_eq!(scalar(&world, versions).await, before);
    let shown = status(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(shown["revert"], answer["revert"]);
    world.project().await;
    let import = world
        .get(&staff, &format!("/entities/import/{upload}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&import["state"]["events_compensated"], &import["state"]["events_left"]),
        (&json!(6), &json!(6))
    );
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn all_events_that_were_left_alone_are_listed_in_pages_newest_first() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..130)).await;
    uploaded(&world, &staff, &rows(0..120).replace("Table", "Chair")).await;
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [130, 10, 120]);
    assert_eq!(answer["revert"]["left_alone"].as_array().unwrap().len(), 100);
    assert_eq!(answer["revert"]["left_alone_truncated"], true);
    let all = world
        .all_pages(&staff, &format!("/data/uploads/{upload}/revert?limit=50"))
        .await;
    let ids: Vec<&str> = all
        .iter()
        .map(|event| event["aggregate_id"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (0..120).rev().map(|row| format!("S-{row}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(all[..100], answer["revert"]["left_alone"].as_array().unwrap()[..]);
}

/// An event that is not part of the state has changed nothing that could be undone.
#[tokio::test]
async fn events_of_parked_streams_are_left_alone() {
    let (world, staff) = (World::new().await, Person::staff());
    let sql = "alter table public.sales add constraint no_chairs check (product <> 'Chair') not valid";
    world.owner().await.batch_execute(sql).await.unwrap();
    let file = rows(0..4) + "S-9,2026-01-31,1.00,Chair\n";
    let upload = uploaded(&world, &staff, &file).await;
    world.sweep().await;
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [5, 4, 1]);
    assert_eq!(codes(&answer["revert"]), BTreeMap::from([("S-9", "not_applied")]));
}

/// A tenant's own type may have no inverse, or a schema that refuses the inverse.
#[tokio::test]
async fn events_that_have_no_inverse_are_left_alone() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..3)).await;
    let sql = "update annals.event_types set inverse = null where event_type = 'sale.created'";
    world.owner().await.batch_execute(sql).await.unwrap();
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [3, 0, 3]);
    assert_eq!(answer["revert"]["left_by_code"], json!({"no_inverse": 3}));
    assert_eq!(
        story(&world, &upload).await,
        ["import.revert_requested", "import.revert_completed"]
    );
}

/// Others change the entities while they are reverted: each entity is compensated before the change or left alone.
#[tokio::test]
async fn a_revert_never_overwrites_what_others_append_at_the_same_time() {
    let (world, staff) = (World::new().await, Person::staff());
    for round in 0..5 {
        let (from, to) = (1_000 * round, 1_000 * round + 60);
        let upload = uploaded(&world, &staff, &rows(from..to)).await;
        let change = async {
            for row in (from..to).rev().step_by(3) {
                let path = format!("/entities/sale/S-{row}");
                // 404 and 409 if the revert was faster.
                let answer = world.patch(&staff, &path, json!({"product": "Lamp"})).await;
                assert!([200, 404, 409, 410].contains(&answer.status), "{}", answer.body);
            }
        };
        let (answer, ()) = tokio::join!(revert(&world, &staff, &upload), change);
        let answer = answer.expect(200).body;
        let [total, compensated, left] = counts(&answer["revert"]);
        assert_eq!((total, compensated + left), (60, 60));
        assert_compensated(&world, &upload, [60, compensated, left]).await;
    }
}

/// The change is appended after the revert has read the entity and before it appends.
#[tokio::test]
async fn a_change_that_comes_between_reading_and_appending_is_found() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..6)).await;
    let mut other = world.superuser().await;
    let changing = other.transaction().await.unwrap();
    changing
        .batch_execute("select from annals.heads where aggregate_id = 'S-2' for update")
        .await
        .unwrap();
    let change = async {
        world.until_waiting(1).await;
        // What an append does to the head and the log, within this transaction.
        let sql = "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type,
                       aggregate_id, version, created_by, posted_by, started_by, source, data, metadata, recorded)
                   select nextval('annals.event_numbers'), clock_timestamp(), clock_timestamp(), gen_random_uuid(), e.tenant_id, 2, 'sale.updated', 'sale',
                          'S-2', '1.0', e.created_by, e.posted_by, e.started_by, 'api', '{\"changes\": {\"product\": {\"old\": \"Table\", \"new\": \"Lamp\"}}}', '{}',
                          e.recorded
                     from annals.events e where e.aggregate_type = 'sale' and e.aggregate_id = 'S-2' and e.aggregate_version = 1;
                   update annals.heads set version = 2, last_created_at = clock_timestamp() where aggregate_id = 'S-2'";
        changing.batch_execute(sql).await.unwrap();
        changing.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(revert(&world, &staff, &upload), change);
    let answer = answer.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [6, 5, 1]);
    assert_eq!(codes(&answer["revert"]), BTreeMap::from([("S-2", "changed_since")]));
    assert_compensated(&world, &upload, [6, 5, 1]).await;
}
