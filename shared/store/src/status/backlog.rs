//! How far the read models of all tenants are behind, as the sweep measures it for alarms.

use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_telemetry::metrics::Backlog;

/// Maximum number of events after the sweep's checkpoint that are counted, so that a backlog of millions is not counted each minute.
/// The oldest are counted first, so the age is exact as long as one of these is left.
const MAX_COUNTED: i64 = 100_000;

/// Each tenant's first change is about its oldest. `offset 0` forces one lookup per event by the whole key, whatever the planner
/// estimates.
const MEASURE_BACKLOG: &str = include_str!("../queries/status/measure_backlog.sql");

impl Store {
    /// Measures how far the read models of all tenants are behind.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let params: [Param<'_>; 1] = [(&MAX_COUNTED, Type::INT8)];
        let row = self.read_row(As::Projector, MEASURE_BACKLOG, &params).await?;
        Ok(Backlog {
            lag_events: row.try_get("lag_events")?,
            lag_seconds: row.try_get("lag_seconds")?,
            parked_streams: row.try_get("parked_streams")?,
            kpi_lag_seconds: row.try_get("kpi_lag_seconds")?,
        })
    }
}
