//! Metrics: every value that the alarms and the dashboard of `template.yaml` use, with its name and unit.
//!
//! The number, duration and failures of requests are not included, because Lambda and API Gateway count them. No metric queries
//! the database: the values come from work that is done anyway, and the sweep reads the lag.

use annals_domain::RowCounts;

/// Target of the `tracing` events that are metrics.
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

/// How far the read models of all tenants are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Events that are not projected yet, without those of parked streams. At most 100,000 events after the sweep's checkpoint are counted.
    pub lag_events: i64,
    /// Age of the oldest of these events, in seconds.
    pub lag_seconds: i64,
    /// Number of parked streams: their next event could not be applied.
    pub parked_streams: i64,
    /// Age of the oldest change that is not in the key figures yet, in seconds.
    pub kpi_lag_seconds: i64,
}

/// Counts all events that were appended to the log, also those that Annals itself posts, such as `import.started`. Retries that returned an
/// existing event are not included.
pub fn appended(events: usize) {
    if events > 0 {
        tracing::info!(target: TARGET, EventsAppended = events);
    }
}

/// Counts requests refused with 409 because another request changed the stream first.
pub fn conflict() {
    tracing::info!(target: TARGET, Conflicts = 1);
}

/// Reports the backlog that the sweep found before it began. It is written even if it is zero: if it is missing, no sweep runs.
pub fn backlog(found: Backlog) {
    tracing::info!(
        target: TARGET,
        ProjectionLagSeconds = found.lag_seconds,
        ProjectionLagEvents = found.lag_events,
        ParkedStreams = found.parked_streams,
        KpiLagSeconds = found.kpi_lag_seconds,
    );
}

/// Counts streams that the sweep projected because no wake-up had reached them.
pub fn swept(streams: usize) {
    if streams > 0 {
        tracing::info!(target: TARGET, StreamsSwept = streams);
    }
}

/// Counts the rows of a finished upload that was not a dry run.
pub fn uploaded(rows: &RowCounts) {
    tracing::info!(
        target: TARGET,
        RowsAccepted = rows.accepted,
        RowsRejected = rows.rejected,
        RowsDuplicate = rows.duplicate,
        RowsUpdated = rows.updated,
    );
}

/// Counts a large upload that failed.
pub fn import_failed() {
    tracing::info!(target: TARGET, ImportsFailed = 1);
}

/// Reports the number of imports that were found and have been started again too often. It is written even if it is zero: if it
/// is missing, nothing looks for imports.
pub fn imports_stuck(imports: usize) {
    tracing::info!(target: TARGET, ImportsStuck = imports);
}

/// Counts a finished rebuild, and the rows that differed from what they should be.
pub fn rebuilt(changed_rows: i64) {
    tracing::info!(target: TARGET, RebuildsDone = 1, RebuildChangedRows = changed_rows);
}

/// Counts a failed rebuild.
pub fn rebuild_failed() {
    tracing::info!(target: TARGET, RebuildsFailed = 1);
}
