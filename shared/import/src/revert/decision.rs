//! The decision about one event of a revert: its compensation, or why it is left alone.

use std::collections::{HashMap, HashSet};

use annals_append::{CompensationError, Mistake, compensation};
use annals_domain::reason::Reason;
use annals_domain::{Catalog, Entity, Event, EventId, FoldError, NewEvent, StoredFact};
use annals_store::{Bounds, CompensationStatus, LeftAlone, RevertScope, Revertible, Store, StoreError};
use serde_json::{Map, Value, json};

/// Events that an append has refused for a reason that another attempt would not change.
pub(super) type Refused = HashMap<EventId, (String, String)>;

/// A compensating event, or the event that is left alone.
pub(super) type Decision = Result<NewEvent, LeftAlone>;

/// What all decisions of a step need.
pub(super) struct Decider<'a> {
    pub(super) store: &'a Store,
    pub(super) scope: &'a RevertScope,
    pub(super) reason: Option<&'a Reason>,
    pub(super) catalog: &'a Catalog,
    /// Ids of entities whose state the caller does not see.
    pub(super) hidden: HashSet<String>,
    pub(super) refused: &'a Refused,
}

/// An event that is left alone.
pub(super) fn left(event: &Event, code: &str, detail: &str) -> LeftAlone {
    LeftAlone {
        event_number: event.event_number,
        event_id: *event.id.as_uuid(),
        aggregate_type: event.aggregate_type.clone(),
        aggregate_id: event.aggregate_id.clone(),
        code: code.to_owned(),
        detail: detail.to_owned(),
    }
}

const HIDDEN: &str = "the caller does not see the state of the entity";
const NOT_APPLIED: &str = "the event was skipped, or its stream is parked: it is not part of the state";

impl Decider<'_> {
    /// Decides about an event.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] if the entity was read by another catalog.
    pub(super) async fn decide(&self, found: &Revertible) -> Result<Decision, StoreError> {
        let event = &found.event;
        if let Some((code, detail)) = self.refused.get(&event.id) {
            return Ok(Err(left(event, code, detail)));
        }
        if self.hidden.contains(&event.aggregate_id) {
            return Ok(Err(left(event, "state_hidden", HIDDEN)));
        }
        if found.is_last && found.is_not_applied {
            return Ok(Err(left(event, "not_applied", NOT_APPLIED)));
        }
        let mut id = event.id.of_compensation(0);
        if !found.is_last {
            // A compensation is a later event of the stream.
            match self
                .store
                .find_compensation_status(&self.scope.caller, event.id)
                .await?
            {
                Some(CompensationStatus::Compensated { by }) => {
                    let detail = format!("event {by} has already compensated it");
                    return Ok(Err(left(event, "already_compensated", &detail)));
                }
                Some(_) if !found.is_followed_by_own => {
                    let detail = "the entity has later events that do not come from this upload";
                    return Ok(Err(left(event, "changed_since", detail)));
                }
                Some(CompensationStatus::NotApplied) => return Ok(Err(left(event, "not_applied", NOT_APPLIED))),
                Some(CompensationStatus::Open { compensation }) => id = compensation,
                None => return Ok(Err(left(event, "state_hidden", HIDDEN))),
            }
        }
        let before = match event.aggregate_version - 1 {
            0 => None,
            version => match self.entity_at(event, Some(version)).await? {
                None => return Ok(Err(left(event, "state_hidden", HIDDEN))),
                before => before,
            },
        };
        let now = match found.is_last {
            // Read nothing: the state now is the state before the event and the event.
            true => self.after(event, before.clone()),
            false => self.entity_at(event, None).await,
        };
        let now = match now {
            Ok(Some(now)) => now,
            Ok(None) => return Ok(Err(left(event, "state_hidden", HIDDEN))),
            Err(StoreError::Unfoldable(error)) if error.is_about_size() => {
                return Ok(Err(left(event, error.code(), &error.to_string())));
            }
            Err(error) => return Err(error),
        };
        let mistake = Mistake {
            event,
            before: before.as_ref(),
            now: &now,
            is_starter: found.started_by == self.scope.caller.actor().as_str(),
        };
        match compensation(self.catalog, mistake, self.reason) {
            Ok(inverse) => self.named(inverse, id).map(Ok),
            Err(CompensationError::Store(error)) => Err(error),
            Err(why) => Ok(Err(left(event, code_of(&why), &why.to_string()))),
        }
    }

    /// The compensating event with its id, and with the marks of the revert.
    fn named(&self, mut inverse: NewEvent, id: EventId) -> Result<NewEvent, StoreError> {
        inverse.id = id;
        let command_id = self.scope.command_id();
        inverse.command_id = Some(command_id.map_err(|e| StoreError::Unexpected(e.to_string()))?);
        if let Some(reason) = self.reason {
            inverse.metadata.insert("reason".to_owned(), json!(reason));
        }
        Ok(inverse)
    }

    async fn entity_at(&self, event: &Event, version: Option<i32>) -> Result<Option<Entity>, StoreError> {
        let bounds = Bounds {
            version,
            ..Bounds::default()
        };
        let (kind, id) = (&event.aggregate_type, &event.aggregate_id);
        let past = self.store.find_entity_at(&self.scope.caller, kind, id, bounds).await?;
        let Some(past) = past else { return Ok(None) };
        if past.catalog_revision != self.catalog.revision() {
            return Err(StoreError::Outdated);
        }
        Ok(past.found.map(|found| found.entity))
    }

    /// The entity after the event.
    fn after(&self, event: &Event, before: Option<Entity>) -> Result<Option<Entity>, StoreError> {
        let unreadable = |_| StoreError::Unexpected("unreadable JSON in the log".to_owned());
        let data: Map<String, Value> = serde_json::from_str(event.data.get()).map_err(unreadable)?;
        let fact = StoredFact {
            event_type: &event.event_type,
            schema_version: &event.version,
            version: event.aggregate_version,
            created_at: event.created_at,
            data: &data,
            skipped: false,
        };
        let mut entity = before.unwrap_or_else(|| Entity::before(event.created_at));
        let folded: Result<(), FoldError> = self.catalog.fold(event.tenant_id, &mut entity, &fact);
        folded?;
        Ok(Some(entity))
    }
}

/// The code under which `POST /events/{id}/compensate` refuses for the same reason.
fn code_of(why: &CompensationError) -> &'static str {
    match why {
        CompensationError::NoInverse(_) => "no_inverse",
        CompensationError::NoEffect => "not_applied",
        CompensationError::ChangedSince(_) => "changed_since",
        CompensationError::TooLarge => "state_too_large",
        CompensationError::Store(_) => "internal",
    }
}
