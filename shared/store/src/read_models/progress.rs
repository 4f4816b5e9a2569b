//! The projector's progress: parked streams, and the sweep's position in the log.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::read_models::work::stream_from;
use crate::{Store, StoreError};
use annals_domain::{Caller, StreamId};

/// A stream to park, because its next event could not be applied.
#[derive(Debug)]
pub struct Parked<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// Id of the event that could not be applied.
    pub event_id: Uuid,
    /// Number of the event.
    pub event_number: i64,
    /// Version of the event in its stream.
    pub version: i32,
    /// Code of the error: an SQLSTATE, or the code of a refusal or of a fold error.
    pub error_code: &'a str,
    /// Message of the error: PostgreSQL's, the refusal's or the fold error's.
    pub error: &'a str,
}

/// A range of the log, `(from, to]` by event number, in which a sweep projects what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepWindow {
    /// Every event up to this number is projected or parked.
    pub from: i64,
    /// High-water mark: the range ends here.
    pub to: i64,
}

/// The head's lock makes this statement wait for a projector that is applying the event, and check the version again afterwards: a stream
/// must not be parked at an event that was applied. A decision that is not carried out yet is kept.
const PARK: &str = "-- park
insert into annals.parked_streams as p (tenant_id, aggregate_type, aggregate_id, event_id, event_number, aggregate_version, error_code, error)
select h.tenant_id, h.aggregate_type, h.aggregate_id, $4, $5, $6, $7, $8
  from annals.heads h cross join (select set_config('lock_timeout', '1s', true)) as s
 where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = $3 and h.projected_version = $6 - 1
   for no key update of h
on conflict on constraint parked_streams_pkey do update
   set attempts = case when p.event_id = excluded.event_id then p.attempts + 1 else 1 end,
       decided_by = case when p.event_id = excluded.event_id and not p.retrying then p.decided_by end, retrying = false, parked_at = clock_timestamp(), error_code = excluded.error_code, error = excluded.error,
       event_id = excluded.event_id, event_number = excluded.event_number, aggregate_version = excluded.aggregate_version
returning (select e.correlation_id from annals.events e where e.event_number = $5) as correlation_id";

const SWEEP_POSITION: &str = "-- sweep_position
select position from annals.checkpoints where name = 'sweep'";

const LIST_PENDING: &str = "-- list_pending_streams
select distinct h.tenant_id, h.aggregate_type, h.aggregate_id
  from annals.events e
  join annals.heads h on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id
 where e.event_number > $1 and e.event_number <= $2 and e.aggregate_version > h.projected_version
   and not exists (select from annals.parked_streams p
                    where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id)
 union
select p.tenant_id, p.aggregate_type, p.aggregate_id from annals.parked_streams p where p.retrying";

/// Counting and moving are one statement, so both happen or neither. A second sweep of the same window finds that the position has moved
/// and counts nothing. The statement also deletes minutes that no reader needs any more, so a tenant has at most 1,500 of them.
const FINISH_WINDOW: &str = include_str!("../queries/sweep/finish_window.sql");

const FIND_PARKED: &str = "-- find_parked
select event_id, parked_at from annals.parked_streams where tenant_id = $2 and event_id = $1 and decided_by is null";

impl Store {
    /// Parks a stream at an event, unless the event was applied meanwhile (then `None`). Returns the event's correlation id for the
    /// caller's log.
    pub async fn park(&self, parked: &Parked<'_>) -> Result<Option<Option<String>>, StoreError> {
        let params: [Param<'_>; 8] = [
            (parked.stream.tenant_id.as_uuid(), Type::UUID),
            (&parked.stream.aggregate_type.as_str(), Type::TEXT),
            (&parked.stream.aggregate_id.as_str(), Type::TEXT),
            (&parked.event_id, Type::UUID),
            (&parked.event_number, Type::INT8),
            (&parked.version, Type::INT4),
            (&parked.error_code, Type::TEXT),
            (&parked.error, Type::TEXT),
        ];
        let rows = self.write(As::Projector, PARK, &params).await?;
        Ok(rows.first().map(|row| row.try_get("correlation_id")).transpose()?)
    }

    /// When the stream was parked at this event; `None` if it is not parked there, is decided already, or the caller does not see it.
    pub async fn find_parked(&self, caller: &Caller, event_id: &Uuid) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self
            .read(
                As::Caller(caller),
                FIND_PARKED,
                &[(event_id, Type::UUID), (caller.tenant_uuid(), Type::UUID)],
            )
            .await?;
        rows.first()
            .map(|row| row.try_get("parked_at").map_err(StoreError::from))
            .transpose()
    }

    /// Event number up to which the sweep has made sure that everything is projected or parked.
    pub async fn sweep_position(&self) -> Result<i64, StoreError> {
        let row = self.read_row(As::Projector, SWEEP_POSITION, &[]).await?;
        Ok(row.try_get("position")?)
    }

    /// Streams with events in the window that are neither projected nor parked.
    pub async fn list_pending(&self, window: SweepWindow) -> Result<Vec<StreamId>, StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.read(As::Projector, LIST_PENDING, &params)
            .await?
            .iter()
            .map(stream_from)
            .collect()
    }

    /// Moves the sweep's checkpoint past a window whose streams are all projected or parked, and counts its events by type and by minute.
    pub async fn finish_window(&self, window: SweepWindow) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.write(As::Projector, FINISH_WINDOW, &params).await.map(|_| ())
    }
}
