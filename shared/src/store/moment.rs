//! One moment of the database in several statements: figures that are put together agree with each other.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StoreError;
use super::lease::{Lease, Transaction};
use super::session::{As, Param, Writes, set_claims};
use crate::domain::Caller;

const READ_MOMENT: &str = "-- read_moment
select c.position, c.updated_at, clock_timestamp() as now from annals.checkpoints c where c.name = 'sweep'";

/// A reading transaction, which [`Moment::end`] ends, and how far the sweep had come when it began. The position goes into statements as a parameter: a
/// sub-select in its place would leave the planner guessing how much of the log lies beyond, and it guesses a third.
pub(super) struct Moment<'a> {
    transaction: Transaction<'a>,
    /// Everything up to here is projected or parked, and counted.
    pub(super) position: i64,
    /// When the sweep last moved.
    pub(super) swept_at: DateTime<Utc>,
    /// The present, by the database's clock.
    pub(super) now: DateTime<Utc>,
}

impl<'a> Moment<'a> {
    /// The present, as the caller sees it.
    pub(super) async fn begin(client: &'a Lease, caller: &Caller) -> Result<Self, StoreError> {
        let transaction = client.begin(As::Caller(caller).begin(Writes::No)).await?;
        set_claims(&transaction, caller).await?;
        let row = transaction.query_typed(READ_MOMENT, &[]).await?.pop();
        let row = row.ok_or_else(|| StoreError::Unexpected("the sweep has no checkpoint".to_owned()))?;
        Ok(Self {
            position: row.try_get("position")?,
            swept_at: row.try_get("updated_at")?,
            now: row.try_get("now")?,
            transaction,
        })
    }

    /// The end of it, with what was read.
    pub(super) async fn end<T>(self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.transaction.end(read).await
    }

    /// Rows of a statement.
    pub(super) async fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.transaction.query_typed(sql, params).await?)
    }

    /// The row of a statement that always has one.
    pub(super) async fn row(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        let row = self.rows(sql, params).await?.pop();
        row.ok_or_else(|| StoreError::Unexpected("a figure without a row".to_owned()))
    }

    /// How many events were recorded in the last seconds, those beyond the checkpoint left out: whole minutes as the sweep has
    /// counted them, and what the first of them lacks from the log.
    pub(super) async fn passed_within(&self, caller: &Caller, seconds: i64) -> Result<i64, StoreError> {
        let since = self.since(seconds);
        let params: [Param<'_>; 4] = [
            (caller.tenant_uuid(), Type::UUID),
            (&self.position, Type::INT8),
            (&since, Type::TIMESTAMPTZ),
            (&next_minute(since), Type::TIMESTAMPTZ),
        ];
        Ok(self.row(COUNT_PASSED, &params).await?.try_get("events")?)
    }

    /// That many seconds ago.
    pub(super) fn since(&self, seconds: i64) -> DateTime<Utc> {
        self.now - chrono::TimeDelta::seconds(seconds)
    }
}

/// `[since, minute)` is less than a minute of the log, read by time; from `minute` on there are counts.
const COUNT_PASSED: &str = "-- count_passed_events
select (select count(*) from annals.events e
         where e.tenant_id = $1 and e.event_number <= $2 and e.created_at >= $3 and e.created_at < $4)
     + (select coalesce(sum(r.events), 0) from annals.event_rates r where r.tenant_id = $1 and r.minute >= $4)::bigint as events";

/// Begin of the first minute that began at this instant or later.
fn next_minute(instant: DateTime<Utc>) -> DateTime<Utc> {
    const MINUTE: i64 = 60_000_000;
    let begun = instant.timestamp_micros().rem_euclid(MINUTE);
    instant + chrono::TimeDelta::microseconds((MINUTE - begun).rem_euclid(MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_begins_now_is_the_next_one() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        for (instant, minute) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:01:00Z"),
            ("2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z"),
            ("1969-12-31T23:59:30Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(next_minute(at(instant)), at(minute), "{instant}");
        }
    }
}
