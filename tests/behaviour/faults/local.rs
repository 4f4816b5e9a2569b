//! `cargo run` supervises its private PostgreSQL: if the server is killed, it is started again.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tests::{DataDir, Local, PATIENCE};

use super::{meant_once, phone};

fn created(place: u8) -> Value {
    meant_once("customer.created", &format!("C-{place}"), json!({"name": "Ada"}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_private_postgres_is_restarted() {
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
        assert!(began.elapsed() < PATIENCE, "PostgreSQL is not started again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(data_dir.postmaster().unwrap()[3], killed[3], "on the same port");
    local.post(&http, "/events", &json!({"events": events}), 200).await;
    local.post(&http, "/events", &phone("C-0"), 201).await;
    let log = data_dir.database().await;
    let count = "select count(*) from annals.events";
    assert_eq!(log.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 4);
    drop(log);
    assert!(local.stop(), "the server exits with success");
    assert!(data_dir.postmaster().is_none());
}
