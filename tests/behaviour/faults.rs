//! Bad days. Whatever breaks, one oracle (`tests/support/oracle.rs`) is asked afterwards: every acknowledged event is there once,
//! every state table is a fold from zero, and nothing needed a hand.

mod anywhere;
mod clock;
mod local;
mod oracle;
mod processes;
mod queue;
mod server;

use serde_json::{Value, json};
use tests::ONCE;
use uuid::Uuid;

/// A name that nothing has yet.
fn id() -> String {
    Uuid::new_v4().to_string()
}

/// An event that a client means once and says so; under its key it may be sent again.
fn meant_once(event_type: &str, aggregate_id: &str, data: Value) -> Value {
    let once = format!("{ONCE}{}", Uuid::new_v4());
    json!({"event_type": event_type, "aggregate_type": event_type.split('.').next(), "aggregate_id": aggregate_id, "data": data,
           "correlation_id": once, "idempotency_key": once})
}

fn phone(aggregate_id: &str) -> Value {
    meant_once("customer.profile_updated", aggregate_id, json!({"phone": "1"}))
}
