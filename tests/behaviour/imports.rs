//! Large files: every row becomes one event, at whatever point the importer ends, and the status shows the progress.

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Asked, Person, World};

mod bucket;
mod ends;
mod files;
mod killed;
mod taken;
mod together;
mod whole;

const FIGURES: [&str; 7] = [
    "rows_total",
    "rows_accepted",
    "rows_rejected",
    "rows_duplicate",
    "rows_updated",
    "rows_rounded",
    "events_appended",
];

/// The counts of an upload: rows in total, accepted, rejected, duplicate, updated, rounded; and events.
fn figures(body: &Value) -> [i64; 7] {
    FIGURES.map(|name| body[name].as_i64().unwrap_or_else(|| panic!("no {name} in {body}")))
}

fn sales() -> Value {
    json!({"dataset": "sales"})
}

/// A file of this many sales with ids. Every hundredth amount has fractions of a cent, and every thousandth row has no date.
fn file(rows: usize) -> String {
    let mut file = "sale_id,sale_date,amount,product\n".to_owned();
    for row in 1..=rows {
        let date = if row % 1_000 == 999 { "" } else { "2026-01-31" };
        let fraction = if row % 100 == 0 { "5" } else { "" };
        file += &format!("S-{row},{date},{}.25{fraction},\"Table, round\"\n", row % 700);
    }
    file
}

async fn scalar(world: &World, sql: &str) -> i64 {
    world.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
}

async fn sales_events(world: &World) -> i64 {
    scalar(
        world,
        "select count(*) from annals.events where aggregate_type = 'sale'",
    )
    .await
}

/// The events of the import's own stream, in order.
async fn story(world: &World, asked: &Asked) -> Vec<String> {
    let sql = "select event_type from annals.events where aggregate_type = 'import' and aggregate_id = $1 order by aggregate_version";
    let rows = world
        .superuser()
        .await
        .query(sql, &[&asked.id.to_string()])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_large_upload_is_requested_sent_and_imported_and_its_status_shows_the_progress() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world
        .ask_for_upload(&staff, json!({"dataset": "sales", "currency": "EUR", "max_errors": 2}))
        .await;
    let waiting = world.upload(&staff, &asked).await.expect(202).body;
    assert_eq!(
        (&waiting["status"], &waiting["rows_total"]),
        (&json!("waiting"), &json!(0))
    );
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Waits
    );

    world.put_file(&asked, file(5_000)).await;
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&done), [5_000, 4_995, 5, 0, 0, 50, 4_995]);
    assert_eq!(done["status"], "completed");
    assert_eq!(done["rows_found"], 5_000);
    assert!(done["rows_per_second"].as_i64().unwrap() > 0, "{done}");
    assert_eq!(done["estimated_end"], Value::Null);
    let places: Vec<_> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (&e["row"], &e["line"], &e["code"]))
        .collect();
    assert_eq!(
        places,
        [
            (&json!(999), &json!(1_000), &json!("required")),
            (&json!(1_999), &json!(2_000), &json!("required"))
        ]
    );
    assert_eq!(
        (&done["errors_truncated"], &done["rows_reported"]),
        (&json!(true), &json!(2))
    );
    let report = world
        .get(&staff, &format!("/data/uploads/{}/errors", asked.id))
        .await
        .expect(200);
    assert_eq!(report.items().len(), 2);
    assert_eq!(
        story(&world, &asked).await,
        ["import.requested", "import.started", "import.completed"]
    );

    world.project().await;
    let state = world
        .get(&staff, &format!("/entities/import/{}", asked.id))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&state["state"]["status"], &state["state"]["rows_accepted"]),
        (&json!("completed"), &json!(4_995))
    );
    let sql = "select count(*) from public.sales where currency = 'EUR'";
    assert_eq!(scalar(&world, sql).await, 4_995);
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn the_same_file_again_appends_nothing_and_a_changed_one_what_has_changed() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = world.import(&staff, sales(), file(3_000)).await.body;
    assert_eq!(figures(&first), [3_000, 2_997, 3, 0, 0, 30, 2_997]);
    let again = world.import(&staff, sales(), file(3_000)).await.body;
    assert_eq!(figures(&again), [3_000, 0, 3, 2_997, 0, 30, 0]);
    assert_eq!(first["file_sha256"], again["file_sha256"]);
    let changed = file(3_500).replace("S-7,2026-01-31", "S-7,2026-02-28");
    let third = world.import(&staff, sales(), changed).await.body;
    assert_eq!(figures(&third), [3_500, 500, 3, 2_996, 1, 35, 501]);
    assert_ne!(first["file_sha256"], third["file_sha256"]);
}

/// A large upload of a file has the same result as a small one.
#[tokio::test]
async fn large_and_small_uploads_have_the_same_result() {
    let (large, small, staff) = (World::new().await, World::new().await, Person::staff());
    let file = format!("{}broken,2026-01-31\nS-1,2026-01-31,1.00,Table\n", file(2_500));
    let one = large.import(&staff, sales(), &file).await.body;
    let other = small.upload_sales(&staff, &[], &file).await.expect(200).body;
    assert_eq!(figures(&one), figures(&other));
    assert_eq!(one["errors"], other["errors"]);
    let sql = "select md5(string_agg(aggregate_id || aggregate_version || event_type || data::text || case when aggregate_version = 1 then \"timestamp\"::text else '' end, ' ' order by aggregate_id, aggregate_version))
                 from annals.events where aggregate_type = 'sale'";
    let digest = async |world: &World| -> String { world.superuser().await.query_one(sql, &[]).await.unwrap().get(0) };
    assert_eq!(digest(&large).await, digest(&small).await);
}

/// Rows of one entity keep the order of the file, in any number of partitions: the first is accepted, later ones with other values are rejected.
#[tokio::test]
async fn the_first_row_of_an_entity_counts_and_later_ones_that_differ_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = |first: usize| {
        let mut file = "sale_id,sale_date,amount\n".to_owned();
        for round in 0..60 {
            for id in 1..=50 {
                // Every third round repeats the values of the first.
                let amount = if round % 3 == 0 { first } else { first + round };
                file += &format!("S-{id},2026-01-31,{amount}.{id:02}\n");
            }
        }
        file
    };
    let done = world.import(&staff, sales(), file(100)).await.body;
    assert_eq!(figures(&done), [3_000, 50, 2_000, 950, 0, 0, 50]);
    assert_eq!(done["errors"][0]["code"], "repeated_id");
    let again = world.import(&staff, sales(), file(100)).await.body;
    assert_eq!(figures(&again), [3_000, 0, 2_000, 1_000, 0, 0, 0]);
    let changed = world.import(&staff, sales(), file(200)).await.body;
    assert_eq!(figures(&changed), [3_000, 0, 2_000, 950, 50, 0, 50]);
    world.project().await;
    let sql = "select count(*) from public.sales where amount_cents = 20000 + substr(id, 3)::int and version = 2";
    assert_eq!(scalar(&world, sql).await, 50);
    world.importer().import_due(None).await.unwrap();
    assert_eq!(scalar(&world, "select count(*) from annals.import_contents").await, 0);
}

#[tokio::test]
async fn equal_rows_without_ids_are_distinguished_by_their_occurrence() {
    let (world, staff) = (World::new().await, Person::staff());
    let rows = |rows: usize| {
        let rows = (0..rows).map(|row| format!("2026-01-31,{}.00,Table\n", row % 7));
        "sale_date,amount,product\n".to_owned() + &rows.collect::<String>()
    };
    let first = world.import(&staff, sales(), rows(6_000)).await.body;
    assert_eq!(figures(&first), [6_000, 6_000, 0, 0, 0, 0, 6_000]);
    let again = world.import(&staff, sales(), rows(6_007)).await.body;
    assert_eq!(figures(&again), [6_007, 7, 0, 6_000, 0, 0, 7]);
    world.importer().import_due(None).await.unwrap();
    assert_eq!(scalar(&world, "select count(*) from annals.import_contents").await, 0);
}

/// Wake-ups name many streams each: a million rows are hundreds of messages.
#[tokio::test]
async fn wake_ups_are_few() {
    let (world, staff) = (World::new().await, Person::staff());
    world.import(&staff, sales(), file(12_000)).await;
    let wake_ups = world.take_wake_ups().await;
    assert!(wake_ups.len() <= 12, "{}", wake_ups.len());
    assert!(world.deliver(wake_ups).await.is_empty());
    assert_eq!(scalar(&world, "select count(*) from public.sales").await, 11_988);
}

#[tokio::test]
async fn an_import_continues_where_its_time_was_over() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, file(12_000)).await;
    let (mut times, mut last) = (0, 0);
    loop {
        let outcome = world.import_a_little(&asked).await.unwrap();
        times += 1;
        let so_far = world.upload(&staff, &asked).await.body;
        let total = so_far["rows_total"].as_i64().unwrap();
        assert_eq!(total, figures(&so_far)[1..5].iter().sum::<i64>());
        if outcome == ImportOutcome::Ended {
            break;
        }
        assert_eq!((outcome, &so_far["status"]), (ImportOutcome::GoesOn, &json!("running")));
        assert!(total > last && so_far["rows_per_second"].as_i64().is_some(), "{so_far}");
        assert!(
            so_far["estimated_end"].as_str() >= so_far["started_at"].as_str(),
            "{so_far}"
        );
        last = total;
    }
    assert!(times > 3, "{times}");
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&done), [12_000, 11_988, 12, 0, 0, 120, 11_988]);
    assert_eq!(
        story(&world, &asked).await,
        ["import.requested", "import.started", "import.completed"]
    );
}
