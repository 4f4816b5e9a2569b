//! Replaces the live read models by the rebuilt ones, in one transaction. Its lock makes projectors wait, and no other process: appends
//! write no read model, and no reader waits for a lock of this kind.

use serde_json::{Value, json};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::kpis::RepairedKeyFigures;
use super::lock_transaction::LockTransaction;
use super::locked::Locked;
use super::proof::Compared;
use super::shadow::Shadow;
use crate::StoreError;
use crate::connection::statement::{As, Param};
use annals_domain::{StreamId, TenantId};

/// The fold version of an aggregate type, for one tenant or for all: how many times a change of the catalog has changed the states
/// that its stored events fold to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldVersion {
    /// Tenant; `None`: all tenants.
    pub tenant_id: Option<TenantId>,
    /// Aggregate type.
    pub aggregate_type: String,
    /// Number of changes so far.
    pub fold_version: i64,
}

impl FoldVersion {
    /// Whether it applies to this stream: it has the stream's aggregate type, and is for its tenant or for all.
    pub fn is_of(&self, stream: &StreamId) -> bool {
        self.aggregate_type == stream.aggregate_type.as_str()
            && self.tenant_id.is_none_or(|tenant| tenant == stream.tenant_id)
    }
}

/// What an exchange puts in place.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// Fold versions of the new read models.
    pub fold_versions: &'a [FoldVersion],
    /// Snapshots that differ from the fold, to be deleted: stream and version.
    pub wrong_snapshots: &'a [(StreamId, i32)],
}

/// Result of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// Rows that differed and were changed, inserted or deleted.
    pub changed_rows: i64,
    /// How much the new read models hold.
    pub compared: Compared,
}

/// Every lock is waited for with a time limit: this one, and those that the exchange needs after it. Projectors queue up behind a waiting
/// exchange, so a transaction that another session leaves open must not block them all. The lock is not on `annals.entities`, because a
/// request could hold ROW EXCLUSIVE there (see the migration `roles`) and keep every exchange waiting.
const LOCK: &str = "-- lock_read_models
set local lock_timeout = '2s'; lock table annals_locks.read_models in exclusive mode; set local lock_timeout = '10s'";

const LIST_FOLD_VERSIONS: &str = "-- list_fold_versions
select s.tenant_id, s.aggregate_type, s.fold_version from annals.fold_versions s
 where ($1::uuid is null or s.tenant_id is null or s.tenant_id = $1) and ($2::text is null or s.aggregate_type = $2)
 order by s.aggregate_type, s.tenant_id nulls first";
const DELETE_SHADOW_ROWS: &str = "-- delete_shadow_rows
select annals.delete_shadow_rows($1, $2, $3)";

const DELETE_SNAPSHOTS: &str = "-- delete_wrong_snapshots
delete from annals.snapshots p using jsonb_to_recordset($1::text::jsonb) as w (tenant_id uuid, aggregate_type text, aggregate_id text, version int)
 where p.tenant_id = w.tenant_id and p.aggregate_type = w.aggregate_type and p.aggregate_id = w.aggregate_id and p.version = w.version";
const EXCHANGE: &str = "-- exchange_read_models
select annals.exchange_read_models($1) as changed";

/// Changes no row if the rebuild was marked as abandoned meanwhile. The exchange then fails and changes nothing.
const END_REBUILD: &str = "-- end_rebuild
update annals.rebuilds set status = 'done', finished_at = clock_timestamp(), changed_rows = $2, events = $3, streams = $4
 where id = $1 and status = 'running' returning id";

/// Records the fold version that was folded, not the current one. If there is a later one by now, its rebuild stays pending.
const NOTE_FOLD_VERSIONS: &str = "-- note_rebuilt_fold_versions
update annals.fold_versions s set rebuilt_version = greatest(s.rebuilt_version, k.fold_version)
  from unnest($1::uuid[], $2::text[], $3::bigint[]) as k (tenant_id, aggregate_type, fold_version)
 where s.tenant_id is not distinct from k.tenant_id and s.aggregate_type = k.aggregate_type
   and ($4::uuid is null or s.tenant_id = $4)";

impl Shadow {
    /// Keeps projectors waiting until the exchange is done or the result is dropped.
    ///
    /// # Errors
    /// [`StoreError::Contention`] if the lock is not available soon: try again.
    pub async fn lock(&self, repaired: RepairedKeyFigures) -> Result<Locked, StoreError> {
        repaired.transaction.execute(LOCK).await?;
        Ok(Locked {
            transaction: repaired.transaction,
            repaired: repaired.rows,
        })
    }

    /// The current fold versions of what is rebuilt.
    pub async fn fold_versions(&self) -> Result<Vec<FoldVersion>, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let rows = self.store.read(As::Projector, LIST_FOLD_VERSIONS, &params).await?;
        rows.iter()
            .map(|row| {
                Ok(FoldVersion {
                    tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
                    aggregate_type: row.try_get("aggregate_type")?,
                    fold_version: row.try_get("fold_version")?,
                })
            })
            .collect()
    }

    /// Deletes from the new read models what was folded with a fold version that is outdated by now.
    pub async fn forget(&self, outdated: &FoldVersion) -> Result<(), StoreError> {
        let tenant = outdated.tenant_id.map(|tenant| *tenant.as_uuid());
        let params: [Param<'_>; 3] = [
            (&self.id, Type::INT4),
            (&tenant, Type::UUID),
            (&outdated.aggregate_type, Type::TEXT),
        ];
        self.store
            .write(As::Projector, DELETE_SHADOW_ROWS, &params)
            .await
            .map(|_| ())
    }

    /// Makes the live read models equal to the new ones, which must hold all that is projected, folded with these versions. Returns
    /// how many rows differed and how much the new ones hold. Work that projectors read before the exchange is refused from then on.
    ///
    /// # Errors
    /// A live table refuses a row; the rebuild was marked as abandoned; [`StoreError::Contention`] if another session's lock blocks
    /// the exchange for too long (try again). In all cases nothing is changed.
    pub async fn exchange(&self, locked: Locked, of: Exchange<'_>) -> Result<Exchanged, StoreError> {
        let compared = self.count_compared(&locked).await?;
        let Locked { transaction, repaired } = locked;
        if !of.wrong_snapshots.is_empty() {
            let wrong: Vec<Value> = of.wrong_snapshots.iter().map(snapshot_key).collect();
            let wrong = Value::Array(wrong).to_string();
            transaction.query(DELETE_SNAPSHOTS, &[(&wrong, Type::TEXT)]).await?;
        }
        let rows = transaction.query(EXCHANGE, &[(&self.id, Type::INT4)]).await?;
        let changed = repaired + rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>("changed"))?;
        let figures: [Param<'_>; 4] = [
            (&self.id, Type::INT4),
            (&changed, Type::INT8),
            (&compared.events, Type::INT8),
            (&compared.streams, Type::INT8),
        ];
        let ended = transaction.query(END_REBUILD, &figures).await?;
        if ended.is_empty() {
            return Err(StoreError::Unexpected("the rebuild was marked as abandoned".to_owned()));
        }
        self.note_fold_versions(&transaction, of.fold_versions).await?;
        transaction.commit().await?;
        Ok(Exchanged {
            changed_rows: changed,
            compared,
        })
    }

    async fn note_fold_versions(
        &self,
        transaction: &LockTransaction,
        fold_versions: &[FoldVersion],
    ) -> Result<(), StoreError> {
        let tenants: Vec<Option<Uuid>> = fold_versions
            .iter()
            .map(|s| s.tenant_id.map(|t| *t.as_uuid()))
            .collect();
        let types: Vec<&str> = fold_versions.iter().map(|s| s.aggregate_type.as_str()).collect();
        let numbers: Vec<i64> = fold_versions.iter().map(|s| s.fold_version).collect();
        let (tenant, _) = self.scope.columns();
        let params: [Param<'_>; 4] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&numbers, Type::INT8_ARRAY),
            (&tenant, Type::UUID),
        ];
        transaction.query(NOTE_FOLD_VERSIONS, &params).await.map(|_| ())
    }
}

/// A snapshot's key, as JSON.
fn snapshot_key((stream, version): &(StreamId, i32)) -> Value {
    json!({"tenant_id": stream.tenant_id, "aggregate_type": stream.aggregate_type, "aggregate_id": stream.aggregate_id, "version": version})
}
