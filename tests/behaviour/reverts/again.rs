//! A reverted file that is sent again is imported again. What a person deleted stays deleted.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{assert_compensated, counts, is_deleted, revert, rows, scalar, uploaded};

const FIGURES: [&str; 5] = [
    "rows_accepted",
    "rows_updated",
    "rows_duplicate",
    "rows_rejected",
    "events_appended",
];

fn figures(body: &Value) -> [i64; 5] {
    FIGURES.map(|name| body[name].as_i64().unwrap())
}

async fn small(world: &World, staff: &Person, mode: &str, file: &str) -> Value {
    world
        .upload_sales(staff, &[("mode", mode)], file)
        .await
        .expect(200)
        .body
}

async fn large(world: &World, staff: &Person, mode: &str, file: &str) -> Value {
    world
        .import(staff, json!({"dataset": "sales", "mode": mode}), file)
        .await
        .body
}

async fn undone(world: &World, staff: &Person, upload: &Value, events: i64) {
    let id = upload["upload_id"].as_str().unwrap();
    let answer = revert(world, staff, id).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [events, events, 0]);
    assert_compensated(world, id, [events, events, 0]).await;
}

#[tokio::test]
async fn a_reverted_file_that_is_sent_again_is_imported_again() {
    let (world, staff) = (World::new().await, Person::staff());
    let without_ids = "sale_date,amount,product\n2026-01-31,1.00,A\n2026-01-31,1.00,A\n2026-01-31,2.00,B\n".to_owned();
    for (file, count) in [(rows(0..40), 40), (without_ids, 3)] {
        for mode in ["partial", "all_or_nothing"] {
            let first = small(&world, &staff, mode, &file).await;
            assert_eq!(figures(&first), [count, 0, 0, 0, count]);
            undone(&world, &staff, &first, count).await;
            let again = small(&world, &staff, mode, &file).await;
            assert_eq!(figures(&again), [count, 0, 0, 0, count], "{mode}");
            assert_eq!(figures(&small(&world, &staff, mode, &file).await), [0, 0, count, 0, 0]);
            undone(&world, &staff, &again, count).await;
            let large_again = large(&world, &staff, mode, &file).await;
            assert_eq!(figures(&large_again), [count, 0, 0, 0, count], "{mode}");
            assert_eq!(figures(&large(&world, &staff, mode, &file).await), [0, 0, count, 0, 0]);
            undone(&world, &staff, &large_again, count).await;
        }
    }
    // Six lives each: created and deleted.
    let sale = world
        .get(&staff, "/events/aggregate/sale/S-7/history")
        .await
        .expect(200);
    let types: Vec<&Value> = sale.items().iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, ["sale.created", "sale.deleted"].repeat(6));
    world.sweep().await;
    assert_eq!(
        scalar(&world, "select count(*) from public.sales where deleted_at is null").await,
        0
    );
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_corrected_file_brings_its_own_values() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = small(&world, &staff, "partial", &rows(0..10)).await;
    undone(&world, &staff, &first, 10).await;
    // Rows whose id occurs twice are counted as in a new file.
    let corrected = rows(0..8).replace("Table", "Chair") + "S-1,2026-01-31,1.25,Chair\nS-2,2026-01-31,9.99,Chair\n";
    let again = small(&world, &staff, "partial", &corrected).await;
    assert_eq!(figures(&again), [8, 0, 1, 1, 8]);
    let sale = world.get(&staff, "/entities/sale/S-2").await.expect(200).body;
    assert_eq!(
        (
            &sale["state"]["product"],
            &sale["state"]["amount_cents"],
            &sale["version"],
            &sale["deleted"]
        ),
        (&json!("Chair"), &json!(225), &json!(3), &json!(false))
    );
    assert!(is_deleted(&world, &staff, "S-9").await);
}

#[tokio::test]
async fn a_dry_run_of_a_reverted_file_says_that_it_would_be_imported() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = small(&world, &staff, "partial", &rows(0..10)).await;
    undone(&world, &staff, &first, 10).await;
    let dry = world
        .upload_sales(&staff, &[("dry_run", "true")], rows(0..10))
        .await
        .expect(200)
        .body;
    assert_eq!(figures(&dry), [10, 0, 0, 0, 0]);
}

/// A row that a person compensated before the whole upload was reverted is imported again, too.
#[tokio::test]
async fn what_a_person_deleted_is_not_restored_by_sending_the_file_again() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..5)).await;
    world.delete(&staff, "/entities/sale/S-0").await;
    let created = world
        .get(&staff, "/events/aggregate/sale/S-1/history")
        .await
        .expect(200);
    let created = created.items()[0]["id"].as_str().unwrap().to_owned();
    let body = json!({"reason": "not ours"});
    world
        .post(&staff, &format!("/events/{created}/compensate"), body)
        .await
        .expect(201);
    // A client cannot make a deletion look like a compensation.
    let forged = json!({"event_type": "sale.deleted", "aggregate_type": "sale", "aggregate_id": "S-9", "data": {}, "correlation_id": upload,
                        "command_id": format!("revert-{upload}"), "causation_id": created});
    world
        .append(
            &staff,
            "sale.created",
            "S-9",
            json!({"sale_date": "2026-01-31", "amount_cents": 1, "currency": "USD"}),
        )
        .await;
    world.post(&staff, "/events", forged).await.expect(201);
    let deleted = async |expected: &[&str]| {
        let again = small(&world, &staff, "partial", &rows(0..10)).await;
        let errors = again["errors"].as_array().unwrap();
        assert!(errors.iter().all(|error| error["code"] == "deleted"), "{again}");
        let ids: Vec<&str> = errors.iter().map(|error| error["value"].as_str().unwrap()).collect();
        assert_eq!(ids, expected);
    };
    deleted(&["S-0", "S-1", "S-9"]).await;
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [5, 3, 2]);
    deleted(&["S-0", "S-9"]).await;
    deleted(&["S-0", "S-9"]).await;
}

/// A file that was imported with other options is refused, because its rows would count twice. After a revert they would not.
#[tokio::test]
async fn a_reverted_file_without_ids_is_imported_again_with_other_options() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount,product\n2026-01-31,1.00,A\n2026-01-31,2.00,B\n";
    let first = small(&world, &staff, "partial", file).await;
    let other = [("currency", "EUR")];
    let refused = world.upload_sales(&staff, &other, file).await;
    assert_eq!(refused.body["code"], "file_imported_before", "{}", refused.body);
    undone(&world, &staff, &first, 2).await;
    let again = world.upload_sales(&staff, &other, file).await.expect(200).body;
    assert_eq!(figures(&again), [2, 0, 0, 0, 2]);
}

/// Uploads that were reverted are no later facts.
#[tokio::test]
async fn uploads_of_the_same_entity_can_be_reverted_one_after_the_other() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = |amount: &str| format!("sale_id,sale_date,amount,currency\nA,2026-01-31,{amount},EUR\n");
    let mut uploads = Vec::new();
    for amount in ["1.00", "2.00", "3.00"] {
        uploads.push(uploaded(&world, &staff, &file(amount)).await);
    }
    for (upload, before) in uploads.iter().rev().zip([Some(200), Some(100), None]) {
        let done = revert(&world, &staff, upload).await.expect(200).body;
        assert_eq!(counts(&done["revert"]), [1, 1, 0], "{done}");
        let sale = world.get(&staff, "/entities/sale/A").await.expect(200).body;
        match before {
            Some(cents) => assert_eq!(sale["state"]["amount_cents"], cents),
            None => assert_eq!(sale["deleted"], true),
        }
    }
}

#[tokio::test]
async fn a_file_is_known_as_long_as_some_of_it_is_left() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount\n01/02/2026,5.00\n03/02/2026,6.00\n";
    let send = async |format: &str| world.upload_sales(&staff, &[("date_format", format)], file).await;
    let id = send("%m/%d/%Y").await.expect(200).body["upload_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let sales = world.get(&staff, "/events?event_type=sale.created").await.expect(200);
    let sale = sales.items()[0]["aggregate_id"].as_str().unwrap().to_owned();
    let noted = json!({"notes": "checked"});
    world
        .patch(&staff, &format!("/entities/sale/{sale}"), noted)
        .await
        .expect(200);
    let done = revert(&world, &staff, &id).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [2, 1, 1], "{done}");
    assert_eq!(send("%d/%m/%Y").await.problem(409), "file_imported_before");
    let same = send("%m/%d/%Y").await.expect(200).body;
    assert_eq!(
        (&same["rows_accepted"], &same["rows_duplicate"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_file_is_not_imported_while_it_is_reverted() {
    let (world, staff) = (World::new().await, Person::staff());
    let id = uploaded(&world, &staff, &rows(0..3)).await;
    revert(&world, &staff, &id).await.expect(200);
    let running = "update annals.reverts set finished_at = null where upload_id::text = $1";
    world.owner().await.execute(running, &[&id]).await.unwrap();
    let refused = world.upload_sales(&staff, &[], rows(0..3)).await;
    assert_eq!(refused.problem(409), "upload_reverting");
}
