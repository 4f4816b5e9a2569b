//! From rows to events: what each row of a chunk changes, given the known state of its entity. Pure: if another caller's append came first,
//! the chunk is planned again.

use std::collections::{HashMap, HashSet};

use annals_csv::{Column, Dataset, Facts, Layout, RowFault};
use annals_domain::event::{FieldFault, MAX_DATA_BYTES, Part};
use annals_domain::ids::{Text, TextFault};
use annals_domain::weight::text_bytes;
use annals_domain::{
    AggregateId, AggregateType, Caller, Catalog, EventType, MAX_STATE_BYTES, NewEvent, Timestamp, json,
};
use annals_store::{CheckedEvents, StoredEntity};
use chrono::NaiveTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The known state of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Version of its last event.
    pub version: i32,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether it was deleted because an upload was reverted. Then a row creates it again.
    pub reverted: bool,
    /// Those fields of its state that the dataset has columns for.
    pub state: Map<String, Value>,
    /// Bytes of the text of its whole state.
    pub bytes: usize,
}

/// Entities by their id.
pub type Entities = HashMap<String, Known>;

/// Faults of rows whose cells are all valid, by position in the chunk: the catalog's schema refuses them, or their id belongs to another
/// caller's entity.
pub type Refused = HashMap<usize, RowFault>;

/// A row of a chunk.
#[derive(Debug)]
pub struct ChunkRow {
    /// Number of the record, from 1.
    pub row: u64,
    /// Physical line that it begins on.
    pub line: u64,
    /// Its entity and its facts, or its faults.
    pub read: Result<(AggregateId, Facts), Vec<RowFault>>,
    /// Whether an earlier row of the file has the same id.
    pub repeats: bool,
}

/// What a row becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A new entity.
    Accepted,
    /// A change of a known entity.
    Updated,
    /// Nothing: all its values are known.
    Duplicate,
    /// Nothing: it has these faults.
    Rejected(Vec<RowFault>),
}

/// What the rows of a chunk become.
#[derive(Debug, Default)]
pub struct Plan {
    /// Events in the order of their rows.
    pub events: Vec<NewEvent>,
    /// For each event the position of its row in the chunk.
    pub rows: Vec<usize>,
    /// One for each row.
    pub verdicts: Vec<Verdict>,
    /// For each row that is not rejected whether its amount was rounded.
    pub rounded: Vec<bool>,
    /// The entities that the events change, after the events.
    pub changed: Entities,
}

/// An event, and its entity after it.
struct Step {
    event: NewEvent,
    entity: Known,
}

/// What all events of an upload have in common.
pub struct Frame {
    aggregate_type: AggregateType,
    created: EventType,
    updated: EventType,
    source: Text<100>,
    correlation_id: Text<128>,
    dataset: &'static Dataset,
    /// The column that names the file's entities; `None` if rows are known by their content.
    identity: Option<Column>,
    /// Whether the file is a report of rejected rows that is sent again.
    is_report: bool,
    /// Fields that a row sets.
    fields: Vec<&'static str>,
}

impl Frame {
    /// The frame of an upload of a file with this layout.
    ///
    /// # Errors
    /// It never fails in practice: the names and ids are always valid.
    pub fn new(dataset: &'static Dataset, layout: &Layout, upload_id: Uuid) -> Result<Self, TextFault> {
        Ok(Self {
            aggregate_type: AggregateType::try_from(dataset.aggregate_type.to_owned())?,
            created: EventType::try_from(dataset.created.to_owned())?,
            updated: EventType::try_from(dataset.updated.to_owned())?,
            source: Text::try_from("csv".to_owned())?,
            correlation_id: Text::try_from(upload_id.to_string())?,
            dataset,
            identity: layout.identity(dataset),
            is_report: layout.is_report(),
            fields: layout.fields(dataset),
        })
    }

    /// Plans a chunk whose events pass all checks against the catalog: a tenant's schema may demand more than the dataset does. Rows
    /// that a schema refuses are added to `refused`, and the chunk is planned again, because a later row may then be the first of its
    /// entity.
    ///
    /// Faults that are not a schema's are left to the append, because they concern every row of the file (the caller may not post the event
    /// type), and the catalog in memory may be out of date. The append uses the current one.
    pub fn plan_checked(
        &self,
        chunk: &[ChunkRow],
        known: &Entities,
        refused: &mut Refused,
        (catalog, caller): (&Catalog, &Caller),
    ) -> Plan {
        loop {
            let plan = self.plan(chunk, known, refused);
            let mut faults = annals_append::check(catalog, caller, plan.events.iter().enumerate());
            faults.retain(|found| found.code == "schema_violation");
            if faults.is_empty() {
                return plan;
            }
            for found in faults {
                let place = plan.rows[found.member];
                // Of the faults of a row only the first is reported.
                refused
                    .entry(place)
                    .or_insert_with(|| self.schema_violation(found.fault));
            }
        }
    }

    /// Refuses the rows of these entities, which exist and belong to other callers.
    pub fn refuse_taken(&self, chunk: &[ChunkRow], taken: &HashSet<String>, refused: &mut Refused) {
        let message = "this id belongs to an entity of another caller";
        for (place, row) in chunk.iter().enumerate() {
            if let Ok((id, _)) = &row.read
                && taken.contains(id.as_str())
            {
                refused.insert(place, self.fault(id, "id_taken", message));
            }
        }
    }

    /// Plans a chunk; rows in `refused` are rejected.
    pub fn plan(&self, chunk: &[ChunkRow], known: &Entities, refused: &Refused) -> Plan {
        let mut plan = Plan::default();
        for (place, row) in chunk.iter().enumerate() {
            let mut is_rounded = false;
            let verdict = match (&row.read, refused.get(&place)) {
                (Err(faults), _) => Verdict::Rejected(faults.clone()),
                (Ok(_), Some(fault)) => Verdict::Rejected(vec![fault.clone()]),
                (Ok((id, facts)), None) => match self.step(row, id, facts, known, &plan.changed) {
                    Ok((step, rounded)) => {
                        is_rounded = rounded;
                        step.map_or(Verdict::Duplicate, |step| plan.add(place, step))
                    }
                    Err(fault) => Verdict::Rejected(vec![fault]),
                },
            };
            plan.verdicts.push(verdict);
            plan.rounded.push(is_rounded);
        }
        plan
    }

    /// What a row changes, `None` if all its values are known; and whether its amount was rounded.
    fn step(
        &self,
        row: &ChunkRow,
        id: &AggregateId,
        facts: &Facts,
        known: &Entities,
        changed: &Entities,
    ) -> Result<(Option<Step>, bool), RowFault> {
        let Some(entity) = changed.get(id.as_str()).or_else(|| known.get(id.as_str())) else {
            return Ok((Some(self.create(id, facts)), facts.rounded));
        };
        if entity.deleted && entity.reverted {
            return Ok((Some(self.create_again(id, facts, entity.version)), facts.rounded));
        }
        if entity.deleted {
            let message = "the entity was deleted; an upload does not restore it";
            return Err(self.fault(id, "deleted", message));
        }
        // Equal rows are counted within a file, and a report is only a part of a file. A corrected row that equals a known one may be that
        // row, sent again. It may also be another row with the same content, which must not be lost as a duplicate.
        if self.is_report && self.identity.is_none() {
            let id = self.dataset.id.name();
            let message = format!(
                "an equal row is already recorded; if this is another one, add a column {id} that tells them apart"
            );
            return Err(RowFault::of_row("equals_known_row", message));
        }
        // A row without an id is known by its content. If its entity has other content now, the entity was changed after the first
        // upload, and sending the file again must not undo that.
        if self.identity.is_none() {
            return Ok((None, facts.rounded));
        }
        let facts = facts.in_currency_of(&entity.state)?;
        let changes = self.changes(&entity.state, &facts.data);
        if changes.is_empty() {
            return Ok((None, facts.rounded));
        }
        // One of the two rows is wrong, or the column is no id. If both were applied, the values of the first would be lost, and sending
        // the same file again would change the entity twice more.
        if row.repeats {
            let message = "an earlier row of the file has the same id and different values; check that the id is unique for each row";
            return Err(self.fault(id, "repeated_id", message));
        }
        Ok((Some(self.update(id, entity, changes)?), facts.rounded))
    }

    fn create(&self, id: &AggregateId, facts: &Facts) -> Step {
        let mut event = self.event(&self.created, id, facts.data.clone(), 0);
        event.timestamp = facts
            .day
            .map(|day| Timestamp::from(day.and_time(NaiveTime::MIN).and_utc()));
        let entity = Known {
            version: 1,
            deleted: false,
            reverted: false,
            state: facts.data.clone(),
            bytes: text_bytes(&facts.data),
        };
        Step { event, entity }
    }

    /// Creates an entity again that was deleted because an upload was reverted, at the end of its stream. With a part, the stream need not be new.
    fn create_again(&self, id: &AggregateId, facts: &Facts, version: i32) -> Step {
        let mut step = self.create(id, facts);
        step.event.expected_version = Some(version);
        step.event.part = Some(Part::Import);
        step.entity.version = version + 1;
        step
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
            let message = format!("the entity would be larger than {MAX_STATE_BYTES} bytes");
            return Err(self.fault(id, "state_too_large", &message));
        }
        let mut state = entity.state.clone();
        for (field, change) in &changes {
            state.insert(field.clone(), change["new"].clone());
        }
        let data = Map::from_iter([("changes".to_owned(), Value::Object(changes))]);
        if serde_json::to_vec(&data).is_ok_and(|text| text.len() > MAX_DATA_BYTES) {
            let message = format!("the changes of the row are larger than {MAX_DATA_BYTES} bytes");
            return Err(RowFault::of_row("row_too_large", message));
        }
        let event = self.event(&self.updated, id, data, entity.version);
        let entity = Known {
            version: entity.version + 1,
            deleted: false,
            reverted: false,
            state,
            bytes,
        };
        Ok(Step { event, entity })
    }

    /// Fields whose value in the row differs from the state. An empty cell sets null; columns that the file lacks change nothing.
    fn changes(&self, state: &Map<String, Value>, data: &Map<String, Value>) -> Map<String, Value> {
        let mut changes = Map::new();
        for field in &self.fields {
            let (old, new) = (
                state.get(*field).unwrap_or(&Value::Null),
                data.get(*field).unwrap_or(&Value::Null),
            );
            // Numbers are compared by value: the log may have `2.50` and the row `2.5`.
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

    /// A schema's fault as a fault of the row. The pointer is `/email` if the entity is created, `/changes/email/new` if it is changed.
    fn schema_violation(&self, fault: FieldFault) -> RowFault {
        let dataset = self.dataset;
        let names = |column: &&Column| fault.pointer.split('/').any(|part| part == dataset.field(**column));
        RowFault {
            column: dataset.columns.iter().find(names).copied(),
            ..RowFault::of_row("schema_violation", fault.detail)
        }
    }

    /// A fault of a row that concerns its entity: of the column that names it.
    fn fault(&self, id: &AggregateId, code: &'static str, message: &str) -> RowFault {
        match self.identity {
            Some(column) => RowFault::of_value(column, code, message, id.as_str()),
            None => RowFault::of_row(code, message),
        }
    }
}

impl Plan {
    /// Its events, which were checked against the catalog at this revision.
    pub fn checked(&self, catalog_revision: i64) -> CheckedEvents<'_> {
        CheckedEvents {
            events: &self.events,
            catalog_revision,
        }
    }

    fn add(&mut self, place: usize, step: Step) -> Verdict {
        // A change has the values that were there before. An entity that is created again has none.
        let verdict = if step.event.data.contains_key("changes") {
            Verdict::Updated
        } else {
            Verdict::Accepted
        };
        let id = step.event.aggregate_id.as_str().to_owned();
        self.changed.insert(id, step.entity);
        self.events.push(step.event);
        self.rows.push(place);
        verdict
    }
}

/// The id and the known state of an entity that was found. Fields that the dataset has no column for are dropped, because they may be
/// large. A stream that is stopped before an event that is too large accepts no changes.
pub fn known(found: StoredEntity, dataset: &Dataset) -> (String, Known) {
    let mut entity = found.entity;
    let bytes = match found.stopped {
        None => text_bytes(&entity.state),
        Some(_) => STOPPED,
    };
    entity.state.retain(|field, _| dataset.has_field(field));
    let known = Known {
        version: entity.version,
        deleted: entity.deleted_at.is_some(),
        reverted: false,
        state: entity.state,
        bytes,
    };
    (found.aggregate_id, known)
}

/// Bytes of the state of a stopped stream: so many that every change of it is too large.
const STOPPED: usize = usize::MAX / 2;

/// The ids of a chunk's entities without repetitions.
pub fn ids(chunk: &[ChunkRow]) -> Vec<&str> {
    let ids = chunk.iter().filter_map(|row| row.read.as_ref().ok());
    let ids: HashSet<&str> = ids.map(|(id, _)| id.as_str()).collect();
    ids.into_iter().collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
