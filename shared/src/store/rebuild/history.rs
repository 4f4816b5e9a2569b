//! What a rebuild reads of the log: which streams there are, their events from the first, their snapshots.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::exchange::Shape;
use super::shadow::Shadow;
use crate::domain::fold::SizeBound;
use crate::domain::{Entity, StoredFact, StreamId, Timestamp};
use crate::store::append::tenant_stream_columns;
use crate::store::entities::parse_object;
use crate::store::session::{As, Param};
use crate::store::snapshots::APART;
use crate::store::work::{guessed_bytes, stream_from};
use crate::store::{EntityText, StoreError};

/// A stream to fold from zero.
#[derive(Debug, Clone)]
pub struct StreamToFold {
    /// The stream.
    pub stream: StreamId,
    /// Version that read models should hold.
    pub projected_version: i32,
    /// Its last version.
    pub version: i32,
    /// Version of its newest snapshot.
    pub last_snapshot: Option<i32>,
}

/// A stretch of a stream's events, `(after, to]`.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// Version before the first one wanted.
    pub after: i32,
    /// Version of the last one.
    pub to: i32,
}

/// An event, as a fold from zero meets it.
#[derive(Debug)]
pub struct PastEvent {
    /// Which of the pieces asked for it belongs to, from 0.
    pub place: usize,
    /// Its version.
    pub version: i32,
    /// What happened.
    pub event_type: String,
    /// Version of the schema that the data follow.
    pub schema_version: String,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Actor of the stream's first event; in the first event only.
    pub started_by: Option<String>,
    /// The fact, still as text.
    data: String,
    /// Whether staff decided to leave it out.
    pub skipped: bool,
}

/// A snapshot as it is stored.
#[derive(Debug)]
pub struct StoredSnapshot {
    /// Its stream.
    pub stream: StreamId,
    /// Whom it says to have started the stream.
    pub started_by: String,
    /// The entity; several states are too much to be parsed at once.
    pub entity: EntityText,
    /// Whether its digest is that of an untouched one.
    pub is_intact: bool,
    /// Whether it is of the present shape; one of an older shape is never used, one of a later shape was not written by Annals.
    pub shape: std::cmp::Ordering,
}

/// Streams of one page.
const STREAMS: i64 = 4_000;
/// Bytes of text that one read gives at most; a single event may be more.
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

const LIST_STREAMS: &str = concat!("-- list_streams_to_fold", stream_to_fold!(), " where ", in_scope!());

/// Streams where some version lies more than so many events after what it can be loaded from: a snapshot, or the beginning.
const LIST_SPARSE: &str = concat!(
    "-- list_sparse_streams",
    stream_to_fold!(),
    " where h.projected_version > $7 and exists (
       select from (select k.version, lead(k.version, 1, h.projected_version) over (order by k.version) as following
                      from (select 0 as version
                            union all
                            select s.version from annals.snapshots s
                             where s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
                               and s.version < h.projected_version and s.shape = annals.shape_of(h.tenant_id, h.aggregate_type)) as k) as g
        where g.following - g.version > $7) and ",
    in_scope!()
);

/// `offset 0` keeps each look-up a look-up by the whole key. Decisions are looked for once per stream, not once per event.
const READ_HISTORIES: &str = concat!(
    "-- read_histories
select * from (
select g.*, octet_length(g.data) as bytes, sum(octet_length(g.data)) over (order by g.place, g.aggregate_version) as running_bytes
  from (
select s.place, s.revision, s.aggregate_version, s.event_type, s.schema_version, s.created_at, s.event_data::text as data, s.started_by, s.skipped
  from (
select u.place, r.revision, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
       case when e.aggregate_version = 1 then e.created_by end as started_by,
       coalesce(e.aggregate_version = any (k.versions), false) as skipped, ",
    guessed_bytes!("e.data"),
    " as guess,
       sum(",
    guessed_bytes!("e.data"),
    ") over (order by u.place, e.aggregate_version) as running_guess
  from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[]) with ordinality
       as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
 cross join lateral (
       select array_agg(s.aggregate_version) as versions from annals.skipped_events s
        where s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k
 cross join lateral (
       select * from annals.events e
        where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
          and e.aggregate_version > u.after and e.aggregate_version <= u.upto offset 0) as e
 cross join annals.catalog_revision r
) as s where s.running_guess - s.guess < $6 offset 0) as g) as w
 where running_bytes - bytes < $6
 order by place, aggregate_version"
);

/// None that came after the stream was listed: its events are read as far as the list says.
const READ_SNAPSHOTS: &str = "-- read_snapshots_to_check
select p.tenant_id, p.aggregate_type, p.aggregate_id, p.version, p.created_at, p.updated_at, p.deleted_at, p.started_by, p.state::text,
       p.digest = annals.snapshot_digest(p) as is_intact,
       sign(p.shape - annals.shape_of(p.tenant_id, p.aggregate_type))::int as shape
  from unnest($1::uuid[], $2::text[], $3::text[], $4::int[]) as u (tenant_id, aggregate_type, aggregate_id, last_snapshot)
  join annals.snapshots p
    on p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id and p.version <= u.last_snapshot
 order by p.tenant_id, p.aggregate_type, p.aggregate_id, p.version";

const COUNT_TO_FOLD: &str = "-- count_events_to_fold
select coalesce(sum(h.projected_version), 0)::bigint as events from annals.heads h
 where ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)";

impl Shadow {
    /// How many events there are to fold, for whoever watches.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_events(&self) -> Result<i64, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
        let params: [Param<'_>; 2] = [(&tenant, Type::UUID), (&aggregate_type, Type::TEXT)];
        let rows = self.store.read(As::Projector, COUNT_TO_FOLD, &params).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get("events"))?)
    }

    /// Projected streams of the scope, in the order of their names, after one.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_streams(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        self.list(LIST_STREAMS, self.scope.columns(), after).await
    }

    /// Those whose snapshots lie too far apart.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_sparse(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        let apart = [(&APART as &(dyn ToSql + Sync), Type::INT4)];
        self.list_by(LIST_SPARSE, self.scope.columns(), after, &apart).await
    }

    /// Those of one shape.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_streams_of(
        &self,
        shape: &Shape,
        after: Option<&StreamId>,
    ) -> Result<Vec<StreamToFold>, StoreError> {
        let tenant = self.scope.tenant_id.or(shape.tenant_id);
        let of = (
            tenant.map(|tenant| *tenant.as_uuid()),
            Some(shape.aggregate_type.as_str()),
        );
        self.list(LIST_STREAMS, of, after).await
    }

    /// Those that the new read models do not hold as they are projected now, unless they are sound: compared, and not written since.
    ///
    /// # Errors
    /// The database's.
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

    /// Whether a live entity may have been written since comparing began, in SQL. Ages go round as xids do.
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

    /// The events of these pieces in their order, cut off where they become too many bytes, and the catalog's revision in the
    /// same snapshot.
    ///
    /// # Errors
    /// The database's.
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
    ///
    /// # Errors
    /// The database's.
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

impl PastEvent {
    /// The fact, parsed.
    ///
    /// # Errors
    /// Text that is no JSON object, which the log does not hold.
    pub fn data(&self) -> Result<Map<String, Value>, StoreError> {
        parse_object(&self.data)
    }

    /// What a fold needs of it, with the fact as it was parsed.
    pub fn fact<'a>(&'a self, data: &'a Map<String, Value>) -> StoredFact<'a> {
        StoredFact {
            event_type: &self.event_type,
            schema_version: &self.schema_version,
            version: self.version,
            created_at: self.created_at,
            data,
            skipped: self.skipped,
        }
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
        place: place.map_err(|_| StoreError::Unexpected("an event that nobody asked for".to_owned()))?,
        version: row.try_get("aggregate_version")?,
        event_type: row.try_get("event_type")?,
        schema_version: row.try_get("schema_version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        started_by: row.try_get("started_by")?,
        data: row.try_get("data")?,
        skipped: row.try_get("skipped")?,
    })
}

fn snapshot_from(row: &Row) -> Result<StoredSnapshot, StoreError> {
    Ok(StoredSnapshot {
        stream: stream_from(row)?,
        started_by: row.try_get("started_by")?,
        entity: EntityText::from_row(row)?,
        is_intact: row.try_get("is_intact")?,
        shape: row.try_get::<_, i32>("shape")?.cmp(&0),
    })
}

/// An entity from its columns.
pub(super) fn entity_from(row: &Row) -> Result<Entity, StoreError> {
    let deleted_at: Option<DateTime<Utc>> = row.try_get("deleted_at")?;
    Ok(Entity {
        version: row.try_get("version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        updated_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("updated_at")?),
        deleted_at: deleted_at.map(Timestamp::from),
        state: parse_object(row.try_get("state")?)?,
        size: SizeBound::default(),
    })
}
