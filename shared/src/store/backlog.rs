//! What read models lack, over all tenants: what the sweep finds, for alarms.

use tokio_postgres::types::Type;

use super::session::{As, Param};
use super::{Store, StoreError};

/// Events behind the sweep's checkpoint that are looked at, at most: a backlog of millions is not counted each minute. The
/// oldest stand first, so that the age is exact all the same wherever any of these is left.
const LOOKED_AT: i64 = 100_000;

/// What read models lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Events that they do not hold yet, those of parked streams not counted; of 100,000 behind the sweep's checkpoint.
    pub lag_events: i64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: i64,
    /// Streams whose next event could not be applied.
    pub parked_streams: i64,
    /// How long the oldest change has waited that key figures lack, in seconds.
    pub kpi_lag_seconds: i64,
}

/// Of each tenant's changes the first one is about the oldest. `offset 0`: one look-up per event by the whole key, whatever the planner believes.
const MEASURE_BACKLOG: &str = "-- measure_backlog
with recursive noted as (
    (select c.tenant_id, c.noted_at from annals.kpi_changes c order by c.tenant_id, c.id limit 1)
     union all
    select n.tenant_id, n.noted_at
      from noted f
     cross join lateral (
           select c.tenant_id, c.noted_at from annals.kpi_changes c where c.tenant_id > f.tenant_id order by c.tenant_id, c.id limit 1) as n
), behind as materialized (
    select e.tenant_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.created_at
      from annals.events e
     where e.event_number > (select position from annals.checkpoints where name = 'sweep')
     order by e.event_number limit $1
), waiting as (
    select e.created_at
      from behind e
     cross join lateral (
           select h.projected_version from annals.heads h
            where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
     where e.aggregate_version > h.projected_version
       and not exists (select from annals.parked_streams p
                        where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id)
)
select count(*) as lag_events,
       greatest(coalesce(extract(epoch from now() - min(created_at)), 0), 0)::bigint as lag_seconds,
       (select count(*) from annals.parked_streams) as parked_streams,
       (select greatest(coalesce(extract(epoch from now() - min(n.noted_at)), 0), 0)::bigint from noted n) as kpi_lag_seconds
  from waiting";

impl Store {
    /// What read models lack, over all tenants.
    ///
    /// # Errors
    /// The database's.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let params: [Param<'_>; 1] = [(&LOOKED_AT, Type::INT8)];
        let rows = self.read(As::Projector, MEASURE_BACKLOG, &params).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no backlog".to_owned()))?;
        Ok(Backlog {
            lag_events: row.try_get("lag_events")?,
            lag_seconds: row.try_get("lag_seconds")?,
            parked_streams: row.try_get("parked_streams")?,
            kpi_lag_seconds: row.try_get("kpi_lag_seconds")?,
        })
    }
}
