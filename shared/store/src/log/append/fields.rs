//! One event as a JSON object: `annals.append_event` takes few parameters, because PostgreSQL types and plans each of them at every call.

use serde::Serialize;
use uuid::Uuid;

use annals_domain::event::Part;
use annals_domain::{NewEvent, Timestamp};

/// The fields of an event except `data` and `metadata`, under the names of the HTTP API, with the event's id and the part of Annals that
/// appends it.
#[derive(Debug, Serialize)]
pub(super) struct Fields<'a> {
    id: &'a Uuid,
    event_type: &'a str,
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    version: Option<&'a str>,
    created_by: Option<&'a str>,
    user_id: Option<Uuid>,
    source: Option<&'a str>,
    timestamp: Option<Timestamp>,
    correlation_id: Option<&'a str>,
    causation_id: Option<Uuid>,
    command_id: Option<&'a str>,
    idempotency_key: Option<&'a str>,
    expected_version: Option<i32>,
    part: Option<&'a str>,
}

impl<'a> From<&'a NewEvent> for Fields<'a> {
    fn from(event: &'a NewEvent) -> Self {
        Self {
            id: event.id.as_uuid(),
            event_type: event.event_type.as_str(),
            aggregate_type: event.aggregate_type.as_str(),
            aggregate_id: event.aggregate_id.as_str(),
            version: event.version.as_ref().map(|version| version.as_str()),
            created_by: event.created_by.as_ref().map(|actor| actor.as_str()),
            user_id: event.user_id,
            source: event.source.as_ref().map(|source| source.as_str()),
            timestamp: event.timestamp,
            correlation_id: event.correlation_id.as_ref().map(|id| id.as_str()),
            causation_id: event.causation_id,
            command_id: event.command_id.as_ref().map(|id| id.as_str()),
            idempotency_key: event.idempotency_key.as_ref().map(|key| key.as_str()),
            expected_version: event.expected_version,
            part: event.part.map(Part::as_str),
        }
    }
}
