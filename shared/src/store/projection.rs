//! The projector's writes: read models and progress in one transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::append::tenant_stream_columns;
use super::lease::Transaction;
use super::session::{As, Param, Writes, lost_is_unavailable};
use super::snapshots::{SnapshotMetadata, write_snapshots};
use super::work::{StateTables, stream_from};
use super::{Store, StoreError};
use crate::domain::{Entity, StreamId, TenantId};
use crate::telemetry::xray::in_postgres;

/// Everything that one transaction changes. Waves are written one after the other, so that a table sees every state that an
/// entity has been in: what is refused then never depends on how many events happened to be projected together.
#[derive(Debug, Default)]
pub struct ProjectionWrite {
    /// Final states and progress.
    pub entities: Vec<EntityWrite>,
    /// Rows of state tables, the n-th event of every stream in the n-th wave.
    pub waves: Vec<Wave>,
    /// Snapshots that were passed on the way.
    pub snapshots: Vec<StateRow>,
    /// Decisions about parked events that are carried out.
    pub instructions: Vec<Instruction>,
    /// How many events were left out because staff said so.
    pub left_out: i64,
}

/// An entity's new state and its progress.
#[derive(Debug)]
pub struct EntityWrite {
    /// Its stream.
    pub stream: StreamId,
    /// Actor of its first event.
    pub started_by: String,
    /// Version before.
    pub from_version: i32,
    /// The entity after.
    pub entity: Entity,
}

/// Rows that are written together; at most one per entity and child.
#[derive(Debug, Default)]
pub struct Wave {
    /// Rows of entities' own tables.
    pub states: Vec<StateRow>,
    /// Children that are new or changed.
    pub children: Vec<ChildRow>,
    /// Children that are gone.
    pub removed: Vec<ChildKey>,
}

/// A row of an entity's own table.
#[derive(Debug)]
pub struct StateRow {
    /// Its stream.
    pub stream: StreamId,
    /// Actor of its first event.
    pub started_by: String,
    /// The entity at that point.
    pub entity: Entity,
}

/// Names a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildKey {
    /// The parent's stream.
    pub stream: StreamId,
    /// The collection.
    pub collection: String,
    /// The child's id as text.
    pub id: Option<String>,
}

/// A row of a collection's table.
#[derive(Debug)]
pub struct ChildRow {
    /// Which child.
    pub key: ChildKey,
    /// Actor of the parent's first event.
    pub started_by: String,
    /// The child.
    pub child: Value,
}

/// A decision about a parked event, as the projector met it in the log.
#[derive(Debug)]
pub struct Instruction {
    /// Tenant of the deciding event.
    pub tenant_id: TenantId,
    /// The deciding event.
    pub id: Uuid,
    /// The parked event.
    pub event_id: Uuid,
    /// Whether to leave it out; otherwise it is tried again.
    pub skip: bool,
}

const WRITE_ENTITIES: &str = "-- write_entities
select annals.write_entities($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10)";
const ADVANCE_HEADS: &str = "-- advance_heads
select annals.advance_heads($1, $2, $3, $4, $5, $6)";
const WRITE_STATES: &str = "-- write_states
select annals.write_states($1::text::regclass, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[])";
const WRITE_CHILDREN: &str = "-- write_children
select annals.write_children($1::text::regclass, ($2::text || '_id')::name, $3, $4, $5, $6, $7::text[]::jsonb[])";
const DELETE_CHILDREN: &str = "-- delete_children
select annals.delete_children($1::text::regclass, ($2::text || '_id')::name, $3, $4, $5)";
const SKIP_PARKED: &str = "-- skip_parked
insert into annals.skipped_events (tenant_id, event_id, instruction_id, aggregate_version, aggregate_type, aggregate_id)
select tenant_id, event_id, $3, aggregate_version, aggregate_type, aggregate_id
  from annals.parked_streams where tenant_id = $1 and event_id = $2
on conflict on constraint skipped_events_pkey do nothing";
const RETRY_PARKED: &str = "-- retry_parked
update annals.parked_streams set retrying = true where tenant_id = $1 and event_id = $2 returning tenant_id, aggregate_type, aggregate_id";

impl Store {
    /// Writes read models and progress in one transaction; answers with the streams that an instruction freed. `revision` is the
    /// catalog's when the work was read.
    ///
    /// # Errors
    /// [`StoreError::Contention`] where another projector was here first, [`StoreError::Outdated`] where the catalog has changed or
    /// read models were rebuilt: read again. [`StoreError::Data`] where a table refuses
    /// a row. Either way nothing is written.
    pub async fn write_projection(
        &self,
        revision: i64,
        tables: &StateTables,
        write: &ProjectionWrite,
    ) -> Result<Vec<StreamId>, StoreError> {
        let client = self.connection().await?;
        let written = async {
            let transaction = client.begin(As::Projector.begin(Writes::Yes)).await?;
            let freed = write_all(&transaction, revision, tables, write).await;
            transaction.end(freed).await
        };
        in_postgres("-- write_projection", written)
            .await
            .map_err(lost_is_unavailable)
    }
}

async fn write_all(
    client: &Transaction<'_>,
    revision: i64,
    tables: &StateTables,
    write: &ProjectionWrite,
) -> Result<Vec<StreamId>, StoreError> {
    write_entities(client, revision, &write.entities).await?;
    for wave in &write.waves {
        write_wave(client, tables, wave).await?;
    }
    write_snapshots(client, &write.snapshots, revision, &SnapshotMetadata::periodic()).await?;
    let mut freed = Vec::new();
    for instruction in &write.instructions {
        freed.extend(carry_out(client, instruction).await?);
    }
    advance_heads(client, &write.entities, write.left_out).await?;
    Ok(freed)
}

async fn write_entities(client: &Transaction<'_>, revision: i64, writes: &[EntityWrite]) -> Result<(), StoreError> {
    let streams: Vec<StreamId> = writes.iter().map(|w| w.stream.clone()).collect();
    let (tenants, types, ids) = tenant_stream_columns(&streams);
    let columns = EntityColumns::of(writes.iter().map(|w| (w.started_by.as_str(), &w.entity)));
    let params: [Param<'_>; 10] = [
        (&tenants, Type::UUID_ARRAY),
        (&types, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&columns.versions, Type::INT4_ARRAY),
        (&columns.started_bys, Type::TEXT_ARRAY),
        (&columns.deleted_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.created_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.updated_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.states, Type::TEXT_ARRAY),
        (&revision, Type::INT8),
    ];
    client.query_typed(WRITE_ENTITIES, &params).await?;
    Ok(())
}

async fn advance_heads(client: &Transaction<'_>, writes: &[EntityWrite], left_out: i64) -> Result<(), StoreError> {
    let streams: Vec<StreamId> = writes.iter().map(|w| w.stream.clone()).collect();
    let (tenants, types, ids) = tenant_stream_columns(&streams);
    let from: Vec<i32> = writes.iter().map(|w| w.from_version).collect();
    let to: Vec<i32> = writes.iter().map(|w| w.entity.version).collect();
    let params: [Param<'_>; 6] = [
        (&tenants, Type::UUID_ARRAY),
        (&types, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&from, Type::INT4_ARRAY),
        (&to, Type::INT4_ARRAY),
        (&left_out, Type::INT8),
    ];
    client.query_typed(ADVANCE_HEADS, &params).await?;
    Ok(())
}

pub(super) async fn write_wave(client: &Transaction<'_>, tables: &StateTables, wave: &Wave) -> Result<(), StoreError> {
    let mut by_table: BTreeMap<&str, Vec<&StateRow>> = BTreeMap::new();
    for row in &wave.states {
        if let Some(table) = tables.entities.get(row.stream.aggregate_type.as_str()) {
            by_table.entry(table).or_default().push(row);
        }
    }
    for (table, rows) in by_table {
        write_states(client, table, &rows).await?;
    }
    for (collection, removed) in group_children(tables, wave.removed.iter().map(|key| (key, key))) {
        delete_children(client, &collection, &removed).await?;
    }
    for (collection, rows) in group_children(tables, wave.children.iter().map(|row| (&row.key, row))) {
        write_children(client, &collection, &rows).await?;
    }
    Ok(())
}

async fn write_states(client: &Transaction<'_>, table: &str, rows: &[&StateRow]) -> Result<(), StoreError> {
    let tenants: Vec<Uuid> = rows.iter().map(|r| *r.stream.tenant_id.as_uuid()).collect();
    let ids: Vec<&str> = rows.iter().map(|r| r.stream.aggregate_id.as_str()).collect();
    let columns = EntityColumns::of(rows.iter().map(|r| (r.started_by.as_str(), &r.entity)));
    let params: [Param<'_>; 9] = [
        (&table, Type::TEXT),
        (&tenants, Type::UUID_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&columns.versions, Type::INT4_ARRAY),
        (&columns.started_bys, Type::TEXT_ARRAY),
        (&columns.deleted_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.created_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.updated_ats, Type::TIMESTAMPTZ_ARRAY),
        (&columns.states, Type::TEXT_ARRAY),
    ];
    client.query_typed(WRITE_STATES, &params).await?;
    Ok(())
}

/// A child collection's table, and the aggregate that its parent column is named after.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChildTable<'a> {
    table: &'a str,
    aggregate_type: &'a str,
}

fn group_children<'a, T>(
    tables: &'a StateTables,
    rows: impl Iterator<Item = (&'a ChildKey, T)>,
) -> BTreeMap<ChildTable<'a>, Vec<T>> {
    let mut groups: BTreeMap<ChildTable<'a>, Vec<T>> = BTreeMap::new();
    for (key, row) in rows {
        let aggregate_type = key.stream.aggregate_type.as_str();
        let of_type = tables.children.get(aggregate_type).into_iter().flatten();
        if let Some((_, table)) = of_type
            .into_iter()
            .find(|(collection, _)| *collection == key.collection)
        {
            groups
                .entry(ChildTable { table, aggregate_type })
                .or_default()
                .push(row);
        }
    }
    groups
}

async fn write_children(client: &Transaction<'_>, to: &ChildTable<'_>, rows: &[&ChildRow]) -> Result<(), StoreError> {
    let tenants: Vec<Uuid> = rows.iter().map(|r| *r.key.stream.tenant_id.as_uuid()).collect();
    let parents: Vec<&str> = rows.iter().map(|r| r.key.stream.aggregate_id.as_str()).collect();
    let ids: Vec<Option<&str>> = rows.iter().map(|r| r.key.id.as_deref()).collect();
    let started_bys: Vec<&str> = rows.iter().map(|r| r.started_by.as_str()).collect();
    let children: Vec<String> = rows.iter().map(|r| r.child.to_string()).collect();
    let params: [Param<'_>; 7] = [
        (&to.table, Type::TEXT),
        (&to.aggregate_type, Type::TEXT),
        (&tenants, Type::UUID_ARRAY),
        (&parents, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
        (&started_bys, Type::TEXT_ARRAY),
        (&children, Type::TEXT_ARRAY),
    ];
    client.query_typed(WRITE_CHILDREN, &params).await?;
    Ok(())
}

async fn delete_children(
    client: &Transaction<'_>,
    from: &ChildTable<'_>,
    keys: &[&ChildKey],
) -> Result<(), StoreError> {
    let tenants: Vec<Uuid> = keys.iter().map(|k| *k.stream.tenant_id.as_uuid()).collect();
    let parents: Vec<&str> = keys.iter().map(|k| k.stream.aggregate_id.as_str()).collect();
    let ids: Vec<Option<&str>> = keys.iter().map(|k| k.id.as_deref()).collect();
    let params: [Param<'_>; 5] = [
        (&from.table, Type::TEXT),
        (&from.aggregate_type, Type::TEXT),
        (&tenants, Type::UUID_ARRAY),
        (&parents, Type::TEXT_ARRAY),
        (&ids, Type::TEXT_ARRAY),
    ];
    client.query_typed(DELETE_CHILDREN, &params).await?;
    Ok(())
}

/// Freeing comes first because it locks the parked row: a projector that is just letting the row go has then applied the
/// event, and there is nothing left to skip; one that comes later meets the skip in `advance_heads`.
async fn carry_out(client: &Transaction<'_>, instruction: &Instruction) -> Result<Option<StreamId>, StoreError> {
    let tenant_id = instruction.tenant_id.as_uuid();
    let rows = client
        .query_typed(
            RETRY_PARKED,
            &[(tenant_id, Type::UUID), (&instruction.event_id, Type::UUID)],
        )
        .await?;
    if instruction.skip && !rows.is_empty() {
        let params: [Param<'_>; 3] = [
            (tenant_id, Type::UUID),
            (&instruction.event_id, Type::UUID),
            (&instruction.id, Type::UUID),
        ];
        client.query_typed(SKIP_PARKED, &params).await?;
    }
    rows.first().map(stream_from).transpose()
}

/// Entities as columns.
pub(super) struct EntityColumns<'a> {
    pub(super) versions: Vec<i32>,
    pub(super) started_bys: Vec<&'a str>,
    pub(super) deleted_ats: Vec<Option<DateTime<Utc>>>,
    pub(super) created_ats: Vec<DateTime<Utc>>,
    pub(super) updated_ats: Vec<DateTime<Utc>>,
    pub(super) states: Vec<String>,
}

impl<'a> EntityColumns<'a> {
    pub(super) fn of(entities: impl Iterator<Item = (&'a str, &'a Entity)>) -> Self {
        let mut columns = Self {
            versions: Vec::new(),
            started_bys: Vec::new(),
            deleted_ats: Vec::new(),
            created_ats: Vec::new(),
            updated_ats: Vec::new(),
            states: Vec::new(),
        };
        for (started_by, entity) in entities {
            columns.versions.push(entity.version);
            columns.started_bys.push(started_by);
            columns.deleted_ats.push(entity.deleted_at.map(|t| t.as_datetime()));
            columns.created_ats.push(entity.created_at.as_datetime());
            columns.updated_ats.push(entity.updated_at.as_datetime());
            columns.states.push(super::append::json_text(&entity.state));
        }
        columns
    }
}
