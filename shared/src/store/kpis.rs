//! Key figures of business days (V39, V43): settled and announced for the projector, read for callers who see the tenant.
//!
//! State tables' triggers note what changes; settling adds that to the figures, tenant by tenant. Both are transactions of their own, so
//! a reader sees figures as they were settled last, and never half of a change.

mod announce;
mod read;

use serde_json::Number;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::announce::DueKpi;
pub use self::read::{By, Days, Granularity, KpiLine, KpiPage, TopLine};
use super::session::{As, Param, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::TenantId;

/// One tenant after the other by the index, however many notes each has; in any order, so that none is always the last.
const LIST_TENANTS_TO_SETTLE: &str = "-- list_tenants_to_settle
with recursive tenants as (
    (select c.tenant_id from annals.kpi_changes c order by c.tenant_id limit 1)
     union all
    select (select c.tenant_id from annals.kpi_changes c where c.tenant_id > t.tenant_id order by c.tenant_id limit 1)
      from tenants t where t.tenant_id is not null
)
select t.tenant_id from tenants t where t.tenant_id is not null order by random()";
const SETTLE_KPIS: &str = "-- settle_kpis
select annals.settle_kpis($1, $2) as settled";

/// What became of a try to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Somebody else is at it: what is left is theirs to tell.
    Busy,
    /// So many notes are in the figures now.
    Notes(i64),
}

impl Store {
    /// Tenants with notes that are not settled.
    ///
    /// # Errors
    /// The database's.
    pub async fn tenants_to_settle(&self) -> Result<Vec<TenantId>, StoreError> {
        let rows = self.read(As::Projector, LIST_TENANTS_TO_SETTLE, &[]).await?;
        rows.iter().map(tenant_from).collect()
    }

    /// Settles some of a tenant's notes.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_kpis(&self, tenant: TenantId, most: i32) -> Result<Settled, StoreError> {
        let params: [Param<'_>; 2] = [(tenant.as_uuid(), Type::UUID), (&most, Type::INT4)];
        let rows = self
            .write(As::Projector, SETTLE_KPIS, &params)
            .await
            .map_err(lost_is_unavailable)?;
        let settled: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get("settled"))?;
        Ok(settled.map_or(Settled::Busy, Settled::Notes))
    }
}

fn tenant_from(row: &Row) -> Result<TenantId, StoreError> {
    Ok(TenantId::from(row.try_get::<_, Uuid>("tenant_id")?))
}

/// A sum, which may be more than any machine's integer.
fn number(row: &Row, column: &str) -> Result<Number, StoreError> {
    optional_number(row, column)?.ok_or_else(|| StoreError::Unexpected(format!("no {column}")))
}

fn optional_number(row: &Row, column: &str) -> Result<Option<Number>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse)
        .transpose()
        .map_err(|e| StoreError::Unexpected(format!("{column} is no number: {e}")))
}
