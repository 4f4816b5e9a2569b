//! All or nothing, and dry runs.

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{figures, file, sales_events, scalar, story};

fn whole() -> Value {
    json!({"dataset": "sales", "mode": "all_or_nothing"})
}

#[tokio::test]
async fn one_rejected_row_rejects_all() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, whole()).await;
    world.put_file(&asked, file(3_000)).await;
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&upload["status"], &upload["failure"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(figures(&upload), [3_000, 0, 3_000, 0, 0, 0, 0]);
    assert_eq!(upload["errors"].as_array().unwrap().len(), 3);
    assert_eq!(sales_events(&world).await, 0);
    assert_eq!(
        scalar(
            &world,
            "select count(*) from annals.heads where aggregate_type = 'sale'"
        )
        .await,
        0
    );
    assert_eq!(
        story(&world, &asked).await,
        ["import.requested", "import.started", "import.failed"]
    );
}

#[tokio::test]
async fn without_a_rejected_row_all_are_appended_and_rows_see_those_before_them() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = file(900);
    let twice = format!("{file}S-1,2026-01-31,1.25,\"Table, round\"\n");
    let done = world.import(&staff, whole(), &twice).await.body;
    assert_eq!(
        (figures(&done), &done["status"]),
        ([901, 900, 0, 1, 0, 9, 900], &json!("completed"))
    );
    let again = world
        .import(&staff, whole(), twice.replace(",1.25,", ",8.00,"))
        .await
        .body;
    assert_eq!(figures(&again), [901, 0, 0, 899, 2, 9, 2]);
    let differs = format!("{file}S-1,2026-01-31,9.00,Chair\n");
    let refused = world.import(&staff, whole(), differs).await.body;
    assert_eq!(
        (&refused["status"], &refused["errors"][0]["code"]),
        (&json!("failed"), &json!("repeated_id"))
    );
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn equal_rows_without_ids_are_distinguished_in_one_transaction_too() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount\n".to_owned() + &"2026-01-31,5.00\n".repeat(1_200);
    assert_eq!(
        figures(&world.import(&staff, whole(), &file).await.body),
        [1_200, 1_200, 0, 0, 0, 0, 1_200]
    );
    assert_eq!(
        figures(&world.import(&staff, whole(), &file).await.body),
        [1_200, 0, 0, 1_200, 0, 0, 0]
    );
}

#[tokio::test]
async fn a_dry_run_counts_what_would_happen_and_appends_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let done = world
        .import(&staff, json!({"dataset": "sales", "dry_run": true}), file(2_000))
        .await
        .body;
    assert_eq!(figures(&done), [2_000, 1_998, 2, 0, 0, 20, 0]);
    assert_eq!((&done["dry_run"], &done["status"]), (&json!(true), &json!("completed")));
    assert_eq!(sales_events(&world).await, 0);
    let meant = world
        .import(&staff, json!({"dataset": "sales"}), file(2_000))
        .await
        .body;
    assert_eq!(figures(&meant), [2_000, 1_998, 2, 0, 0, 20, 1_998]);
}

#[tokio::test]
async fn an_all_or_nothing_import_without_enough_time_begins_again() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, whole()).await;
    world.put_file(&asked, file(900)).await;
    assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
    assert_eq!(sales_events(&world).await, 0);
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    assert_eq!(sales_events(&world).await, 900);
}

/// Such an import begins at the first row again each time, so more attempts would not help.
#[tokio::test]
async fn an_all_or_nothing_import_that_takes_longer_than_an_invocation_fails_as_too_slow() {
    let (world, staff) = (World::new().await, Person::staff());
    for fields in [whole(), json!({"dataset": "sales", "dry_run": true})] {
        let asked = world.ask_for_upload(&staff, fields).await;
        world.put_file(&asked, file(900)).await;
        assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
        assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::Ended);
        let upload = world.upload(&staff, &asked).await.expect(200).body;
        assert_eq!(upload["failure"]["code"], "too_slow", "{upload}");
        assert!(upload["failure"]["detail"].as_str().unwrap().contains("mode=partial"));
    }
    assert_eq!(sales_events(&world).await, 0);
}

/// The names of a million streams are not kept in memory. They are read back after the commit.
#[tokio::test]
async fn streams_are_woken_after_the_commit() {
    let (world, staff) = (World::new().await, Person::staff());
    let rows: String = (0..5_000).map(|row| format!("S-{row},2026-01-31,{row}.25\n")).collect();
    world.take_wake_ups().await;
    world
        .import(&staff, whole(), format!("sale_id,sale_date,amount\n{rows}"))
        .await;
    let wake_ups = world.take_wake_ups().await;
    assert!((3..10).contains(&wake_ups.len()), "{}", wake_ups.len());
    assert!(world.deliver(wake_ups).await.is_empty());
    assert_eq!(scalar(&world, "select count(*) from public.sales").await, 5_000);
}

/// Rows are compared with the entities as other callers have changed them.
#[tokio::test]
async fn callers_who_see_the_tenant_change_entities_that_others_started() {
    let (world, staff) = (World::new().await, Person::staff());
    let elsewhere = Person::service("till");
    world
        .append(
            &elsewhere,
            "sale.created",
            "S-5",
            json!({"sale_date": "2026-01-01", "amount_cents": 1, "currency": "USD"}),
        )
        .await;
    let done = world
        .import(&staff, whole(), "sale_id,sale_date,amount\nS-5,2026-01-01,0.02\n")
        .await
        .body;
    assert_eq!(figures(&done), [1, 0, 0, 0, 1, 0, 1]);
}
