//! Putting rebuilt read models in the place of the live ones: one transaction, behind a lock that projectors wait for and
//! nobody else. Appends write no read model, and no reader waits for a lock of this kind.

use serde_json::{Value, json};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::held::Held;
use super::kpis::MendedKpis;
use super::proof::Compared;
use super::shadow::Shadow;
use crate::domain::{StreamId, TenantId};
use crate::store::StoreError;
use crate::store::session::{As, Param};

/// How often states of a kind of aggregate have changed their shape, for a tenant or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Tenant; none: all.
    pub tenant_id: Option<TenantId>,
    /// Kind of aggregate.
    pub aggregate_type: String,
    /// How often.
    pub shape: i64,
}

impl Shape {
    /// Whether it is the shape of this stream's state, or a part of it.
    pub fn is_of(&self, stream: &StreamId) -> bool {
        self.aggregate_type == stream.aggregate_type.as_str()
            && self.tenant_id.is_none_or(|tenant| tenant == stream.tenant_id)
    }
}

/// The lock that keeps projectors out. It goes with this value.
pub struct Locked {
    pub(super) held: Held,
    /// Rows of key figures that its transaction has mended.
    pub(super) mended: i64,
}

/// What is put in the place of live read models.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// What the new ones were folded to.
    pub shapes: &'a [Shape],
    /// Snapshots that are not what they say they are.
    pub wrong_snapshots: &'a [(StreamId, i32)],
}

/// What an exchange came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// Rows that were not what they should have been.
    pub changed_rows: i64,
    /// What the new read models hold.
    pub compared: Compared,
}

/// No lock is waited for without limit, neither this one nor those that the exchange meets behind it: projectors that come
/// meanwhile queue up behind whoever waits, so somebody's open transaction must not hold them all up. The lock is not on
/// `annals.entities`: a request could hold ROW EXCLUSIVE there (see V1) and would keep every exchange waiting.
const LOCK: &str = "-- lock_read_models
set local lock_timeout = '2s'; lock table annals_locks.read_models in exclusive mode; set local lock_timeout = '10s'";

const LIST_SHAPES: &str = "-- list_shapes
select s.tenant_id, s.aggregate_type, s.shape from annals.shapes s
 where ($1::uuid is null or s.tenant_id is null or s.tenant_id = $1) and ($2::text is null or s.aggregate_type = $2)
 order by s.aggregate_type, s.tenant_id nulls first";
const FORGET: &str = "-- forget_shadow
select annals.forget_shadow($1, $2, $3)";

const DELETE_SNAPSHOTS: &str = "-- delete_wrong_snapshots
delete from annals.snapshots p using jsonb_to_recordset($1::text::jsonb) as w (tenant_id uuid, aggregate_type text, aggregate_id text, version int)
 where p.tenant_id = w.tenant_id and p.aggregate_type = w.aggregate_type and p.aggregate_id = w.aggregate_id and p.version = w.version";
const EXCHANGE: &str = "-- exchange_read_models
select annals.exchange_read_models($1) as changed";

/// Locks the catalog's revision before shapes, as whoever registers a type does.
const END_REBUILD: &str = "-- end_rebuild
update annals.rebuilds set status = 'done', finished_at = clock_timestamp(), changed_rows = $2, events = $3, streams = $4
 where id = $1 and status = 'running' returning id";

/// To the shape that was folded, not to the one there may be by now: a later one is due as before.
const NOTE_SHAPES: &str = "-- note_rebuilt_shapes
update annals.shapes s set rebuilt_shape = greatest(s.rebuilt_shape, k.shape)
  from unnest($1::uuid[], $2::text[], $3::bigint[]) as k (tenant_id, aggregate_type, shape)
 where s.tenant_id is not distinct from k.tenant_id and s.aggregate_type = k.aggregate_type
   and ($4::uuid is null or s.tenant_id = $4)";

impl Shadow {
    /// Keeps projectors out.
    ///
    /// # Errors
    /// [`StoreError::Contention`] where it takes too long to get the lock: try again.
    pub async fn lock(&self, mended: MendedKpis) -> Result<Locked, StoreError> {
        mended.held.execute(LOCK).await?;
        Ok(Locked {
            held: mended.held,
            mended: mended.rows,
        })
    }

    /// The shapes of what is rebuilt, as they are now.
    ///
    /// # Errors
    /// The database's.
    pub async fn shapes(&self) -> Result<Vec<Shape>, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let rows = self.store.read(As::Projector, LIST_SHAPES, &params).await?;
        rows.iter()
            .map(|row| {
                Ok(Shape {
                    tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
                    aggregate_type: row.try_get("aggregate_type")?,
                    shape: row.try_get("shape")?,
                })
            })
            .collect()
    }

    /// Lets go of what was folded to a shape that is an older one by now.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget(&self, shape: &Shape) -> Result<(), StoreError> {
        let tenant = shape.tenant_id.map(|tenant| *tenant.as_uuid());
        let params: [Param<'_>; 3] = [
            (&self.id, Type::INT4),
            (&tenant, Type::UUID),
            (&shape.aggregate_type, Type::TEXT),
        ];
        self.store.write(As::Projector, FORGET, &params).await.map(|_| ())
    }

    /// Makes the live read models equal to the new ones, which hold all that is projected and were folded to these shapes;
    /// how many rows were not, and how much they hold. Work that projectors have read before is refused from then on.
    ///
    /// # Errors
    /// The database's; a row that a live table refuses; that the rebuild was taken for dead; [`StoreError::Contention`] where
    /// somebody else's lock is in the way for too long: try again. Nothing is changed then.
    pub async fn exchange(&self, locked: Locked, of: Exchange<'_>) -> Result<Exchanged, StoreError> {
        let compared = self.count_compared(&locked).await?;
        let Locked { held, mended } = locked;
        if !of.wrong_snapshots.is_empty() {
            let wrong: Vec<Value> = of.wrong_snapshots.iter().map(snapshot_key).collect();
            let wrong = Value::Array(wrong).to_string();
            held.query(DELETE_SNAPSHOTS, &[(&wrong, Type::TEXT)]).await?;
        }
        let rows = held.query(EXCHANGE, &[(&self.id, Type::INT4)]).await?;
        let changed = mended + rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>("changed"))?;
        let figures: [Param<'_>; 4] = [
            (&self.id, Type::INT4),
            (&changed, Type::INT8),
            (&compared.events, Type::INT8),
            (&compared.streams, Type::INT8),
        ];
        let ended = held.query(END_REBUILD, &figures).await?;
        if ended.is_empty() {
            return Err(StoreError::Unexpected("the rebuild was taken for dead".to_owned()));
        }
        self.note_shapes(&held, of.shapes).await?;
        held.commit().await?;
        Ok(Exchanged {
            changed_rows: changed,
            compared,
        })
    }

    async fn note_shapes(&self, held: &Held, shapes: &[Shape]) -> Result<(), StoreError> {
        let tenants: Vec<Option<Uuid>> = shapes.iter().map(|s| s.tenant_id.map(|t| *t.as_uuid())).collect();
        let types: Vec<&str> = shapes.iter().map(|s| s.aggregate_type.as_str()).collect();
        let numbers: Vec<i64> = shapes.iter().map(|s| s.shape).collect();
        let (tenant, _) = self.scope.columns();
        let params: [Param<'_>; 4] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&numbers, Type::INT8_ARRAY),
            (&tenant, Type::UUID),
        ];
        held.query(NOTE_SHAPES, &params).await.map(|_| ())
    }
}

/// What names a snapshot.
fn snapshot_key((stream, version): &(StreamId, i32)) -> Value {
    json!({"tenant_id": stream.tenant_id, "aggregate_type": stream.aggregate_type, "aggregate_id": stream.aggregate_id, "version": version})
}
