//! Key figures in rebuilds and proofs. Figures and noted changes together are, at any moment, what state tables say: so one moment's look
//! is enough to mend or to compare them, and nobody has to wait.

use tokio_postgres::types::Type;

use super::held::Held;
use super::proof::{Difference, stream_differences};
use super::shadow::Shadow;
use super::{NO_TIME_LIMITS, RebuildScope};
use crate::store::StoreError;
use crate::store::session::Param;

/// Kinds of aggregates that figures are made of.
const SOURCES: [&str; 2] = ["sale", "expense"];

/// The lock comes before the transaction's first look, so that whoever settled before it is seen.
const LOCK_KPIS: &str = "-- lock_kpis
set local lock_timeout = '10s'; lock table annals.kpi_lock in exclusive mode";
const MEND_KPIS: &str = "-- mend_kpis
select annals.mend_kpis($1) as changed";

const LIST_KPI_DIFFERENCES: &str = "-- list_kpi_differences
with folded as (select t.aggregate_type, t.shadow from annals.shadow_tables($1) as t where t.collection is null)
select d.*
  from annals.list_kpi_differences(
       coalesce((select f.shadow from folded f where f.aggregate_type = 'sale'), 'public.sales')::regclass,
       coalesce((select f.shadow from folded f where f.aggregate_type = 'expense'), 'public.expenses')::regclass, $2) as d
 order by d.table_name, d.key, d.column_name";

impl RebuildScope {
    fn has_kpis(&self) -> bool {
        let module = self.aggregate_type.as_ref();
        module.is_none_or(|module| SOURCES.contains(&module.as_str()))
    }
}

impl Shadow {
    /// Makes figures what live state tables say, where the rebuild is about those; how many rows were not. What the exchange changes
    /// about state tables then changes the figures by itself.
    ///
    /// # Errors
    /// [`StoreError::Contention`] where somebody settles: try again.
    pub async fn mend_kpis(&self) -> Result<i64, StoreError> {
        if !self.scope.has_kpis() {
            return Ok(0);
        }
        let words =
            "begin isolation level repeatable read; set local role annals_projector; set local statement_timeout = 0";
        let held = Held::begin(&self.store, words).await?;
        held.execute(LOCK_KPIS).await?;
        held.execute(NO_TIME_LIMITS).await?;
        let (tenant, _) = self.scope.columns();
        let rows = held.query(MEND_KPIS, &[(&tenant, Type::UUID)]).await?;
        let changed = rows.first().map_or(Ok(0), |row| row.try_get("changed"))?;
        held.commit().await?;
        Ok(changed)
    }

    /// Each figure that is not what the folded sales and expenses come to, in the held snapshot.
    pub(super) async fn compare_kpis(&self, held: &Held, mut each: impl FnMut(Difference)) -> Result<(), StoreError> {
        if !self.scope.has_kpis() {
            return Ok(());
        }
        let (tenant, _) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&self.id, Type::INT4), (&tenant, Type::UUID)];
        stream_differences(held, LIST_KPI_DIFFERENCES, &params, |row| {
            each(super::proof::difference_from(row, row.try_get("table_name")?)?);
            Ok(())
        })
        .await
    }
}
