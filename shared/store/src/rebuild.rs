//! Rebuilds and verifications: requested, started, ended and listed. What one of them works on is its [`Shadow`].

mod exchange;
mod history;
mod kpis;
mod lock_transaction;
mod locked;
mod proof;
mod scope;
mod shadow;
mod tables;
mod unchanged;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::exchange::{Exchange, Exchanged, FoldVersion};
pub use self::history::{PastEvent, Piece, StoredSnapshot, StreamToFold};
pub use self::kpis::RepairedKeyFigures;
use self::lock_transaction::LockTransaction;
pub use self::locked::Locked;
pub use self::proof::{Compared, Difference};
pub use self::scope::{Purpose, RebuildScope};
pub use self::shadow::Shadow;
use crate::connection::statement::{As, Param};
use crate::redacted_error;
use crate::{Store, StoreError};
use annals_domain::{AggregateType, Caller, TenantId, Timestamp};

/// A rebuild that staff requested, or that is pending because a fold version has changed.
#[derive(Debug)]
pub struct DueRebuild {
    /// Id of the request. `None` if there was no request.
    pub id: Option<i32>,
    /// What to rebuild.
    pub scope: RebuildScope,
}

/// A rebuild or verification as staff sees it.
#[derive(Debug, Serialize)]
pub struct RebuildStatus {
    /// Id, ascending.
    pub id: i32,
    /// `rebuild` or `verify`.
    pub purpose: String,
    /// `requested`, `running`, `done`, `failed` or `abandoned`.
    pub status: String,
    /// Aggregate type; null: all.
    pub module: Option<String>,
    /// Actor who requested it; `system` for automatic ones.
    pub requested_by: String,
    /// Time of the request.
    pub requested_at: Timestamp,
    /// Time of the start.
    pub started_at: Option<Timestamp>,
    /// Time of the end.
    pub finished_at: Option<Timestamp>,
    /// Attempts in a row without success, this one included.
    pub attempts: i32,
    /// Streams folded so far. This and the next two figures are null if the run covers all tenants.
    pub streams: Option<i64>,
    /// Events folded so far.
    pub events: Option<i64>,
    /// Rows that differed from the fold.
    pub changed_rows: Option<i64>,
    /// Error, if it failed.
    pub error: Option<String>,
}

const REQUEST_REBUILD: &str = "-- request_rebuild
select annals.request_rebuild($1) as id";
const DRAW_REBUILD_ID: &str = "-- draw_rebuild_id
select nextval('annals.rebuild_ids')::int as id";
const HOLD_REBUILD: &str = "-- hold_rebuild
select annals.hold_rebuild() as held_by";
const START_REBUILD: &str = "-- start_rebuild
select annals.start_rebuild($1, $2, $3, $4, $5, $6)";
const LIST_ABANDONED_SHADOWS: &str = "-- list_abandoned_shadows
select id from annals.abandoned_shadows($1) as id";
const DROP_SHADOW: &str = "-- drop_shadow
select annals.drop_shadow($1) from (select set_config('lock_timeout', '10s', true)) as s";

/// Three kinds of rebuilds: requested ones; those that staff requested and whose process was killed, up to five attempts in a row,
/// unless a later rebuild has the same scope; and those that are pending because a fold version has changed. After a failure, one of
/// the last kind waits for a minute, twice as long after each further attempt, at most an hour, unless the catalog has changed since.
const LIST_DUE: &str = include_str!("queries/rebuild/list_due.sql");

/// The last ten that the caller may see, newest first. Figures of a run over all tenants are not shown, because they belong to no
/// single tenant.
pub(crate) const LIST_REBUILDS: &str = "-- list_rebuilds
select r.*, r.tenant_id is not null as is_own, case when r.status = 'running' and not annals.is_rebuild_held(r.id) then 'abandoned' else r.status end as status_now
  from annals.rebuilds r order by r.id desc limit 10";

const NOTE_PROGRESS: &str = "-- note_rebuild_progress
update annals.rebuilds set events = $2, streams = $3 where id = $1 and status = 'running'";
const FAIL_REBUILD: &str = "-- fail_rebuild
update annals.rebuilds set status = 'failed', finished_at = clock_timestamp(), error = $2, failed_tenant_id = $3
 where id = $1 and status = 'running'";
const END_VERIFY: &str = "-- end_verify
update annals.rebuilds set status = 'done', finished_at = clock_timestamp() where id = $1 and status = 'running' and purpose = 'verify'";

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::Verify => "verify",
        }
    }
}

impl Store {
    /// Requests a rebuild of the read models of the caller's tenant. Returns its id.
    ///
    /// # Errors
    /// A refusal if the caller is not staff, no event type has this aggregate type, or a rebuild of the same read models is under way.
    pub async fn request_rebuild(&self, caller: &Caller, module: Option<&str>) -> Result<i32, StoreError> {
        let params: [Param<'_>; 1] = [(&module, Type::TEXT)];
        let row = self.write_row(As::Caller(caller), REQUEST_REBUILD, &params).await?;
        Ok(row.try_get("id")?)
    }

    /// Rebuilds that should be made now.
    pub async fn due_rebuilds(&self) -> Result<Vec<DueRebuild>, StoreError> {
        let rows = self.read(As::Projector, LIST_DUE, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(DueRebuild {
                    id: row.try_get("id")?,
                    scope: scope_from(row)?,
                })
            })
            .collect()
    }

    /// Starts a rebuild: takes its lock, and drops tables of earlier rebuilds that no process works on.
    ///
    /// # Errors
    /// A refusal if no event type has this aggregate type, or if another rebuild of the same read models runs.
    pub async fn start_rebuild(
        &self,
        purpose: Purpose,
        due: &DueRebuild,
        requested_by: &str,
    ) -> Result<Shadow, StoreError> {
        let id = match due.id {
            Some(id) => id,
            // In its own transaction: `nextval` assigns a transaction id, and the transaction that stays open must not have one.
            None => self
                .write_row(As::Projector, DRAW_REBUILD_ID, &[])
                .await?
                .try_get("id")?,
        };
        let (running, held_by) = self.hold_rebuild().await?;
        self.note_start(id, (purpose, requested_by), &due.scope, &held_by)
            .await?;
        for left in self
            .read(As::Projector, LIST_ABANDONED_SHADOWS, &[(&id, Type::INT4)])
            .await?
        {
            self.drop_shadow(left.try_get("id")?).await;
        }
        match Shadow::open(self.clone(), (id, purpose), due.scope.clone(), running).await {
            Ok(shadow) => Ok(shadow),
            Err(error) => {
                self.fail_rebuild(id, &error.to_string(), None).await;
                Err(error)
            }
        }
    }

    /// Begins a transaction that marks the rebuild as running while it is open. Returns it with its virtual transaction id.
    async fn hold_rebuild(&self) -> Result<(LockTransaction, String), StoreError> {
        let running = LockTransaction::begin(self, "begin; set local role annals_projector").await?;
        let row = running.query_row(HOLD_REBUILD, &[]).await?;
        let held_by = row.try_get("held_by")?;
        Ok((running, held_by))
    }

    async fn note_start(
        &self,
        id: i32,
        (purpose, requested_by): (Purpose, &str),
        scope: &RebuildScope,
        held_by: &str,
    ) -> Result<(), StoreError> {
        let (tenant, aggregate_type) = scope.columns();
        let params: [Param<'_>; 6] = [
            (&id, Type::INT4),
            (&purpose.as_str(), Type::TEXT),
            (&tenant, Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&requested_by, Type::TEXT),
            (&held_by, Type::TEXT),
        ];
        self.write(As::Projector, START_REBUILD, &params).await.map(|_| ())
    }

    async fn note_progress(&self, id: i32, events: i64, streams: i64) -> Result<(), StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::INT4), (&events, Type::INT8), (&streams, Type::INT8)];
        self.write(As::Projector, NOTE_PROGRESS, &params).await.map(|_| ())
    }

    /// If even this cannot be written, the row is shown as `abandoned` when the transaction that marks the rebuild as running has
    /// ended.
    async fn fail_rebuild(&self, id: i32, error: &str, tenant: Option<TenantId>) {
        let tenant = tenant.map(|tenant| *tenant.as_uuid());
        let params: [Param<'_>; 3] = [(&id, Type::INT4), (&error, Type::TEXT), (&tenant, Type::UUID)];
        if let Err(error) = self.write(As::Projector, FAIL_REBUILD, &params).await {
            tracing::warn!(
                error = redacted_error(&error),
                rebuild.id = id,
                "failure of a rebuild not recorded"
            );
        }
    }

    /// A failure is only logged: tables cannot be dropped while a process that lost its lock still writes to them. The next rebuild
    /// drops them.
    async fn drop_shadow(&self, id: i32) {
        if let Err(error) = self.write(As::Projector, DROP_SHADOW, &[(&id, Type::INT4)]).await {
            tracing::warn!(
                error = redacted_error(&error),
                rebuild.id = id,
                "tables of a rebuild not dropped"
            );
        }
    }
}

impl RebuildScope {
    fn columns(&self) -> (Option<Uuid>, Option<&str>) {
        (
            self.tenant_id.map(|tenant| *tenant.as_uuid()),
            self.aggregate_type.as_ref().map(AggregateType::as_str),
        )
    }
}

fn scope_from(row: &Row) -> Result<RebuildScope, StoreError> {
    let aggregate_type: Option<String> = row.try_get("aggregate_type")?;
    Ok(RebuildScope {
        tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
        aggregate_type: aggregate_type
            .map(AggregateType::try_from)
            .transpose()
            .map_err(|_| StoreError::Unexpected("a rebuild of an impossible module name".to_owned()))?,
    })
}

/// A row of [`LIST_REBUILDS`].
pub(crate) fn status_from(row: &Row) -> Result<RebuildStatus, StoreError> {
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<_, Option<DateTime<Utc>>>(column)?.map(Timestamp::from))
    };
    let is_own: bool = row.try_get("is_own")?;
    let figure = |column: &str| is_own.then(|| row.try_get(column)).transpose();
    Ok(RebuildStatus {
        id: row.try_get("id")?,
        purpose: row.try_get("purpose")?,
        status: row.try_get("status_now")?,
        module: row.try_get("aggregate_type")?,
        requested_by: row.try_get("requested_by")?,
        requested_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("requested_at")?),
        started_at: time("started_at")?,
        finished_at: time("finished_at")?,
        attempts: row.try_get("attempts")?,
        streams: figure("streams")?,
        events: figure("events")?,
        changed_rows: figure("changed_rows")?,
        error: row.try_get("error")?,
    })
}
