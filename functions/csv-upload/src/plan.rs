//! From rows to events: what each row of a chunk means, given what is known of its entity. Pure, so that a chunk that was
//! overtaken by somebody else's append is simply planned again.

use std::collections::{HashMap, HashSet};

use annals::domain::event::MAX_DATA_BYTES;
use annals::domain::ids::{Text, TextFault};
use annals::domain::weight::text_bytes;
use annals::domain::{
    AggregateId, AggregateType, Catalog, EventType, MAX_STATE_BYTES, NewEvent, TenantId, Timestamp, json,
};
use annals::store::{Refusal, StoreError, StoredEntity};
use chrono::NaiveTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::dataset::Dataset;
use crate::facts::Facts;
use crate::layout::Layout;
use crate::row::RowFault;

/// What is known of an entity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    /// Version of its last event.
    pub(crate) version: i32,
    /// Whether it was deleted.
    pub(crate) deleted: bool,
    /// Its state, as far as files can speak of it.
    pub(crate) state: Map<String, Value>,
    /// Bytes of its whole state's text.
    pub(crate) bytes: usize,
}

/// Entities by their id.
pub(crate) type Entities = HashMap<String, Known>;

/// What is known against rows that read well, by their places in the chunk.
pub(crate) type Refused = HashMap<usize, RowFault>;

/// How often a chunk that others get ahead of is planned again with nothing learned by it.
pub(crate) const TRIES: usize = 20;

/// A row of a chunk, read.
#[derive(Debug)]
pub(crate) struct ChunkRow {
    /// Number of the record, from 1.
    pub(crate) row: u64,
    /// Physical line that it begins on.
    pub(crate) line: u64,
    /// What it says, or what is wrong with it.
    pub(crate) read: Result<(AggregateId, Facts), Vec<RowFault>>,
    /// Whether an earlier row of the file brought the same id.
    pub(crate) repeats: bool,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new entity.
    Accepted,
    /// Changes to a known one.
    Updated,
    /// Nothing that is not known.
    Duplicate,
    /// Refused.
    Rejected(Vec<RowFault>),
}

/// What a chunk comes to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Events in the order of their rows, each with the place of its row in the chunk.
    pub(crate) events: Vec<NewEvent>,
    pub(crate) rows: Vec<usize>,
    /// One for each row.
    pub(crate) verdicts: Vec<Verdict>,
    /// Entities as the events leave them.
    pub(crate) changed: Entities,
}

/// An event, and its entity as it leaves it.
struct Step {
    event: NewEvent,
    entity: Known,
}

/// What all events of an upload have in common.
pub(crate) struct Frame {
    aggregate_type: AggregateType,
    created: EventType,
    updated: EventType,
    source: Text<100>,
    correlation_id: Text<128>,
    dataset: &'static Dataset,
    /// Rows bring their entities' ids.
    named: bool,
    /// The file is a report of refused rows that comes back.
    returns: bool,
    fields: Vec<&'static str>,
}

impl Frame {
    /// The frame of an upload of a file with this layout.
    ///
    /// # Errors
    /// None in practice: the dataset's names are fallible by type.
    pub(crate) fn new(dataset: &'static Dataset, layout: &Layout, upload_id: Uuid) -> Result<Self, TextFault> {
        Ok(Self {
            aggregate_type: AggregateType::try_from(dataset.aggregate_type.to_owned())?,
            created: EventType::try_from(dataset.created.to_owned())?,
            updated: EventType::try_from(dataset.updated.to_owned())?,
            source: Text::try_from("csv".to_owned())?,
            correlation_id: Text::try_from(upload_id.to_string())?,
            dataset,
            named: layout.has(dataset.id),
            returns: layout.is_report(),
            fields: dataset.fields(layout),
        })
    }

    /// Plans a chunk so that the catalog's schemas take its events: a tenant may ask for more than we do. What they refuse is added
    /// to `refused`, and planned again, because a row may then be its entity's first.
    ///
    /// # Errors
    /// A catalog without the dataset's types.
    pub(crate) fn plan_checked(
        &self,
        chunk: &[ChunkRow],
        known: &Entities,
        refused: &mut Refused,
        (catalog, tenant_id): (&Catalog, TenantId),
    ) -> Result<Plan, StoreError> {
        loop {
            let plan = self.plan(chunk, known, refused);
            let before = refused.len();
            for (event, row) in plan.events.iter().zip(&plan.rows) {
                let kind = catalog.find(tenant_id, event.event_type.as_str());
                let schema = kind.and_then(|kind| kind.current());
                let schema = schema.ok_or_else(|| StoreError::Unexpected(format!("no type {}", event.event_type)))?;
                if let Some(fault) = schema
                    .check(&event.data)
                    .err()
                    .and_then(|faults| faults.into_iter().next())
                {
                    refused.insert(*row, self.dataset.schema_violation(fault));
                }
            }
            if refused.len() == before {
                return Ok(plan);
            }
        }
    }

    /// Refuses the rows of these entities, which are there and somebody else's.
    pub(crate) fn refuse_taken(&self, chunk: &[ChunkRow], taken: &HashSet<String>, refused: &mut Refused) {
        let message = "this id belongs to an entity of somebody else";
        for (place, row) in chunk.iter().enumerate() {
            if let Ok((id, _)) = &row.read
                && taken.contains(id.as_str())
            {
                refused.insert(place, self.fault(id, "id_taken", message));
            }
        }
    }

    /// Plans a chunk. `refused` holds what is known against rows that read well.
    pub(crate) fn plan(&self, chunk: &[ChunkRow], known: &Entities, refused: &Refused) -> Plan {
        let mut plan = Plan::default();
        for (place, row) in chunk.iter().enumerate() {
            let verdict = match (&row.read, refused.get(&place)) {
                (Err(faults), _) => Verdict::Rejected(faults.clone()),
                (Ok(_), Some(fault)) => Verdict::Rejected(vec![fault.clone()]),
                (Ok((id, facts)), None) => match self.step(row, id, facts, known, &plan.changed) {
                    Ok(Some(step)) => plan.add(place, step),
                    Ok(None) => Verdict::Duplicate,
                    Err(fault) => Verdict::Rejected(vec![fault]),
                },
            };
            plan.verdicts.push(verdict);
        }
        plan
    }

    /// What a row does; none: nothing, because all that it says is known.
    fn step(
        &self,
        row: &ChunkRow,
        id: &AggregateId,
        facts: &Facts,
        known: &Entities,
        changed: &Entities,
    ) -> Result<Option<Step>, RowFault> {
        let Some(entity) = changed.get(id.as_str()).or_else(|| known.get(id.as_str())) else {
            return Ok(Some(self.create(id, facts)));
        };
        if entity.deleted {
            let message = "the entity was deleted; a file does not bring it back";
            return Err(self.fault(id, "deleted", message));
        }
        // Occurrences are counted within a file, and a report is only a part of one: the row that was put right may be what it
        // equals, sent again, or another just like it, which must not be lost as a duplicate.
        if self.returns && !self.named {
            let id = self.dataset.id.name();
            let message =
                format!("the same is recorded already; if this is another one, add a column {id} and give it an id");
            return Err(RowFault::of_row("equals_known_row", message));
        }
        // A row without an id of its own is known by its content: if the entity has other content by now, then because
        // somebody has changed it since, and the file that it came from must not undo that.
        let changes = if self.named {
            self.changes(&entity.state, &facts.data)
        } else {
            Map::new()
        };
        if changes.is_empty() {
            return Ok(None);
        }
        // One of the two is wrong, or the column is no id. To take both, one after the other, would lose what the first says, and
        // the same file again would change the entity there and back.
        if row.repeats {
            let message = "an earlier row of the file has the same id and says something else; is the column an id of single rows?";
            return Err(self.fault(id, "repeated_id", message));
        }
        self.update(id, entity, changes).map(Some)
    }

    fn create(&self, id: &AggregateId, facts: &Facts) -> Step {
        let mut event = self.event(&self.created, id, facts.data.clone(), 0);
        event.timestamp = facts
            .day
            .map(|day| Timestamp::from(day.and_time(NaiveTime::MIN).and_utc()));
        let entity = Known {
            version: 1,
            deleted: false,
            state: facts.data.clone(),
            bytes: text_bytes(&facts.data),
        };
        Step { event, entity }
    }

    fn update(&self, id: &AggregateId, entity: &Known, changes: Map<String, Value>) -> Result<Step, RowFault> {
        let bytes = changes.iter().fold(entity.bytes, |bytes, (field, change)| {
            let old = entity
                .state
                .get(field)
                .map_or(0, |old| text_bytes(old) + text_bytes(field) + 2);
            (bytes + text_bytes(&change["new"]) + text_bytes(field) + 2).saturating_sub(old)
        });
        if bytes > MAX_STATE_BYTES {
            let message = format!("the entity would have over {MAX_STATE_BYTES} bytes");
            return Err(self.fault(id, "state_too_large", &message));
        }
        let mut state = entity.state.clone();
        for (field, change) in &changes {
            state.insert(field.clone(), change["new"].clone());
        }
        let data = Map::from_iter([("changes".to_owned(), Value::Object(changes))]);
        if serde_json::to_vec(&data).is_ok_and(|text| text.len() > MAX_DATA_BYTES) {
            let message = format!("what the row changes has over {MAX_DATA_BYTES} bytes");
            return Err(RowFault::of_row("row_too_large", message));
        }
        let event = self.event(&self.updated, id, data, entity.version);
        let entity = Known {
            version: entity.version + 1,
            deleted: false,
            state,
            bytes,
        };
        Ok(Step { event, entity })
    }

    /// Fields that the file says otherwise than the state. A cell that was emptied says null; columns that the file does not
    /// have say nothing.
    fn changes(&self, state: &Map<String, Value>, data: &Map<String, Value>) -> Map<String, Value> {
        let mut changes = Map::new();
        for field in &self.fields {
            let (old, new) = (
                state.get(*field).unwrap_or(&Value::Null),
                data.get(*field).unwrap_or(&Value::Null),
            );
            // The log may write `2.50` where the file's number became `2.5`.
            if !json::same(old, new) {
                changes.insert((*field).to_owned(), json!({"old": old, "new": new}));
            }
        }
        changes
    }

    fn event(&self, event_type: &EventType, id: &AggregateId, data: Map<String, Value>, version: i32) -> NewEvent {
        NewEvent {
            source: Some(self.source.clone()),
            correlation_id: Some(self.correlation_id.clone()),
            expected_version: Some(version),
            ..NewEvent::plain(event_type.clone(), self.aggregate_type.clone(), id.clone(), data)
        }
    }

    /// What is wrong with a row for its entity's sake.
    fn fault(&self, id: &AggregateId, code: &'static str, message: &str) -> RowFault {
        match self.named {
            true => RowFault::of_value(self.dataset.id, code, message, id.as_str()),
            false => RowFault::of_row(code, message),
        }
    }
}

impl Plan {
    fn add(&mut self, place: usize, step: Step) -> Verdict {
        let verdict = if step.entity.version == 1 {
            Verdict::Accepted
        } else {
            Verdict::Updated
        };
        let id = step.event.aggregate_id.as_str().to_owned();
        self.changed.insert(id, step.entity);
        self.events.push(step.event);
        self.rows.push(place);
        verdict
    }
}

/// What is known of an entity that was found, by its id. Of what others have put into its state nothing is kept: it may be much. A stream
/// that waits before an event that is too large takes no more.
pub(crate) fn known(found: StoredEntity, dataset: &Dataset) -> (String, Known) {
    let mut entity = found.entity;
    let bytes = match found.stopped {
        None => text_bytes(&entity.state),
        Some(_) => STOPPED,
    };
    entity.state.retain(|field, _| dataset.speaks_of(field));
    let known = Known {
        version: entity.version,
        deleted: entity.deleted_at.is_some(),
        state: entity.state,
        bytes,
    };
    (found.aggregate_id, known)
}

/// More than any row could make room in.
const STOPPED: usize = usize::MAX / 2;

/// The ids of a chunk's entities, each once.
pub(crate) fn ids(chunk: &[ChunkRow]) -> Vec<&str> {
    let ids = chunk.iter().filter_map(|row| row.read.as_ref().ok());
    let ids: HashSet<&str> = ids.map(|(id, _)| id.as_str()).collect();
    ids.into_iter().collect()
}

/// Whether an append was refused because somebody was ahead at some entity: to be seen, or not.
pub(crate) fn is_overtaken(refusal: &Refusal) -> bool {
    matches!(refusal.code.as_str(), "version_conflict" | "stream_of_another")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
