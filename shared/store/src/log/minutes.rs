//! Converts a range of recorded time to a range of event numbers, so that a page reads only that range of the log.
//!
//! Numbers rise with recorded time except for short intervals: a time is taken just before its number, and clocks may be set back. The
//! sweep therefore records for each minute the lowest number of this minute and all later ones, and the highest number of this minute
//! and all earlier ones (`annals.note_minutes`). A reader examines the events that the sweep has not recorded yet.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::log::events::EventFilter;
use crate::{Store, StoreError, SweepWindow};
use annals_domain::{Caller, Timestamp};

/// Maximum number of events that a reader examines because they are not recorded yet. With more, reading the page without a range
/// costs little more.
const MAX_EXAMINED: i64 = 20_000;

/// Numbers between which all events of a time range are; others may be there too. `None`: no bound on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NumberRange {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

const NOTED_POSITION: &str = "-- noted_position
select position from annals.noted_events";
const NOTE_MINUTES: &str = "-- note_minutes
select annals.note_minutes($1, $2)";

/// The first number is that of the first recorded minute at `from` or later. If there is no such minute, it is the number after the
/// recorded position. The last number is known only if a minute after `to` is recorded, because otherwise more events may still come
/// before `to`. Events after the recorded position are examined up to a limit, which is 0 without `to`. An SQL condition instead of
/// the limit would do the same, but its estimate would include a scan of the log, and PostgreSQL would compile the statement (JIT)
/// because it looks expensive.
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
    /// The range of event numbers for the filter's time range. Unbounded for callers who do not see the tenant: their events are found by
    /// actor, and they must not learn in which minutes others were active.
    pub(crate) async fn find_number_range(
        &self,
        caller: &Caller,
        filter: &EventFilter,
    ) -> Result<NumberRange, StoreError> {
        if (filter.from.is_none() && filter.to.is_none()) || !caller.role().sees_tenant() {
            return Ok(NumberRange::default());
        }
        let (from, to) = (time(filter.from), time(filter.to));
        let examined = to.map_or(0, |_| MAX_EXAMINED);
        let params: [Param<'_>; 4] = [
            (caller.tenant_uuid(), Type::UUID),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&examined, Type::INT8),
        ];
        let row = self.read_row(As::Caller(caller), FIND_NUMBER_RANGE, &params).await?;
        let mut range = NumberRange::default();
        if from.is_some() {
            let first: Option<i64> = row.try_get("first_number")?;
            range.first = Some(first.map_or_else(|| row.try_get("next_number"), Ok)?);
        }
        if row.try_get("is_past")? && row.try_get::<_, i64>("events_beyond")? < MAX_EXAMINED {
            let noted: Option<i64> = row.try_get("last_number")?;
            let beyond: Option<i64> = row.try_get("last_number_beyond")?;
            range.last = Some(noted.max(beyond).unwrap_or_default());
        }
        Ok(range)
    }

    /// Event number up to which minutes are recorded.
    pub async fn noted_position(&self) -> Result<i64, StoreError> {
        let row = self.read_row(As::Projector, NOTED_POSITION, &[]).await?;
        Ok(row.try_get("position")?)
    }

    /// Records the minutes of a window that begins at the recorded position and ends at a high-water mark. Does nothing if another
    /// process has recorded it.
    pub async fn note_minutes(&self, window: SweepWindow) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.write(As::Projector, NOTE_MINUTES, &params).await.map(|_| ())
    }
}

fn time(of: Option<Timestamp>) -> Option<DateTime<Utc>> {
    of.map(|time| time.as_datetime())
}
