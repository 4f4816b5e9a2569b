//! What the projector writes: read models and progress, in one transaction and one round trip.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Statement};
use crate::log::append::tenant_stream_columns;
use crate::read_models::snapshots::{SnapshotMetadata, write_snapshots};
use crate::read_models::state_row::{EntityColumns, StateRow};
use crate::read_models::work::{StateTables, stream_from};
use crate::{Store, StoreError};
use annals_domain::{Entity, StreamId, TenantId};

/// Everything that one transaction changes. Waves are written one after the other, so a table sees every state that an entity went
/// through, and whether it refuses an event does not depend on how many events are projected together.
#[derive(Debug, Default)]
pub struct ProjectionWrite {
    /// Final states, with progress.
    pub entities: Vec<EntityWrite>,
    /// Rows of state tables: the n-th wave holds the n-th event of every stream.
    pub waves: Vec<Wave>,
    /// Snapshots at versions that were passed.
    pub snapshots: Vec<StateRow>,
    /// Decisions about parked events to carry out.
    pub instructions: Vec<Instruction>,
    /// Number of events that were left out because staff decided so.
    pub left_out: i64,
}

/// An entity's new state and its progress.
#[derive(Debug)]
pub struct EntityWrite {
    /// The entity's stream.
    pub stream: StreamId,
    /// Actor of the stream's first event.
    pub started_by: String,
    /// Version up to which the stream was projected before.
    pub from_version: i32,
    /// The entity with its new state and version.
    pub entity: Entity,
}

/// Rows that are written together: at most one for each entity and child.
#[derive(Debug, Default)]
pub struct Wave {
    /// Rows of the entities' own tables.
    pub states: Vec<StateRow>,
    /// Children that are new or changed.
    pub children: Vec<ChildRow>,
    /// Children that were removed.
    pub removed: Vec<ChildKey>,
}

/// Identifies a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildKey {
    /// Stream of the parent.
    pub stream: StreamId,
    /// Name of the collection.
    pub collection: String,
    /// The child's id as text.
    pub id: Option<String>,
}

/// A row of a child collection's table.
#[derive(Debug)]
pub struct ChildRow {
    /// Which child.
    pub key: ChildKey,
    /// Actor of the first event of the parent's stream.
    pub started_by: String,
    /// The child's fields, a JSON object.
    pub child: Value,
}

/// A decision of staff about a parked event, as the projector found it in the log.
#[derive(Debug)]
pub struct Instruction {
    /// Tenant of the deciding event.
    pub tenant_id: TenantId,
    /// Id of the deciding event.
    pub id: Uuid,
    /// Id of the parked event.
    pub event_id: Uuid,
    /// True: leave the event out. False: try it again.
    pub skip: bool,
}

const WRITE_ENTITIES: &str = "-- write_entities
select annals.write_entities($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10)";
const WRITE_READ_MODELS: &str = "-- write_read_models
select annals.write_read_models($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[], $10)";
const ADVANCE_HEADS: &str = "-- advance_heads
select annals.advance_heads($1, $2, $3, $4, $5, $6)";
const FILL_STATES: &str = "-- fill_states
select annals.fill_states($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::jsonb[])";
const WRITE_CHILDREN: &str = "-- write_children
select annals.write_children($1::text::regclass, ($2::text || '_id')::name, $3, $4, $5, $6, $7::text[]::jsonb[])";
const DELETE_CHILDREN: &str = "-- delete_children
select annals.delete_children($1::text::regclass, ($2::text || '_id')::name, $3, $4, $5)";

/// One statement, because the skip must be recorded only if the parked row was still there. The update locks that row: if another
/// projector is removing it at this moment, it has applied the event, and there is nothing left to skip. A projector that comes later
/// finds the skip in `advance_heads`.
const CARRY_OUT: &str = "-- carry_out_decision
with freed as (
    update annals.parked_streams set retrying = true
     where tenant_id = $1 and event_id = $2
    returning tenant_id, aggregate_type, aggregate_id, event_id, aggregate_version
), skipped as (
    insert into annals.skipped_events (tenant_id, event_id, instruction_id, aggregate_version, aggregate_type, aggregate_id)
    select tenant_id, event_id, $3, aggregate_version, aggregate_type, aggregate_id from freed where $4
    on conflict on constraint skipped_events_pkey do nothing
)
select tenant_id, aggregate_type, aggregate_id from freed";

impl Store {
    /// Writes read models and progress in one transaction. Returns the streams that a decision has freed. `revision` is the
    /// catalog's when the work was read.
    ///
    /// # Errors
    /// [`StoreError::Contention`] if another projector was faster; [`StoreError::Outdated`] if the catalog has changed or the read models
    /// were rebuilt (read the work again); [`StoreError::Data`] if a table refuses a row. In all cases nothing is written.
    pub async fn write_projection(
        &self,
        revision: i64,
        tables: &StateTables,
        write: &ProjectionWrite,
    ) -> Result<Vec<StreamId>, StoreError> {
        let mut statements = Vec::new();
        if let [wave] = write.waves.as_slice() {
            // Each stream has one event, so the rows of its state table are its final state.
            statements.push(write_entities(WRITE_READ_MODELS, revision, &write.entities));
            statements.extend(write_children_of(tables, wave));
        } else {
            statements.push(write_entities(WRITE_ENTITIES, revision, &write.entities));
            for wave in &write.waves {
                statements.extend(fill_states_of(wave));
                statements.extend(write_children_of(tables, wave));
            }
        }
        statements.extend(write_snapshots(
            &write.snapshots,
            revision,
            &SnapshotMetadata::periodic(),
        ));
        let decisions = statements.len()..statements.len() + write.instructions.len();
        statements.extend(write.instructions.iter().map(carry_out));
        statements.push(advance_heads(&write.entities, write.left_out));
        let answers = self
            .write_all(As::Projector, "-- write_projection", &statements)
            .await?;
        let freed = answers.get(decisions).unwrap_or_default().iter().flatten();
        freed.map(stream_from).collect()
    }
}

fn write_entities<'a>(sql: &'static str, revision: i64, writes: &'a [EntityWrite]) -> Statement<'a> {
    let (tenants, types, ids) = tenant_stream_columns(writes.iter().map(|w| &w.stream));
    let columns = EntityColumns::of(writes.iter().map(|w| (w.started_by.as_str(), &w.entity)));
    let statement = Statement::new(sql)
        .with(tenants, Type::UUID_ARRAY)
        .with(types, Type::TEXT_ARRAY)
        .with(ids, Type::TEXT_ARRAY);
    columns.bind(statement).with(revision, Type::INT8)
}

fn advance_heads(writes: &[EntityWrite], left_out: i64) -> Statement<'_> {
    let (tenants, types, ids) = tenant_stream_columns(writes.iter().map(|w| &w.stream));
    let from: Vec<i32> = writes.iter().map(|w| w.from_version).collect();
    let to: Vec<i32> = writes.iter().map(|w| w.entity.version).collect();
    Statement::new(ADVANCE_HEADS)
        .with(tenants, Type::UUID_ARRAY)
        .with(types, Type::TEXT_ARRAY)
        .with(ids, Type::TEXT_ARRAY)
        .with(from, Type::INT4_ARRAY)
        .with(to, Type::INT4_ARRAY)
        .with(left_out, Type::INT8)
}

fn carry_out(instruction: &Instruction) -> Statement<'_> {
    Statement::new(CARRY_OUT)
        .with(*instruction.tenant_id.as_uuid(), Type::UUID)
        .with(instruction.event_id, Type::UUID)
        .with(instruction.id, Type::UUID)
        .with(instruction.skip, Type::BOOL)
}

/// The statements that write a wave's rows of the entities' own tables.
fn fill_states_of(wave: &Wave) -> Vec<Statement<'_>> {
    let mut by_type: BTreeMap<&str, Vec<&StateRow>> = BTreeMap::new();
    for row in &wave.states {
        by_type.entry(row.stream.aggregate_type.as_str()).or_default().push(row);
    }
    by_type
        .iter()
        .map(|(aggregate_type, rows)| fill_states(aggregate_type, rows))
        .collect()
}

/// The statements that write a wave's rows of children.
pub(crate) fn write_children_of<'a>(tables: &'a StateTables, wave: &'a Wave) -> Vec<Statement<'a>> {
    let removed = group_children(tables, wave.removed.iter().map(|key| (key, key)));
    let removed = removed.iter().map(|(from, keys)| delete_children(from, keys));
    let children = group_children(tables, wave.children.iter().map(|row| (&row.key, row)));
    let children = children.iter().map(|(to, rows)| write_children(to, rows));
    removed.chain(children).collect()
}

fn fill_states<'a>(aggregate_type: &'a str, rows: &[&'a StateRow]) -> Statement<'a> {
    let tenants: Vec<Uuid> = rows.iter().map(|r| *r.stream.tenant_id.as_uuid()).collect();
    let ids: Vec<&str> = rows.iter().map(|r| r.stream.aggregate_id.as_str()).collect();
    let columns = EntityColumns::of(rows.iter().map(|r| (r.started_by.as_str(), &r.entity)));
    let statement = Statement::new(FILL_STATES)
        .with(aggregate_type, Type::TEXT)
        .with(tenants, Type::UUID_ARRAY)
        .with(ids, Type::TEXT_ARRAY);
    columns.bind(statement)
}

/// A child collection's table, and the aggregate type that its parent column is named after.
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

fn write_children<'a>(to: &ChildTable<'a>, rows: &[&'a ChildRow]) -> Statement<'a> {
    let tenants: Vec<Uuid> = rows.iter().map(|r| *r.key.stream.tenant_id.as_uuid()).collect();
    let parents: Vec<&str> = rows.iter().map(|r| r.key.stream.aggregate_id.as_str()).collect();
    let ids: Vec<Option<&str>> = rows.iter().map(|r| r.key.id.as_deref()).collect();
    let started_bys: Vec<&str> = rows.iter().map(|r| r.started_by.as_str()).collect();
    let children: Vec<String> = rows.iter().map(|r| r.child.to_string()).collect();
    Statement::new(WRITE_CHILDREN)
        .with(to.table, Type::TEXT)
        .with(to.aggregate_type, Type::TEXT)
        .with(tenants, Type::UUID_ARRAY)
        .with(parents, Type::TEXT_ARRAY)
        .with(ids, Type::TEXT_ARRAY)
        .with(started_bys, Type::TEXT_ARRAY)
        .with(children, Type::TEXT_ARRAY)
}

fn delete_children<'a>(from: &ChildTable<'a>, keys: &[&'a ChildKey]) -> Statement<'a> {
    let tenants: Vec<Uuid> = keys.iter().map(|k| *k.stream.tenant_id.as_uuid()).collect();
    let parents: Vec<&str> = keys.iter().map(|k| k.stream.aggregate_id.as_str()).collect();
    let ids: Vec<Option<&str>> = keys.iter().map(|k| k.id.as_deref()).collect();
    Statement::new(DELETE_CHILDREN)
        .with(from.table, Type::TEXT)
        .with(from.aggregate_type, Type::TEXT)
        .with(tenants, Type::UUID_ARRAY)
        .with(parents, Type::TEXT_ARRAY)
        .with(ids, Type::TEXT_ARRAY)
}
