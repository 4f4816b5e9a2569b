//! What a projection writes, worked out from what was read: pure, so that it can be tested without a database.

use annals::domain::{Catalog, Entity, Fact, StreamId};
use annals::store::{
    ChildKey, ChildRow, EntityWrite, Instruction, ProjectionWrite, StateRow, StateTables, StoreError, StreamWork, Wave,
    WorkEvent,
};
use serde_json::Value;

/// Folds each stream's events, and lays the rows out in waves: the n-th event of every stream in the n-th wave, so that tables
/// meet each state in turn.
///
/// # Errors
/// An event type that the catalog lacks, which is a fault of ours: types are never removed.
pub(crate) fn plan(
    catalog: &Catalog,
    tables: &StateTables,
    work: &[StreamWork],
) -> Result<ProjectionWrite, StoreError> {
    let mut write = ProjectionWrite::default();
    for stream in work {
        let Some(first) = stream.events.first() else { continue };
        let mut entity = stream.base.clone().unwrap_or_else(|| Entity::before(first.created_at));
        for (wave, event) in stream.events.iter().enumerate() {
            if write.waves.len() <= wave {
                write.waves.push(Wave::default());
            }
            let before = entity.clone();
            apply(catalog, &stream.stream, &mut entity, event)?;
            write.left_out += i64::from(event.skipped);
            write.instructions.extend(instruction(&stream.stream, event));
            add_rows(&mut write.waves[wave], tables, stream, &before, &entity);
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

fn apply(catalog: &Catalog, stream: &StreamId, entity: &mut Entity, event: &WorkEvent) -> Result<(), StoreError> {
    if event.skipped {
        entity.skip(event.version);
        return Ok(());
    }
    let kind = catalog
        .find(stream.tenant_id, &event.event_type)
        .ok_or_else(|| StoreError::Unexpected(format!("the log holds {}, the catalog does not", event.event_type)))?;
    entity.apply(&Fact {
        version: event.version,
        created_at: event.created_at,
        effect: &kind.effect,
        data: &event.data,
    });
    Ok(())
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
        let key = |child: &Value| ChildKey {
            stream: work.stream.clone(),
            collection: collection.to_owned(),
            id: child_id(child),
        };
        wave.removed.extend(
            old.iter()
                .filter(|child| !new.iter().any(|c| child_id(c) == child_id(child)))
                .map(key),
        );
        let changed = new.iter().filter(|child| !old.contains(child));
        wave.children.extend(changed.map(|child| ChildRow {
            key: key(child),
            started_by: work.started_by.clone(),
            child: child.clone(),
        }));
    }
}

fn children<'a>(entity: &'a Entity, collection: &str) -> &'a [Value] {
    entity
        .state
        .get(collection)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
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

/// A stream's work taken one event at a time.
pub(crate) struct Steps<'a> {
    work: &'a StreamWork,
    base: Option<Entity>,
    next: usize,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(work: &'a StreamWork) -> Self {
        Self {
            work,
            base: work.base.clone(),
            next: 0,
        }
    }

    /// The next event, and the work that consists of it alone.
    ///
    /// # Errors
    /// As [`plan`].
    pub(crate) fn next_step(&mut self, catalog: &Catalog) -> Result<Option<(&'a WorkEvent, StreamWork)>, StoreError> {
        let Some(event) = self.work.events.get(self.next) else {
            return Ok(None);
        };
        let one = StreamWork {
            stream: self.work.stream.clone(),
            started_by: self.work.started_by.clone(),
            projected_version: event.version - 1,
            base: self.base.clone(),
            events: vec![event.clone()],
        };
        let mut entity = self.base.take().unwrap_or_else(|| Entity::before(event.created_at));
        apply(catalog, &self.work.stream, &mut entity, event)?;
        self.base = Some(entity);
        self.next += 1;
        Ok(Some((event, one)))
    }
}
