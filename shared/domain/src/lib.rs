//! The types of the event log, and what can be computed from them without I/O.
//!
//! Text from outside is parsed into one of these types once, when a request or message is read. A value of such a type is valid, so inner
//! code does not check it again. Text from the log is taken without a check (`stored`), because an older rule may have applied when it was
//! appended.

pub mod actor;
pub mod catalog;
#[cfg(feature = "schema-check")]
pub mod checker;
pub mod compatibility;
pub mod compensate;
#[cfg(test)]
mod compensate_tests;
pub mod diff;
pub mod effect;
pub mod event;
#[cfg(feature = "schema-check")]
mod explain;
mod fault;
pub mod fold;
pub mod formula;
pub mod hex;
pub mod ids;
pub mod json;
pub mod json_pointer;
pub mod money;
pub mod naming;
pub mod reason;
pub mod row_counts;
pub mod schema;
pub mod semver;
pub mod text;
pub mod time;
pub mod upcast;
#[cfg(feature = "schema-check")]
mod validator;
pub mod weight;

pub use actor::{Actor, Caller, DatabaseClaims, Role};
pub use catalog::{Catalog, EventKind, FoldError, Requires, StoredFact, UpcastError};
pub use effect::{Effect, Inverse};
pub use event::{Event, NewEvent};
pub use fold::{Entity, Fact, MAX_STATE_BYTES};
pub use ids::{AggregateId, AggregateType, CheckpointName, EventId, EventType, SchemaVersion, StreamId, TenantId};
pub use row_counts::RowCounts;
pub use time::Timestamp;
pub use upcast::Upcaster;
