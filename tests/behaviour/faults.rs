//! Faults. After each one the same oracle (`tests/support/oracle.rs`) checks that every acknowledged event is stored once, that every
//! state table is the fold from zero, and that no manual repair was needed.

mod clock;
mod every_statement;
mod local;
mod oracle;
mod processes;
mod queue;
mod server;

use serde_json::{Value, json};
use tests::ONCE;
use uuid::Uuid;

/// An unused id.
fn id() -> String {
    Uuid::new_v4().to_string()
}

/// An event with a unique correlation id: the oracle checks that it is stored once. Under its key it may be sent again.
fn meant_once(event_type: &str, aggregate_id: &str, data: Value) -> Value {
    let once = format!("{ONCE}{}", Uuid::new_v4());
    json!({"event_type": event_type, "aggregate_type": event_type.split('.').next(), "aggregate_id": aggregate_id, "data": data,
           "correlation_id": once, "idempotency_key": once})
}

fn phone(aggregate_id: &str) -> Value {
    meant_once("customer.profile_updated", aggregate_id, json!({"phone": "1"}))
}
