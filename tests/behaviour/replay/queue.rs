//! `replay --queue`: a message per event, in batches as SQS takes them, sent again until SQS has taken every one. SQS itself is
//! played by a server that speaks its protocol and takes what a test lets it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::{Person, World};
use tokio::net::TcpListener;

use super::command::{command, position, run, said};
use super::{assert_streams_in_order, customer};

/// A queue as the test sees it afterwards.
#[derive(Default)]
struct Queue {
    taken: Vec<Value>,
    /// Messages and bytes of each request.
    requests: Vec<(usize, usize)>,
    met: HashSet<String>,
    /// Of the messages that it meets for the first time, one of so many is left.
    leaves_one_of: Option<usize>,
    /// An aggregate whose messages it finds fault with.
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

/// Replays to a queue; how that ended, and the queue.
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
async fn every_event_becomes_a_message_that_is_sent_until_it_is_taken() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..5 {
        customer(&world, &staff, &format!("C-{stream}"), 7).await;
    }
    let unreliable = Queue {
        leaves_one_of: Some(3),
        ..Queue::default()
    };
    let (output, queue) = replay_to(unreliable, &world, &["--checkpoint", "out", "--batch-size", "15"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        output.stdout.is_empty() && said(&output).starts_with("40 events in "),
        "{}",
        said(&output)
    );
    let listed = world.all_pages(&staff, "/events?order=asc").await;
    assert_eq!(ids(&queue.taken), ids(&listed), "each once");
    assert!(
        listed.iter().all(|event| queue.taken.contains(event)),
        "as the API answers with them"
    );
    assert!(queue.requests.iter().all(|(messages, _)| (1..=10).contains(messages)));
    assert!(queue.requests.len() > 6, "some were sent again");
    assert!(position(&world, "out").await >= listed[39]["event_number"].as_i64().unwrap());
}

#[tokio::test]
async fn workers_send_streams_side_by_side_each_in_order() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..6 {
        customer(&world, &staff, &format!("C-{stream}"), 19).await;
    }
    let (output, queue) = replay_to(Queue::default(), &world, &["--workers", "3"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(queue.taken.len(), 120);
    assert_streams_in_order(&queue.taken);
    assert!(
        queue.requests.iter().all(|(messages, _)| *messages == 10),
        "{:?}",
        queue.requests
    );
}

#[tokio::test]
async fn what_the_queue_finds_fault_with_is_named_and_comes_again() {
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
    assert!(said(&output).contains(&expected), "{}", said(&output));
    assert_eq!(position(&world, "picky").await, 0);
    let (output, queue) = replay_to(Queue::default(), &world, &["--checkpoint", "picky"]).await;
    assert!(output.status.success() && queue.taken.len() == 3, "{}", said(&output));
}

/// 256 KiB hold ten events or one large one; what is larger still is named before anything of its batch is sent.
#[tokio::test]
async fn messages_are_cut_by_size_and_what_fits_into_none_is_named() {
    let (world, staff) = (World::new().await, Person::staff());
    let note = |bytes: usize| json!({"name": "n", "address": "x".repeat(bytes)});
    for (id, bytes) in [("C-1", 200_000), ("C-2", 100_000), ("C-3", 100_000), ("C-4", 10)] {
        world.append(&staff, "customer.created", id, note(bytes)).await;
    }
    let (output, queue) = replay_to(Queue::default(), &world, &[]).await;
    assert!(output.status.success(), "{}", said(&output));
    let messages: Vec<usize> = queue.requests.iter().map(|(messages, _)| *messages).collect();
    assert_eq!(messages, [1, 3]);
    assert!(queue.requests.iter().all(|(_, bytes)| *bytes <= 262_144));

    let large = world.append(&staff, "customer.created", "C-5", note(262_000)).await;
    let (output, queue) = replay_to(Queue::default(), &world, &[]).await;
    assert!(!output.status.success() && queue.requests.is_empty());
    assert!(
        said(&output).contains(large["id"].as_str().unwrap()),
        "{}",
        said(&output)
    );
    let small: BTreeMap<&str, bool> = queue
        .taken
        .iter()
        .map(|event| (event["id"].as_str().unwrap(), true))
        .collect();
    assert!(small.is_empty());
}
