//! Several statements that read the database at the same moment, so that the figures they return agree with each other.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::StoreError;
use crate::connection::lease::{Lease, Transaction};
use crate::connection::session::set_claims;
use crate::connection::statement::{As, Param, Writes};
use annals_domain::Caller;

const BEGIN_CONSISTENT_READ: &str = "-- begin_consistent_read
select c.position, c.updated_at, clock_timestamp() as now from annals.checkpoints c where c.name = 'sweep'";

/// A transaction that only reads, with the sweep's position when it began. [`ConsistentRead::end`] ends it. Statements take the
/// position as a parameter: with a sub-select the planner would have to estimate how much of the log is after it, and it assumes a
/// third.
pub(crate) struct ConsistentRead<'a> {
    transaction: Transaction<'a>,
    /// The sweep's position: every event up to it is projected or parked, and counted.
    pub(crate) position: i64,
    /// When the sweep last moved.
    pub(crate) swept_at: DateTime<Utc>,
    /// The present, by the database's clock.
    pub(crate) now: DateTime<Utc>,
}

impl<'a> ConsistentRead<'a> {
    /// Begins the transaction, which sees what the caller may see.
    pub(crate) async fn begin(client: &'a Lease, caller: &Caller) -> Result<Self, StoreError> {
        let transaction = client.begin(As::Caller(caller).begin(Writes::No)).await?;
        set_claims(&transaction, caller).await?;
        let row = transaction.query_typed(BEGIN_CONSISTENT_READ, &[]).await?.pop();
        let row = row.ok_or_else(|| StoreError::Unexpected("the sweep has no checkpoint".to_owned()))?;
        Ok(Self {
            position: row.try_get("position")?,
            swept_at: row.try_get("updated_at")?,
            now: row.try_get("now")?,
            transaction,
        })
    }

    /// Ends the transaction and returns what was read.
    pub(crate) async fn end<T>(self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.transaction.end(read).await
    }

    /// The rows of a statement.
    pub(crate) async fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.transaction.query_typed(sql, params).await?)
    }

    /// The row of a statement that always has one.
    pub(crate) async fn row(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        let row = self.rows(sql, params).await?.pop();
        row.ok_or_else(|| StoreError::Unexpected("a figure without a row".to_owned()))
    }

    /// Number of events up to the checkpoint that were recorded in the last `seconds`. Whole minutes come from the sweep's counts, and
    /// the part of a minute before them from the log.
    pub(crate) async fn passed_within(&self, caller: &Caller, seconds: i64) -> Result<i64, StoreError> {
        let since = self.since(seconds);
        let params: [Param<'_>; 4] = [
            (caller.tenant_uuid(), Type::UUID),
            (&self.position, Type::INT8),
            (&since, Type::TIMESTAMPTZ),
            (&next_minute(since), Type::TIMESTAMPTZ),
        ];
        Ok(self.row(COUNT_PASSED, &params).await?.try_get("events")?)
    }

    /// The time this many seconds ago.
    pub(crate) fn since(&self, seconds: i64) -> DateTime<Utc> {
        self.now - chrono::TimeDelta::seconds(seconds)
    }
}

/// `[since, minute)` is less than a minute and is read from the log, between the numbers that `event_minutes` has for it; from `minute` on, the
/// counts are added. Under a policy, `coalesce` outside of a subquery would not be a condition of the index.
const COUNT_PASSED: &str = "-- count_passed_events
select (select count(*) from annals.events e
         where e.tenant_id = $1 and e.event_number <= $2 and e.created_at >= $3 and e.created_at < $4
           and e.event_number >= (select coalesce((select m.first_number from annals.event_minutes m
                                                    where m.tenant_id = $1 and m.minute >= date_trunc('minute', $3, 'UTC')
                                                    order by m.minute limit 1), n.position + 1)
                                    from annals.noted_events n where n.only_row)
           and e.event_number <= (select case when n.position >= $2
                                              then coalesce((select m.last_number from annals.event_minutes m
                                                              where m.tenant_id = $1 and m.minute < $4 order by m.minute desc limit 1), 0)
                                              else $2 end
                                    from annals.noted_events n where n.only_row))
     + (select coalesce(sum(r.events), 0) from annals.event_rates r where r.tenant_id = $1 and r.minute >= $4)::bigint as events";

/// The beginning of the first minute that begins at this instant or later.
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
