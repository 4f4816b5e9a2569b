//! Snapshots: written by the projector as it passes, or on demand; read by time travel (`past`).

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use super::append::tenant_stream_columns;
use super::entities::parse_object;
use super::lease::Transaction;
use super::projection::{EntityColumns, StateRow};
use super::session::{As, Param, Writes, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::{Caller, StreamId, Timestamp};

/// Snapshots of a stream that are kept: the newest. Of the older ones some are (V18 `annals.thin_snapshots`).
const KEPT: i32 = 3;
/// No two of those lie further apart than this.
pub const APART: i32 = 1_000;

const WRITE_SNAPSHOTS: &str = "-- write_snapshots
select annals.write_snapshots($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10::jsonb, $11, $12) as written";

const LIST_SNAPSHOTS: &str = "-- list_snapshots
select s.version, s.taken_at, s.metadata::text, s.digest = annals.snapshot_digest(s) as intact,
       s.shape = annals.shape_of($1, $2) as usable
  from annals.snapshots s
 where s.tenant_id = $1 and s.aggregate_type = $2 and s.aggregate_id = $3
 order by s.version desc";

/// A snapshot, without its state.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// Version of the last event in it.
    pub version: i32,
    /// When it was written.
    pub taken_at: Timestamp,
    /// Who had it taken, and why.
    pub metadata: Map<String, Value>,
    /// Whether it is what was written.
    pub intact: bool,
    /// Whether its state has the shape that states have now.
    pub usable: bool,
}

/// Who has a snapshot taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotMetadata {
    /// Actor.
    pub created_by: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whatever else staff gave along.
    #[serde(flatten)]
    pub also: Map<String, Value>,
}

impl SnapshotMetadata {
    /// Of those that the projector takes by itself.
    pub fn periodic() -> Self {
        Self::of_annals("periodic_snapshot")
    }

    /// Of those that a rebuild puts in place of lost ones.
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

    /// The versions of a stream at this version that deserve a snapshot, where one is taken every so many events: those of the newest
    /// ones, and of the older ones one in a thousand.
    pub fn is_due_at(version: i32, every: i32, stream_version: i32) -> bool {
        let step = every.saturating_mul((APART / every).max(1));
        let is_new = version > stream_version.saturating_sub(KEPT.saturating_mul(every));
        version % every == 0 && (is_new || version % step == 0)
    }
}

impl Store {
    /// Writes a snapshot of an entity as it was loaded, by the catalog of this revision; whether it was written: not where the
    /// catalog has changed since, nor while read models are due to be rebuilt.
    ///
    /// # Errors
    /// The database's.
    pub async fn take_snapshot(
        &self,
        row: StateRow,
        revision: i64,
        metadata: &SnapshotMetadata,
    ) -> Result<bool, StoreError> {
        let client = self.connection().await?;
        let taken = async {
            let transaction = client.begin(As::Projector.begin(Writes::Yes)).await?;
            let written = write_snapshots(&transaction, &[row], revision, metadata).await;
            transaction.end(written).await
        };
        taken.await.map(|written| written > 0).map_err(lost_is_unavailable)
    }

    /// The snapshots of a stream that the caller may see, newest first.
    ///
    /// # Errors
    /// The database's.
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

/// Writes snapshots within a transaction; how many.
pub(super) async fn write_snapshots(
    client: &Transaction<'_>,
    rows: &[StateRow],
    revision: i64,
    metadata: &SnapshotMetadata,
) -> Result<i64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let streams: Vec<StreamId> = rows.iter().map(|row| row.stream.clone()).collect();
    let (tenants, types, ids) = tenant_stream_columns(&streams);
    let columns = EntityColumns::of(rows.iter().map(|row| (row.started_by.as_str(), &row.entity)));
    let metadata = serde_json::json!(metadata).to_string();
    let params: [Param<'_>; 12] = [
        (&tenants, Type::UUID_ARRAY),
        (&types, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&columns.versions, Type::INT4_ARRAY),
        (&columns.started_bys, Type::TEXT_ARRAY),
        (&columns.deleted_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.created_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.updated_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.states, Type::TEXT_ARRAY),
        (&metadata, Type::TEXT),
        (&KEPT, Type::INT4),
        (&revision, Type::INT8),
    ];
    let row = client.query_typed(WRITE_SNAPSHOTS, &params).await?;
    let row = row
        .first()
        .ok_or_else(|| StoreError::Unexpected("no count of snapshots".to_owned()))?;
    Ok(row.try_get("written")?)
}
