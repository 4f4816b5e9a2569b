//! Verification: compares the live read models with the result of a fold from zero, and the heads with the log. It only reads.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::lock_transaction::LockTransaction;
use super::locked::Locked;
use super::shadow::Shadow;
use crate::StoreError;
use crate::connection::statement::{As, Param};
use annals_domain::StreamId;

/// A value that differs from what the log says it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Table with the difference, e.g. `public.sales`.
    pub table: String,
    /// Key of the row, a JSON object.
    pub key: Value,
    /// Column. `None`: the row as a whole is missing, or should not exist.
    pub column: Option<String>,
    /// Live value as text; `None`: no row, or null.
    pub live: Option<String>,
    /// Expected value as text; `None`: no row, or null.
    pub expected: Option<String>,
}

impl Difference {
    /// A difference in a column of a stream's row.
    pub fn of(
        table: &str,
        stream: &StreamId,
        column: &str,
        live: impl Into<Option<String>>,
        expected: impl Into<Option<String>>,
    ) -> Self {
        Self {
            table: table.to_owned(),
            key: json!({"tenant_id": stream.tenant_id, "aggregate_type": stream.aggregate_type, "aggregate_id": stream.aggregate_id}),
            column: Some(column.to_owned()),
            live: live.into(),
            expected: expected.into(),
        }
    }
}

/// Takes the lock after a savepoint. [`TAKE_SNAPSHOT`] then takes the snapshot, which stays until the transaction ends, and rolls back to
/// the savepoint, which releases the lock only.
const LOCK_FOR_A_SNAPSHOT: &str = "-- lock_for_a_snapshot
set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0;
savepoint before_lock; set local lock_timeout = '2s'; lock table annals_locks.read_models in exclusive mode";
const TAKE_SNAPSHOT: &str = "-- take_snapshot
select 1; rollback to savepoint before_lock";

const LIST_PAIRS: &str = "-- list_compared_tables
select format('%I.%I', n.nspname, c.relname) as live, t.shadow
  from annals.shadow_tables($1) as t join pg_class c on c.oid = t.live join pg_namespace n on n.oid = c.relnamespace
 order by 1";
const LIST_DIFFERENCES: &str = "-- list_differences
select d.* from annals.list_differences($1::text::regclass, $2::text::regclass, $3, $4) as d order by d.key, d.column_name";

const LIST_HEAD_DIFFERENCES: &str = include_str!("../queries/rebuild/list_head_differences.sql");

/// Each of these streams is folded up to exactly this version when no stream is outdated any more.
const COUNT_COMPARED: &str = "-- count_compared
select count(*) as streams, coalesce(sum(h.projected_version), 0)::bigint as events
  from annals.heads h
 where h.projected_version > 0 and ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)";

/// How much a verification has compared, or a rebuild has put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Number of streams.
    pub streams: i64,
    /// Number of their events up to their projected versions.
    pub events: i64,
}

impl Shadow {
    /// How many streams and events the new read models hold, while projectors are locked out. The number of events folded on the way is
    /// larger if streams were projected further meanwhile, because those were folded again.
    pub async fn count_compared(&self, locked: &Locked) -> Result<Compared, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let row = locked.transaction.query_row(COUNT_COMPARED, &params).await?;
        Ok(Compared {
            streams: row.try_get("streams")?,
            events: row.try_get("events")?,
        })
    }

    /// Keeps projectors waiting until [`Locked::keep_snapshot`].
    ///
    /// # Errors
    /// [`StoreError::Contention`] if the lock is not available soon: try again.
    pub async fn lock_for_a_snapshot(&self) -> Result<Locked, StoreError> {
        let words = "begin isolation level repeatable read read only; set local role annals_projector";
        let transaction = LockTransaction::begin(&self.store, words).await?;
        transaction.execute(LOCK_FOR_A_SNAPSHOT).await?;
        Ok(Locked {
            transaction,
            repaired: 0,
        })
    }

    /// Calls `each` for every difference between the live read models and the new ones, between heads and the log, and between key
    /// figures and the sums of the new read models, all in the snapshot of the lock.
    pub async fn compare(&self, snapshot: Locked, mut each: impl FnMut(Difference)) -> Result<(), StoreError> {
        let transaction = snapshot.transaction;
        let (tenant, aggregate_type) = self.scope.columns();
        let pairs = self
            .store
            .read(As::Projector, LIST_PAIRS, &[(&self.id, Type::INT4)])
            .await?;
        for pair in &pairs {
            let (live, shadow): (String, String) = (pair.try_get("live")?, pair.try_get("shadow")?);
            let params: [Param<'_>; 4] = [
                (&live, Type::TEXT),
                (&shadow, Type::TEXT),
                (&tenant, Type::UUID),
                (&aggregate_type, Type::TEXT),
            ];
            stream_differences(&transaction, LIST_DIFFERENCES, &params, |row| {
                each(difference_from(row, live.clone())?);
                Ok(())
            })
            .await?;
        }
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        stream_differences(&transaction, LIST_HEAD_DIFFERENCES, &params, |row| {
            each(difference_from(row, row.try_get("table_name")?)?);
            Ok(())
        })
        .await?;
        self.compare_kpis(&transaction, each).await
    }

    /// Ends a verification.
    pub async fn end_verify(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, super::END_VERIFY, &[(&self.id, Type::INT4)])
            .await?;
        self.drop_tables().await;
        Ok(())
    }
}

impl Locked {
    /// Lets projectors continue, and keeps reading the read models as they are at this moment.
    pub async fn keep_snapshot(&self) -> Result<(), StoreError> {
        self.transaction.execute(TAKE_SNAPSHOT).await?;
        self.transaction.execute(super::scope::NO_TIME_LIMITS).await
    }
}

/// Reads row by row, because there may be as many differences as the read models have rows.
pub(super) async fn stream_differences(
    transaction: &LockTransaction,
    sql: &str,
    params: &[Param<'_>],
    mut each: impl FnMut(&Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let params = params
        .iter()
        .map(|(value, kind)| (*value as &(dyn ToSql + Sync), kind.clone()));
    let mut rows = pin!(transaction.client().query_typed_raw(sql, params).await?);
    while let Some(row) = rows.try_next().await? {
        each(&row)?;
    }
    Ok(())
}

pub(super) fn difference_from(row: &Row, table: String) -> Result<Difference, StoreError> {
    let key: &str = row.try_get("key")?;
    Ok(Difference {
        table,
        key: serde_json::from_str(key).map_err(|e| StoreError::Unexpected(format!("unreadable key: {e}")))?,
        column: row.try_get("column_name")?,
        live: row.try_get("found")?,
        expected: row.try_get("expected")?,
    })
}
