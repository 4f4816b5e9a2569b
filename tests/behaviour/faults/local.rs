//! `cargo run` is its private PostgreSQL's only keeper: where that is killed, it is started again.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tests::{DataDir, Local};

use super::{meant_once, phone};

/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn created(place: u8) -> Value {
    meant_once("customer.created", &format!("C-{place}"), json!({"name": "Ada"}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_postgres_that_is_killed_comes_back_without_a_hand() {
    let (data_dir, http) = (DataDir::fresh(), Http::new());
    let mut local = Local::start(&data_dir.0);
    let events: Vec<_> = (0..3).map(created).collect();
    local.post(&http, "/events", &json!({"events": events}), 201).await;
    let killed = data_dir.postmaster().unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &killed[0]])
            .status()
            .unwrap()
            .success()
    );

    let began = Instant::now();
    while data_dir
        .postmaster()
        .is_none_or(|now| now[0] == killed[0] || now.len() < 8 || now[7] != "ready")
    {
        assert!(began.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(data_dir.postmaster().unwrap()[3], killed[3], "where it was");
    local.post(&http, "/events", &json!({"events": events}), 200).await;
    local.post(&http, "/events", &phone("C-0"), 201).await;
    let log = data_dir.database().await;
    let count = "select count(*) from annals.events";
    assert_eq!(log.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 4);
    drop(log);
    assert!(local.stop(), "it ends in order");
    assert!(data_dir.postmaster().is_none());
}
