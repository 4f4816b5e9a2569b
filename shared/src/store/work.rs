//! The projector's reads: what streams have left to project, and which tables their state goes to.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::append::{json_text, tenant_stream_columns};
use super::entities::parse_object;
use super::session::{As, Param};
use super::{Store, StoreError};
use crate::domain::fold::SizeBound;
use crate::domain::{AggregateId, AggregateType, Entity, StoredFact, StreamId, TenantId, Timestamp};

/// What streams have left to project, in one snapshot.
#[derive(Debug)]
pub struct Work {
    /// The catalog's revision.
    pub revision: i64,
    /// Those that have something left, but for parked ones.
    pub streams: Vec<StreamWork>,
    /// Whether more may be left than this: of a stream, or streams.
    pub is_cut: bool,
}

/// What one of them has left.
#[derive(Debug)]
pub struct StreamWork {
    /// The stream.
    pub stream: StreamId,
    /// Actor of its first event.
    pub started_by: String,
    /// Version up to which read models hold it.
    pub projected_version: i32,
    /// Its projected state; none before the first projection.
    pub base: Option<EntityText>,
    /// The next events, in order.
    pub events: Vec<WorkEvent>,
}

/// An entity whose state is still text: parsed, it may take a hundred times as much, so that of many one at a time is.
#[derive(Debug, Clone)]
pub struct EntityText {
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    state: String,
}

impl EntityText {
    /// From columns `version`, `created_at`, `updated_at`, `deleted_at`, `state`.
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let time = |column| row.try_get::<_, DateTime<Utc>>(column).map(Timestamp::from);
        let deleted_at: Option<DateTime<Utc>> = row.try_get("deleted_at")?;
        Ok(Self {
            version: row.try_get("version")?,
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
            deleted_at: deleted_at.map(Timestamp::from),
            state: row.try_get("state")?,
        })
    }

    /// Its version.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The entity.
    ///
    /// # Errors
    /// Text that is no JSON object, which the database does not hold.
    pub fn entity(&self) -> Result<Entity, StoreError> {
        Ok(Entity {
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
            state: parse_object(&self.state)?,
            size: SizeBound::default(),
        })
    }
}

impl From<&Entity> for EntityText {
    fn from(entity: &Entity) -> Self {
        Self {
            version: entity.version,
            created_at: entity.created_at,
            updated_at: entity.updated_at,
            deleted_at: entity.deleted_at,
            state: json_text(&entity.state),
        }
    }
}

/// An event to be projected.
#[derive(Debug, Clone)]
pub struct WorkEvent {
    /// Its id.
    pub id: Uuid,
    /// Position over all streams.
    pub event_number: i64,
    /// Position in its stream.
    pub version: i32,
    /// What happened.
    pub event_type: String,
    /// Version of the schema that the data follow.
    pub schema_version: String,
    /// Recorded time.
    pub created_at: Timestamp,
    /// The fact, still as text.
    pub data: String,
    /// Whether staff decided to leave it out.
    pub skipped: bool,
}

impl WorkEvent {
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

/// Which tables hold the state of which aggregates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StateTables {
    pub(super) entities: HashMap<String, String>,
    pub(super) children: HashMap<String, Vec<(String, String)>>,
    columns: HashMap<String, HashSet<String>>,
}

impl StateTables {
    /// Whether aggregates of this kind have a table of their own.
    pub fn has_table(&self, aggregate_type: &str) -> bool {
        self.entities.contains_key(aggregate_type)
    }

    /// Whether the table of such aggregates has a column for this field of their state.
    pub fn has_column(&self, aggregate_type: &str, field: &str) -> bool {
        self.columns
            .get(aggregate_type)
            .is_some_and(|columns| columns.contains(field))
    }

    /// Child collections of this kind that have a table.
    pub fn collections<'a>(&'a self, aggregate_type: &str) -> impl Iterator<Item = &'a str> {
        self.children
            .get(aggregate_type)
            .into_iter()
            .flatten()
            .map(|(collection, _)| collection.as_str())
    }
}

/// A read gives about this many bytes of text at most, states included; what is cut off is read the next time.
const WORK_BYTES: i64 = 8 << 20;
/// And about this many of one stream.
const STREAM_BYTES: i64 = 2 << 20;
/// Tenants take turns by so many bytes, so that one with large streams leaves room for what others have.
const TURN_BYTES: i64 = 1 << 20;

/// Sizes are guessed first, from what is stored: a value that is compressed may be many times as large, and to find out how large, it
/// would have to be unpacked. What the guesses leave is unpacked, and cut by what it really is.
macro_rules! guessed_bytes {
    ($value:literal) => {
        concat!(
            "(pg_column_size(",
            $value,
            ") * case when pg_column_compression(",
            $value,
            ") is null then 1 else 16 end)"
        )
    };
}
pub(super) use guessed_bytes;

/// Rows are numbered by `turn`, then by stream: what is taken of a stream is always its next events. `offset 0` keeps values packed until
/// rows have been left out.
const READ_WORK: &str = concat!(
    "-- read_work
select * from (
select u.*, octet_length(u.data) + coalesce(octet_length(u.state), 0) as bytes,
       sum(octet_length(u.data) + coalesce(octet_length(u.state), 0)) over (order by u.guessed_before) as running_bytes
  from (
select t.revision, t.tenant_id, t.aggregate_type, t.aggregate_id, t.projected_version, t.started_by,
       t.entity_version, t.entity_created_at, t.entity_updated_at, t.deleted_at, t.entity_state::text as state,
       t.id, t.event_number, t.aggregate_version, t.event_type, t.schema_version, t.created_at, t.event_data::text as data, t.skipped,
       t.guessed_before, t.guessed_before + t.guess >= $5 or t.stream_guess >= $6 as is_last
  from (
select s.*, sum(s.guess) over (order by (s.tenant_guess - s.guess) / $7, s.tenant_id, s.aggregate_type, s.aggregate_id, s.aggregate_version) - s.guess
           as guessed_before
  from (
select g.*, sum(g.guess) over (partition by g.tenant_id order by g.aggregate_type, g.aggregate_id, g.aggregate_version) as tenant_guess,
       sum(g.guess) over (partition by g.tenant_id, g.aggregate_type, g.aggregate_id order by g.aggregate_version) as stream_guess
  from (
select r.revision, h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by,
       n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
       case when e.aggregate_version = h.projected_version + 1 then n.state end as entity_state,
       e.id, e.event_number, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
       exists (select from annals.skipped_events s
                where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                  and s.aggregate_version = e.aggregate_version) as skipped,
       ",
    guessed_bytes!("e.data"),
    " + case when e.aggregate_version = h.projected_version + 1 then coalesce(",
    guessed_bytes!("n.state"),
    ", 0) else 0 end as guess
  from unnest($1::uuid[], $2::text[], $3::text[]) as k (tenant_id, aggregate_type, aggregate_id)
  join annals.heads h on h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
  left join annals.entities n
    on n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
 cross join lateral (
       select e.* from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
          and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
        order by e.aggregate_version limit $4) as e
 cross join annals.catalog_revision r
 where h.projected_version < h.version
   and not exists (select from annals.parked_streams p
                    where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                      and not p.retrying)
) as g) as s where s.stream_guess - s.guess < $6) as t where t.guessed_before < $5 offset 0) as u) as w
 where running_bytes - bytes < $5
 order by tenant_id, aggregate_type, aggregate_id, aggregate_version"
);

const READ_STATE_TABLES: &str = "-- read_state_tables
select t.aggregate_type, t.collection, format('public.%I', t.table_name) as table_name,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = to_regclass(format('public.%I', t.table_name)) and a.attnum > 0 and not a.attisdropped) as columns
  from annals.state_tables t order by t.table_name";

impl Store {
    /// What these streams have left, at most `per_stream` events each.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_work(&self, streams: &[StreamId], per_stream: i64) -> Result<Work, StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(streams);
        let params: [Param<'_>; 7] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&per_stream, Type::INT8),
            (&WORK_BYTES, Type::INT8),
            (&STREAM_BYTES, Type::INT8),
            (&TURN_BYTES, Type::INT8),
        ];
        let rows = self.read(As::Projector, READ_WORK, &params).await?;
        let mut work: Vec<StreamWork> = Vec::new();
        let (mut revision, mut is_cut) = (0, false);
        for row in &rows {
            revision = row.try_get("revision")?;
            is_cut |= row.try_get("is_last")? || row.try_get::<_, i64>("running_bytes")? >= WORK_BYTES;
            let stream = stream_from(row)?;
            if work.last().is_none_or(|last| last.stream != stream) {
                let (started_by, projected_version) = (row.try_get("started_by")?, row.try_get("projected_version")?);
                work.push(StreamWork {
                    stream,
                    started_by,
                    projected_version,
                    base: entity_text(row)?,
                    events: Vec::new(),
                });
            }
            if let Some(last) = work.last_mut() {
                last.events.push(work_event_from(row)?);
            }
        }
        let is_full = |stream: &StreamWork| i64::try_from(stream.events.len()).is_ok_and(|events| events >= per_stream);
        Ok(Work {
            revision,
            is_cut: is_cut || work.iter().any(is_full),
            streams: work,
        })
    }

    /// The tables of all modules.
    ///
    /// # Errors
    /// The database's.
    pub async fn state_tables(&self) -> Result<StateTables, StoreError> {
        let mut tables = StateTables::default();
        for row in self.read(As::Projector, READ_STATE_TABLES, &[]).await? {
            let (aggregate_type, table): (String, String) =
                (row.try_get("aggregate_type")?, row.try_get("table_name")?);
            match row.try_get::<_, Option<String>>("collection")? {
                None => {
                    let columns: Vec<String> = row.try_get("columns")?;
                    tables
                        .columns
                        .insert(aggregate_type.clone(), columns.into_iter().collect());
                    tables.entities.insert(aggregate_type, table);
                }
                Some(collection) => tables
                    .children
                    .entry(aggregate_type)
                    .or_default()
                    .push((collection, table)),
            }
        }
        Ok(tables)
    }
}

/// The stream that a row's `tenant_id`, `aggregate_type` and `aggregate_id` name.
pub(super) fn stream_from(row: &Row) -> Result<StreamId, StoreError> {
    let unexpected = |_| StoreError::Unexpected("a stream's name that no stream can have".to_owned());
    Ok(StreamId {
        tenant_id: TenantId::from(row.try_get::<_, Uuid>("tenant_id")?),
        aggregate_type: AggregateType::try_from(row.try_get::<_, String>("aggregate_type")?).map_err(unexpected)?,
        aggregate_id: AggregateId::stored(row.try_get("aggregate_id")?),
    })
}

fn entity_text(row: &Row) -> Result<Option<EntityText>, StoreError> {
    let Some(version) = row.try_get::<_, Option<i32>>("entity_version")? else {
        return Ok(None);
    };
    let time = |column| row.try_get::<_, DateTime<Utc>>(column).map(Timestamp::from);
    let deleted_at: Option<DateTime<Utc>> = row.try_get("deleted_at")?;
    let state: Option<String> = row.try_get("state")?;
    Ok(Some(EntityText {
        version,
        created_at: time("entity_created_at")?,
        updated_at: time("entity_updated_at")?,
        deleted_at: deleted_at.map(Timestamp::from),
        state: state.ok_or_else(|| StoreError::Unexpected("a stream with a gap".to_owned()))?,
    }))
}

fn work_event_from(row: &Row) -> Result<WorkEvent, StoreError> {
    Ok(WorkEvent {
        id: row.try_get("id")?,
        event_number: row.try_get("event_number")?,
        version: row.try_get("aggregate_version")?,
        event_type: row.try_get("event_type")?,
        schema_version: row.try_get("schema_version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        data: row.try_get("data")?,
        skipped: row.try_get("skipped")?,
    })
}
