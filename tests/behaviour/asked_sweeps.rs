//! Where schedules come seldom, so that a database may sleep while nobody uses it, whoever appends asks for the sweep that follows.

use std::sync::{Arc, Mutex};

use annals::App;
use annals::queue::{Queue, Sweeps};
use axum::extract::State;
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::{Person, World, sqs_at};
use tokio::net::TcpListener;

type Requests = Arc<Mutex<Vec<Value>>>;

async fn take(State(requests): State<Requests>, body: String) -> Json<Value> {
    requests.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    Json(json!({"MessageId": "m"}))
}

/// A world with a queue that speaks SQS' protocol, and what it is sent.
async fn world_with(sweeps_by: Sweeps) -> (World, Requests) {
    let requests = Requests::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(take).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let Queue::Sqs { client, url, .. } = sqs_at(port) else {
        unreachable!("it is an SQS queue")
    };
    let mut world = World::new().await;
    world.router = local::engine::router(App {
        queue: Queue::Sqs {
            client,
            url,
            sweeps: sweeps_by,
        },
        ..world.app.clone()
    });
    (world, requests)
}

#[tokio::test]
async fn events_of_a_minute_ask_once_for_a_sweep_that_comes_after_them() {
    let (world, requests) = world_with(Sweeps::by_wake_ups()).await;
    let mut last = Value::Null;
    for n in 0..3 {
        let id = format!("C-{n}");
        last = world
            .append(&Person::staff(), "customer.created", &id, json!({"name": "Ada"}))
            .await;
    }
    let sent: Vec<Value> = requests.lock().unwrap().drain(..).collect();
    let (sweeps, wake_ups): (Vec<Value>, Vec<Value>) = sent
        .into_iter()
        .partition(|message| message["MessageBody"] == r#"{"sweep":{}}"#);
    assert_eq!(wake_ups.len(), 3);
    assert!(
        wake_ups.iter().all(|message| message.get("DelaySeconds").is_none()),
        "{wake_ups:?}"
    );
    let [sweep] = &sweeps[..] else { panic!("{sweeps:?}") };
    assert_eq!(sweep["DelaySeconds"], 60);
    // What was sent is what the projector reads.
    let failed = world
        .deliver(vec![sweep["MessageBody"].as_str().unwrap().to_owned()])
        .await;
    assert!(failed.is_empty(), "{failed:?}");
    let status = world.get(&Person::staff(), "/projector/status").await.expect(200).body;
    let expected = (&json!(0), &last["event_number"]);
    assert_eq!((&status["lag_events"], &status["sweep_position"]), expected, "{status}");
}

#[tokio::test]
async fn where_the_clock_asks_each_minute_nobody_else_does() {
    let (world, requests) = world_with(Sweeps::Scheduled).await;
    world
        .append(&Person::staff(), "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    assert_eq!(requests.lock().unwrap().len(), 1, "the wake-up");
}
