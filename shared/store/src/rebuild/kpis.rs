//! Key figures in rebuilds and verifications. Figures and recorded changes together equal the state tables at any moment, so one
//! statement, with its one snapshot, can repair or compare them, and no projector has to wait.
//!
//! They are repaired in the transaction that exchanges the tables. Until then, state tables may be wrong while figures are right.
//! Figures must not be changed to match wrong tables, nor be announced after such a change.

use tokio_postgres::types::Type;

use super::lock_transaction::LockTransaction;
use super::proof::{Difference, stream_differences};
use super::scope::{NO_TIME_LIMITS, RebuildScope};
use super::shadow::Shadow;
use crate::StoreError;
use crate::connection::statement::Param;

/// Aggregate types that key figures are computed from.
const SOURCES: [&str; 2] = ["sale", "expense"];

/// Waits until processes that apply changes are done, and keeps others waiting.
const LOCK_KEY_FIGURES: &str = "-- lock_kpis
set local lock_timeout = '10s'; lock table annals_locks.kpis in exclusive mode";
const REPAIR_KEY_FIGURES: &str = "-- repair_key_figures
select annals.repair_key_figures($1) as changed";

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

/// Repaired figures in a transaction that is still open. No other transaction sees them or applies changes meanwhile; dropping this value
/// rolls the repair back.
pub struct RepairedKeyFigures {
    pub(super) transaction: LockTransaction,
    /// Rows of figures that were wrong.
    pub(super) rows: i64,
}

impl Shadow {
    /// Makes the figures equal to the live state tables, if the rebuild covers sales or expenses. When the exchange then changes state
    /// tables, the triggers record these changes for the figures.
    ///
    /// # Errors
    /// [`StoreError::Contention`] if another process applies changes for too long: try again.
    pub async fn repair_key_figures(&self) -> Result<RepairedKeyFigures, StoreError> {
        let transaction = LockTransaction::begin(&self.store, "begin; set local role annals_projector").await?;
        transaction.execute(NO_TIME_LIMITS).await?;
        let mut rows = 0;
        if self.scope.has_kpis() {
            transaction.execute(LOCK_KEY_FIGURES).await?;
            let (tenant, _) = self.scope.columns();
            let repaired = transaction.query(REPAIR_KEY_FIGURES, &[(&tenant, Type::UUID)]).await?;
            rows = repaired.first().map_or(Ok(0), |row| row.try_get("changed"))?;
        }
        Ok(RepairedKeyFigures { transaction, rows })
    }

    /// Calls `each` for every figure that differs from the sum of the folded sales and expenses, in the held snapshot.
    pub(super) async fn compare_kpis(
        &self,
        transaction: &LockTransaction,
        mut each: impl FnMut(Difference),
    ) -> Result<(), StoreError> {
        if !self.scope.has_kpis() {
            return Ok(());
        }
        let (tenant, _) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&self.id, Type::INT4), (&tenant, Type::UUID)];
        stream_differences(transaction, LIST_KPI_DIFFERENCES, &params, |row| {
            each(super::proof::difference_from(row, row.try_get("table_name")?)?);
            Ok(())
        })
        .await
    }
}
