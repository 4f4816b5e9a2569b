//! The rows that every phase writes: one sale each, always of the same size.

use tests::Person;
use uuid::Uuid;

/// The catalog's example of a sale.
pub const DATA: &str = r#"{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08", "customer_id": "CG-12520", "product": "Bush Somerset Collection Bookcase", "quantity": 2, "unit_price": 130.98, "category": "Furniture"}"#;
/// The metadata of each row; the API records the same about the bench's requests.
pub const METADATA: &str = r#"{"user_agent": "bench"}"#;
/// Events of a batch.
pub const BATCH: usize = 100;
/// The user agent of the bench's requests.
pub const USER_AGENT: &str = "bench";
/// Type of every event.
pub const EVENT_TYPE: &str = "sale.created";

/// A new stream id.
pub fn new_stream() -> String {
    format!("S-{:016}", Uuid::new_v4().as_u128() % 10_000_000_000_000_000)
}

/// The body of `POST /events` for one event, or a member of a batch.
pub fn body(stream: &str) -> String {
    format!(r#"{{"event_type":"{EVENT_TYPE}","aggregate_type":"sale","aggregate_id":"{stream}","data":{DATA}}}"#)
}

/// The body of a batch.
pub fn batch(streams: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = streams.map(|stream| body(&stream)).collect();
    format!(r#"{{"events":[{}]}}"#, members.join(","))
}

/// The writer as the rows name it.
pub struct Writer {
    /// The value of `created_by`.
    pub actor: String,
    /// The value of `user_id`.
    pub user_id: Uuid,
}

impl Writer {
    /// A member of staff.
    pub fn of(person: &Person) -> Self {
        Self {
            actor: person.actor(),
            user_id: person.sub,
        }
    }
}
