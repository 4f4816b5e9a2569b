//! Compares snapshots with the states that a fold from the first event has at their versions.

use std::cmp::Ordering;

use annals_domain::{Entity, StreamId};
use annals_store::{Difference, StoreError, StoredSnapshot};
use serde_json::{Value, json};

/// A snapshot that differs from the state of its version, and how.
pub(super) struct WrongSnapshot {
    pub(super) stream: StreamId,
    version: i32,
    pub(super) differences: Vec<Difference>,
}

impl WrongSnapshot {
    /// The stream and version that identify the snapshot.
    pub(super) fn key(&self) -> (StreamId, i32) {
        (self.stream.clone(), self.version)
    }

    fn new(snapshot: &StoredSnapshot) -> Self {
        Self {
            stream: snapshot.stream.clone(),
            version: snapshot.entity.version(),
            differences: Vec::new(),
        }
    }

    /// Records a difference, unless the two values are equal.
    fn compare(&mut self, column: &str, live: Option<String>, expected: Option<String>) {
        if live == expected {
            return;
        }
        let mut difference = Difference::of("annals.snapshots", &self.stream, column, live, expected);
        difference.key["version"] = json!(self.version);
        self.differences.push(difference);
    }
}

/// Removes the snapshot of the entity's version from the stream's snapshots, and returns it if it differs from the entity.
///
/// # Errors
/// The snapshot's state is no JSON object. The database holds no such state.
pub(super) fn check(
    of_stream: &mut Vec<StoredSnapshot>,
    entity: &Entity,
    started_by: &str,
) -> Result<Option<WrongSnapshot>, StoreError> {
    let index = of_stream
        .iter()
        .position(|snapshot| snapshot.entity.version() == entity.version);
    let Some(index) = index else { return Ok(None) };
    let snapshot = of_stream.remove(index);
    let mut wrong = WrongSnapshot::new(&snapshot);
    if !snapshot.is_intact {
        wrong.compare(
            "digest",
            Some("of something else".to_owned()),
            Some("of the snapshot".to_owned()),
        );
    }
    match snapshot.compared_fold_version {
        // No reader uses an outdated snapshot, and the catalog that it was folded by is gone.
        Ordering::Less => {}
        Ordering::Greater => wrong.compare("fold_version", Some("newer".to_owned()), Some("current".to_owned())),
        Ordering::Equal => compare_fields(&mut wrong, &snapshot, entity, started_by)?,
    }
    Ok((!wrong.differences.is_empty()).then_some(wrong))
}

fn compare_fields(
    wrong: &mut WrongSnapshot,
    snapshot: &StoredSnapshot,
    entity: &Entity,
    started_by: &str,
) -> Result<(), StoreError> {
    let found = snapshot.entity.entity()?;
    let text = |time: annals_domain::Timestamp| Some(time.to_string());
    wrong.compare(
        "started_by",
        Some(snapshot.started_by.clone()),
        Some(started_by.to_owned()),
    );
    wrong.compare("created_at", text(found.created_at), text(entity.created_at));
    wrong.compare("updated_at", text(found.updated_at), text(entity.updated_at));
    wrong.compare(
        "deleted_at",
        found.deleted_at.and_then(text),
        entity.deleted_at.and_then(text),
    );
    if found.state != entity.state {
        let json = |entity: &Entity| Some(Value::Object(entity.state.clone()).to_string());
        wrong.compare("state", json(&found), json(entity));
    }
    Ok(())
}

/// A snapshot of a version that the stream has not reached.
pub(super) fn beyond_the_stream(snapshot: StoredSnapshot) -> WrongSnapshot {
    let mut wrong = WrongSnapshot::new(&snapshot);
    wrong.compare("version", Some(snapshot.entity.version().to_string()), None);
    wrong
}
