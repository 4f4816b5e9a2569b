//! What a rebuild reads from the log: the list of streams, their events from the first one, and their snapshots.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::exchange::FoldVersion;
use super::shadow::Shadow;
use crate::connection::statement::{As, Param};
use crate::log::append::tenant_stream_columns;
use crate::read_models::facts::EventText;
use crate::read_models::snapshots::MAX_DISTANCE;
use crate::read_models::work::stream_from;
use crate::{EntityText, StoreError};
use annals_domain::StreamId;

/// A stream to fold from zero.
#[derive(Debug, Clone)]
pub struct StreamToFold {
    /// The stream.
    pub stream: StreamId,
    /// Version that the read models should hold.
    pub projected_version: i32,
    /// The stream's last version.
    pub version: i32,
    /// Version of its newest snapshot.
    pub last_snapshot: Option<i32>,
}

/// A range of a stream's events: `(after, to]` by version.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// Version before the first event of the range.
    pub after: i32,
    /// Version of the last event of the range.
    pub to: i32,
}

/// An event that is folded from zero.
#[derive(Debug)]
pub struct PastEvent {
    /// Index of the requested piece that it belongs to, from 0.
    pub place: usize,
    /// Actor of the stream's first event; only in that event.
    pub started_by: Option<String>,
    /// The event as it is folded.
    pub text: EventText,
}

/// A snapshot as it is stored.
#[derive(Debug)]
pub struct StoredSnapshot {
    /// Its stream.
    pub stream: StreamId,
    /// Actor of the stream's first event, as the snapshot says.
    pub started_by: String,
    /// The entity. Its state is text, because several parsed states would take too much memory.
    pub entity: EntityText,
    /// Whether its digest is still that of what was written.
    pub is_intact: bool,
    /// Its fold version compared with the current one. A snapshot with an older version is never used; one with a later version was not
    /// written by Annals.
    pub compared_fold_version: std::cmp::Ordering,
}

/// Maximum number of streams of one page.
const STREAMS: i64 = 4_000;
/// Maximum bytes of text that one read returns. A single event may have more.
const HISTORY_BYTES: i64 = 8 << 20;

macro_rules! stream_to_fold {
    () => {
        "
select h.tenant_id, h.aggregate_type, h.aggregate_id, h.version, h.projected_version,
       (select max(p.version) from annals.snapshots p
         where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id) as last_snapshot
  from annals.heads h"
    };
}
macro_rules! in_scope {
    () => {
        "h.projected_version > 0 and ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)
   and ($3::uuid is null or (h.tenant_id, h.aggregate_type, h.aggregate_id) > ($3, $4, $5))
 order by h.tenant_id, h.aggregate_type, h.aggregate_id limit $6"
    };
}

const LIST_STREAMS: &str = "-- list_streams_to_fold
select * from annals.list_streams_to_fold($1, $2, $3, $4, $5, $6)";

/// Streams with a gap of more than $7 events without a snapshot: between two snapshots, or before the first, or after the last.
const LIST_SPARSE: &str = concat!(
    "-- list_sparse_streams",
    stream_to_fold!(),
    " where h.projected_version > $7 and exists (
       select from (select k.version, lead(k.version, 1, h.projected_version) over (order by k.version) as following
                      from (select 0 as version
                            union all
                            select s.version from annals.snapshots s
                             where s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
                               and s.version < h.projected_version and s.fold_version = annals.fold_version_of(h.tenant_id, h.aggregate_type)) as k) as g
        where g.following - g.version > $7) and ",
    in_scope!()
);

const READ_HISTORIES: &str = "-- read_histories
select * from annals.read_histories($1, $2, $3, $4, $5, $6)";

/// No snapshots newer than the listing of the stream, because its events are read only up to the listed version.
const READ_SNAPSHOTS: &str = "-- read_snapshots_to_check
select p.tenant_id, p.aggregate_type, p.aggregate_id, p.version as entity_version, p.created_at as entity_created_at,
       p.updated_at as entity_updated_at, p.deleted_at, p.started_by, p.state::text,
       p.digest = annals.snapshot_digest(p) as is_intact,
       sign(p.fold_version - annals.fold_version_of(p.tenant_id, p.aggregate_type))::int as compared_fold_version
  from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) as u (tenant_id, aggregate_type, aggregate_id, last_snapshot)
  join annals.snapshots p
    on p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id and p.version <= u.last_snapshot
 order by p.tenant_id, p.aggregate_type, p.aggregate_id, p.version";

const COUNT_TO_FOLD: &str = "-- count_events_to_fold
select coalesce(sum(h.projected_version), 0)::bigint as events from annals.heads h
 where ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)";

impl Shadow {
    /// How many events are to be folded, for progress messages.
    pub async fn count_events(&self) -> Result<i64, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let rows = self.store.read(As::Projector, COUNT_TO_FOLD, &params).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get("events"))?)
    }

    /// Projected streams of the scope, ordered by name, after the given one.
    pub async fn list_streams(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        self.list(LIST_STREAMS, self.scope.columns(), after).await
    }

    /// Streams whose snapshots are too far apart.
    pub async fn list_sparse(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        let apart = [(&MAX_DISTANCE as &(dyn ToSql + Sync), Type::INT4)];
        self.list_by(LIST_SPARSE, self.scope.columns(), after, &apart).await
    }

    /// Streams of the aggregate type and tenant that a fold version is about.
    pub async fn list_streams_of(
        &self,
        version: &FoldVersion,
        after: Option<&StreamId>,
    ) -> Result<Vec<StreamToFold>, StoreError> {
        let tenant = self.scope.tenant_id.or(version.tenant_id);
        let of = (
            tenant.map(|tenant| *tenant.as_uuid()),
            Some(version.aggregate_type.as_str()),
        );
        self.list(LIST_STREAMS, of, after).await
    }

    /// Streams that the new read models do not hold at their projected version, without the unchanged ones, which were compared and
    /// have not been written since.
    pub async fn list_outdated(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        let sql = format!(
            concat!(
                "-- list_outdated_streams",
                stream_to_fold!(),
                " left join {} s on s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
  left join annals.entities e on e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
 where case when s.version is not null then s.version <> h.projected_version
            else e.version is distinct from h.projected_version or {} end and ",
                in_scope!()
            ),
            self.entities(),
            self.is_younger(),
        );
        self.list(&sql, self.scope.columns(), after).await
    }

    /// SQL condition: the live entity may have been written since comparing began. `age` handles the wraparound of transaction ids.
    fn is_younger(&self) -> String {
        let since = self.compared_since.as_ref();
        since.map_or("true".to_owned(), |since| {
            format!("age(e.xmin) <= age('{since}'::xid8::xid)")
        })
    }

    async fn list(
        &self,
        sql: &str,
        scope: (Option<Uuid>, Option<&str>),
        after: Option<&StreamId>,
    ) -> Result<Vec<StreamToFold>, StoreError> {
        self.list_by(sql, scope, after, &[]).await
    }

    async fn list_by(
        &self,
        sql: &str,
        (tenant, aggregate_type): (Option<Uuid>, Option<&str>),
        after: Option<&StreamId>,
        more: &[Param<'_>],
    ) -> Result<Vec<StreamToFold>, StoreError> {
        let after_tenant = after.map(|s| *s.tenant_id.as_uuid());
        let (after_type, after_id) = (
            after.map(|s| s.aggregate_type.as_str()),
            after.map(|s| s.aggregate_id.as_str()),
        );
        let params: [Param<'_>; 6] = [
            (&tenant, Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&after_tenant, Type::UUID),
            (&after_type, Type::TEXT),
            (&after_id, Type::TEXT),
            (&STREAMS, Type::INT8),
        ];
        let params: Vec<Param<'_>> = params.into_iter().chain(more.iter().cloned()).collect();
        let rows = self.store.read(As::Projector, sql, &params).await?;
        rows.iter().map(stream_to_fold_from).collect()
    }

    /// The events of these pieces in their order, cut off at a limit of bytes, and the revision of the catalog in the same snapshot.
    pub async fn read_histories(&self, pieces: &[Piece<'_>]) -> Result<(i64, Vec<PastEvent>), StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(pieces.iter().map(|piece| piece.stream));
        let after: Vec<i32> = pieces.iter().map(|piece| piece.after).collect();
        let to: Vec<i32> = pieces.iter().map(|piece| piece.to).collect();
        let params: [Param<'_>; 6] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&after, Type::INT4_ARRAY),
            (&to, Type::INT4_ARRAY),
            (&HISTORY_BYTES, Type::INT8),
        ];
        let rows = self.store.read(As::Projector, READ_HISTORIES, &params).await?;
        let revision = rows.first().map_or(Ok(0), |row| row.try_get("revision"))?;
        Ok((revision, rows.iter().map(past_event_from).collect::<Result<_, _>>()?))
    }

    /// The snapshots that these streams had when they were listed, by stream and version.
    pub async fn read_snapshots(&self, streams: &[&StreamToFold]) -> Result<Vec<StoredSnapshot>, StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(streams.iter().map(|listed| &listed.stream));
        let last: Vec<Option<i32>> = streams.iter().map(|listed| listed.last_snapshot).collect();
        let params: [Param<'_>; 4] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&last, Type::INT4_ARRAY),
        ];
        let rows = self.store.read(As::Projector, READ_SNAPSHOTS, &params).await?;
        rows.iter().map(snapshot_from).collect()
    }
}

fn stream_to_fold_from(row: &Row) -> Result<StreamToFold, StoreError> {
    Ok(StreamToFold {
        stream: stream_from(row)?,
        projected_version: row.try_get("projected_version")?,
        version: row.try_get("version")?,
        last_snapshot: row.try_get("last_snapshot")?,
    })
}

fn past_event_from(row: &Row) -> Result<PastEvent, StoreError> {
    let place = usize::try_from(row.try_get::<_, i64>("place")? - 1);
    Ok(PastEvent {
        place: place.map_err(|_| StoreError::Unexpected("an event that was not asked for".to_owned()))?,
        started_by: row.try_get("started_by")?,
        text: EventText::from_row(row)?,
    })
}

fn snapshot_from(row: &Row) -> Result<StoredSnapshot, StoreError> {
    let entity = EntityText::from_row(row)?;
    Ok(StoredSnapshot {
        stream: stream_from(row)?,
        started_by: row.try_get("started_by")?,
        entity: entity.ok_or_else(|| StoreError::Unexpected("a snapshot without a version".to_owned()))?,
        is_intact: row.try_get("is_intact")?,
        compared_fold_version: row.try_get::<_, i32>("compared_fold_version")?.cmp(&0),
    })
}
