//! The projector's reads: what streams have left to project, and which tables their state goes to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::append::tenant_stream_columns;
use super::entities::{base_entity, parse_object};
use super::session::{As, Param};
use super::{Store, StoreError};
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
    pub base: Option<Entity>,
    /// The next events, in order.
    pub events: Vec<WorkEvent>,
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
    /// The fact.
    pub data: Map<String, Value>,
    /// Whether staff decided to leave it out.
    pub skipped: bool,
}

impl WorkEvent {
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

/// Which tables hold the state of which aggregates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StateTables {
    pub(super) entities: HashMap<String, String>,
    pub(super) children: HashMap<String, Vec<(String, String)>>,
}

impl StateTables {
    /// Whether aggregates of this kind have a table of their own.
    pub fn has_table(&self, aggregate_type: &str) -> bool {
        self.entities.contains_key(aggregate_type)
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

/// The events of one read stay below this many stored bytes, their entity's state counted with each because each makes a state:
/// memory is bounded (as far as stored bytes, which may be compressed, tell), and what is cut off is read the next time.
const WORK_BYTES: i64 = 8 << 20;

const READ_WORK: &str = "-- read_work
select * from (
select r.revision, h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by,
       n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
       case when e.aggregate_version = h.projected_version + 1 then n.state::text end as state,
       e.id, e.event_number, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data::text,
       exists (select from annals.skipped_events s
                where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                  and s.aggregate_version = e.aggregate_version) as skipped,
       pg_column_size(e.data) + coalesce(pg_column_size(n.state), 0) as bytes,
       sum(pg_column_size(e.data) + coalesce(pg_column_size(n.state), 0)) over (order by h.tenant_id, h.aggregate_type, h.aggregate_id, e.aggregate_version) as running_bytes
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
) as w
 where running_bytes - bytes < $5
 order by tenant_id, aggregate_type, aggregate_id, aggregate_version";

const READ_STATE_TABLES: &str = "-- read_state_tables
select aggregate_type, collection, format('public.%I', table_name) as table_name from annals.state_tables order by table_name";

impl Store {
    /// What these streams have left, at most `per_stream` events each.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_work(&self, streams: &[StreamId], per_stream: i64) -> Result<Work, StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(streams);
        let params: [Param<'_>; 5] = [
            (&tenants, Type::UUID_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&per_stream, Type::INT8),
            (&WORK_BYTES, Type::INT8),
        ];
        let rows = self.read(As::Projector, READ_WORK, &params).await?;
        let mut work: Vec<StreamWork> = Vec::new();
        let (mut revision, mut bytes) = (0, 0);
        for row in &rows {
            revision = row.try_get("revision")?;
            bytes = row.try_get("running_bytes")?;
            let stream = stream_from(row)?;
            if work.last().is_none_or(|last| last.stream != stream) {
                let (started_by, projected_version) = (row.try_get("started_by")?, row.try_get("projected_version")?);
                work.push(StreamWork {
                    stream,
                    started_by,
                    projected_version,
                    base: base_entity(row)?,
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
            is_cut: bytes >= WORK_BYTES || work.iter().any(is_full),
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

fn work_event_from(row: &Row) -> Result<WorkEvent, StoreError> {
    Ok(WorkEvent {
        id: row.try_get("id")?,
        event_number: row.try_get("event_number")?,
        version: row.try_get("aggregate_version")?,
        event_type: row.try_get("event_type")?,
        schema_version: row.try_get("schema_version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        data: parse_object(row.try_get("data")?)?,
        skipped: row.try_get("skipped")?,
    })
}
