//! If the schedule runs less often than each minute, so that a database may pause, an append requests the next sweep, and a sweep that
//! leaves work requests another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_queue::{Queue, Sweeps};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use local::engine::App;
use projector::KpiSettings;
use serde_json::{Value, json};
use tests::{Person, World, sqs_at};
use tokio::net::TcpListener;

/// What a queue has received, and whether it refuses requests for sweeps.
#[derive(Default)]
struct Service {
    requests: Mutex<Vec<Value>>,
    refuses_sweeps: AtomicBool,
}

impl Service {
    /// What it has received since the last call: requests for sweeps, and other messages.
    fn taken(&self) -> (Vec<Value>, Vec<Value>) {
        let sent = std::mem::take(&mut *self.requests.lock().unwrap());
        sent.into_iter().partition(|message| message["MessageBody"] == SWEEP)
    }
}

const SWEEP: &str = r#"{"sweep":{}}"#;

async fn take(State(service): State<Arc<Service>>, body: String) -> (StatusCode, Json<Value>) {
    let message: Value = serde_json::from_str(&body).unwrap();
    if message["MessageBody"] == SWEEP && service.refuses_sweeps.load(Ordering::SeqCst) {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({"__type": "com.amazonaws.sqs#InvalidMessageContents"})),
        );
    }
    service.requests.lock().unwrap().push(message);
    (StatusCode::OK, Json(json!({"MessageId": "m"})))
}

/// A queue that speaks SQS's protocol.
async fn queue_with(sweeps: Sweeps) -> (Queue, Arc<Service>) {
    let service = Arc::<Service>::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(take).with_state(Arc::clone(&service));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let Queue::Sqs { client, url, .. } = sqs_at(port) else {
        unreachable!("it is an SQS queue")
    };
    (Queue::Sqs { client, url, sweeps }, service)
}

/// A world whose requests send to such a queue.
async fn world_with(sweeps: Sweeps) -> (World, Arc<Service>) {
    let (queue, service) = queue_with(sweeps).await;
    let mut world = World::new().await;
    world.router = local::engine::router(App {
        queue,
        ..world.app.clone()
    });
    (world, service)
}

#[tokio::test]
async fn events_of_one_minute_request_one_sweep_that_runs_after_them() {
    let (world, service) = world_with(Sweeps::by_wake_ups()).await;
    let mut last = Value::Null;
    for n in 0..3 {
        let id = format!("C-{n}");
        last = world
            .append(&Person::staff(), "customer.created", &id, json!({"name": "Ada"}))
            .await;
    }
    let (sweeps, wake_ups) = service.taken();
    assert_eq!(wake_ups.len(), 3);
    assert!(
        wake_ups.iter().all(|message| message.get("DelaySeconds").is_none()),
        "{wake_ups:?}"
    );
    let [sweep] = &sweeps[..] else { panic!("{sweeps:?}") };
    assert_eq!(sweep["DelaySeconds"], 60);
    // The projector can read the message that was sent.
    let failed = world
        .deliver(vec![sweep["MessageBody"].as_str().unwrap().to_owned()])
        .await;
    assert!(failed.is_empty(), "{failed:?}");
    let status = world.get(&Person::staff(), "/projector/status").await.expect(200).body;
    let expected = (&json!(0), &last["event_number"]);
    assert_eq!((&status["lag_events"], &status["sweep_position"]), expected, "{status}");
}

#[tokio::test]
async fn if_the_schedule_runs_each_minute_nothing_else_requests_a_sweep() {
    let (world, service) = world_with(Sweeps::Scheduled).await;
    world
        .append(&Person::staff(), "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    let (sweeps, wake_ups) = service.taken();
    assert_eq!((sweeps.len(), wake_ups.len()), (0, 1));
}

#[tokio::test]
async fn a_request_that_the_queue_refused_is_sent_with_the_next_event() {
    let (world, service) = world_with(Sweeps::by_wake_ups()).await;
    for (refused, expected) in [(true, 0), (false, 1)] {
        service.refuses_sweeps.store(refused, Ordering::SeqCst);
        let id = format!("refused-{refused}");
        world
            .append(&Person::staff(), "customer.created", &id, json!({"name": "Ada"}))
            .await;
        assert_eq!(service.taken().0.len(), expected);
    }
}

/// A bulk load records more changes of key figures than one sweep applies.
#[tokio::test]
async fn a_sweep_that_leaves_changes_of_key_figures_requests_the_next_sweep() {
    let world = World::new().await;
    for day in 1..=3 {
        let sale = json!({"sale_date": format!("2026-01-0{day}"), "amount_cents": 5, "currency": "USD"});
        world
            .append(&Person::staff(), "sale.created", &format!("S-{day}"), sale)
            .await;
    }
    world.project().await;
    let pace = KpiSettings {
        batch_size: 2,
        time_limit: Duration::ZERO,
        announce_delay: Duration::ZERO,
    };
    for expected in [1, 0] {
        let (queue, service) = queue_with(Sweeps::by_wake_ups()).await;
        let projector = world.projector.clone().with_kpi_settings(pace).with_queue(queue);
        projector.sweep().await.unwrap();
        assert_eq!(service.taken().0.len(), expected);
    }
}

#[tokio::test]
async fn a_sweep_that_an_open_append_holds_back_requests_the_next_sweep() {
    let world = World::new().await;
    let (queue, service) = queue_with(Sweeps::by_wake_ups()).await;
    let projector = world.projector.clone().with_queue(queue);
    let open = world.session_of(&Person::staff()).await;
    open.batch_execute("begin").await.unwrap();
    let event = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "Ada"}});
    let sql = "select public.post_event($1::text::jsonb)";
    open.query(sql, &[&event.to_string()]).await.unwrap();
    // The open append keeps the checkpoint from moving.
    projector.sweep().await.unwrap();
    let (sweeps, others) = service.taken();
    let [sweep] = &sweeps[..] else { panic!("{sweeps:?}") };
    assert_eq!((&sweep["DelaySeconds"], others.len()), (&json!(60), 0));

    open.batch_execute("commit").await.unwrap();
    let (queue, service) = queue_with(Sweeps::by_wake_ups()).await;
    world.projector.clone().with_queue(queue).sweep().await.unwrap();
    assert_eq!(service.taken().0.len(), 0, "no work is left");
}
