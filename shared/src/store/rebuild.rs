//! Rebuilds: asked for, started, ended, shown. What one works on is its [`Shadow`].

mod exchange;
mod held;
mod history;
mod kpis;
mod proof;
mod shadow;
mod sound;
mod tables;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::exchange::{Exchange, Exchanged, Locked, Shape};
use self::held::Held;
pub use self::history::{PastEvent, Piece, StoredSnapshot, StreamToFold};
pub use self::kpis::MendedKpis;
pub use self::proof::{Compared, Difference};
pub use self::shadow::Shadow;
use super::session::{As, Param, lost_is_unavailable};
use super::{Store, StoreError, told};
use crate::domain::{AggregateType, Caller, TenantId, Timestamp};

/// Whose read models, and of which module; none: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildScope {
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// The module.
    pub aggregate_type: Option<AggregateType>,
}

/// What a fold from zero is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To put its result in the place of the live read models.
    Rebuild,
    /// To compare its result with them.
    Verify,
}

/// A rebuild that somebody has asked for, or that a new shape calls for.
#[derive(Debug)]
pub struct DueRebuild {
    /// Its id, where it was asked for.
    pub id: Option<i32>,
    /// What is to be rebuilt.
    pub scope: RebuildScope,
}

/// A rebuild as staff sees it.
#[derive(Debug, Serialize)]
pub struct RebuildStatus {
    /// Its id.
    pub id: i32,
    /// `rebuild` or `verify`.
    pub purpose: String,
    /// `requested`, `running`, `done`, `failed` or `abandoned`.
    pub status: String,
    /// Module; null: all.
    pub module: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How many have been made in a row without success, this one counted.
    pub attempts: i32,
    /// Streams folded so far; null, as are the next two, where it is about all tenants.
    pub streams: Option<i64>,
    /// Events folded so far.
    pub events: Option<i64>,
    /// Rows that were not what they should have been.
    pub changed_rows: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What a server lets transactions take by default is for requests. All but the newest servers lack the last one.
const NO_TIME_LIMITS: &str = "-- lift_time_limits
select set_config(s.name, '0', true) from pg_settings s
 where s.name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";

const REQUEST_REBUILD: &str = "-- request_rebuild
select annals.request_rebuild($1) as id";
const DRAW_REBUILD_ID: &str = "-- draw_rebuild_id
select nextval('annals.rebuild_ids')::int as id";
const HOLD_REBUILD: &str = "-- hold_rebuild
select annals.hold_rebuild() as held_by";
const START_REBUILD: &str = "-- start_rebuild
select annals.start_rebuild($1, $2, $3, $4, $5, $6)";
const LIST_LEFT_SHADOWS: &str = "-- list_left_shadows
select id from annals.left_shadows($1) as id";
const DROP_SHADOW: &str = "-- drop_shadow
select annals.drop_shadow($1) from (select set_config('lock_timeout', '10s', true)) as s";

/// One that staff asked for and that was killed is made again, some times, unless somebody has had the same made since. A scope
/// that failed is left in peace for a while, longer each time, unless the catalog has changed since.
const LIST_DUE: &str = "-- list_due_rebuilds
select r.id, r.tenant_id, r.aggregate_type from annals.rebuilds r
 where r.status = 'requested'
    or (r.purpose = 'rebuild' and r.requested_by <> 'system' and r.attempts < 5
        and (r.status = 'abandoned' or (r.status = 'running' and not annals.is_rebuild_held(r.id)))
        and not exists (select from annals.rebuilds l
                         where l.id > r.id and l.purpose = 'rebuild' and l.tenant_id is not distinct from r.tenant_id
                           and l.aggregate_type is not distinct from r.aggregate_type))
 union all
select null, s.tenant_id, s.aggregate_type
  from annals.shapes s
  left join lateral (
       select r.* from annals.rebuilds r
        where r.purpose = 'rebuild' and r.tenant_id is not distinct from s.tenant_id and r.aggregate_type = s.aggregate_type
        order by r.id desc limit 1) as l on true
 where s.rebuilt_shape < s.shape
   and (l.id is null or l.status = 'done'
        or (l.status <> 'requested'
            and (l.catalog_revision <> (select c.revision from annals.catalog_revision c)
                 or coalesce(l.finished_at, l.started_at) + least(interval '1 minute' * power(2, least(l.attempts, 10) - 1), interval '1 hour') < clock_timestamp())))";

/// The last ones that the caller may know of, newest first. Figures about all tenants are no single one's.
pub(super) const LIST_REBUILDS: &str = "-- list_rebuilds
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
    /// Asks for a rebuild of the caller's tenant's read models; its id.
    ///
    /// # Errors
    /// A refusal where the caller is not staff, the module is unknown, or one of the same read models is under way.
    pub async fn request_rebuild(&self, caller: &Caller, module: Option<&str>) -> Result<i32, StoreError> {
        let rows = self
            .write(As::Caller(caller), REQUEST_REBUILD, &[(&module, Type::TEXT)])
            .await
            .map_err(lost_is_unavailable)?;
        number_from(&rows)
    }

    /// Rebuilds that should be made now.
    ///
    /// # Errors
    /// The database's.
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

    /// Starts one: its lock is held, and tables that nobody works on are gone.
    ///
    /// # Errors
    /// A refusal where the module is unknown or another one of the same read models runs.
    pub async fn start_rebuild(
        &self,
        purpose: Purpose,
        due: &DueRebuild,
        requested_by: &str,
    ) -> Result<Shadow, StoreError> {
        let id = match due.id {
            Some(id) => id,
            // In a transaction of its own: drawing takes an xid, which the one that stays open must not have.
            None => number_from(&self.write(As::Projector, DRAW_REBUILD_ID, &[]).await?)?,
        };
        let (keeper, held_by) = self.hold_rebuild().await?;
        self.note_start(id, (purpose, requested_by), &due.scope, &held_by)
            .await?;
        for left in self
            .read(As::Projector, LIST_LEFT_SHADOWS, &[(&id, Type::INT4)])
            .await?
        {
            self.drop_shadow(left.try_get("id")?).await;
        }
        match Shadow::open(self.clone(), (id, purpose), due.scope.clone(), keeper).await {
            Ok(shadow) => Ok(shadow),
            Err(error) => {
                self.fail_rebuild(id, &error.to_string(), None).await;
                Err(error)
            }
        }
    }

    /// A transaction that tells, as long as it is open, that a rebuild runs; and its virtual transaction id.
    async fn hold_rebuild(&self) -> Result<(Held, String), StoreError> {
        let keeper = Held::begin(self, "begin; set local role annals_projector").await?;
        let rows = keeper.query(HOLD_REBUILD, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("a rebuild without a lock".to_owned()))?;
        let held_by = row.try_get("held_by")?;
        Ok((keeper, held_by))
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

    /// Where even this cannot be written, the row says for itself that nobody runs it any more.
    async fn fail_rebuild(&self, id: i32, error: &str, tenant: Option<TenantId>) {
        let tenant = tenant.map(|tenant| *tenant.as_uuid());
        let params: [Param<'_>; 3] = [(&id, Type::INT4), (&error, Type::TEXT), (&tenant, Type::UUID)];
        if let Err(error) = self.write(As::Projector, FAIL_REBUILD, &params).await {
            tracing::warn!(error = told(&error), rebuild.id = id, "failure not recorded");
        }
    }

    /// What cannot be dropped now, because a process that lost its lock still writes there, the next one drops.
    async fn drop_shadow(&self, id: i32) {
        if let Err(error) = self.write(As::Projector, DROP_SHADOW, &[(&id, Type::INT4)]).await {
            tracing::warn!(error = told(&error), rebuild.id = id, "tables of a rebuild not dropped");
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

fn number_from(rows: &[Row]) -> Result<i32, StoreError> {
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Unexpected("a rebuild without an id".to_owned()))?;
    Ok(row.try_get("id")?)
}

fn scope_from(row: &Row) -> Result<RebuildScope, StoreError> {
    let aggregate_type: Option<String> = row.try_get("aggregate_type")?;
    Ok(RebuildScope {
        tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
        aggregate_type: aggregate_type
            .map(AggregateType::try_from)
            .transpose()
            .map_err(|_| StoreError::Unexpected("a rebuild of no possible module".to_owned()))?,
    })
}

/// A row of [`LIST_REBUILDS`].
pub(super) fn status_from(row: &Row) -> Result<RebuildStatus, StoreError> {
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
