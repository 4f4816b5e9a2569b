//! Status of replays: how far each has read, and how fast its last run was.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::StoreError;
use crate::connection::consistent_read::ConsistentRead;
use crate::read_models::json_text::parse_object;
use crate::status::ratio::Ratio;
use annals_domain::Timestamp;

/// A replay's checkpoint, with its last run.
#[derive(Debug, Serialize)]
pub struct ReplayStatus {
    /// Name of the checkpoint.
    pub checkpoint: String,
    /// Event number up to which events were delivered.
    pub position: i64,
    /// Number of delivered events, over all runs.
    pub event_count: i64,
    /// Id of the last delivered event; null before the first.
    pub last_event_id: Option<Uuid>,
    /// Metadata that the consumer gave.
    pub metadata: Map<String, Value>,
    /// Time when the position last moved.
    pub moved_at: Timestamp,
    /// Start of the last run.
    pub run_started_at: Option<Timestamp>,
    /// Time when that run had delivered everything; null while it runs, or if it failed or was killed.
    pub run_ended_at: Option<Timestamp>,
    /// Events delivered in that run.
    pub run_events: i64,
    /// Events per second of that run, until its end or its last move; null if no time has passed.
    pub run_events_per_second: Option<Ratio>,
}

const LIST_REPLAYS: &str = "-- list_replays
select c.name, c.position, c.event_count, c.last_event_id, c.metadata::text, c.updated_at, c.run_started_at, c.run_ended_at, c.run_event_count,
       (extract(epoch from coalesce(c.run_ended_at, c.updated_at) - c.run_started_at) * 1000)::bigint as run_milliseconds
  from annals.list_replays() c
 order by c.updated_at desc, c.name";

impl ConsistentRead<'_> {
    /// The tenant's replays, the hundred that moved last.
    pub(crate) async fn replays(&self) -> Result<Vec<ReplayStatus>, StoreError> {
        let rows = self.rows(LIST_REPLAYS, &[]).await?;
        rows.iter().map(replay_from).collect()
    }
}

fn replay_from(row: &Row) -> Result<ReplayStatus, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.try_get::<_, Option<DateTime<Utc>>>(column)?.map(Timestamp::from));
    let run_events: i64 = row.try_get("run_event_count")?;
    let milliseconds: Option<i64> = row.try_get("run_milliseconds")?;
    Ok(ReplayStatus {
        checkpoint: row.try_get("name")?,
        position: row.try_get("position")?,
        event_count: row.try_get("event_count")?,
        last_event_id: row.try_get("last_event_id")?,
        metadata: parse_object(row.try_get("metadata")?)?,
        moved_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("updated_at")?),
        run_started_at: time("run_started_at")?,
        run_ended_at: time("run_ended_at")?,
        run_events,
        // Before its first move, a run has a checkpoint with an older time.
        run_events_per_second: milliseconds
            .filter(|milliseconds| *milliseconds > 0)
            .and_then(|milliseconds| Ratio::of(run_events.saturating_mul(1_000), milliseconds)),
    })
}
