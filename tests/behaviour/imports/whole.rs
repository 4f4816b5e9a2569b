//! All or nothing, and dry runs.

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{figures, file, sales_events, scalar, story};

fn whole() -> Value {
    json!({"dataset": "sales", "mode": "all_or_nothing"})
}

#[tokio::test]
async fn a_row_that_is_refused_refuses_all() {
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
async fn without_one_all_are_appended_and_rows_see_those_before_them() {
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
async fn rows_without_ids_are_told_apart_there_too() {
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
async fn a_dry_run_says_what_would_become_of_rows_and_does_nothing() {
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
async fn without_time_to_end_it_begins_anew() {
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

/// To begin anew for ever would lead nowhere.
#[tokio::test]
async fn what_does_not_fit_into_one_invocation_is_said_to_be_too_slow() {
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

/// Nobody keeps the names of a million streams in mind; they are read back when all is committed.
#[tokio::test]
async fn streams_are_woken_when_all_is_committed() {
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

/// What is known of an entity is what others have made of it.
#[tokio::test]
async fn entities_that_others_have_started_are_changed_by_whoever_sees_them() {
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
