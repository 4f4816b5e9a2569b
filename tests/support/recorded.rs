//! The recorded events of `tests/events` with values filled in, as API Gateway, SQS and the schedule pass them to a function.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::people::Person;

const POST: &str = include_str!("../events/http_post_event.json");
const GET_HISTORY: &str = include_str!("../events/http_get_history.json");
const GET_PAGE: &str = include_str!("../events/http_get_page.json");
const WAKE_UP: &str = include_str!("../events/sqs_wake_up.json");
const TICK: &str = include_str!("../events/schedule_tick.json");

/// The event in this file.
fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a recorded event")
}

/// A POST to this path below `/api/v1`, like the recorded one but without its idempotency key.
pub fn post(staff: &Person, path: &str, content_type: &str, body: &str) -> Value {
    let (mut event, path) = (read(POST), format!("/api/v1{path}"));
    event["routeKey"] = json!(format!("POST {path}"));
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    let headers = event["headers"].as_object_mut().expect("headers");
    headers.remove("idempotency-key");
    headers.insert("authorization".to_owned(), json!(format!("Bearer {}", staff.token())));
    headers.insert("content-type".to_owned(), json!(content_type));
    headers.insert("content-length".to_owned(), json!(body.len().to_string()));
    event["body"] = json!(STANDARD.encode(body));
    event
}

/// A GET of the history of the aggregate in the recorded event.
pub fn get_history(staff: &Person, aggregate_id: &str) -> Value {
    let text = GET_HISTORY.replace("TOKEN", &staff.token());
    read(
        &text
            .replace("A%20%2F%C3%BC", aggregate_id)
            .replace("A /ü", aggregate_id),
    )
}

/// A GET of this path below `/api/v1` with this query.
pub fn get(staff: &Person, path: &str, query: &str) -> Value {
    let (mut event, path) = (
        read(&GET_HISTORY.replace("TOKEN", &staff.token())),
        format!("/api/v1{path}"),
    );
    event["routeKey"] = json!("$default");
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    event["requestContext"]["routeKey"] = json!("$default");
    event["requestContext"]["http"]["path"] = json!(path);
    let members = event.as_object_mut().expect("an object");
    members.remove("queryStringParameters");
    members.remove("pathParameters");
    event
}

/// A GET of this page by a browser, below `/docs/` by the route that ends greedily.
pub fn get_page(path: &str) -> Value {
    let mut event = read(GET_PAGE);
    let (key, parameters) = match path.strip_prefix("/docs/") {
        Some(rest) => ("ANY /docs/{path+}".to_owned(), json!({"path": rest})),
        None => (format!("ANY {path}"), json!({})),
    };
    event["routeKey"] = json!(key);
    event["requestContext"]["routeKey"] = json!(key);
    event["pathParameters"] = parameters;
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event
}

/// A queue message with this body.
pub fn wake_up(body: &str) -> Value {
    let mut event = read(WAKE_UP);
    event["Records"][0]["body"] = json!(body);
    event
}

/// A tick of the schedule.
pub fn tick() -> Value {
    read(TICK)
}
