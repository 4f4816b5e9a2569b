//! Computes what a projection writes from the work that was read. It does no I/O, so it can be tested without a database.

use std::collections::BTreeMap;
use std::num::NonZeroI32;

use annals_domain::weight::{footprint, footprint_of};
use annals_domain::{Catalog, Entity, StreamId};
use annals_store::{
    ChildKey, ChildRow, EntityText, EntityWrite, Instruction, ProjectionWrite, StateRow, StateTables, StoreError,
    StreamWork, Wave, WorkEvent,
};
use serde_json::{Map, Value};

/// Estimated bytes of memory that the rows of one transaction take. A plan that reaches it ends, and the rest of the work is read again.
/// The last state that is added may exceed it.
const MAX_FOOTPRINT: usize = 32 << 20;

/// The rows that one transaction writes.
pub(crate) struct Plan {
    pub(crate) write: ProjectionWrite,
    /// Whether the plan leaves some of the work.
    pub(crate) is_partial: bool,
    footprint: usize,
}

/// Folds the events of each stream and arranges the rows in waves: the n-th wave has the rows of the n-th event of every stream. A table
/// thus sees every state of a stream, in order. The plan holds one whole state per stream; a row of a wave has only the fields that its
/// table has columns for.
///
/// # Errors
/// The first event of a stream cannot be folded. If a later event cannot be folded, the plan ends before it: the events before it are
/// written, and the next plan of the stream begins with it.
pub(crate) fn plan(
    catalog: &Catalog,
    tables: &StateTables,
    snapshot_every: Option<NonZeroI32>,
    work: &[StreamWork],
) -> Result<Plan, StoreError> {
    let mut plan = Plan {
        write: ProjectionWrite::default(),
        is_partial: false,
        footprint: 0,
    };
    for stream in work {
        plan.is_partial |= plan.footprint >= MAX_FOOTPRINT;
        if plan.is_partial {
            break;
        }
        plan.add(catalog, tables, snapshot_every, stream)?;
    }
    Ok(plan)
}

impl Plan {
    fn add(
        &mut self,
        catalog: &Catalog,
        tables: &StateTables,
        snapshot_every: Option<NonZeroI32>,
        stream: &StreamWork,
    ) -> Result<(), StoreError> {
        let Some(first) = stream.events.first() else {
            return Ok(());
        };
        let mut entity = match &stream.base {
            Some(base) => base.entity()?,
            None => Entity::before(first.text.created_at),
        };
        for (wave, event) in stream.events.iter().enumerate() {
            let data = event.text.data()?;
            let before = child_collections(tables, stream, &entity);
            match catalog.fold(stream.stream.tenant_id, &mut entity, &event.text.fact(&data)) {
                Ok(()) => {}
                Err(error) if wave == 0 => return Err(error.into()),
                Err(_) => {
                    self.is_partial = true;
                    break;
                }
            }
            self.write.left_out += i64::from(event.text.skipped);
            self.write
                .instructions
                .extend(instruction(&stream.stream, event, &data));
            self.add_rows(wave, tables, stream, &before, &entity);
            if snapshot_every.is_some_and(|every| entity.version % every.get() == 0) {
                self.footprint += footprint_of(&entity.state);
                self.write.snapshots.push(row(stream, entity.clone()));
            }
            if self.footprint >= MAX_FOOTPRINT && wave + 1 < stream.events.len() {
                self.is_partial = true;
                break;
            }
        }
        self.footprint += footprint_of(&entity.state);
        self.write.entities.push(EntityWrite {
            stream: stream.stream.clone(),
            started_by: stream.started_by.clone(),
            from_version: stream.projected_version,
            entity,
        });
        Ok(())
    }

    fn add_rows(
        &mut self,
        wave: usize,
        tables: &StateTables,
        work: &StreamWork,
        before: &ChildCollections,
        after: &Entity,
    ) {
        if self.write.waves.len() <= wave {
            self.write.waves.resize_with(wave + 1, Wave::default);
        }
        let wave = &mut self.write.waves[wave];
        let aggregate_type = work.stream.aggregate_type.as_str();
        if tables.has_table(aggregate_type) {
            let entity = with_columns_only(tables, aggregate_type, after);
            self.footprint += footprint_of(&entity.state);
            wave.states.push(row(work, entity));
        }
        for (collection, old) in before {
            let (old, new) = (children(old.as_ref()), children(after.state.get(*collection)));
            if old == new {
                continue;
            }
            let key = |id: &Option<String>| ChildKey {
                stream: work.stream.clone(),
                collection: (*collection).to_owned(),
                id: id.clone(),
            };
            wave.removed
                .extend(old.keys().filter(|id| !new.contains_key(*id)).map(key));
            for (id, child) in new.iter().filter(|(id, child)| old.get(*id) != Some(child)) {
                self.footprint += footprint(child);
                wave.children.push(ChildRow {
                    key: key(id),
                    started_by: work.started_by.clone(),
                    child: (*child).clone(),
                });
            }
        }
    }
}

/// The child collections of a state that have tables: name and value.
type ChildCollections<'a> = Vec<(&'a str, Option<Value>)>;

fn child_collections<'a>(tables: &'a StateTables, work: &StreamWork, entity: &Entity) -> ChildCollections<'a> {
    let collections = tables.collections(work.stream.aggregate_type.as_str());
    collections
        .map(|collection| (collection, entity.state.get(collection).cloned()))
        .collect()
}

fn row(work: &StreamWork, entity: Entity) -> StateRow {
    StateRow {
        stream: work.stream.clone(),
        started_by: work.started_by.clone(),
        entity,
    }
}

/// A state that takes more bytes of memory than this is reduced to the fields that its table has columns for.
const LARGE: usize = 64 << 10;

/// The entity as a row of its state table. A small state keeps all fields, because the table may have got a column since its columns were
/// read.
fn with_columns_only(tables: &StateTables, aggregate_type: &str, entity: &Entity) -> Entity {
    if footprint_of(&entity.state) <= LARGE {
        return entity.clone();
    }
    let kept = entity
        .state
        .iter()
        .filter(|(field, _)| tables.has_column(aggregate_type, field));
    Entity {
        state: kept.map(|(field, value)| (field.clone(), value.clone())).collect(),
        version: entity.version,
        created_at: entity.created_at,
        updated_at: entity.updated_at,
        deleted_at: entity.deleted_at,
        size: entity.size,
    }
}

/// All rows of child tables that a state has.
pub(crate) fn child_rows(tables: &StateTables, row: &StateRow) -> Vec<ChildRow> {
    let collections = tables.collections(row.stream.aggregate_type.as_str());
    let of_collection = |collection: &str| {
        let rows = children(row.entity.state.get(collection))
            .into_iter()
            .map(|(id, child)| ChildRow {
                key: ChildKey {
                    stream: row.stream.clone(),
                    collection: collection.to_owned(),
                    id,
                },
                started_by: row.started_by.clone(),
                child: child.clone(),
            });
        rows.collect::<Vec<_>>()
    };
    collections.flat_map(of_collection).collect()
}

/// The children of a collection by their id in the table. If the table cannot tell two ids apart (1 and "1"), the last child counts. The
/// rows then depend only on the state, not on the events that led to it.
fn children(collection: Option<&Value>) -> BTreeMap<Option<String>, &Value> {
    let children = collection.and_then(Value::as_array);
    let by_id = |child| (child_id(child), child);
    children.map_or(BTreeMap::new(), |all| all.iter().map(by_id).collect())
}

/// The child's id as text, as its table stores it. `None` for a child without an id, which the table refuses.
fn child_id(child: &Value) -> Option<String> {
    match child.get("id")? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// The decision about a parked event, if this event of the stream `projection` holds one.
fn instruction(stream: &StreamId, event: &WorkEvent, data: &Map<String, Value>) -> Option<Instruction> {
    let event_id = data.get("event_id")?.as_str()?.parse().ok()?;
    Some(Instruction {
        tenant_id: stream.tenant_id,
        id: event.id,
        event_id,
        skip: skips(event)?,
    })
}

/// Whether a decision skips the parked event (true) or retries it (false). `None` if the event is no decision.
fn skips(event: &WorkEvent) -> Option<bool> {
    match event.text.event_type.as_str() {
        "projection.retried" => Some(false),
        "projection.skipped" => Some(true),
        _ => None,
    }
}

/// Whether the work holds decisions about parked events.
pub(crate) fn decides(work: &StreamWork) -> bool {
    let decides = |event: &WorkEvent| {
        skips(event).is_some()
            && event
                .text
                .data()
                .is_ok_and(|data| instruction(&work.stream, event, &data).is_some())
    };
    work.events.iter().any(decides)
}

/// A part of a stream's work: consecutive events, and the entity as it is before the first of them.
pub(crate) fn part_of(work: &StreamWork, events: &[WorkEvent], base: Option<EntityText>) -> StreamWork {
    StreamWork {
        stream: work.stream.clone(),
        started_by: work.started_by.clone(),
        projected_version: events
            .first()
            .map_or(work.projected_version, |event| event.text.version - 1),
        base,
        events: events.to_vec(),
    }
}
