//! Figures about the log and the projector: counted from what is kept, never over the whole log for a tenant's reader.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::{As, Param};
use super::{RebuildStatus, Store, StoreError};
use crate::domain::{Caller, Timestamp};

/// Counts of events.
#[derive(Debug, Serialize)]
pub struct Statistics {
    /// All that the caller may see.
    pub total_events: i64,
    /// By type.
    pub events_by_type: BTreeMap<String, i64>,
    /// Recorded in the last 24 hours.
    pub events_last_24_hours: i64,
    /// Not yet held by read models; null for callers who do not see the tenant.
    pub unprocessed_events: Option<i64>,
}

/// How the projector is doing, for the caller's tenant.
#[derive(Debug, Serialize)]
pub struct ProjectorStatus {
    /// Events that read models do not hold yet, those of parked streams not counted.
    pub lag_events: i64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: i64,
    /// Streams whose next event could not be applied, the first hundred by time.
    pub parked_streams: Vec<ParkedStream>,
    /// How many streams are parked.
    pub parked_count: i64,
    /// Number up to which the sweep has made sure of everything.
    pub sweep_position: i64,
    /// When the sweep last moved.
    pub swept_at: Timestamp,
    /// Events of the last minute.
    pub rates: Rates,
    /// The last rebuilds of read models, newest first.
    pub rebuilds: Vec<RebuildStatus>,
    /// The transaction that holds readers of the log back the longest.
    pub oldest_transaction: Option<OldestTransaction>,
}

/// Events per window.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// Length of the window in seconds.
    pub window_seconds: i64,
    /// Appended within it.
    pub appended: i64,
    /// Of those, how many read models hold.
    pub projected: i64,
}

/// A stream whose next event could not be applied.
#[derive(Debug, Serialize)]
pub struct ParkedStream {
    /// Kind of the aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// The event: name it in `PUT /events/{id}/processing`.
    pub event_id: Uuid,
    /// Its number.
    pub event_number: i64,
    /// Its version.
    pub aggregate_version: i32,
    /// How often it has failed.
    pub attempts: i32,
    /// SQLSTATE of the failure.
    pub error_code: String,
    /// PostgreSQL's message.
    pub error: String,
    /// When it last failed.
    pub parked_at: Timestamp,
}

/// A transaction that has held an xid for long.
#[derive(Debug, Serialize)]
pub struct OldestTransaction {
    /// The server process.
    pub pid: i32,
    /// Seconds since it began; null where the database does not tell.
    pub age_seconds: Option<i64>,
}

const COUNT_TENANT: &str = "-- count_tenant_events
with swept as (select position from annals.checkpoints where name = 'sweep'), counted as (
    select c.event_type, c.events from annals.event_counts c where c.tenant_id = $1
    union all
    select e.event_type, count(*) from annals.events e
     where e.tenant_id = $1 and e.event_number > (select position from swept) group by e.event_type)
select event_type, sum(events)::bigint as events from counted group by event_type";

const COUNT_OWN: &str = "-- count_own_events
select e.event_type, count(*) as events from annals.events e where e.tenant_id = $1 group by e.event_type";

const COUNT_RECENT: &str = "-- count_recent_events
select count(*) as events from annals.events e where e.tenant_id = $1 and e.created_at >= clock_timestamp() - interval '24 hours'";

/// Behind the sweep's checkpoint everything is projected or parked, so lag lies beyond it.
const MEASURE_LAG: &str = "-- measure_lag
select count(*) as events, coalesce(extract(epoch from clock_timestamp() - min(e.created_at)), 0)::bigint as seconds
  from annals.events e
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
 where e.tenant_id = $1 and e.event_number > (select position from annals.checkpoints where name = 'sweep')
   and e.aggregate_version > h.projected_version
   and not exists (select from annals.parked_streams p
                    where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id)";

const MEASURE_RATES: &str = "-- measure_rates
select count(*) as appended, count(*) filter (where e.aggregate_version <= h.projected_version) as projected
  from annals.events e
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
 where e.tenant_id = $1 and e.created_at >= clock_timestamp() - interval '60 seconds'";

const LIST_PARKED: &str = "-- list_parked
select p.*, count(*) over () as parked_count from annals.parked_streams p where p.tenant_id = $1 order by p.parked_at limit 100";

const READ_SWEEP: &str = "-- read_sweep
select c.position, c.updated_at, o.pid, o.age_seconds
  from annals.checkpoints c left join annals.oldest_transaction() o on o.pid is not null where c.name = 'sweep'";

const PING: &str = "-- ping\nselect 1";

impl Store {
    /// Counts of the events that the caller may see.
    ///
    /// # Errors
    /// The database's.
    pub async fn statistics(&self, caller: &Caller) -> Result<Statistics, StoreError> {
        let tenant: [Param<'_>; 1] = [(caller.tenant_uuid(), Type::UUID)];
        let whole_tenant = caller.role().sees_tenant();
        let rows = self
            .read(
                As::Caller(caller),
                if whole_tenant { COUNT_TENANT } else { COUNT_OWN },
                &tenant,
            )
            .await?;
        let mut events_by_type = BTreeMap::new();
        for row in &rows {
            events_by_type.insert(row.try_get("event_type")?, row.try_get::<_, i64>("events")?);
        }
        let recent = self.read(As::Caller(caller), COUNT_RECENT, &tenant).await?;
        let unprocessed_events = if whole_tenant {
            Some(self.projector_lag(caller).await?.0)
        } else {
            None
        };
        Ok(Statistics {
            total_events: events_by_type.values().sum(),
            events_by_type,
            events_last_24_hours: recent.first().map_or(Ok(0), |row| row.try_get("events"))?,
            unprocessed_events,
        })
    }

    /// How the projector is doing, for the caller's tenant.
    ///
    /// # Errors
    /// The database's.
    pub async fn projector_status(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        let tenant: [Param<'_>; 1] = [(caller.tenant_uuid(), Type::UUID)];
        let (lag_events, lag_seconds) = self.projector_lag(caller).await?;
        let rates = self.read(As::Caller(caller), MEASURE_RATES, &tenant).await?;
        let parked = self.read(As::Caller(caller), LIST_PARKED, &tenant).await?;
        let sweep = self.read(As::Caller(caller), READ_SWEEP, &[]).await?;
        let (Some(rates), Some(sweep)) = (rates.first(), sweep.first()) else {
            return Err(StoreError::Unexpected("the sweep has no checkpoint".to_owned()));
        };
        Ok(ProjectorStatus {
            lag_events,
            lag_seconds,
            parked_count: parked.first().map_or(Ok(0), |row| row.try_get("parked_count"))?,
            parked_streams: parked.iter().map(parked_from).collect::<Result<_, _>>()?,
            sweep_position: sweep.try_get("position")?,
            swept_at: Timestamp::from(sweep.try_get::<_, chrono::DateTime<chrono::Utc>>("updated_at")?),
            rates: Rates {
                window_seconds: 60,
                appended: rates.try_get("appended")?,
                projected: rates.try_get("projected")?,
            },
            rebuilds: self.list_rebuilds(caller).await?,
            oldest_transaction: match sweep.try_get::<_, Option<i32>>("pid")? {
                None => None,
                Some(pid) => Some(OldestTransaction {
                    pid,
                    age_seconds: sweep.try_get("age_seconds")?,
                }),
            },
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// That it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(As::Projector, PING, &[]).await.map(|_| ())
    }

    async fn projector_lag(&self, caller: &Caller) -> Result<(i64, i64), StoreError> {
        let rows = self
            .read(As::Caller(caller), MEASURE_LAG, &[(caller.tenant_uuid(), Type::UUID)])
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no lag".to_owned()))?;
        Ok((row.try_get("events")?, row.try_get("seconds")?))
    }
}

fn parked_from(row: &tokio_postgres::Row) -> Result<ParkedStream, StoreError> {
    Ok(ParkedStream {
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        event_id: row.try_get("event_id")?,
        event_number: row.try_get("event_number")?,
        aggregate_version: row.try_get("aggregate_version")?,
        attempts: row.try_get("attempts")?,
        error_code: row.try_get("error_code")?,
        error: row.try_get("error")?,
        parked_at: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("parked_at")?),
    })
}
