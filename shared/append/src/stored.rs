//! Appended events as the log holds them, without reading them back.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use annals_domain::event::DEFAULT_SOURCE;
use annals_domain::{Caller, Event, EventId, NewEvent, naming};
use annals_store::{Appended, Store, StoreError};

/// The events of an append, in the order in which they were sent.
#[derive(Debug)]
pub struct StoredEvents {
    /// As the log holds them. A retry is the original.
    pub events: Vec<Event>,
    /// Whether all of them are retries, so that nothing was appended.
    pub replayed: bool,
}

/// Assembles new events from what was sent and what the database decided, and reads the originals of retries.
pub(super) async fn stored_events(
    store: &Store,
    caller: &Caller,
    events: Vec<NewEvent>,
    appended: Vec<Appended>,
    recorded: &Value,
) -> Result<StoredEvents, StoreError> {
    let replayed: Vec<EventId> = appended.iter().filter(|a| a.replayed).map(|a| a.id).collect();
    let is_replayed = replayed.len() == appended.len();
    let mut originals = match replayed.as_slice() {
        [] => Vec::new(),
        ids => store.find_events(caller, ids).await?,
    };
    let recorded = raw(recorded)?;
    let mut stored = Vec::with_capacity(events.len());
    for (event, decided) in events.into_iter().zip(appended) {
        stored.push(match decided.replayed {
            true => {
                let place = originals.iter().position(|original| original.id == decided.id);
                let place = place.ok_or_else(|| StoreError::Unexpected("a retried event is not visible".to_owned()))?;
                originals.swap_remove(place)
            }
            false => assemble(caller, event, decided, recorded.clone())?,
        });
    }
    Ok(StoredEvents {
        events: stored,
        replayed: is_replayed,
    })
}

fn assemble(caller: &Caller, event: NewEvent, decided: Appended, recorded: Box<RawValue>) -> Result<Event, StoreError> {
    Ok(Event {
        id: decided.id,
        event_number: decided.event_number,
        tenant_id: caller.tenant_id(),
        event_type: event.event_type.as_str().to_owned(),
        aggregate_type: event.aggregate_type.as_str().to_owned(),
        aggregate_id: event.aggregate_id.as_str().to_owned(),
        aggregate_version: decided.aggregate_version,
        version: decided.schema_version,
        data: raw(&event.data)?,
        metadata: raw(&event.metadata)?,
        created_by_name: naming::of_event(&decided.created_by, recorded.get()).map(Cow::into_owned),
        recorded,
        created_by: decided.created_by,
        user_id: decided.user_id,
        source: event
            .source
            .map_or_else(|| DEFAULT_SOURCE.to_owned(), |source| source.as_str().to_owned()),
        timestamp: event.timestamp.unwrap_or(decided.created_at),
        created_at: decided.created_at,
        correlation_id: event.correlation_id.map(|c| c.as_str().to_owned()),
        command_id: event.command_id.map(|c| c.as_str().to_owned()),
        causation_id: event.causation_id,
        idempotency_key: event.idempotency_key.map(|k| k.as_str().to_owned()),
        processed: false,
        not_lifted: None,
        parked: false,
        ends_read: false,
    })
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, StoreError> {
    to_raw_value(value).map_err(|e| StoreError::Unexpected(e.to_string()))
}
