//! How the projector is doing, and whether the store is well.

use serde::Serialize;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::moment::Moment;
use super::rebuild::{LIST_REBUILDS, status_from};
use super::replays::ReplayStatus;
use super::session::{As, Param};
use super::{RebuildStatus, Store, StoreError};
use crate::domain::{Caller, Timestamp};

/// Length in seconds of the window that the projector's rates are over.
const RECENT: i64 = 60;

/// How the projector is doing, for the caller's tenant.
#[derive(Debug, Serialize)]
pub struct ProjectorStatus {
    /// Events that read models do not hold yet: `lag_events` and `parked_events` together.
    pub unprocessed_events: i64,
    /// Those of them that will be projected by themselves: the ones of parked streams are not among them.
    pub lag_events: i64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: i64,
    /// Streams whose next event could not be applied, the first hundred by time.
    pub parked_streams: Vec<ParkedStream>,
    /// How many streams are parked.
    pub parked_count: i64,
    /// Events that wait because of it.
    pub parked_events: i64,
    /// Number up to which the sweep has made sure of everything.
    pub sweep_position: i64,
    /// When the sweep last moved.
    pub swept_at: Timestamp,
    /// What key figures lack.
    pub kpis: KpiLag,
    /// Events of the last minute.
    pub rates: Rates,
    /// Replays of the tenant's events, the hundred that moved last.
    pub replays: Vec<ReplayStatus>,
    /// The last rebuilds of read models, newest first.
    pub rebuilds: Vec<RebuildStatus>,
    /// The append that holds readers of the log back: the oldest whose transaction is open.
    pub oldest_append: Option<OldestAppend>,
}

/// What key figures lack of what read models hold.
#[derive(Debug, Serialize)]
pub struct KpiLag {
    /// Changes of sales and expenses that are not in the figures; 10,000: so many or more.
    pub changes_pending: i64,
    /// How long the oldest of them has waited, in seconds.
    pub lag_seconds: i64,
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

/// An append whose transaction is open.
#[derive(Debug, Serialize)]
pub struct OldestAppend {
    /// The server process; null for a prepared transaction.
    pub pid: Option<i32>,
    /// Name of the prepared transaction, where it is one.
    pub prepared: Option<String>,
    /// Seconds since it began; null where the database does not tell.
    pub age_seconds: Option<i64>,
}

/// Whether the store is well, in few words.
#[derive(Debug, Serialize)]
pub struct Health {
    /// Whether an event was recorded in the last five minutes: in the tenant, or by callers themselves who do not see it.
    pub recent_activity: bool,
    /// Upcasters that change something: built-in ones and the tenant's.
    pub upcasters_registered: i64,
}

/// What read models lack. Behind the sweep's checkpoint that is the parked streams' alone.
pub(super) struct Lag {
    /// Events, those of parked streams not counted.
    pub(super) events: i64,
    /// Age of the oldest of them.
    pub(super) seconds: i64,
    /// Events of parked streams.
    pub(super) parked_events: i64,
    /// Of all these together, those of the last sixty seconds.
    recent: i64,
}

impl Lag {
    /// All that read models do not hold yet: what `GET /events/unprocessed` lists.
    pub(super) fn unprocessed(&self) -> i64 {
        self.events + self.parked_events
    }
}

/// `offset 0`: one look-up per event of the tail, by the whole key, whatever the planner believes.
const MEASURE_LAG: &str = "-- measure_lag
with waiting as materialized (
    select e.created_at,
           exists (select from annals.parked_streams p
                    where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id) as parked
      from annals.events e
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
     where e.tenant_id = $1 and e.event_number > $2 and e.aggregate_version > h.projected_version
), parked as (
    select coalesce(sum(h.version - h.projected_version), 0)::bigint as events
      from annals.parked_streams p
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = p.tenant_id and h.aggregate_type = p.aggregate_type and h.aggregate_id = p.aggregate_id offset 0) as h
     where p.tenant_id = $1
), parked_recently as (
    select count(*) as events
      from annals.events e
      join annals.parked_streams p
        on p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id
       and p.aggregate_version <= e.aggregate_version
     where e.tenant_id = $1 and e.event_number <= $2 and e.created_at >= $3
)
select count(*) filter (where not w.parked) as events,
       greatest(coalesce(extract(epoch from $4 - min(w.created_at) filter (where not w.parked)), 0), 0)::bigint as seconds,
       (select events from parked) as parked_events,
       count(*) filter (where w.created_at >= $3) + (select events from parked_recently) as recent
  from waiting w";

const LIST_PARKED: &str = "-- list_parked
select p.*, count(*) over () as parked_count from annals.parked_streams p where p.tenant_id = $1 order by p.parked_at limit 100";

const MEASURE_KPI_LAG: &str = "-- measure_own_kpi_lag
select count(*) as changes_pending, greatest(coalesce(extract(epoch from now() - min(c.noted_at)), 0), 0)::bigint as lag_seconds
  from (select k.noted_at from annals.kpi_changes k where k.tenant_id = $1 order by k.id limit 10000) as c";

const READ_OLDEST: &str = "-- read_oldest_append
select o.pid, o.prepared, o.age_seconds from annals.oldest_feed_holder() o where coalesce(o.pid::text, o.prepared) is not null";

/// Whoever does not see the tenant hears of its own last event, which its index finds at once.
const READ_HEALTH: &str = "-- read_health
select case when $2 then exists (select from annals.events e where e.tenant_id = $1 and e.created_at >= now() - interval '5 minutes')
            else coalesce((select e.created_at >= now() - interval '5 minutes' from annals.events e
                            where e.tenant_id = $1 and e.created_by = $3 order by e.event_number desc limit 1), false) end as recent_activity";

const PING: &str = "-- ping\nselect 1";

impl Store {
    /// How the projector is doing, for the caller's tenant.
    ///
    /// # Errors
    /// The database's.
    pub async fn projector_status(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        self.twice_if_lost(|| self.projector_status_now(caller)).await
    }

    async fn projector_status_now(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        let client = self.connection().await?;
        let moment = Moment::begin(&client, caller).await?;
        let status = moment.projector_status(caller).await;
        moment.end(status).await
    }

    /// Whether the store is well, as the caller sees it.
    ///
    /// # Errors
    /// The database's: it is not.
    pub async fn health(&self, caller: &Caller) -> Result<Health, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), READ_HEALTH, &params).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no health".to_owned()))?;
        Ok(Health {
            recent_activity: row.try_get("recent_activity")?,
            upcasters_registered: self.registered_upcasters(caller).await?,
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// That it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(As::Projector, PING, &[]).await.map(|_| ())
    }
}

impl Moment<'_> {
    async fn projector_status(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        let lag = self.lag(caller).await?;
        let appended = self.counts(caller).await?.last_minute;
        let parked = self.rows(LIST_PARKED, &[(caller.tenant_uuid(), Type::UUID)]).await?;
        let rebuilds = self.rows(LIST_REBUILDS, &[]).await?;
        let oldest = self.rows(READ_OLDEST, &[]).await?;
        let kpis = self.row(MEASURE_KPI_LAG, &[(caller.tenant_uuid(), Type::UUID)]).await?;
        Ok(ProjectorStatus {
            unprocessed_events: lag.unprocessed(),
            lag_events: lag.events,
            lag_seconds: lag.seconds,
            parked_count: parked.first().map_or(Ok(0), |row| row.try_get("parked_count"))?,
            parked_events: lag.parked_events,
            parked_streams: parked.iter().map(parked_from).collect::<Result<_, _>>()?,
            sweep_position: self.position,
            swept_at: Timestamp::from(self.swept_at),
            kpis: KpiLag {
                changes_pending: kpis.try_get("changes_pending")?,
                lag_seconds: kpis.try_get("lag_seconds")?,
            },
            rates: Rates {
                window_seconds: RECENT,
                appended,
                projected: appended - lag.recent,
            },
            replays: self.replays().await?,
            rebuilds: rebuilds.iter().map(status_from).collect::<Result<_, _>>()?,
            oldest_append: oldest.first().map(oldest_from).transpose()?,
        })
    }

    /// What the tenant's read models lack.
    pub(super) async fn lag(&self, caller: &Caller) -> Result<Lag, StoreError> {
        let params: [Param<'_>; 4] = [
            (caller.tenant_uuid(), Type::UUID),
            (&self.position, Type::INT8),
            (&self.since(RECENT), Type::TIMESTAMPTZ),
            (&self.now, Type::TIMESTAMPTZ),
        ];
        let row = self.row(MEASURE_LAG, &params).await?;
        Ok(Lag {
            events: row.try_get("events")?,
            seconds: row.try_get("seconds")?,
            parked_events: row.try_get("parked_events")?,
            recent: row.try_get("recent")?,
        })
    }
}

pub(super) fn oldest_from(row: &tokio_postgres::Row) -> Result<OldestAppend, StoreError> {
    Ok(OldestAppend {
        pid: row.try_get("pid")?,
        prepared: row.try_get("prepared")?,
        age_seconds: row.try_get("age_seconds")?,
    })
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
