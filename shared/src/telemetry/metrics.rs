//! Metrics: every figure that alarms and the dashboard of `template.yaml` read, each with its name, its unit and its place.
//!
//! How many requests there are, how long they take and how many fail is not among them: Lambda and API Gateway count that
//! themselves. Nothing here asks the database: figures are of what was done anyway, and the lag is looked up by the sweep.

use crate::store::Backlog;

/// Target of the events that are metrics.
pub const TARGET: &str = "annals::metrics";

/// Every metric with its unit, in CloudWatch's words.
pub const METRICS: &[(&str, &str)] = &[
    ("EventsAppended", "Count"),
    ("Conflicts", "Count"),
    ("ProjectionLagSeconds", "Seconds"),
    ("ProjectionLagEvents", "Count"),
    ("ParkedStreams", "Count"),
    ("StreamsSwept", "Count"),
    ("KpiLagSeconds", "Seconds"),
    ("RowsAccepted", "Count"),
    ("RowsRejected", "Count"),
    ("RowsDuplicate", "Count"),
    ("RowsUpdated", "Count"),
    ("ImportsFailed", "Count"),
    ("ImportsStuck", "Count"),
    ("RebuildsDone", "Count"),
    ("RebuildsFailed", "Count"),
    ("RebuildChangedRows", "Count"),
];

/// What became of an upload's rows.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Appended as new.
    pub accepted: u64,
    /// Not acceptable.
    pub rejected: u64,
    /// Known already.
    pub duplicate: u64,
    /// Known, and changed.
    pub updated: u64,
}

/// Events were appended; those that had been before are not among them.
pub fn appended(events: usize) {
    if events > 0 {
        tracing::info!(target: TARGET, EventsAppended = events);
    }
}

/// A request was refused because others had got ahead of it (409).
pub fn conflict() {
    tracing::info!(target: TARGET, Conflicts = 1);
}

/// What the sweep found before it began. Written however little it is: silence means that no sweep runs.
pub fn backlog(found: Backlog) {
    tracing::info!(
        target: TARGET,
        ProjectionLagSeconds = found.lag_seconds,
        ProjectionLagEvents = found.lag_events,
        ParkedStreams = found.parked_streams,
        KpiLagSeconds = found.kpi_lag_seconds,
    );
}

/// Streams were projected by the sweep, because no wake-up had reached them.
pub fn swept(streams: usize) {
    if streams > 0 {
        tracing::info!(target: TARGET, StreamsSwept = streams);
    }
}

/// An upload came to its end.
pub fn uploaded(rows: Rows) {
    tracing::info!(
        target: TARGET,
        RowsAccepted = rows.accepted,
        RowsRejected = rows.rejected,
        RowsDuplicate = rows.duplicate,
        RowsUpdated = rows.updated,
    );
}

/// A large upload came to nothing, or not to its end.
pub fn import_failed() {
    tracing::info!(target: TARGET, ImportsFailed = 1);
}

/// Imports that a look has found and that others have begun again and again. Written however few they are: silence means that
/// nobody looks.
pub fn imports_stuck(imports: usize) {
    tracing::info!(target: TARGET, ImportsStuck = imports);
}

/// A rebuild was exchanged, and so many rows had not been what they should.
pub fn rebuilt(changed_rows: i64) {
    tracing::info!(target: TARGET, RebuildsDone = 1, RebuildChangedRows = changed_rows);
}

/// A rebuild came to nothing.
pub fn rebuild_failed() {
    tracing::info!(target: TARGET, RebuildsFailed = 1);
}
