//! Key figures of business days: the projector applies changes to them and announces them; callers who see the tenant read them.
//!
//! Triggers on the state tables record what changed. The recorded changes are applied to the figures later, tenant by tenant. Both
//! happen in transactions of their own, so a reader sees the figures as of the last applied batch, and never half a change.

mod announce;
mod read;

use serde_json::Number;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::announce::DueKpi;
pub use self::read::{By, Days, Granularity, KpiLine, KpiPage, TopLine};
use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::TenantId;

/// Finds one tenant after the other by the index, however many changes each has. The order is random, so that no tenant is always last.
const LIST_TENANTS_WITH_CHANGES: &str = "-- list_tenants_with_changes
with recursive tenants as (
    (select c.tenant_id from annals.kpi_changes c order by c.tenant_id limit 1)
     union all
    select (select c.tenant_id from annals.kpi_changes c where c.tenant_id > t.tenant_id order by c.tenant_id limit 1)
      from tenants t where t.tenant_id is not null
)
select t.tenant_id from tenants t where t.tenant_id is not null order by random()";
const APPLY_CHANGES: &str = "-- apply_kpi_changes
select annals.apply_kpi_changes($1, $2) as applied";

/// Result of [`Store::apply_key_figure_changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppliedChanges {
    /// Another process holds the tenant's lock, and will report what is left.
    Busy,
    /// This many changes were applied.
    Applied(i64),
}

impl Store {
    /// Tenants with changes that are not in the figures yet, in random order.
    pub async fn tenants_with_changes(&self) -> Result<Vec<TenantId>, StoreError> {
        let rows = self.read(As::Projector, LIST_TENANTS_WITH_CHANGES, &[]).await?;
        rows.iter().map(tenant_from).collect()
    }

    /// Applies up to `most` of a tenant's changes to its figures, in one transaction.
    pub async fn apply_key_figure_changes(&self, tenant: TenantId, most: i32) -> Result<AppliedChanges, StoreError> {
        let params: [Param<'_>; 2] = [(tenant.as_uuid(), Type::UUID), (&most, Type::INT4)];
        let rows = self.write(As::Projector, APPLY_CHANGES, &params).await?;
        let applied: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get("applied"))?;
        Ok(applied.map_or(AppliedChanges::Busy, AppliedChanges::Applied))
    }
}

fn tenant_from(row: &Row) -> Result<TenantId, StoreError> {
    Ok(TenantId::from(row.try_get::<_, Uuid>("tenant_id")?))
}

/// A sum. It may be larger than any machine integer, so it is read as text.
fn number(row: &Row, column: &str) -> Result<Number, StoreError> {
    optional_number(row, column)?.ok_or_else(|| StoreError::Unexpected(format!("no {column}")))
}

fn optional_number(row: &Row, column: &str) -> Result<Option<Number>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse)
        .transpose()
        .map_err(|e| StoreError::Unexpected(format!("{column} is not a number: {e}")))
}
