//! What a projection writes, worked out from what was read: pure, so that it can be tested without a database.

use std::collections::BTreeMap;
use std::num::NonZeroI32;

use annals::domain::weight::{footprint, footprint_of};
use annals::domain::{Catalog, Entity, StreamId};
use annals::store::{
    ChildKey, ChildRow, EntityText, EntityWrite, Instruction, ProjectionWrite, StateRow, StateTables, StoreError,
    StreamWork, Wave, WorkEvent,
};
use serde_json::{Map, Value};

/// Bytes of memory, estimated, that what one transaction writes takes at most, but for the last state that is added: then the plan ends, and
/// what is left is read again.
const MAX_FOOTPRINT: usize = 32 << 20;

/// What a transaction is to write.
pub(crate) struct Plan {
    pub(crate) write: ProjectionWrite,
    /// Whether it leaves some of the work.
    pub(crate) is_cut: bool,
    footprint: usize,
}

/// Folds each stream's events, and lays the rows out in waves: the n-th event of every stream in the n-th wave, so that tables
/// meet each state in turn. Of each stream one whole state is held; a row of a wave has only those fields that its table has columns for.
///
/// # Errors
/// A first event that cannot be folded. One further on ends the plan before it: what comes before is written, and then it is the first.
pub(crate) fn plan(
    catalog: &Catalog,
    tables: &StateTables,
    snapshot_every: Option<NonZeroI32>,
    work: &[StreamWork],
) -> Result<Plan, StoreError> {
    let mut plan = Plan {
        write: ProjectionWrite::default(),
        is_cut: false,
        footprint: 0,
    };
    for stream in work {
        plan.is_cut |= plan.footprint >= MAX_FOOTPRINT;
        if plan.is_cut {
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
            None => Entity::before(first.created_at),
        };
        for (wave, event) in stream.events.iter().enumerate() {
            let data = event.data()?;
            let before = families(tables, stream, &entity);
            match catalog.fold(stream.stream.tenant_id, &mut entity, &event.fact(&data)) {
                Ok(()) => {}
                Err(error) if wave == 0 => return Err(error.into()),
                Err(_) => {
                    self.is_cut = true;
                    break;
                }
            }
            self.write.left_out += i64::from(event.skipped);
            self.write
                .instructions
                .extend(instruction(&stream.stream, event, &data));
            self.add_rows(wave, tables, stream, &before, &entity);
            if snapshot_every.is_some_and(|every| entity.version % every.get() == 0) {
                self.footprint += footprint_of(&entity.state);
                self.write.snapshots.push(row(stream, entity.clone()));
            }
            if self.footprint >= MAX_FOOTPRINT && wave + 1 < stream.events.len() {
                self.is_cut = true;
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

    fn add_rows(&mut self, wave: usize, tables: &StateTables, work: &StreamWork, before: &Families, after: &Entity) {
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

/// Child collections that have tables, as they are before an event.
type Families<'a> = Vec<(&'a str, Option<Value>)>;

fn families<'a>(tables: &'a StateTables, work: &StreamWork, entity: &Entity) -> Families<'a> {
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

/// States that take more memory than this are cut to what their table has columns for.
const LARGE: usize = 64 << 10;

/// The entity as its table sees it. A small one is passed whole: the table may have got a column since its columns were read.
fn with_columns_only(tables: &StateTables, aggregate_type: &str, entity: &Entity) -> Entity {
    if footprint_of(&entity.state) <= LARGE {
        return entity.clone();
    }
    let seen = entity
        .state
        .iter()
        .filter(|(field, _)| tables.has_column(aggregate_type, field));
    Entity {
        state: seen.map(|(field, value)| (field.clone(), value.clone())).collect(),
        version: entity.version,
        created_at: entity.created_at,
        updated_at: entity.updated_at,
        deleted_at: entity.deleted_at,
        size: entity.size,
    }
}

/// The rows of child tables that follow from a state.
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

/// A collection's children by what their table knows them by. Of several that it cannot tell apart (1 and "1") the last one
/// counts, so that the rows follow from the state, whatever way it came about.
fn children(collection: Option<&Value>) -> BTreeMap<Option<String>, &Value> {
    let children = collection.and_then(Value::as_array);
    let by_id = |child| (child_id(child), child);
    children.map_or(BTreeMap::new(), |all| all.iter().map(by_id).collect())
}

/// The child's id as its table keeps it; a child without one is for the table to refuse.
fn child_id(child: &Value) -> Option<String> {
    match child.get("id")? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// The decision that an event of the stream `projection` holds about a parked event.
fn instruction(stream: &StreamId, event: &WorkEvent, data: &Map<String, Value>) -> Option<Instruction> {
    let event_id = data.get("event_id")?.as_str()?.parse().ok()?;
    Some(Instruction {
        tenant_id: stream.tenant_id,
        id: event.id,
        event_id,
        skip: skips(event)?,
    })
}

/// Whether an event that decides about a parked one has it skipped; none: it decides nothing.
fn skips(event: &WorkEvent) -> Option<bool> {
    match event.event_type.as_str() {
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
                .data()
                .is_ok_and(|data| instruction(&work.stream, event, &data).is_some())
    };
    work.events.iter().any(decides)
}

/// Some events of a stream's work, on the entity as the event before left it.
pub(crate) fn stretch(work: &StreamWork, events: &[WorkEvent], base: Option<EntityText>) -> StreamWork {
    StreamWork {
        stream: work.stream.clone(),
        started_by: work.started_by.clone(),
        projected_version: events.first().map_or(work.projected_version, |event| event.version - 1),
        base,
        events: events.to_vec(),
    }
}
