//! Status of the projector, and health of the store.

pub(crate) mod backlog;
pub(crate) mod ratio;
pub(crate) mod statistics;
pub(crate) mod usage;

use serde::Serialize;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::consistent_read::ConsistentRead;
use crate::connection::statement::{As, Param};
use crate::log::replays::ReplayStatus;
use crate::rebuild::{LIST_REBUILDS, status_from};
use crate::{RebuildStatus, Store, StoreError};
use annals_domain::{Caller, Timestamp};

/// Length of the window of the projector's rates, in seconds.
const RECENT: i64 = 60;

/// Status of the projector for the caller's tenant.
#[derive(Debug, Serialize)]
pub struct ProjectorStatus {
    /// Events that are not projected yet: `lag_events` plus `parked_events`.
    pub unprocessed_events: i64,
    /// Those of them that will be projected without intervention: all except those of parked streams.
    pub lag_events: i64,
    /// Age of the oldest of these, in seconds.
    pub lag_seconds: i64,
    /// The first hundred parked streams, by time. Their next event could not be applied.
    pub parked_streams: Vec<ParkedStream>,
    /// Number of all parked streams.
    pub parked_count: i64,
    /// Events that wait because their streams are parked.
    pub parked_events: i64,
    /// Event number up to which the sweep has made sure that everything is projected or parked.
    pub sweep_position: i64,
    /// Time when the sweep's position last moved.
    pub swept_at: Timestamp,
    /// How far the key figures are behind.
    pub kpis: KpiLag,
    /// Events of the last minute.
    pub rates: Rates,
    /// Replays of the tenant's events, the hundred that moved last.
    pub replays: Vec<ReplayStatus>,
    /// The last ten rebuilds and verifications, newest first.
    pub rebuilds: Vec<RebuildStatus>,
    /// The oldest append whose transaction is open. It delays readers of the log.
    pub oldest_append: Option<OldestAppend>,
}

/// How far the key figures are behind the read models.
#[derive(Debug, Serialize)]
pub struct KpiLag {
    /// Projected changes of sales and expenses that are not in the figures yet.
    pub changes_pending: i64,
    /// Whether there are no more than that.
    pub changes_pending_exact: bool,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: i64,
}

/// Events in a time window.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// Length of the window, in seconds.
    pub window_seconds: i64,
    /// Events appended in it.
    pub appended: i64,
    /// How many of those are projected.
    pub projected: i64,
}

/// A stream whose next event could not be applied.
#[derive(Debug, Serialize)]
pub struct ParkedStream {
    /// Aggregate type.
    pub aggregate_type: String,
    /// Aggregate id.
    pub aggregate_id: String,
    /// Id of that event, for `PUT /events/{id}/processing`.
    pub event_id: Uuid,
    /// Number of the event.
    pub event_number: i64,
    /// Version of the event.
    pub aggregate_version: i32,
    /// How many times it has failed.
    pub attempts: i32,
    /// Code of the error: an SQLSTATE, or the code of a refusal or of a fold error.
    pub error_code: String,
    /// Message of the error: PostgreSQL's, the refusal's or the fold error's.
    pub error: String,
    /// Time of the last failure.
    pub parked_at: Timestamp,
}

/// An append whose transaction is open.
#[derive(Debug, Serialize)]
pub struct OldestAppend {
    /// Process id on the server; null for a prepared transaction.
    pub pid: Option<i32>,
    /// Name of the prepared transaction; null for others.
    pub prepared: Option<String>,
    /// Seconds since it began; null if the database does not know.
    pub age_seconds: Option<i64>,
}

/// A short report on the store's health.
#[derive(Debug, Serialize)]
pub struct Health {
    /// Whether an event was recorded in the last five minutes: in the tenant, or by the caller if the caller does not see the tenant.
    pub recent_activity: bool,
    /// Upcasters that change something: built-in ones and the tenant's.
    pub upcasters_registered: i64,
}

/// Events that are not projected yet. Before the sweep's checkpoint only parked streams have such events.
pub(crate) struct Lag {
    /// Number without those of parked streams.
    pub(crate) events: i64,
    /// Age of the oldest of them, in seconds.
    pub(crate) seconds: i64,
    /// Number of events of parked streams.
    pub(crate) parked_events: i64,
    /// How many of all these were recorded in the last 60 seconds.
    recent: i64,
}

impl Lag {
    /// All events that are not projected yet: those that `GET /events/unprocessed` lists.
    pub(crate) fn unprocessed(&self) -> i64 {
        self.events + self.parked_events
    }
}

/// `offset 0` forces one lookup per event by the whole key, whatever the planner estimates.
const MEASURE_LAG: &str = include_str!("queries/status/measure_lag.sql");

const LIST_PARKED: &str = "-- list_parked
select p.*, count(*) over () as parked_count from annals.parked_streams p where p.tenant_id = $1 order by p.parked_at limit 100";

const MEASURE_KPI_LAG: &str = "-- measure_own_kpi_lag
select least(count(*), 10000) as changes_pending, count(*) <= 10000 as is_exact, greatest(coalesce(extract(epoch from now() - min(c.changed_at)), 0), 0)::bigint as lag_seconds
  from (select k.changed_at from annals.kpi_changes k where k.tenant_id = $1 order by k.id limit 10001) as c";

pub(crate) const FIND_OLDEST_APPEND: &str = "-- find_oldest_append
select pid, prepared, age_seconds from annals.oldest_open_append() where coalesce(pid::text, prepared) is not null";

/// The last event counts; for a caller who does not see the tenant, the caller's own last event.
const READ_HEALTH: &str = "-- read_health
select coalesce((select e.created_at >= now() - interval '5 minutes' from annals.events e
                  where e.tenant_id = $1 and ($2 or e.created_by = $3) order by e.event_number desc limit 1), false) as recent_activity";

const PING: &str = "-- ping\nselect 1";

impl Store {
    /// Status of the projector for the caller's tenant.
    pub async fn projector_status(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        self.retry_if_lost(|| self.projector_status_now(caller)).await
    }

    async fn projector_status_now(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        let client = self.connection().await?;
        let read = ConsistentRead::begin(&client, caller).await?;
        let status = read.projector_status(caller).await;
        read.end(status).await
    }

    /// Health of the store as the caller sees it.
    ///
    /// # Errors
    /// Any error means that the store is not healthy.
    pub async fn health(&self, caller: &Caller) -> Result<Health, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
        ];
        let row = self.read_row(As::Caller(caller), READ_HEALTH, &params).await?;
        Ok(Health {
            recent_activity: row.try_get("recent_activity")?,
            upcasters_registered: self.registered_upcasters(caller).await?,
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(As::Projector, PING, &[]).await.map(|_| ())
    }
}

impl ConsistentRead<'_> {
    async fn projector_status(&self, caller: &Caller) -> Result<ProjectorStatus, StoreError> {
        let lag = self.lag(caller).await?;
        let appended = self.counts(caller).await?.last_minute;
        let parked = self.rows(LIST_PARKED, &[(caller.tenant_uuid(), Type::UUID)]).await?;
        let rebuilds = self.rows(LIST_REBUILDS, &[]).await?;
        let oldest = self.rows(FIND_OLDEST_APPEND, &[]).await?;
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
                changes_pending_exact: kpis.try_get("is_exact")?,
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

    /// How far the tenant's read models are behind.
    pub(crate) async fn lag(&self, caller: &Caller) -> Result<Lag, StoreError> {
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

pub(crate) fn oldest_from(row: &tokio_postgres::Row) -> Result<OldestAppend, StoreError> {
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
