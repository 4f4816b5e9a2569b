//! What each function is asked first: something that takes it to the database.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::Person;
use uuid::Uuid;

const POST_EVENT: &str = include_str!("../events/http_post_event.json");
const GET_HISTORY: &str = include_str!("../events/http_get_history.json");
const WAKE_UP: &str = include_str!("../events/sqs_wake_up.json");
const TICK: &str = include_str!("../events/schedule_tick.json");

/// What a function is given to send with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// The wake-up queue.
    WakeUps,
    /// Nothing.
    None,
}

/// A function, and its first event.
pub struct Function {
    /// As it is shown.
    pub name: &'static str,
    /// Its program.
    pub binary: &'static str,
    /// Whether the template gives it the wake-up queue.
    pub queue: Queue,
    event: fn(usize) -> String,
}

impl Function {
    /// The event of a round.
    pub fn event(&self, round: usize) -> String {
        (self.event)(round)
    }
}

/// All functions.
pub const FUNCTIONS: [Function; 6] = [
    Function {
        name: "post-event: an append",
        binary: "post-event",
        queue: Queue::WakeUps,
        event: append,
    },
    Function {
        name: "audit-query: a history",
        binary: "audit-query",
        queue: Queue::None,
        event: |_| history(),
    },
    Function {
        name: "csv-upload: a file of two rows",
        binary: "csv-upload",
        queue: Queue::WakeUps,
        event: upload,
    },
    Function {
        name: "projector: a wake-up",
        binary: "projector",
        queue: Queue::None,
        event: |_| wake_up(),
    },
    Function {
        name: "projector: the sweep",
        binary: "projector",
        queue: Queue::None,
        event: |_| TICK.to_owned(),
    },
    Function {
        name: "rebuilder: nothing due",
        binary: "projector",
        queue: Queue::None,
        event: |_| json!({"rebuilds": {}}).to_string(),
    },
];

/// The aggregate of the recorded event, which the other functions are asked for.
const AGGREGATE: &str = "123e4567-e89b-12d3-a456-426614174000";

fn history() -> String {
    GET_HISTORY
        .replace("TOKEN", &Person::staff().token())
        .replace("A%20%2F%C3%BC", AGGREGATE)
        .replace("A /ü", AGGREGATE)
}

/// A stream that has work left.
fn wake_up() -> String {
    let mut event: Value = serde_json::from_str(WAKE_UP).expect("a recorded event");
    let streams = json!({"streams": [[Uuid::nil(), "product", AGGREGATE]]});
    event["Records"][0]["body"] = json!(streams.to_string());
    event.to_string()
}

/// A new event each time: a retry would be answered without an append.
fn append(round: usize) -> String {
    POST_EVENT
        .replace("TOKEN", &Person::staff().token())
        .replace("recorded-1", &format!("round-{round}"))
}

/// The recorded request with a file for a body.
fn upload(round: usize) -> String {
    let mut event: Value = serde_json::from_str(&append(round)).expect("a recorded event");
    let file = format!("sale_id,sale_date,amount\nA-{round},2026-01-01,10.00\nB-{round},2026-01-02,20.00\n");
    event["routeKey"] = json!("POST /api/v1/data/upload-sales-csv");
    for path in ["/rawPath", "/requestContext/http/path"] {
        *event.pointer_mut(path).expect("a path") = json!("/api/v1/data/upload-sales-csv");
    }
    event["headers"]["content-type"] = json!("text/csv");
    event["headers"]["content-length"] = json!(file.len().to_string());
    event["body"] = json!(STANDARD.encode(file));
    event.to_string()
}
