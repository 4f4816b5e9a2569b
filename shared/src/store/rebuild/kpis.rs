//! Key figures in rebuilds and proofs. Figures and noted changes together are, at any moment, what state tables say: so one statement's
//! look is enough to mend or to compare them, and nobody who projects has to wait.
//!
//! They are mended in the transaction that exchanges the tables. What stands there may be wrong until then, and figures that were right
//! are not to become wrong with it, nor to be announced so.

use tokio_postgres::types::Type;

use super::held::Held;
use super::proof::{Difference, stream_differences};
use super::shadow::Shadow;
use super::{NO_TIME_LIMITS, RebuildScope};
use crate::store::StoreError;
use crate::store::session::Param;

/// Kinds of aggregates that figures are made of.
const SOURCES: [&str; 2] = ["sale", "expense"];

/// Whoever settles is done before the mending looks.
const LOCK_KPIS: &str = "-- lock_kpis
set local lock_timeout = '10s'; lock table annals_locks.kpis in exclusive mode";
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

/// Figures mended in a transaction that is still open: nobody sees them, nobody settles, and they are as they were if it is dropped.
pub struct MendedKpis {
    pub(super) held: Held,
    /// Rows that were not what they should have been.
    pub(super) rows: i64,
}

impl Shadow {
    /// Makes figures what live state tables say, where the rebuild is about those. What the exchange changes about state tables then
    /// changes the figures by itself.
    ///
    /// # Errors
    /// [`StoreError::Contention`] where somebody settles for too long: try again.
    pub async fn mend_kpis(&self) -> Result<MendedKpis, StoreError> {
        let held = Held::begin(&self.store, "begin; set local role annals_projector").await?;
        held.execute(NO_TIME_LIMITS).await?;
        let mut rows = 0;
        if self.scope.has_kpis() {
            held.execute(LOCK_KPIS).await?;
            let (tenant, _) = self.scope.columns();
            let mended = held.query(MEND_KPIS, &[(&tenant, Type::UUID)]).await?;
            rows = mended.first().map_or(Ok(0), |row| row.try_get("changed"))?;
        }
        Ok(MendedKpis { held, rows })
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
