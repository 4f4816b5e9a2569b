//! What the projector reads: the events that streams have left to project, and the tables that their state is written to.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::log::append::tenant_stream_columns;
use crate::read_models::facts::EventText;
use crate::read_models::stored_entity::EntityText;
use crate::{Store, StoreError};
use annals_domain::{AggregateId, AggregateType, StreamId, TenantId};

/// What streams have left to project, read in one snapshot.
#[derive(Debug)]
pub struct Work {
    /// Revision of the catalog in the same snapshot.
    pub revision: i64,
    /// Streams that have events left, without parked ones.
    pub streams: Vec<StreamWork>,
    /// Whether more may be left: more streams, or more events of these streams.
    pub is_cut: bool,
}

/// What one stream has left to project.
#[derive(Debug)]
pub struct StreamWork {
    /// The stream.
    pub stream: StreamId,
    /// Actor of the stream's first event.
    pub started_by: String,
    /// Version up to which the read models hold the stream.
    pub projected_version: i32,
    /// The projected state; `None` before the first projection.
    pub base: Option<EntityText>,
    /// The next events, by version.
    pub events: Vec<WorkEvent>,
}

/// An event to be projected.
#[derive(Debug, Clone)]
pub struct WorkEvent {
    /// Id of the event.
    pub id: Uuid,
    /// Position over all streams.
    pub event_number: i64,
    /// The event as it is folded.
    pub text: EventText,
}

/// Which tables hold the state of which aggregate types.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StateTables {
    pub(crate) entities: HashMap<String, String>,
    pub(crate) children: HashMap<String, Vec<(String, String)>>,
    columns: HashMap<String, HashSet<String>>,
}

impl StateTables {
    /// Whether this aggregate type has a state table.
    pub fn has_table(&self, aggregate_type: &str) -> bool {
        self.entities.contains_key(aggregate_type)
    }

    /// Whether the state table of this aggregate type has a column for this field of the state.
    pub fn has_column(&self, aggregate_type: &str, field: &str) -> bool {
        self.columns
            .get(aggregate_type)
            .is_some_and(|columns| columns.contains(field))
    }

    /// The child collections of this aggregate type that have a table.
    pub fn collections<'a>(&'a self, aggregate_type: &str) -> impl Iterator<Item = &'a str> {
        self.children
            .get(aggregate_type)
            .into_iter()
            .flatten()
            .map(|(collection, _)| collection.as_str())
    }
}

/// Maximum bytes of text, states included, that one read returns, approximately. What is cut off is read the next time.
const WORK_BYTES: i64 = 8 << 20;
/// Maximum bytes of one stream, approximately.
const STREAM_BYTES: i64 = 2 << 20;
/// Tenants take turns by this many bytes, so that a tenant with large streams leaves room for others.
const TURN_BYTES: i64 = 1 << 20;

/// Guesses the size of a value from its stored size. The text of a compressed value may be many times as large, and its exact size is
/// known only after decompression. Rows are therefore first cut by the guess; only what is left is decompressed, and cut by its real
/// size.
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
pub(crate) use guessed_bytes;

const READ_WORK: &str = "-- read_work
select * from annals.read_work($1, $2, $3, $4, $5, $6, $7)";

const READ_STATE_TABLES: &str = "-- read_state_tables
select t.aggregate_type, t.collection, format('public.%I', t.table_name) as table_name,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = to_regclass(format('public.%I', t.table_name)) and a.attnum > 0 and not a.attisdropped) as columns
  from annals.state_tables t order by t.table_name";

impl Store {
    /// What these streams have left to project, at most `per_stream` events each.
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
            is_cut |= row.try_get::<_, bool>("is_last")?;
            let stream = stream_from(row)?;
            if work.last().is_none_or(|last| last.stream != stream) {
                let (started_by, projected_version) = (row.try_get("started_by")?, row.try_get("projected_version")?);
                work.push(StreamWork {
                    stream,
                    started_by,
                    projected_version,
                    base: EntityText::from_row(row)?,
                    events: Vec::new(),
                });
            }
            if let Some(last) = work.last_mut() {
                last.events.push(WorkEvent {
                    id: row.try_get("id")?,
                    event_number: row.try_get("event_number")?,
                    text: EventText::from_row(row)?,
                });
            }
        }
        let is_full = |stream: &StreamWork| i64::try_from(stream.events.len()).is_ok_and(|events| events >= per_stream);
        Ok(Work {
            revision,
            is_cut: is_cut || work.iter().any(is_full),
            streams: work,
        })
    }

    /// The state tables of all modules.
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

/// The stream named by a row's columns `tenant_id`, `aggregate_type` and `aggregate_id`.
pub(crate) fn stream_from(row: &Row) -> Result<StreamId, StoreError> {
    let unexpected = |_| StoreError::Unexpected("an impossible stream name".to_owned());
    Ok(StreamId {
        tenant_id: TenantId::from(row.try_get::<_, Uuid>("tenant_id")?),
        aggregate_type: AggregateType::try_from(row.try_get::<_, String>("aggregate_type")?).map_err(unexpected)?,
        aggregate_id: AggregateId::stored(row.try_get("aggregate_id")?),
    })
}
