//! The words of the log as types, and what follows from them without any I/O.
//!
//! Text from outside becomes one of these types once, at the door; what holds a value of such a type need not check again.

pub mod actor;
pub mod catalog;
pub mod compensate;
#[cfg(test)]
mod compensate_tests;
pub mod diff;
pub mod effect;
pub mod event;
mod explain;
pub mod fold;
pub mod ids;
pub mod json;
pub mod money;
pub mod naming;
pub mod reason;
pub mod schema;
pub mod semver;
pub mod text;
pub mod time;
pub mod upcast;
pub mod weight;

pub use actor::{Actor, Caller, Role};
pub use catalog::{Catalog, EventKind, FoldError, Requires, StoredFact, UpcastError};
pub use effect::{Effect, Inverse};
pub use event::{Event, NewEvent};
pub use fold::{Entity, Fact, MAX_STATE_BYTES};
pub use ids::{AggregateId, AggregateType, CheckpointName, EventId, EventType, SchemaVersion, StreamId, TenantId};
pub use time::Timestamp;
pub use upcast::Upcaster;
