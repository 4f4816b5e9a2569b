//! `replay --queue` sends one message per event, in batches that SQS accepts, and repeats each message until SQS has accepted it. SQS is
//! played by a server that speaks its protocol and refuses what the test configures.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::{Person, World};
use tokio::net::TcpListener;

use super::command::{command, position, run, stderr_of};
use super::{assert_streams_in_order, customer};

/// What the queue has received.
#[derive(Default)]
struct Queue {
    taken: Vec<Value>,
    /// Number of messages and bytes of each request.
    requests: Vec<(usize, usize)>,
    met: HashSet<String>,
    /// One of so many new messages is refused the first time.
    leaves_one_of: Option<usize>,
    /// An aggregate whose messages are always refused.
    refuses: Option<&'static str>,
}

impl Queue {
    fn receive(&mut self, entries: &[Value]) -> Value {
        let bodies = entries.iter().map(|entry| entry["MessageBody"].as_str().unwrap());
        self.requests.push((entries.len(), bodies.map(str::len).sum()));
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            let (id, text) = (&entry["Id"], entry["MessageBody"].as_str().unwrap());
            let event: Value = serde_json::from_str(text).unwrap();
            let is_new = self.met.insert(event["id"].to_string());
            if self.refuses.is_some_and(|aggregate| event["aggregate_id"] == aggregate) {
                failed.push(json!({"Id": id, "SenderFault": true, "Code": "InvalidMessageContents"}));
            } else if is_new
                && self
                    .leaves_one_of
                    .is_some_and(|many| self.met.len().is_multiple_of(many))
            {
                failed.push(json!({"Id": id, "SenderFault": false, "Code": "InternalError"}));
            } else {
                self.taken.push(event);
                successful.push(json!({"Id": id, "MessageId": id, "MD5OfMessageBody": ""}));
            }
        }
        json!({"Successful": successful, "Failed": failed})
    }
}

type Shared = Arc<Mutex<Queue>>;

async fn answer(State(queue): State<Shared>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["x-amz-target"], "AmazonSQS.SendMessageBatch");
    let request: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(request["QueueUrl"], URL);
    let answer = queue.lock().unwrap().receive(request["Entries"].as_array().unwrap());
    ([("content-type", "application/x-amz-json-1.0")], Json(answer)).into_response()
}

const URL: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/replayed";

/// Replays to a queue; returns the result and the queue.
async fn replay_to(queue: Queue, world: &World, arguments: &[&str]) -> (std::process::Output, Queue) {
    let shared = Arc::new(Mutex::new(queue));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut command = command(world, &[&["--queue", URL], arguments].concat());
    command
        .env("AWS_ENDPOINT_URL_SQS", endpoint)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "none")
        .env("AWS_SECRET_ACCESS_KEY", "none");
    let output = run(command).await;
    server.abort();
    let queue = std::mem::take(&mut *shared.lock().unwrap());
    (output, queue)
}

fn ids(events: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn every_event_becomes_a_message_that_is_sent_until_it_is_accepted() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..5 {
        customer(&world, &staff, &format!("C-{stream}"), 7).await;
    }
    let unreliable = Queue {
        leaves_one_of: Some(3),
        ..Queue::default()
    };
    let (output, queue) = replay_to(unreliable, &world, &["--checkpoint", "out", "--batch-size", "15"]).await;
    assert!(output.status.success(), "{}", stderr_of(&output));
    assert!(
        output.stdout.is_empty() && stderr_of(&output).starts_with("40 events in "),
        "{}",
        stderr_of(&output)
    );
    let listed = world.all_pages(&staff, "/events?order=asc").await;
    assert_eq!(ids(&queue.taken), ids(&listed), "each once");
    assert!(
        listed.iter().all(|event| queue.taken.contains(event)),
        "in the form of the API"
    );
    assert!(queue.requests.iter().all(|(messages, _)| (1..=10).contains(messages)));
    assert!(queue.requests.len() > 6, "some were sent again");
    assert!(position(&world, "out").await >= listed[39]["event_number"].as_i64().unwrap());
}

#[tokio::test]
async fn workers_send_several_streams_concurrently_and_each_in_order() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..6 {
        customer(&world, &staff, &format!("C-{stream}"), 19).await;
    }
    let (output, queue) = replay_to(Queue::default(), &world, &["--workers", "3"]).await;
    assert!(output.status.success(), "{}", stderr_of(&output));
    assert_eq!(queue.taken.len(), 120);
    assert_streams_in_order(&queue.taken);
    assert!(
        queue.requests.iter().all(|(messages, _)| *messages == 10),
        "{:?}",
        queue.requests
    );
}

#[tokio::test]
async fn a_refused_message_is_named_and_sent_again_by_the_next_run() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 1).await;
    customer(&world, &staff, "C-2", 0).await;
    let listed = world.all_pages(&staff, "/events?order=asc").await;
    let picky = Queue {
        refuses: Some("C-2"),
        ..Queue::default()
    };
    let (output, _) = replay_to(picky, &world, &["--checkpoint", "picky"]).await;
    assert!(!output.status.success());
    let expected = format!(
        "the queue refuses the event {}: InvalidMessageContents",
        listed[2]["id"].as_str().unwrap()
    );
    assert!(stderr_of(&output).contains(&expected), "{}", stderr_of(&output));
    assert_eq!(position(&world, "picky").await, 0);
    let (output, queue) = replay_to(Queue::default(), &world, &["--checkpoint", "picky"]).await;
    assert!(
        output.status.success() && queue.taken.len() == 3,
        "{}",
        stderr_of(&output)
    );
}

/// A request of 256 KiB holds ten events or one large one. An event that is larger is reported before anything of its batch is sent.
#[tokio::test]
async fn batches_are_cut_by_size_and_an_event_too_large_for_a_message_is_named() {
    let (world, staff) = (World::new().await, Person::staff());
    let note = |bytes: usize| json!({"name": "n", "address": "x".repeat(bytes)});
    for (id, bytes) in [("C-1", 200_000), ("C-2", 100_000), ("C-3", 100_000), ("C-4", 10)] {
        world.append(&staff, "customer.created", id, note(bytes)).await;
    }
    let (output, queue) = replay_to(Queue::default(), &world, &[]).await;
    assert!(output.status.success(), "{}", stderr_of(&output));
    let messages: Vec<usize> = queue.requests.iter().map(|(messages, _)| *messages).collect();
    assert_eq!(messages, [1, 3]);
    assert!(queue.requests.iter().all(|(_, bytes)| *bytes <= 262_144));

    let large = world.append(&staff, "customer.created", "C-5", note(262_000)).await;
    let (output, queue) = replay_to(Queue::default(), &world, &[]).await;
    assert!(!output.status.success() && queue.requests.is_empty());
    assert!(
        stderr_of(&output).contains(large["id"].as_str().unwrap()),
        "{}",
        stderr_of(&output)
    );
    let small: BTreeMap<&str, bool> = queue
        .taken
        .iter()
        .map(|event| (event["id"].as_str().unwrap(), true))
        .collect();
    assert!(small.is_empty());
}
