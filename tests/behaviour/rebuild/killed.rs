//! A rebuild is killed in the middle: live read models are unchanged, what it left is found and removed, and it can be run again.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{DataDir, Local, World, annals_local};
use tokio_postgres::Client;

use super::concurrent_work::until_waited_for;
use super::{all_there_is, assert_no_shadow_is_left, everything, populate, rebuild};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_dropped_leaves_live_read_models_as_they_were_and_can_be_run_again() {
    let world = Arc::new(World::new().await);
    let (staff, _) = populate(&world).await;
    let right = all_there_is(&world).await;
    let superuser = world.superuser().await;
    superuser
        .batch_execute("update public.organizations set name = 'wrong'; delete from public.orders")
        .await
        .unwrap();
    let damaged = all_there_is(&world).await;
    let mut holder = world.superuser().await;
    // Before the lock, and in the middle of the exchange.
    for held_by in [
        "lock table annals_locks.read_models in row exclusive mode",
        "select from public.organizations for update",
    ] {
        let held = holder.transaction().await.unwrap();
        held.batch_execute(held_by).await.unwrap();
        let rebuilding = tokio::spawn({
            let world = Arc::clone(&world);
            async move { rebuild(&world, &everything()).await }
        });
        until_waited_for(
            &superuser,
            if held_by.starts_with("lock") {
                "annals_locks.read_models"
            } else {
                "public.organizations"
            },
        )
        .await;
        rebuilding.abort();
        assert!(rebuilding.await.unwrap_err().is_cancelled());
        held.rollback().await.unwrap();
        let started = Instant::now();
        while world.get(&staff, "/projector/status").await.expect(200).body["rebuilds"][0]["status"] != "abandoned" {
            assert!(started.elapsed() < Duration::from_secs(300));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(all_there_is(&world).await, damaged);
    }
    rebuild(&world, &everything()).await.unwrap();
    assert_eq!(all_there_is(&world).await, right);
    assert_no_shadow_is_left(&world).await;
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_rebuild_command_changes_nothing_and_the_next_run_repairs_what_verify_names() {
    let data_dir = DataDir::fresh();
    let http = reqwest::Client::new();
    let mut server = Local::start(&data_dir.0);
    let sale = |n: i32| {
        json!({"event_type": "sale.created", "aggregate_type": "sale", "aggregate_id": format!("S-{n}"),
                               "data": {"sale_date": "2018-11-08", "amount_cents": n, "currency": "USD"}})
    };
    let events: Vec<Value> = (0..400).map(sale).collect();
    server.post(&http, "/events", &json!({"events": events}), 201).await;
    let mut database = data_dir.database().await;
    let watcher = data_dir.database().await;
    let started = Instant::now();
    while number(&watcher, "select count(*) from public.sales").await < 400 {
        assert!(started.elapsed() < Duration::from_secs(300));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watcher
        .batch_execute("update public.sales set amount_cents = -1 where id in ('S-7', 'S-8')")
        .await
        .unwrap();

    let verify = || annals_local(&data_dir.0).arg("verify").output().unwrap();
    let found = verify();
    assert_eq!(found.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    // Key figures of that day also differ: revenue and refunds.
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0]["table"], "public.sales");
    assert_eq!(
        (&lines[0]["key"]["id"], &lines[0]["column"]),
        (&json!("S-7"), &json!("amount_cents"))
    );
    assert_eq!((&lines[0]["live"], &lines[0]["expected"]), (&json!("-1"), &json!("7")));

    let held = database.transaction().await.unwrap();
    held.batch_execute("select from public.sales where id = 'S-7' for update")
        .await
        .unwrap();
    let mut process = annals_local(&data_dir.0)
        .arg("rebuild")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until_waited_for(&watcher, "public.sales").await;
    process.kill().unwrap();
    process.wait().unwrap();
    held.rollback().await.unwrap();
    assert_eq!(
        number(&watcher, "select count(*) from public.sales where amount_cents = -1").await,
        2
    );

    // Immediately, while the server on the same folder continues to run.
    let rebuilt = annals_local(&data_dir.0)
        .args(["rebuild", "--module", "sale"])
        .output()
        .unwrap();
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    let line: Value = serde_json::from_slice(&rebuilt.stdout).unwrap();
    assert_eq!((&line["events"], &line["changed_rows"]), (&json!(400), &json!(2)));
    assert_eq!(
        number(&watcher, "select count(*) from public.sales where amount_cents = -1").await,
        0
    );
    let found = verify();
    assert!(
        found.status.success() && found.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let unknown = annals_local(&data_dir.0)
        .args(["rebuild", "--module", "unheard_of"])
        .output()
        .unwrap();
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("unheard_of"));
    let left = "select count(*) from pg_namespace where nspname like 'annals\\_rebuild\\_%'";
    assert_eq!(number(&watcher, left).await, 0);
    drop((watcher, database));
    assert!(server.stop());
}
