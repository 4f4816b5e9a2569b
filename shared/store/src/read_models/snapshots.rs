//! Snapshots: the projector writes them while it projects, or on demand; time travel (`past`) reads them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param, Statement};
use crate::log::append::tenant_stream_columns;
use crate::read_models::json_text::parse_object;
use crate::read_models::state_row::{EntityColumns, StateRow};
use crate::{Store, StoreError};
use annals_domain::{Caller, Timestamp};

/// Number of a stream's newest snapshots that are all kept. Older ones are thinned out (`annals.thin_snapshots`).
const KEPT: i32 = 3;
/// Older snapshots are kept such that no two neighbours are more versions apart than this.
pub const MAX_DISTANCE: i32 = 1_000;

const WRITE_SNAPSHOTS: &str = "-- write_snapshots
select annals.write_snapshots($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10::jsonb, $11, $12) as written";

const LIST_SNAPSHOTS: &str = "-- list_snapshots
select s.version, s.taken_at, s.metadata::text, s.digest = annals.snapshot_digest(s) as intact,
       s.fold_version = annals.fold_version_of($1, $2) as usable
  from annals.snapshots s
 where s.tenant_id = $1 and s.aggregate_type = $2 and s.aggregate_id = $3
 order by s.version desc";

/// A snapshot of a stream, without its state.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Version of the last event in it.
    pub version: i32,
    /// Time of writing.
    pub taken_at: Timestamp,
    /// Who had it taken, and why.
    pub metadata: Map<String, Value>,
    /// Whether its digest is still that of what was written.
    pub intact: bool,
    /// Whether it has the current fold version of its aggregate type. Otherwise it is not used any more.
    pub usable: bool,
}

/// Who has a snapshot taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotMetadata {
    /// Actor who had it taken.
    pub created_by: String,
    /// Human-readable reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Other members that staff gave.
    #[serde(flatten)]
    pub also: Map<String, Value>,
}

impl SnapshotMetadata {
    /// For snapshots that the projector takes by itself.
    pub fn periodic() -> Self {
        Self::of_annals("periodic_snapshot")
    }

    /// For snapshots that a rebuild writes to replace missing ones.
    pub fn refilled() -> Self {
        Self::of_annals("rebuild")
    }

    fn of_annals(reason: &str) -> Self {
        Self {
            created_by: "system".to_owned(),
            reason: Some(reason.to_owned()),
            also: Map::new(),
        }
    }

    /// Whether a stream at `stream_version` should have a snapshot at `version`, if one is taken every `every` events. The newest are all
    /// kept; of the older ones, one in about a thousand events.
    pub fn is_due_at(version: i32, every: i32, stream_version: i32) -> bool {
        let step = every.saturating_mul((MAX_DISTANCE / every).max(1));
        let is_new = version > stream_version.saturating_sub(KEPT.saturating_mul(every));
        version % every == 0 && (is_new || version % step == 0)
    }
}

impl Store {
    /// Writes a snapshot of an entity that was loaded by this revision of the catalog. Returns whether it was written: it is not if the
    /// catalog has changed since, or while a rebuild of the read models is pending.
    pub async fn take_snapshot(
        &self,
        row: StateRow,
        revision: i64,
        metadata: &SnapshotMetadata,
    ) -> Result<bool, StoreError> {
        let rows = [row];
        let statements: Vec<_> = write_snapshots(&rows, revision, metadata).into_iter().collect();
        let answers = self.write_all(As::Projector, WRITE_SNAPSHOTS, &statements).await?;
        let written = answers.first().and_then(|rows| rows.first());
        let written = written.ok_or_else(|| StoreError::Unexpected("no count of snapshots".to_owned()))?;
        Ok(written.try_get::<_, i64>("written")? > 0)
    }

    /// The snapshots of a stream that the caller may see, newest first.
    pub async fn list_snapshots(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<Vec<Snapshot>, StoreError> {
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
        ];
        let mut found = Vec::new();
        for row in self.read(As::Caller(caller), LIST_SNAPSHOTS, &params).await? {
            found.push(Snapshot {
                version: row.try_get("version")?,
                taken_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("taken_at")?),
                metadata: parse_object(row.try_get("metadata")?)?,
                intact: row.try_get("intact")?,
                usable: row.try_get("usable")?,
            });
        }
        Ok(found)
    }
}

/// The statement that writes snapshots and returns how many it has written; `None` if there is nothing to write.
pub(crate) fn write_snapshots<'a>(
    rows: &'a [StateRow],
    revision: i64,
    metadata: &SnapshotMetadata,
) -> Option<Statement<'a>> {
    if rows.is_empty() {
        return None;
    }
    let (tenants, types, ids) = tenant_stream_columns(rows.iter().map(|row| &row.stream));
    let columns = EntityColumns::of(rows.iter().map(|row| (row.started_by.as_str(), &row.entity)));
    let statement = Statement::new(WRITE_SNAPSHOTS)
        .with(tenants, Type::UUID_ARRAY)
        .with(types, Type::TEXT_ARRAY)
        .with(ids, Type::TEXT_ARRAY);
    let statement = columns
        .bind(statement)
        .with(serde_json::json!(metadata).to_string(), Type::TEXT)
        .with(KEPT, Type::INT4)
        .with(revision, Type::INT8);
    Some(statement)
}
