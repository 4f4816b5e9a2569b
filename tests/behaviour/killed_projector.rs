//! The whole thing, as people run it, killed in the middle of projecting and started again: nothing is lost, nothing is half
//! done, nothing is doubled. The state tables are read directly, past every reader that folds the tail.

use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tests::{DataDir, Local};
use tokio_postgres::Client;

/// As many as the sales file of the issue has.
const SALES: usize = 9_994;
const BATCH: usize = 500;
/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sale number `n`: amounts of both signs, none like another, so that a sum that is right is right.
fn cents(n: usize) -> i64 {
    let n = i64::try_from(n).unwrap();
    n * n * 7 - 3_000_000 * (n % 3) + 13
}

fn sale(n: usize) -> Value {
    json!({"event_type": "sale.created", "aggregate_type": "sale", "aggregate_id": format!("S-{n}"), "idempotency_key": format!("sale-{n}"),
           "data": {"sale_date": "2018-11-08", "amount_cents": cents(n), "currency": "USD", "product": format!("No. {n}")}})
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until the query gives at least this.
async fn until(client: &Client, query: &str, wanted: i64) {
    let started = Instant::now();
    while number(client, query).await < wanted {
        assert!(started.elapsed() < PATIENCE, "{query} did not come to {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn post(local: &Local, http: &Http, numbers: std::ops::Range<usize>, expected: u16) {
    let events: Vec<Value> = numbers.map(sale).collect();
    local.post(http, "/events", &json!({"events": events}), expected).await;
}

const PROJECTED: &str = "select count(*) from annals.heads where projected_version = version";
const ROWS: &str = "select count(*) from public.sales";
const STATES: &str = "select count(*) from annals.entities";
const AT_THE_LOCK: &str = "select count(*) from pg_locks where relation = 'public.sales'::regclass and not granted";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_9994_sales_and_started_again_the_tables_are_exact() {
    let data_dir = DataDir::fresh();
    let http = Http::new();
    let mut first = Local::start(&data_dir.0);
    let mut database = data_dir.database().await;

    // The middle, made certain: some sales are projected, then the table is held, so that the projector is inside a
    // transaction with states written and rows not yet, while the rest of the sales comes in and is acknowledged.
    post(&first, &http, 0..BATCH, 201).await;
    until(&database, ROWS, 1).await;
    let watcher = data_dir.database().await;
    let held = database.transaction().await.unwrap();
    held.batch_execute("lock table public.sales in exclusive mode")
        .await
        .unwrap();
    for begin in (BATCH..SALES).step_by(BATCH) {
        post(&first, &http, begin..SALES.min(begin + BATCH), 201).await;
    }
    until(&watcher, AT_THE_LOCK, 1).await;
    first.kill();
    held.rollback().await.unwrap();

    // The server is still there, without anybody to work: what is half done must be undone, and some must be left to do.
    until(
        &watcher,
        "select (count(*) = 0)::int::bigint from pg_stat_activity where application_name = 'annals'",
        1,
    )
    .await;
    let projected = number(&watcher, PROJECTED).await;
    assert!(
        (1..9_994).contains(&projected),
        "{projected} were projected, which is not the middle"
    );
    assert_eq!(number(&watcher, ROWS).await, projected);
    assert_eq!(number(&watcher, STATES).await, projected);
    assert_eq!(number(&watcher, "select count(*) from annals.events").await, 9_994);

    let mut second = Local::start(&data_dir.0);
    let watcher = data_dir.database().await;
    until(&watcher, PROJECTED, 9_994).await;
    assert_exact(&watcher).await;
    let swept = "select (position = (select max(event_number) from annals.events))::int::bigint from annals.checkpoints where name = 'sweep'";
    until(&watcher, swept, 1).await;
    assert_eq!(
        number(&watcher, "select sum(events)::bigint from annals.event_counts").await,
        9_994
    );
    let status = second.get(&http, "/projector/status").await;
    assert_eq!(
        (&status["lag_events"], &status["parked_count"]),
        (&json!(0), &json!(0)),
        "{status}"
    );

    // What is sent again after a crash, because nobody knows how far it came, changes nothing. Keys belong to their actor,
    // so it is the first run's token, which the second one knows by the secret in the data folder.
    second.token.clone_from(&first.token);
    post(&second, &http, 0..BATCH, 200).await;
    assert_exact(&watcher).await;

    drop(watcher);
    assert!(second.stop(), "it ends in order");
    assert!(data_dir.postmaster().is_none(), "and the adopted server with it");
}

/// Every sale is there, once, with its own cents; and so is every state.
async fn assert_exact(client: &Client) {
    let rows = client
        .query("select id, amount_cents, version, product from public.sales", &[])
        .await
        .unwrap();
    let mut found: Vec<(String, i64, i32, String)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    found.sort();
    let mut expected: Vec<(String, i64, i32, String)> = (0..SALES)
        .map(|n| (format!("S-{n}"), cents(n), 1, format!("No. {n}")))
        .collect();
    expected.sort();
    assert!(found == expected, "{} rows", found.len());
    let sum: i64 = (0..SALES).map(cents).sum();
    assert_eq!(
        number(client, "select sum(amount_cents)::bigint from public.sales").await,
        sum
    );
    assert_eq!(
        number(
            client,
            "select sum((state ->> 'amount_cents')::bigint)::bigint from annals.entities"
        )
        .await,
        sum
    );
    assert_eq!(number(client, "select count(*) from annals.events").await, 9_994);
}
