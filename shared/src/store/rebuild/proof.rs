//! Comparing the live read models with those that a fold from zero gives, and heads with the log: reading only.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::exchange::Locked;
use super::held::Held;
use super::shadow::Shadow;
use crate::domain::StreamId;
use crate::store::StoreError;
use crate::store::session::{As, Param};

/// Something that is not what the log says it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The row.
    pub key: Value,
    /// The column; none: the whole row.
    pub column: Option<String>,
    /// What stands there; none: nothing, or null.
    pub live: Option<String>,
    /// What should.
    pub expected: Option<String>,
}

impl Difference {
    /// A difference in what belongs to a stream.
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

/// The lock alone is taken back: the snapshot is not there yet, and stays until the transaction ends.
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

const LIST_HEAD_DIFFERENCES: &str = "-- list_head_differences
with logged as (
    select e.tenant_id, e.aggregate_type, e.aggregate_id, count(*) as events, min(e.aggregate_version) as first_version,
           max(e.aggregate_version) as last_version, max(e.created_at) as last_created_at,
           min(e.created_by) filter (where e.aggregate_version = 1) as started_by
      from annals.events e
     where ($1::uuid is null or e.tenant_id = $1) and ($2::text is null or e.aggregate_type = $2)
     group by e.tenant_id, e.aggregate_type, e.aggregate_id
), known as (
    select h.* from annals.heads h where ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)
)
select v.table_name, v.column_name, v.found, v.expected,
       jsonb_build_object('tenant_id', coalesce(h.tenant_id, l.tenant_id), 'aggregate_type', coalesce(h.aggregate_type, l.aggregate_type),
                          'aggregate_id', coalesce(h.aggregate_id, l.aggregate_id))::text as key
  from known h
  full join logged l on l.tenant_id = h.tenant_id and l.aggregate_type = h.aggregate_type and l.aggregate_id = h.aggregate_id
 cross join lateral (values
       ('annals.heads', null, h.version::text, l.last_version::text, h.version is null or l.last_version is null),
       ('annals.heads', 'version', h.version::text, l.last_version::text, h.version <> l.last_version),
       ('annals.heads', 'projected_version', h.projected_version::text, l.last_version::text, h.projected_version > l.last_version),
       ('annals.heads', 'last_created_at', h.last_created_at::text, l.last_created_at::text, h.last_created_at <> l.last_created_at),
       ('annals.heads', 'started_by', h.started_by, l.started_by, h.started_by <> l.started_by),
       ('annals.events', 'aggregate_version', l.events::text, l.last_version::text, l.first_version <> 1 or l.events <> l.last_version)
       ) as v (table_name, column_name, found, expected, differs)
 where v.differs";

/// Each of these streams is folded up to exactly this version once nothing is outdated.
const COUNT_COMPARED: &str = "-- count_compared
select count(*) as streams, coalesce(sum(h.projected_version), 0)::bigint as events
  from annals.heads h
 where h.projected_version > 0 and ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)";

/// What a proof has compared, or a rebuild has put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Streams.
    pub streams: i64,
    /// Their events up to where read models hold them.
    pub events: i64,
}

impl Shadow {
    /// How many streams and events the new read models hold while projectors are kept out. What was folded on the way there is more
    /// where streams went on meanwhile: those were folded again.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_compared(&self, locked: &Locked) -> Result<Compared, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let rows = locked.held.query(COUNT_COMPARED, &params).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("a count without a row".to_owned()))?;
        Ok(Compared {
            streams: row.try_get("streams")?,
            events: row.try_get("events")?,
        })
    }

    /// Keeps projectors out until [`Locked::keep_snapshot`].
    ///
    /// # Errors
    /// [`StoreError::Contention`] where it takes too long to get the lock: try again.
    pub async fn lock_for_a_snapshot(&self) -> Result<Locked, StoreError> {
        let words = "begin isolation level repeatable read read only; set local role annals_projector";
        let held = Held::begin(&self.store, words).await?;
        held.execute(LOCK_FOR_A_SNAPSHOT).await?;
        Ok(Locked { held, mended: 0 })
    }

    /// Each difference between the live read models and the new ones, between heads and the log, and between key figures and what the
    /// new read models come to, in the lock's snapshot.
    ///
    /// # Errors
    /// The database's.
    pub async fn compare(&self, snapshot: Locked, mut each: impl FnMut(Difference)) -> Result<(), StoreError> {
        let held = snapshot.held;
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
            stream_differences(&held, LIST_DIFFERENCES, &params, |row| {
                each(difference_from(row, live.clone())?);
                Ok(())
            })
            .await?;
        }
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        stream_differences(&held, LIST_HEAD_DIFFERENCES, &params, |row| {
            each(difference_from(row, row.try_get("table_name")?)?);
            Ok(())
        })
        .await?;
        self.compare_kpis(&held, each).await
    }

    /// Ends a proof.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_verify(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, super::END_VERIFY, &[(&self.id, Type::INT4)])
            .await?;
        self.drop_tables().await;
        Ok(())
    }
}

impl Locked {
    /// Lets projectors in again, and keeps the read models as they are at this moment for one's own reading.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_snapshot(&self) -> Result<(), StoreError> {
        self.held.execute(TAKE_SNAPSHOT).await?;
        self.held.execute(super::NO_TIME_LIMITS).await
    }
}

/// Row by row, since there may be as many as there are rows in the read models.
pub(super) async fn stream_differences(
    held: &Held,
    sql: &str,
    params: &[Param<'_>],
    mut each: impl FnMut(&Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let params = params
        .iter()
        .map(|(value, kind)| (*value as &(dyn ToSql + Sync), kind.clone()));
    let mut rows = pin!(held.client().query_typed_raw(sql, params).await?);
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
