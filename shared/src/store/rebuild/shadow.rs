//! The read models that a rebuild makes beside the live ones: which streams they lack, what these streams hold, and the writing.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::RebuildScope;
use super::held::Held;
use crate::domain::{Entity, StoredFact, StreamId, TenantId, Timestamp};
use crate::store::append::tenant_stream_columns;
use crate::store::entities::parse_object;
use crate::store::projection::{EntityColumns, Wave, write_wave};
use crate::store::session::{As, Param, lost_is_unavailable};
use crate::store::work::{StateTables, stream_from};
use crate::store::{Store, StoreError};

/// A rebuild's tables, and the lock that says that it runs: both are this value's.
pub struct Shadow {
    pub(super) store: Store,
    pub(super) id: i32,
    pub(super) scope: RebuildScope,
    pub(super) entities: String,
    pub(super) tables: StateTables,
    _keeper: Held,
}

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
    /// The fact.
    pub data: Map<String, Value>,
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
    /// The entity.
    pub entity: Entity,
    /// Whether its digest is that of an untouched one.
    pub is_intact: bool,
    /// Whether it is of the present shape; one of an older shape is never used, one of a later shape was not written by Annals.
    pub shape: std::cmp::Ordering,
}

/// Streams of one page.
const STREAMS: i64 = 4_000;
/// Stored bytes of data that one read gives at most; a single event may be more.
const HISTORY_BYTES: i64 = 8 << 20;

macro_rules! stream_to_fold {
    () => {
        "select h.tenant_id, h.aggregate_type, h.aggregate_id, h.version, h.projected_version,
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

const LIST_STREAMS: &str = concat!("-- list_streams_to_fold\n", stream_to_fold!(), " where ", in_scope!());

/// `offset 0` keeps each look-up a look-up by the whole key. Decisions are looked for once per stream, not once per event.
const READ_HISTORIES: &str = "-- read_histories
select * from (
select u.place, r.revision, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data::text,
       case when e.aggregate_version = 1 then e.created_by end as started_by,
       coalesce(e.aggregate_version = any (k.versions), false) as skipped, pg_column_size(e.data) as bytes,
       sum(pg_column_size(e.data)) over (order by u.place, e.aggregate_version) as running_bytes
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
) as w
 where running_bytes - bytes < $6
 order by place, aggregate_version";

const READ_SNAPSHOTS: &str = "-- read_snapshots_to_check
select p.tenant_id, p.aggregate_type, p.aggregate_id, p.version, p.created_at, p.updated_at, p.deleted_at, p.started_by, p.state::text,
       p.digest = annals.snapshot_digest(p) as is_intact,
       sign(p.shape - annals.shape_of(p.tenant_id, p.aggregate_type))::int as shape
  from unnest($1::uuid[], $2::text[], $3::text[]) as u (tenant_id, aggregate_type, aggregate_id)
  join annals.snapshots p
    on p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id
 order by p.tenant_id, p.aggregate_type, p.aggregate_id, p.version";

const LIST_SHADOW_TABLES: &str = "-- list_shadow_tables
select aggregate_type, collection, shadow from annals.shadow_tables($1)";
const COUNT_TO_FOLD: &str = "-- count_events_to_fold
select coalesce(sum(h.projected_version), 0)::bigint as events from annals.heads h
 where ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)";
const WRITE_SHADOW: &str = "-- write_shadow
select annals.write_shadow($1::text::regclass, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[]::jsonb[])";
const DELETE_FAMILIES: &str = "-- delete_families
select annals.delete_families($1::text::regclass, ($2::text || '_id')::name, $3, $4)";
const ANALYZE_SHADOW: &str = "-- analyze_shadow
select annals.analyze_shadow($1)";

impl Shadow {
    pub(super) async fn open(store: Store, id: i32, scope: RebuildScope, keeper: Held) -> Result<Self, StoreError> {
        let mut shadow = Self {
            store,
            id,
            scope,
            entities: String::new(),
            tables: StateTables::default(),
            _keeper: keeper,
        };
        let rows = shadow
            .store
            .read(As::Projector, LIST_SHADOW_TABLES, &[(&id, Type::INT4)])
            .await?;
        for row in &rows {
            let (table, of): (String, Option<String>) = (row.try_get("shadow")?, row.try_get("aggregate_type")?);
            match (of, row.try_get::<_, Option<String>>("collection")?) {
                (None, _) => shadow.entities = table,
                (Some(of), None) => drop(shadow.tables.entities.insert(of, table)),
                (Some(of), Some(collection)) => {
                    shadow.tables.children.entry(of).or_default().push((collection, table));
                }
            }
        }
        Ok(shadow)
    }

    /// The rebuild's id.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The tables that it fills.
    pub fn tables(&self) -> &StateTables {
        &self.tables
    }

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
        self.list(LIST_STREAMS, after).await
    }

    /// Those of them that the new read models do not hold as they are projected now.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_outdated(&self, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        let sql = format!(
            concat!(
                "-- list_outdated_streams\n",
                stream_to_fold!(),
                " left join {} s on s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
 where s.version is distinct from h.projected_version and ",
                in_scope!()
            ),
            self.entities
        );
        self.list(&sql, after).await
    }

    async fn list(&self, sql: &str, after: Option<&StreamId>) -> Result<Vec<StreamToFold>, StoreError> {
        let (tenant, aggregate_type) = self.scope.columns();
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

    /// The snapshots of these streams, by stream and version.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_snapshots(&self, streams: &[&StreamId]) -> Result<Vec<StoredSnapshot>, StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(streams.iter().copied());
        let params: [Param<'_>; 3] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
        ];
        let rows = self.store.read(As::Projector, READ_SNAPSHOTS, &params).await?;
        rows.iter().map(snapshot_from).collect()
    }

    /// Writes final states with the rows that follow from them; all of them in `wave.states`, tables or not. What stands there
    /// of these streams already is replaced.
    ///
    /// # Errors
    /// [`StoreError::Data`] where a table refuses a row: nothing is written then.
    pub async fn write(&self, wave: &Wave) -> Result<(), StoreError> {
        let mut client = self.store.connection().await?;
        let written = async {
            let transaction = client.transaction().await?;
            transaction.batch_execute("set local role annals_projector").await?;
            let (tenants, types, ids) = tenant_stream_columns(wave.states.iter().map(|row| &row.stream));
            let columns = EntityColumns::of(wave.states.iter().map(|row| (row.started_by.as_str(), &row.entity)));
            let params: [Param<'_>; 10] = [
                (&self.entities, Type::TEXT),
                (&tenants, Type::UUID_ARRAY),
                (&types, Type::TEXT_ARRAY),
                (&ids, Type::TEXT_ARRAY),
                (&columns.versions, Type::INT4_ARRAY),
                (&columns.started_bys, Type::TEXT_ARRAY),
                (&columns.deleted_ats, Type::TIMESTAMPTZ_ARRAY),
                (&columns.created_ats, Type::TIMESTAMPTZ_ARRAY),
                (&columns.updated_ats, Type::TIMESTAMPTZ_ARRAY),
                (&columns.states, Type::TEXT_ARRAY),
            ];
            transaction.query_typed(WRITE_SHADOW, &params).await?;
            self.delete_families(&transaction, wave).await?;
            write_wave(&transaction, &self.tables, wave).await?;
            Ok(transaction.commit().await?)
        };
        written.await.map_err(lost_is_unavailable)
    }

    async fn delete_families(&self, client: &tokio_postgres::Transaction<'_>, wave: &Wave) -> Result<(), StoreError> {
        for (aggregate_type, collections) in &self.tables.children {
            let of_type = wave
                .states
                .iter()
                .filter(|row| row.stream.aggregate_type.as_str() == aggregate_type);
            let (tenants, _, parents) = tenant_stream_columns(of_type.map(|row| &row.stream));
            for (_, table) in collections.iter().filter(|_| !parents.is_empty()) {
                let params: [Param<'_>; 4] = [
                    (table, Type::TEXT),
                    (aggregate_type, Type::TEXT),
                    (&tenants, Type::UUID_ARRAY),
                    (&parents, Type::TEXT_ARRAY),
                ];
                client.query_typed(DELETE_FAMILIES, &params).await?;
            }
        }
        Ok(())
    }

    /// Lets the planner know how much there is.
    ///
    /// # Errors
    /// The database's.
    pub async fn analyze(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, ANALYZE_SHADOW, &[(&self.id, Type::INT4)])
            .await
            .map(|_| ())
    }

    /// Records how far it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_progress(&self, events: i64, streams: i64) -> Result<(), StoreError> {
        self.store.note_progress(self.id, events, streams).await
    }

    /// Ends it without success; live tables are as they were.
    pub async fn fail(&self, error: &str, tenant: Option<TenantId>) {
        self.store.fail_rebuild(self.id, error, tenant).await;
        self.drop_tables().await;
    }

    /// Drops the tables, in the end.
    pub async fn drop_tables(&self) {
        self.store.drop_shadow(self.id).await;
    }
}

impl PastEvent {
    /// What a fold needs of it.
    pub fn fact(&self) -> StoredFact<'_> {
        StoredFact {
            event_type: &self.event_type,
            schema_version: &self.schema_version,
            version: self.version,
            created_at: self.created_at,
            data: &self.data,
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
        data: parse_object(row.try_get("data")?)?,
        skipped: row.try_get("skipped")?,
    })
}

fn snapshot_from(row: &Row) -> Result<StoredSnapshot, StoreError> {
    let time = |column: &str| Ok::<_, StoreError>(Timestamp::from(row.try_get::<_, DateTime<Utc>>(column)?));
    Ok(StoredSnapshot {
        stream: stream_from(row)?,
        started_by: row.try_get("started_by")?,
        entity: Entity {
            version: row.try_get("version")?,
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            deleted_at: row
                .try_get::<_, Option<DateTime<Utc>>>("deleted_at")?
                .map(Timestamp::from),
            state: parse_object(row.try_get("state")?)?,
        },
        is_intact: row.try_get("is_intact")?,
        shape: row.try_get::<_, i32>("shape")?.cmp(&0),
    })
}
