//! Large files in a bucket: signed addresses, the bucket's events, broken transfers, objects that change.

use annals_import::ImportOutcome;
use importer::{Invocation, handle};
use serde_json::{Value, json};
use tests::{BUCKET, Bucket, Person, Trouble, World};
use uuid::Uuid;

use super::{figures, file, sales, sales_events};

async fn world(bucket: &Bucket) -> World {
    let mut world = World::new().await;
    world.app.storage = Bucket::storage(&bucket.listen().await);
    world.router = local::engine::router(world.app.clone());
    world
}

/// The event that AWS sends about this object.
fn event(bucket: &str, key: &str) -> Invocation {
    serde_json::from_str(&Bucket::event(bucket, key)).unwrap()
}

#[tokio::test]
async fn a_file_is_sent_to_its_address_imported_at_the_buckets_event_and_deleted() {
    let bucket = Bucket::default();
    let (world, staff) = (world(&bucket).await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    assert!(
        asked.url.contains("X-Amz-Expires=3600") && asked.url.contains("X-Amz-Security-Token="),
        "{}",
        asked.url
    );
    Bucket::send(&asked.url, file(3_000)).await;
    let key = format!("uploads/{}", asked.id);
    assert_eq!(bucket.keys(), vec![key.clone()]);
    bucket.trouble(&[Trouble::Busy, Trouble::BreaksOff, Trouble::BreaksOff, Trouble::Busy]);
    handle(&world.importer(), event(BUCKET, &key), None).await.unwrap();
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&done), [3_000, 2_997, 3, 0, 0, 30, 2_997]);
    assert_eq!(bucket.keys(), Vec::<String>::new());
    // The event arrives late, and twice.
    handle(&world.importer(), event(BUCKET, &key), None).await.unwrap();
    assert_eq!(world.upload(&staff, &asked).await.expect(200).body, done);
}

#[tokio::test]
async fn an_object_of_no_upload_is_left_alone() {
    let bucket = Bucket::default();
    let (world, staff) = (world(&bucket).await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    Bucket::send(&asked.url, file(10)).await;
    let key = format!("uploads/{}", asked.id);
    for (bucket, key) in [
        ("another", key.clone()),
        (BUCKET, "uploads/sales.csv".to_owned()),
        (BUCKET, format!("uploads/{}", Uuid::now_v7())),
    ] {
        handle(&world.importer(), event(bucket, &key), None).await.unwrap();
    }
    assert_eq!(bucket.keys(), [key]);
    assert_eq!(sales_events(&world).await, 0);
}

#[tokio::test]
async fn an_object_that_is_overwritten_during_the_import_fails_it() {
    let bucket = Bucket::default();
    let (world, staff) = (world(&bucket).await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    Bucket::send(&asked.url, file(6_000)).await;
    assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
    Bucket::send(&asked.url, file(6_001)).await;
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&upload["status"], &upload["failure"]["code"]),
        (&json!("failed"), &json!("file_changed"))
    );
}

/// If the file is absent before the lease is acquired, it is looked for again under the lease.
#[tokio::test]
async fn an_object_that_is_found_only_under_the_lease_is_imported() {
    let bucket = Bucket::default();
    let (world, staff) = (world(&bucket).await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    Bucket::send(&asked.url, file(6_000)).await;
    assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
    bucket.hide_once();
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&upload), [6_000, 5_994, 6, 0, 0, 60, 5_994]);
}

/// While the storage is unavailable, an import waits and loses nothing.
#[tokio::test]
async fn while_the_bucket_does_not_answer_an_import_waits() {
    let bucket = Bucket::default();
    let (world, staff) = (world(&bucket).await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    Bucket::send(&asked.url, file(2_000)).await;
    bucket.trouble(&[Trouble::Busy; 5]);
    let key = format!("uploads/{}", asked.id);
    // The event need not be sent again: the next scheduled run continues.
    handle(&world.importer(), event(BUCKET, &key), None).await.unwrap();
    let so_far: Value = world.upload(&staff, &asked).await.expect(202).body;
    assert_eq!(
        (&so_far["status"], &so_far["rows_total"]),
        (&json!("running"), &json!(0))
    );
    world.importer().import_due(None).await.unwrap();
    assert_eq!(figures(&world.upload(&staff, &asked).await.expect(200).body)[0], 2_000);
}
