//! The append service: every event that comes over HTTP or from a file is checked here before it is appended.
//!
//! Each event is checked against the catalog ([`check()`]) and appended; then the projector is woken. A caller that needs the events
//! as the log holds them gets them without reading new events back ([`AppendService::append_stored`]). Imports append together
//! with other statements of one transaction, by [`AppendService::append_with`]. Where they leave out the events that a schema refuses, they
//! check first ([`check()`]) and append by [`AppendService::append_checked`], or in a
//! transaction of their own, whose events [`AppendService::count_and_collect`] counts.
//!
//! Idempotency keys take precedence over every check: a retry returns the stored event, even if the catalog or the caller's rights
//! have changed since. The database looks keys up first. Rust looks up only the keys of events that fail a check, so a valid event
//! needs no extra round trip.
//!
//! Architecture invariant: this module knows nothing of HTTP. It names an event by its index and a field by its pointer inside the
//! event; the HTTP functions add where the event is in the request (`/events/3`).

pub mod check;
mod compensation;
mod service;
mod stored;

pub use self::check::check;
pub use self::compensation::{CompensationError, Mistake, compensation, declared_inverse};
pub use self::service::AppendService;
pub use self::stored::StoredEvents;
pub use annals_store::{AppendError, Appended, CheckedEvents};
