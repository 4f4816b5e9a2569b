//! Reverts of uploads: each event that an upload appended is compensated once, newest first, and never over a later fact.

use annals_import::{RevertOutcome, Reverter};
use serde_json::{Value, json};
use tests::{Answer, Person, World};

mod again;
mod killed;
mod large;
mod left;
mod refused;

/// A file of these sales with ids.
fn rows(ids: std::ops::Range<usize>) -> String {
    let rows = ids.map(|row| format!("S-{row},2026-01-31,{row}.25,Table\n"));
    "sale_id,sale_date,amount,product\n".to_owned() + &rows.collect::<String>()
}

/// Uploads a file of sales in the small way; returns the upload's id.
async fn uploaded(world: &World, person: &Person, file: &str) -> String {
    let answer = world.upload_sales(person, &[], file).await.expect(200).body;
    answer["upload_id"].as_str().unwrap().to_owned()
}

async fn revert(world: &World, person: &Person, upload: &str) -> Answer {
    let path = format!("/data/uploads/{upload}/revert");
    world.post(person, &path, json!({"reason": "the wrong month"})).await
}

async fn dry_run(world: &World, person: &Person, upload: &str) -> Answer {
    let path = format!("/data/uploads/{upload}/revert?dry_run=true");
    world.post(person, &path, json!({})).await
}

async fn status(world: &World, person: &Person, upload: &str) -> Answer {
    world.get(person, &format!("/data/uploads/{upload}")).await
}

fn reverter(world: &World) -> Reverter {
    let appends = annals_append::AppendService::new(world.app.store.clone(), world.app.queue.clone());
    Reverter::new(world.app.store.clone(), appends)
}

/// Total, compensated and left events.
fn counts(revert: &Value) -> [i64; 3] {
    ["events_total", "events_compensated", "events_left"].map(|name| revert[name].as_i64().unwrap())
}

async fn scalar(world: &World, sql: &str) -> i64 {
    world.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
}

async fn is_deleted(world: &World, person: &Person, sale: &str) -> bool {
    let sale = world
        .get(person, &format!("/entities/sale/{sale}"))
        .await
        .expect(200)
        .body;
    sale["deleted"].as_bool().unwrap()
}

/// The events of the import's own stream, in order.
async fn story(world: &World, upload: &str) -> Vec<String> {
    let sql = "select event_type from annals.events where aggregate_type = 'import' and aggregate_id = $1 order by aggregate_version";
    let rows = world.superuser().await.query(sql, &[&upload]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Each event of the upload has one compensation, or none if it was left alone, and no compensation came after a fact from elsewhere.
async fn assert_compensated(world: &World, upload: &str, [total, compensated, left]: [i64; 3]) {
    let sql = "with appended as (
                   select e.*, (select count(*) from annals.events c
                                 where c.causation_id = e.id and c.command_id = 'revert-' || $1 and c.correlation_id = $1) as times,
                          exists (select from annals.events_left_alone l where l.upload_id = $1::text::uuid and l.event_id = e.id) as is_left
                     from annals.events e where e.correlation_id = $1 and e.source = 'csv' and e.aggregate_type <> 'import' and e.causation_id is null)
               select count(*), count(*) filter (where times = 1 and not is_left), count(*) filter (where times = 0 and is_left),
                      count(*) filter (where exists (
                          select from annals.events c join annals.events f
                              on f.aggregate_type = c.aggregate_type and f.aggregate_id = c.aggregate_id
                             and f.aggregate_version > a.aggregate_version and f.aggregate_version < c.aggregate_version
                           where c.causation_id = a.id and c.command_id = 'revert-' || $1))
                 from appended a";
    let row = world.superuser().await.query_one(sql, &[&upload]).await.unwrap();
    let found: [i64; 4] = [0, 1, 2, 3].map(|place| row.get(place));
    assert_eq!(found, [total, compensated, left, 0], "{upload}");
}

#[tokio::test]
async fn a_revert_compensates_each_event_of_an_upload_newest_first() {
    let (world, staff) = (World::new().await, Person::staff());
    let kept = uploaded(&world, &staff, &rows(100..110)).await;
    let upload = uploaded(&world, &staff, &rows(0..30)).await;
    let answer = revert(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(
        (&answer["status"], &answer["dataset"]),
        (&json!("reverted"), &json!("sales"))
    );
    assert_eq!(counts(&answer["revert"]), [30, 30, 0]);
    assert_eq!(answer["revert"]["reason"], "the wrong month");
    assert_eq!(answer["revert"]["requested_by"], json!(staff.actor()));
    assert_eq!(answer["revert"]["left_alone"], json!([]));
    assert_compensated(&world, &upload, [30, 30, 0]).await;

    let shown = status(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(shown["status"], "reverted");
    assert_eq!(
        (&shown["rows_accepted"], &shown["revert"]),
        (&json!(30), &answer["revert"])
    );
    assert_eq!(
        status(&world, &staff, &kept).await.expect(200).body["revert"],
        Value::Null
    );
    assert_eq!(
        story(&world, &upload).await,
        ["import.revert_requested", "import.revert_completed"]
    );

    let appended = world
        .all_pages(
            &staff,
            &format!("/events?correlation_id={upload}&event_type=sale.created&order=asc"),
        )
        .await;
    let inverses = world
        .all_pages(&staff, &format!("/events?command_id=revert-{upload}&order=asc"))
        .await;
    let causes: Vec<&Value> = inverses.iter().map(|event| &event["causation_id"]).collect();
    let newest_first: Vec<&Value> = appended.iter().rev().map(|event| &event["id"]).collect();
    assert_eq!(causes, newest_first);
    for inverse in &inverses {
        assert_eq!(inverse["event_type"], "sale.deleted");
        assert_eq!(
            (
                &inverse["metadata"]["reason"],
                &inverse["data"]["reason"],
                &inverse["created_by"]
            ),
            (
                &json!("the wrong month"),
                &json!("the wrong month"),
                &json!(staff.actor())
            )
        );
    }
    assert!(is_deleted(&world, &staff, "S-3").await);
    assert!(!is_deleted(&world, &staff, "S-100").await);

    world.project().await;
    assert_eq!(
        scalar(&world, "select count(*) from public.sales where deleted_at is null").await,
        10
    );
    let sql = "select count(*) from public.imports where status = 'reverted' and events_compensated = 30 and events_left = 0 and dataset = 'sales'";
    assert_eq!(scalar(&world, sql).await, 1);
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn key_figures_follow_a_revert_and_the_same_file_sent_again() {
    let (world, staff) = (World::new().await, Person::staff());
    let days = "from=2026-01-01&to=2026-02-01&granularity=month";
    uploaded(&world, &staff, &rows(1_000..1_002)).await;
    world.sweep().await;
    let before = world.kpis(days).await;
    let upload = uploaded(&world, &staff, &rows(0..25)).await;
    world.sweep().await;
    let with = world.kpis(days).await;
    assert_ne!(with["items"], before["items"]);
    revert(&world, &staff, &upload).await.expect(200);
    world.sweep().await;
    assert_eq!(world.kpis(days).await["items"], before["items"]);
    world.assert_kpis_are_the_events().await;
    uploaded(&world, &staff, &rows(0..25)).await;
    world.sweep().await;
    assert_eq!(world.kpis(days).await["items"], with["items"]);
    world.assert_kpis_are_the_events().await;
}

#[tokio::test]
async fn changes_are_undone_to_the_values_from_before_the_upload() {
    let (world, staff) = (World::new().await, Person::staff());
    uploaded(&world, &staff, &rows(0..10)).await;
    let changed = rows(0..15).replace("Table", "Chair");
    let upload = world.upload_sales(&staff, &[], &changed).await.expect(200).body;
    assert_eq!(
        (&upload["rows_updated"], &upload["rows_accepted"]),
        (&json!(10), &json!(5))
    );
    let upload = upload["upload_id"].as_str().unwrap();
    let answer = revert(&world, &staff, upload).await.expect(200).body;
    assert_eq!(counts(&answer["revert"]), [15, 15, 0]);
    assert_compensated(&world, upload, [15, 15, 0]).await;
    for row in 0..10 {
        let sale = world
            .get(&staff, &format!("/entities/sale/S-{row}"))
            .await
            .expect(200)
            .body;
        assert_eq!(
            (&sale["state"]["product"], &sale["version"]),
            (&json!("Table"), &json!(3))
        );
    }
    assert!(is_deleted(&world, &staff, "S-12").await);
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn customers_and_expenses_are_reverted_like_sales() {
    let (world, staff) = (World::new().await, Person::staff());
    for (dataset, file, kind) in [
        (
            "customers",
            "customer_id,name,email\nC-1,Ada,ada@example.com\nC-2,Bob,\n",
            "customer",
        ),
        (
            "expenses",
            "expense_id,expense_date,amount\nE-1,2026-01-31,1.00\nE-2,2026-01-31,2.00\n",
            "expense",
        ),
    ] {
        let upload = world.upload_file(&staff, dataset, &[], file).await.expect(200).body;
        let answer = revert(&world, &staff, upload["upload_id"].as_str().unwrap())
            .await
            .expect(200)
            .body;
        assert_eq!(counts(&answer["revert"]), [2, 2, 0], "{dataset}");
        let sql = format!("select count(*) from annals.events where event_type = '{kind}.deleted'");
        assert_eq!(scalar(&world, &sql).await, 2);
    }
}

#[tokio::test]
async fn a_second_revert_changes_nothing_and_says_so() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..5)).await;
    revert(&world, &staff, &upload).await.expect(200);
    let before = world.log().await;
    for answer in [
        revert(&world, &staff, &upload).await,
        dry_run(&world, &staff, &upload).await,
    ] {
        assert_eq!(answer.problem(409), "already_reverted");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("5 events were compensated") && detail.contains("changed nothing"),
            "{detail}"
        );
    }
    assert_eq!(world.log().await, before);
    assert_eq!(world.rows_of("annals.reverts").await.len(), 1);
}

#[tokio::test]
async fn a_dry_run_tells_what_a_revert_would_do_and_changes_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..20)).await;
    world
        .patch(&staff, "/entities/sale/S-4", json!({"product": "Lamp"}))
        .await
        .expect(200);
    world.take_wake_ups().await;
    let before = world.log().await;
    let told = dry_run(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(
        (&told["status"], &told["revert"]["dry_run"]),
        (&json!("completed"), &json!(true))
    );
    assert_eq!(counts(&told["revert"]), [20, 19, 1]);
    assert_eq!(world.log().await, before);
    assert!(world.take_wake_ups().await.is_empty());
    assert!(world.rows_of("annals.reverts").await.is_empty());
    assert_eq!(status(&world, &staff, &upload).await.body["status"], "completed");
    let done = revert(&world, &staff, &upload).await.expect(200).body;
    for name in ["events_compensated", "events_left", "left_by_code", "left_alone"] {
        assert_eq!(done["revert"][name], told["revert"][name], "{name}");
    }
}

#[tokio::test]
async fn several_requests_at_the_same_time_make_one_revert() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..900)).await;
    let one = || revert(&world, &staff, &upload);
    let answers = tokio::join!(one(), one(), one(), one());
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert!([200, 202, 409].contains(&answer.status), "{}", answer.body);
    }
    world.importer().import_due(None).await.unwrap();
    let shown = status(&world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&shown["revert"]), [900, 900, 0]);
    assert_compensated(&world, &upload, [900, 900, 0]).await;
    assert_eq!(
        story(&world, &upload).await,
        ["import.revert_requested", "import.revert_completed"]
    );
    assert_eq!(
        reverter(&world).run(upload.parse().unwrap(), None).await.unwrap(),
        RevertOutcome::NotAcquired
    );
}
