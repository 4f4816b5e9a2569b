//! Answers as snapshots: values that differ from run to run are replaced by their kind.

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

/// An answer's JSON in which uuids, instants, cursors and request ids are replaced by their kinds. The nil uuid stays, because it is the
/// default tenant. It is written by serde_json, because insta's writer does not support numbers of arbitrary precision.
pub fn redacted(json: &Value) -> String {
    serde_json::to_string_pretty(&redact(json, "")).expect("JSON")
}

fn redact(json: &Value, name: &str) -> Value {
    match json {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), redact(value, name)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| redact(item, name)).collect(),
        Value::String(_) if name == "next_cursor" => Value::from("[cursor]"),
        Value::String(text) => Value::from(redact_text(text)),
        other => other.clone(),
    }
}

fn redact_text(text: &str) -> String {
    if let Ok(uuid) = Uuid::try_parse(text)
        && !uuid.is_nil()
    {
        return "[uuid]".to_owned();
    }
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return "[time]".to_owned();
    }
    match text.strip_prefix("user:").map(Uuid::try_parse) {
        Some(Ok(_)) => "user:[uuid]".to_owned(),
        _ => text.to_owned(),
    }
}
