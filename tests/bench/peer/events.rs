//! The peer's event type and streams, and filling the database with them.

use std::time::Instant;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Peer;
use super::load::Measured;
use crate::api::Api;

/// The type of every event.
const EVENT_TYPE: &str = "bench.recorded";
/// The type of every stream.
pub const AGGREGATE_TYPE: &str = "bench";
/// The stream of 1,000 events.
pub const LONG_STREAM: &str = "long";
/// Its number of events.
pub const LONG: usize = 1_000;
/// Events in a filled database.
pub const FILLED: usize = 200_000;
/// Events of a request while the database is filled.
const BATCH: usize = 100;
/// Events of most streams in a filled database.
const LENGTH: usize = 10;
/// Requests in parallel while the database is filled.
const FILLERS: usize = 4;

/// A new stream.
pub fn new_stream() -> String {
    Uuid::new_v4().to_string()
}

/// An event for a stream, with the version that is expected of it.
pub fn event(stream: &str, payload: &str, expected: Option<i64>) -> String {
    let expected = expected.map_or_else(String::new, |version| format!(r#""expected_version":{version},"#));
    format!(
        r#"{{"event_type":"{EVENT_TYPE}","aggregate_type":"{AGGREGATE_TYPE}","aggregate_id":"{stream}",{expected}"data":{payload}}}"#
    )
}

/// A request with an event for each of these streams.
pub fn batch<'a>(streams: impl Iterator<Item = &'a str>, payload: &str) -> String {
    let events: Vec<String> = streams.map(|stream| event(stream, payload, None)).collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

impl Peer {
    /// Registers the event type, if it is not registered yet.
    pub async fn register_type(&self) -> Measured {
        let known = "select from annals.event_types where event_type = $1";
        let known = self.database.owner().await.query_opt(known, &[&EVENT_TYPE]).await;
        let mut measured = Measured::default();
        if known.expect("the catalog").is_none() {
            let example: Map<String, Value> =
                serde_json::from_str(&self.payload).expect("BENCH_PAYLOAD has a JSON object");
            let body = json!({
                "event_type": EVENT_TYPE, "description": "An event of a comparison of event stores.", "effect": "merge",
                "schema": schema_of(&example), "example": example,
            });
            let register = self.api.post_to("/events/types", body.to_string());
            let began = Instant::now();
            measured.time(async { (0, register.await) }).await;
            measured.elapsed = began.elapsed();
        }
        measured
    }

    /// Appends until the database has 200,000 events: the stream of 1,000, and streams of 10.
    pub async fn fill(&self) -> Measured {
        let began = Instant::now();
        let mut measured = self.append_long_stream().await;
        let stored = "select count(*) from annals.events";
        let stored = self.database.owner().await.query_one(stored, &[]).await;
        let stored: i64 = stored.expect("a count").get(0);
        let missing = FILLED.saturating_sub(usize::try_from(stored).expect("a count"));
        let mut fillers = tokio::task::JoinSet::new();
        for filler in 0..FILLERS {
            let share = missing / FILLERS + usize::from(filler < missing % FILLERS);
            let (api, payload) = (self.api.clone(), self.payload.clone());
            fillers.spawn(async move { fill_streams(&api, &payload, share).await });
        }
        for part in fillers.join_all().await {
            measured.events += part.events;
            measured.requests.extend(part.requests);
        }
        measured.elapsed = began.elapsed();
        measured
    }

    /// Appends what the stream of 1,000 events lacks.
    pub async fn append_long_stream(&self) -> Measured {
        let version =
            "select coalesce(max(version), 0) from annals.heads where aggregate_type = $1 and aggregate_id = $2";
        let owner = self.database.owner().await;
        let head = owner.query_one(version, &[&AGGREGATE_TYPE, &LONG_STREAM]).await;
        let mut measured = Measured::default();
        let mut missing =
            LONG.saturating_sub(usize::try_from(head.expect("a head").get::<_, i32>(0)).expect("a version"));
        while missing > 0 {
            let some = missing.min(BATCH);
            let body = batch(std::iter::repeat_n(LONG_STREAM, some), &self.payload);
            measured.time(async { (self.api.post(body, some).await, ()) }).await;
            missing -= some;
        }
        measured
    }
}

async fn fill_streams(api: &Api, payload: &str, events: usize) -> Measured {
    let mut measured = Measured::default();
    while measured.events < events {
        let some = BATCH.min(events - measured.events);
        let streams: Vec<String> = (0..BATCH / LENGTH).map(|_| new_stream()).collect();
        let body = batch((0..some).map(|place| streams[place / LENGTH].as_str()), payload);
        measured.time(async { (api.post(body, some).await, ()) }).await;
    }
    measured
}

/// A schema that requires these fields with these types.
fn schema_of(example: &Map<String, Value>) -> Value {
    let properties: Map<String, Value> = example
        .iter()
        .map(|(name, value)| (name.clone(), json!({"type": type_of(value)})))
        .collect();
    let required: Vec<&String> = example.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
