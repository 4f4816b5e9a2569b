//! Traces: subsegments of sampled requests in the format of X-Ray's daemon, and the header that links the projector's work to the
//! request's.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_telemetry::{Ids, within};
use axum::extract::State;
use axum::{Json, Router};
use local::engine::App;
use serde_json::{Value, json};
use tests::{Captured, Person, World, sqs_at};
use tokio::net::TcpListener;

use super::{TRACE, correlated};

/// The datagrams that have arrived at the daemon. On the loopback interface they are there when `send` returns.
fn arrived(daemon: &UdpSocket) -> Vec<Value> {
    daemon.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 64 * 1024];
    std::iter::from_fn(|| {
        let length = daemon.recv(&mut buffer).ok()?;
        let (header, document) = std::str::from_utf8(&buffer[..length])
            .unwrap()
            .split_once('\n')
            .unwrap();
        assert_eq!(header, r#"{"format": "json", "version": 1}"#);
        Some(serde_json::from_str(document).unwrap())
    })
    .collect()
}

async fn append(world: &World, trace: &str) {
    let staff = Person::staff();
    let request = axum::http::Request::post("/api/v1/events")
        .header("authorization", format!("Bearer {}", staff.token()))
        .header("content-type", "application/json")
        .header("x-amzn-trace-id", trace)
        .body(correlated("A", None).to_string().into());
    world.send(request.unwrap()).await.expect(201);
}

#[tokio::test]
async fn a_sampled_request_sends_its_waits_to_xray() {
    let world = World::new().await;
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let printed = Captured::traced(daemon.local_addr().unwrap());
    append(&world, TRACE).await;
    let segments = arrived(&daemon);
    let statements: Vec<&str> = segments
        .iter()
        .filter_map(|s| s["sql"]["sanitized_query"].as_str())
        .collect();
    assert_eq!(statements.last(), Some(&"append_event"), "{segments:?}");
    for segment in &segments {
        let [id, start, end] = ["id", "start_time", "end_time"].map(|member| &segment[member]);
        assert!(
            id.as_str()
                .is_some_and(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())),
            "{segment}"
        );
        assert!(
            end.as_f64() >= start.as_f64() && start.as_f64() > Some(1.7e9),
            "{segment}"
        );
        let expected = json!({"type": "subsegment", "name": "PostgreSQL", "namespace": "remote", "fault": false,
            "trace_id": "1-67891233-abcdef012345678912345678", "parent_id": "53995c3f42cd8ad8",
            "sql": {"database_type": "PostgreSQL", "sanitized_query": segment["sql"]["sanitized_query"]},
            "id": id, "start_time": start, "end_time": end});
        assert_eq!(*segment, expected);
    }
    assert!(!printed.text().contains("sanitized_query"), "traces are not log lines");
}

#[tokio::test]
async fn requests_that_are_not_sampled_send_nothing() {
    let world = World::new().await;
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _printed = Captured::traced(daemon.local_addr().unwrap());
    for header in [
        &TRACE.replace("Sampled=1", "Sampled=0"),
        "Root=1-67891233-abcdef012345678912345678",
        "Root=x;Parent=53995c3f42cd8ad8;Sampled=1",
        "Sampled=1",
        "made up",
    ] {
        let ids = Ids {
            trace: Some(header.to_owned()),
            ..Ids::default()
        };
        within(ids, async { world.app.store.ping().await.unwrap() }).await;
    }
    assert_eq!(arrived(&daemon), Vec::<Value>::new());
}

#[tokio::test]
async fn the_projectors_writes_are_traced_as_well() {
    let (world, staff) = (World::new().await, Person::staff());
    world.post(&staff, "/events", correlated("A", None)).await.expect(201);
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _printed = Captured::traced(daemon.local_addr().unwrap());
    let ids = Ids {
        trace: Some(TRACE.to_owned()),
        ..Ids::default()
    };
    within(ids, world.project()).await;
    let segments = arrived(&daemon);
    assert!(
        segments
            .iter()
            .any(|s| s["sql"]["sanitized_query"] == "write_projection"),
        "{segments:?}"
    );
}

type Requests = Arc<Mutex<Vec<Value>>>;

async fn take(State(requests): State<Requests>, request: String) -> Json<Value> {
    requests.lock().unwrap().push(serde_json::from_str(&request).unwrap());
    Json(json!({"MessageId": "1"}))
}

/// The world's functions with a queue that speaks SQS's protocol, and the messages that it gets.
async fn with_sqs(mut world: World) -> (World, Requests) {
    let requests = Requests::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(take).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let queue = sqs_at(port);
    world.router = local::engine::router(App {
        queue,
        ..world.app.clone()
    });
    (world, requests)
}

#[tokio::test]
async fn a_wake_up_carries_the_requests_ids_as_attributes() {
    let (world, requests) = with_sqs(World::new().await).await;
    let staff = Person::staff();
    let headers = [("x-request-id", "r-1"), ("x-amzn-trace-id", TRACE)];
    let event = correlated("A", Some("order-7"));
    world
        .request(axum::http::Method::POST, &staff, "/events", &headers, Some(event))
        .await
        .expect(201);
    let requests = requests.lock().unwrap();
    let [request] = &requests[..] else {
        panic!("{requests:?}")
    };
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    assert_eq!(
        request["MessageBody"], r#"{"streams":[["00000000-0000-0000-0000-000000000000","product","A"]]}"#,
        "the format that earlier projectors read"
    );
    assert_eq!(
        request["MessageAttributes"],
        json!({"request_id": text("r-1"), "correlation_id": text("order-7")})
    );
    assert_eq!(
        request["MessageSystemAttributes"],
        json!({"AWSTraceHeader": text(TRACE)})
    );
}
