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
