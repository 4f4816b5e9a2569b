//! Whether events are read as stored or upcast.

/// Whether events are upcast when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Upcast to the current version of the event type. `recorded.migration_applied` and `metadata.migration_applied` show where this
    /// changed something.
    Current,
    /// As they were stored.
    AsStored,
}
