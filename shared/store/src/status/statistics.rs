//! Counts of the log. For callers who see the tenant, the sweep has counted the events up to its position, and only those after it are
//! counted at the request, so the size of the log does not matter. For others, their events are counted at each request.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::connection::consistent_read::ConsistentRead;
use crate::connection::statement::{As, Param};
use crate::log::replays::ReplayStatus;
use crate::status::ratio::Ratio;
use crate::status::usage::{SnapshotUse, Upcasting};
use crate::{Store, StoreError};
use annals_domain::Caller;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Counts of events.
#[derive(Debug, Serialize)]
pub struct Statistics {
    /// All events that the caller may see.
    pub total_events: i64,
    /// Number by event type.
    pub events_by_type: BTreeMap<String, i64>,
    /// Recorded in the last 24 hours.
    pub events_last_24_hours: i64,
    /// Not projected yet, including `parked_events`. Null for callers who do not see the tenant.
    pub unprocessed_events: Option<i64>,
    /// Only for callers who see the tenant.
    #[serde(flatten)]
    pub of_tenant: Option<TenantFigures>,
}

/// Figures of a whole tenant.
#[derive(Debug, Serialize)]
pub struct TenantFigures {
    /// Unprocessed events that wait because their streams are parked.
    pub parked_events: i64,
    /// Rate of recording.
    pub storage_rate: StorageRate,
    /// Upcasting of old events to the current version of their type.
    pub upcasting: Upcasting,
    /// Use of snapshots.
    pub snapshots: SnapshotUse,
    /// The replay that moved last, with its rate.
    pub last_replay: Option<ReplayStatus>,
}

/// Rate of recording.
#[derive(Debug, Serialize)]
pub struct StorageRate {
    /// The last 60 seconds.
    pub last_minute: Window,
    /// The last 60 minutes.
    pub last_hour: Window,
}

/// A time window that ends now.
#[derive(Debug, Serialize)]
pub struct Window {
    /// Events recorded in it.
    pub events: i64,
    /// Events per second.
    pub events_per_second: Option<Ratio>,
}

impl Window {
    fn of(events: i64, seconds: i64) -> Self {
        Self {
            events,
            events_per_second: Ratio::of(events, seconds),
        }
    }
}

/// Counts of a tenant's events.
pub(crate) struct Counts {
    by_type: BTreeMap<String, i64>,
    last_day: i64,
    last_hour: i64,
    /// Recorded in the last 60 seconds.
    pub(crate) last_minute: i64,
}

const COUNT_TENANT: &str = "-- count_tenant_events
with counted as (
    select c.event_type, c.events, 0 as last_day, 0 as last_hour, 0 as last_minute from annals.event_counts c where c.tenant_id = $1
    union all
    select e.event_type, count(*), count(*) filter (where e.created_at >= $3), count(*) filter (where e.created_at >= $4),
           count(*) filter (where e.created_at >= $5)
      from annals.events e
     where e.tenant_id = $1 and e.event_number > $2 group by e.event_type)
select event_type, sum(events)::bigint as events, sum(last_day)::bigint as last_day, sum(last_hour)::bigint as last_hour,
       sum(last_minute)::bigint as last_minute
  from counted group by event_type";

/// The conditions of the policy are separate queries, each with its index. As one condition, they would be checked for every event of the
/// tenant.
const COUNT_OWN: &str = "-- count_own_events
with own as (
    select e.event_type, e.created_at from annals.events e where e.tenant_id = $1 and e.created_by = $2
    union all
    select e.event_type, e.created_at from annals.events e
     where e.tenant_id = $1 and e.started_by = $2 and e.starter_sees and e.started_by <> e.created_by
    union all
    select e.event_type, e.created_at from annals.events e
     where e.tenant_id = $1 and e.user_id = $3 and e.created_by not like 'user:%' and e.created_by <> $2
       and not (e.started_by = $2 and e.starter_sees))
select event_type, count(*) as events, count(*) filter (where created_at >= now() - interval '24 hours') as last_day
  from own group by event_type";

impl Store {
    /// Counts of the events that the caller may see.
    pub async fn statistics(&self, caller: &Caller) -> Result<Statistics, StoreError> {
        if caller.role().sees_tenant() {
            self.retry_if_lost(|| self.tenant_statistics(caller)).await
        } else {
            self.own_statistics(caller).await
        }
    }

    async fn tenant_statistics(&self, caller: &Caller) -> Result<Statistics, StoreError> {
        let client = self.connection().await?;
        let read = ConsistentRead::begin(&client, caller).await?;
        let figures = read.statistics(caller).await;
        read.end(figures).await
    }

    async fn own_statistics(&self, caller: &Caller) -> Result<Statistics, StoreError> {
        let (actor, person) = (caller.actor().as_str(), caller.user_id());
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&actor, Type::TEXT),
            (&person, Type::UUID),
        ];
        let (mut events_by_type, mut events_last_24_hours) = (BTreeMap::new(), 0);
        for row in self.read(As::Caller(caller), COUNT_OWN, &params).await? {
            events_by_type.insert(row.try_get("event_type")?, row.try_get("events")?);
            events_last_24_hours += row.try_get::<_, i64>("last_day")?;
        }
        Ok(Statistics {
            total_events: events_by_type.values().sum(),
            events_by_type,
            events_last_24_hours,
            unprocessed_events: None,
            of_tenant: None,
        })
    }
}

impl ConsistentRead<'_> {
    async fn statistics(&self, caller: &Caller) -> Result<Statistics, StoreError> {
        let counts = self.counts(caller).await?;
        let lag = self.lag(caller).await?;
        let (upcasting, snapshots) = self.usage(caller).await?;
        Ok(Statistics {
            total_events: counts.by_type.values().sum(),
            events_by_type: counts.by_type,
            events_last_24_hours: counts.last_day,
            unprocessed_events: Some(lag.unprocessed()),
            of_tenant: Some(TenantFigures {
                parked_events: lag.parked_events,
                storage_rate: StorageRate {
                    last_minute: Window::of(counts.last_minute, MINUTE),
                    last_hour: Window::of(counts.last_hour, HOUR),
                },
                upcasting,
                snapshots,
                last_replay: self.replays().await?.into_iter().next(),
            }),
        })
    }

    /// Counts of the tenant's events.
    pub(crate) async fn counts(&self, caller: &Caller) -> Result<Counts, StoreError> {
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&self.position, Type::INT8),
            (&self.since(DAY), Type::TIMESTAMPTZ),
            (&self.since(HOUR), Type::TIMESTAMPTZ),
            (&self.since(MINUTE), Type::TIMESTAMPTZ),
        ];
        let mut counts = Counts {
            by_type: BTreeMap::new(),
            last_day: self.passed_within(caller, DAY).await?,
            last_hour: self.passed_within(caller, HOUR).await?,
            last_minute: self.passed_within(caller, MINUTE).await?,
        };
        for row in self.rows(COUNT_TENANT, &params).await? {
            counts
                .by_type
                .insert(row.try_get("event_type")?, row.try_get("events")?);
            counts.last_day += row.try_get::<_, i64>("last_day")?;
            counts.last_hour += row.try_get::<_, i64>("last_hour")?;
            counts.last_minute += row.try_get::<_, i64>("last_minute")?;
        }
        Ok(counts)
    }
}
