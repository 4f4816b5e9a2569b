//! What a projection writes, worked out from what was read: pure, so that it can be tested without a database.

use std::collections::BTreeMap;
use std::num::NonZeroI32;

use annals::domain::{Catalog, Entity, FoldError, StreamId};
use annals::store::{
    ChildKey, ChildRow, EntityWrite, Instruction, ProjectionWrite, StateRow, StateTables, StreamWork, Wave, WorkEvent,
};
use serde_json::Value;

/// Folds each stream's events, and lays the rows out in waves: the n-th event of every stream in the n-th wave, so that tables
/// meet each state in turn.
///
/// # Errors
/// An event that the catalog does not tell how to fold: types are never removed, so somebody has tampered with it.
pub(crate) fn plan(
    catalog: &Catalog,
    tables: &StateTables,
    snapshot_every: Option<NonZeroI32>,
    work: &[StreamWork],
) -> Result<ProjectionWrite, FoldError> {
    let mut write = ProjectionWrite::default();
    for stream in work {
        let Some(first) = stream.events.first() else { continue };
        let mut entity = stream.base.clone().unwrap_or_else(|| Entity::before(first.created_at));
        for (wave, event) in stream.events.iter().enumerate() {
            if write.waves.len() <= wave {
                write.waves.push(Wave::default());
            }
            let before = entity.clone();
            catalog.fold(stream.stream.tenant_id, &mut entity, &event.fact())?;
            write.left_out += i64::from(event.skipped);
            write.instructions.extend(instruction(&stream.stream, event));
            add_rows(&mut write.waves[wave], tables, stream, &before, &entity);
            if snapshot_every.is_some_and(|every| entity.version % every.get() == 0) {
                write.snapshots.push(StateRow {
                    stream: stream.stream.clone(),
                    started_by: stream.started_by.clone(),
                    entity: entity.clone(),
                });
            }
        }
        write.entities.push(EntityWrite {
            stream: stream.stream.clone(),
            started_by: stream.started_by.clone(),
            from_version: stream.projected_version,
            entity,
        });
    }
    Ok(write)
}

fn add_rows(wave: &mut Wave, tables: &StateTables, work: &StreamWork, before: &Entity, after: &Entity) {
    let aggregate_type = work.stream.aggregate_type.as_str();
    if tables.has_table(aggregate_type) {
        wave.states.push(StateRow {
            stream: work.stream.clone(),
            started_by: work.started_by.clone(),
            entity: after.clone(),
        });
    }
    for collection in tables.collections(aggregate_type) {
        let (old, new) = (children(before, collection), children(after, collection));
        if old == new {
            continue;
        }
        let key = |id: &Option<String>| ChildKey {
            stream: work.stream.clone(),
            collection: collection.to_owned(),
            id: id.clone(),
        };
        wave.removed
            .extend(old.keys().filter(|id| !new.contains_key(*id)).map(key));
        let changed = new.iter().filter(|(id, child)| old.get(*id) != Some(child));
        wave.children.extend(changed.map(|(id, child)| ChildRow {
            key: key(id),
            started_by: work.started_by.clone(),
            child: (*child).clone(),
        }));
    }
}

/// The rows of child tables that follow from a state.
pub(crate) fn child_rows(tables: &StateTables, row: &StateRow) -> Vec<ChildRow> {
    let collections = tables.collections(row.stream.aggregate_type.as_str());
    let of_collection = |collection: &str| {
        let rows = children(&row.entity, collection)
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
fn children<'a>(entity: &'a Entity, collection: &str) -> BTreeMap<Option<String>, &'a Value> {
    let children = entity.state.get(collection).and_then(Value::as_array);
    let by_id = |child: &'a Value| (child_id(child), child);
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
fn instruction(stream: &StreamId, event: &WorkEvent) -> Option<Instruction> {
    let skip = match event.event_type.as_str() {
        "projection.retried" => false,
        "projection.skipped" => true,
        _ => return None,
    };
    let event_id = event.data.get("event_id")?.as_str()?.parse().ok()?;
    Some(Instruction {
        tenant_id: stream.tenant_id,
        id: event.id,
        event_id,
        skip,
    })
}

/// Whether the work holds decisions about parked events.
pub(crate) fn decides(work: &StreamWork) -> bool {
    work.events
        .iter()
        .any(|event| instruction(&work.stream, event).is_some())
}

/// One event of a stream's work, on the entity as the event before left it.
pub(crate) fn step(work: &StreamWork, event: &WorkEvent, base: Option<Entity>) -> StreamWork {
    StreamWork {
        stream: work.stream.clone(),
        started_by: work.started_by.clone(),
        projected_version: event.version - 1,
        base,
        events: vec![event.clone()],
    }
}
