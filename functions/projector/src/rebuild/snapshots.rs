//! Snapshots beside the states that a fold from zero passes through.

use std::cmp::Ordering;

use annals::domain::{Entity, StreamId};
use annals::store::{Difference, StoreError, StoredSnapshot};
use serde_json::{Value, json};

/// A snapshot that is not the state that it says it is.
pub(super) struct WrongSnapshot {
    pub(super) stream: StreamId,
    version: i32,
    pub(super) differences: Vec<Difference>,
}

impl WrongSnapshot {
    /// What names it.
    pub(super) fn name(&self) -> (StreamId, i32) {
        (self.stream.clone(), self.version)
    }

    fn new(snapshot: &StoredSnapshot) -> Self {
        Self {
            stream: snapshot.stream.clone(),
            version: snapshot.entity.version(),
            differences: Vec::new(),
        }
    }

    fn note(&mut self, column: &str, live: Option<String>, expected: Option<String>) {
        if live == expected {
            return;
        }
        let mut difference = Difference::of("annals.snapshots", &self.stream, column, live, expected);
        difference.key["version"] = json!(self.version);
        self.differences.push(difference);
    }
}

/// Takes the snapshots of the entity's version out of a stream's, and gives back those that differ from it.
///
/// # Errors
/// A state that is no JSON object, which the database does not hold.
pub(super) fn check(
    of_stream: &mut Vec<StoredSnapshot>,
    entity: &Entity,
    started_by: &str,
) -> Result<Option<WrongSnapshot>, StoreError> {
    let place = of_stream
        .iter()
        .position(|snapshot| snapshot.entity.version() == entity.version);
    let Some(place) = place else { return Ok(None) };
    let snapshot = of_stream.remove(place);
    let mut wrong = WrongSnapshot::new(&snapshot);
    if !snapshot.is_intact {
        wrong.note(
            "digest",
            Some("of something else".to_owned()),
            Some("of the snapshot".to_owned()),
        );
    }
    match snapshot.shape {
        // Nobody uses it, and what it was folded by is no more.
        Ordering::Less => {}
        Ordering::Greater => wrong.note("shape", Some("to come".to_owned()), Some("present".to_owned())),
        Ordering::Equal => compare(&mut wrong, &snapshot, entity, started_by)?,
    }
    Ok((!wrong.differences.is_empty()).then_some(wrong))
}

fn compare(
    wrong: &mut WrongSnapshot,
    snapshot: &StoredSnapshot,
    entity: &Entity,
    started_by: &str,
) -> Result<(), StoreError> {
    let found = snapshot.entity.entity()?;
    let text = |time: annals::domain::Timestamp| Some(time.to_string());
    wrong.note(
        "started_by",
        Some(snapshot.started_by.clone()),
        Some(started_by.to_owned()),
    );
    wrong.note("created_at", text(found.created_at), text(entity.created_at));
    wrong.note("updated_at", text(found.updated_at), text(entity.updated_at));
    wrong.note(
        "deleted_at",
        found.deleted_at.and_then(text),
        entity.deleted_at.and_then(text),
    );
    if found.state != entity.state {
        let json = |entity: &Entity| Some(Value::Object(entity.state.clone()).to_string());
        wrong.note("state", json(&found), json(entity));
    }
    Ok(())
}

/// A snapshot of a version that the stream has not come to.
pub(super) fn beyond_the_stream(snapshot: StoredSnapshot) -> WrongSnapshot {
    let mut wrong = WrongSnapshot::new(&snapshot);
    wrong.note("version", Some(snapshot.entity.version().to_string()), None);
    wrong
}
