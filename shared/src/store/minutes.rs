//! From recorded time to event numbers: what a page of a stretch of time has to look at, whatever else the log holds.
//!
//! Numbers rise with recorded time but for moments, and the sweep notes for each minute how far such moments reach
//! (`annals.note_minutes`). What it has not noted yet, a reader looks at itself.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::events::EventFilter;
use super::session::{As, Param, lost_is_unavailable};
use super::{Store, StoreError, SweepWindow};
use crate::domain::{Caller, Timestamp};

/// Events that are not noted yet, and that a reader looks at; where there are more, reading the page without a range costs little more.
const PATIENCE: i64 = 20_000;

/// Numbers between which all events of a stretch of time lie, and others too. None: not bounded there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NumberRange {
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
}

const NOTED_POSITION: &str = "-- noted_position
select position from annals.noted_events";
const NOTE_MINUTES: &str = "-- note_minutes
select annals.note_minutes($1, $2)";

/// No minute from `from` on is noted: then no noted event is that late. None from `to` on: then others may come before it at any time.
/// Without `to` the limit of what is looked at is 0. A condition instead, which falls away as the statement is planned, leaves a scan of
/// the log in the estimate, though not in the work, and PostgreSQL compiles (JIT) what it takes to be so much.
const FIND_NUMBER_RANGE: &str = "-- find_number_range
select n.position + 1 as next_number,
       (select m.first_number from annals.event_minutes m
         where m.tenant_id = $1 and m.minute >= date_trunc('minute', $2, 'UTC') order by m.minute limit 1) as first_number,
       exists (select from annals.event_minutes m where m.tenant_id = $1 and m.minute > $3) as is_past,
       (select m.last_number from annals.event_minutes m where m.tenant_id = $1 and m.minute <= $3 order by m.minute desc limit 1) as last_number,
       t.events as events_beyond, t.last_number as last_number_beyond
  from annals.noted_events n
 cross join lateral (
       select count(*) as events, max(e.event_number) filter (where e.created_at < $3) as last_number
         from (select e.event_number, e.created_at from annals.events e
                where e.tenant_id = $1 and e.event_number > n.position order by e.event_number limit $4) as e) as t";

impl Store {
    /// The numbers that a filter's stretch of time comes to. Without bounds for callers who do not see the tenant: theirs are found by
    /// who they are, and what minutes others were busy in is not theirs to know.
    pub(super) async fn find_number_range(
        &self,
        caller: &Caller,
        filter: &EventFilter,
    ) -> Result<NumberRange, StoreError> {
        if (filter.from.is_none() && filter.to.is_none()) || !caller.role().sees_tenant() {
            return Ok(NumberRange::default());
        }
        let (from, to) = (time(filter.from), time(filter.to));
        let looked_at = to.map_or(0, |_| PATIENCE);
        let params: [Param<'_>; 4] = [
            (caller.tenant_uuid(), Type::UUID),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&looked_at, Type::INT8),
        ];
        let rows = self.read(As::Caller(caller), FIND_NUMBER_RANGE, &params).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("nothing tells how far events are noted".to_owned()))?;
        let mut range = NumberRange::default();
        if from.is_some() {
            let first: Option<i64> = row.try_get("first_number")?;
            range.first = Some(first.map_or_else(|| row.try_get("next_number"), Ok)?);
        }
        if row.try_get("is_past")? && row.try_get::<_, i64>("events_beyond")? < PATIENCE {
            let noted: Option<i64> = row.try_get("last_number")?;
            let beyond: Option<i64> = row.try_get("last_number_beyond")?;
            range.last = Some(noted.max(beyond).unwrap_or_default());
        }
        Ok(range)
    }

    /// How far the log's minutes are noted.
    ///
    /// # Errors
    /// The database's.
    pub async fn noted_position(&self) -> Result<i64, StoreError> {
        let rows = self.read(As::Projector, NOTED_POSITION, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("nothing tells how far events are noted".to_owned()))?;
        Ok(row.try_get("position")?)
    }

    /// Notes the minutes of a stretch of the log that is settled and begins where they are noted to; nothing where another has done it.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_minutes(&self, window: SweepWindow) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.write(As::Projector, NOTE_MINUTES, &params)
            .await
            .map(|_| ())
            .map_err(lost_is_unavailable)
    }
}

fn time(of: Option<Timestamp>) -> Option<DateTime<Utc>> {
    of.map(|time| time.as_datetime())
}
