//! The complete local server is killed in the middle of projecting and started again: nothing is lost, half done or duplicated. The state
//! tables are read directly, because readers of the API fold events that are not projected yet.

use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tests::{DataDir, Local, PATIENCE};
use tokio_postgres::Client;

/// The number of rows in the sales file that this case is about.
const SALES: usize = 9_994;
const BATCH: usize = 500;

/// The amount of sale number `n`. Amounts have both signs and differ, so a wrong set of sales has a wrong sum.
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

/// Waits until the query returns at least `wanted`.
async fn until(client: &Client, query: &str, wanted: i64) {
    let started = Instant::now();
    while number(client, query).await < wanted {
        assert!(started.elapsed() < PATIENCE, "{query} did not reach {wanted}");
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
async fn tables_are_exact_after_a_kill_in_the_middle_of_9994_sales_and_a_restart() {
    let data_dir = DataDir::fresh();
    let http = Http::new();
    let mut first = Local::start(&data_dir.0);
    let mut database = data_dir.database().await;

    // To be sure to kill it in the middle: some sales are projected, and then the table is locked. The projector waits inside a transaction that
    // has written states and not yet the rows, while the rest of the sales is posted and acknowledged.
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

    // PostgreSQL still runs, without the server. What was half done must be rolled back, and some work must be left.
    until(
        &watcher,
        "select (count(*) = 0)::int::bigint from pg_stat_activity where application_name = 'annals'",
        1,
    )
    .await;
    let projected = number(&watcher, PROJECTED).await;
    assert!(
        (1..9_994).contains(&projected),
        "{projected} were projected, so it was not killed in the middle"
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

    // A client does not know what was stored before the crash and sends a batch again; this changes nothing. Keys belong to their actor, so
    // the first run's token is used. The second run accepts it, because the secret is in the data folder.
    second.token.clone_from(&first.token);
    post(&second, &http, 0..BATCH, 200).await;
    assert_exact(&watcher).await;

    drop(watcher);
    assert!(second.stop(), "the server exits with success");
    assert!(data_dir.postmaster().is_none(), "PostgreSQL has stopped with it");
}

/// Checks that every sale is stored once with its own amount, and every state too.
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
