//! What a client says about a compensation: why, with which context, and under which key.

use annals::App;
use annals::domain::ids::Text;
use annals::domain::reason::Reason;
use annals::domain::{Caller, Event, EventId, NewEvent, json};
use annals::http::{ApiError, JsonBody, idempotency_key};
use annals::store::KnownKey;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::entities::{digest_of, kept_for_another, reused, with_digest};
use crate::reason::reason_at;

/// The body.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// What a client says.
pub(super) struct Ask {
    pub(super) reason: Option<Reason>,
    metadata: Map<String, Value>,
    key: Option<Text<255>>,
    digest: String,
    /// This request, as the event names it: by this, and not by its id, it is known to be this request's.
    command_id: Text<128>,
}

impl Ask {
    pub(super) fn read(body: Option<JsonBody>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let json = body.map_or_else(|| Value::Object(Map::new()), |JsonBody(json)| json);
        let digest = json::digest(&json);
        // Through text, because serde_json's own way from a value to a type would take large numbers for maps.
        let body: Body = serde_json::from_str(&json.to_string())
            .map_err(|e| ApiError::bad_request("malformed_request", e.to_string()))?;
        let reason = reason_at("/reason", body.reason)?;
        let mut metadata = body.metadata.unwrap_or_default();
        if let Some(reason) = &reason {
            metadata.insert("reason".to_owned(), json!(reason));
        }
        let key = idempotency_key(headers)?;
        let command_id = Text::try_from(Uuid::now_v7().to_string());
        Ok(Self {
            reason,
            metadata,
            key,
            digest,
            command_id: command_id.map_err(|e| ApiError::Internal(Box::new(e)))?,
        })
    }

    /// The compensation that this very request has made before, under its key. Its data follow from what it found, so what the
    /// client asked for is what has to be the same.
    pub(super) async fn earlier(&self, app: &App, caller: &Caller, id: EventId) -> Result<Option<Event>, ApiError> {
        let Some(key) = &self.key else { return Ok(None) };
        let event = match app.store.find_known_key(caller, key.as_str()).await? {
            None => return Ok(None),
            Some(KnownKey::Kept(_)) => return Err(kept_for_another()),
            Some(KnownKey::Event(event)) => event,
        };
        if event.causation_id != Some(*id.as_uuid()) {
            return Err(reused(&["event_id"]));
        }
        match digest_of(&event).as_ref() == Some(&self.digest) {
            true => Ok(Some(*event)),
            false => Err(reused(&["body"])),
        }
    }

    /// Whether this very request has appended the event.
    pub(super) fn made(&self, event: &Event) -> bool {
        event.command_id.as_deref() == Some(self.command_id.as_str())
    }

    /// What the server observed of the request; a keyed one is known again by what was sent.
    pub(super) fn recorded(&self, context: &Value) -> Value {
        with_digest(context, self.key.is_some().then_some(&self.digest))
    }

    pub(super) fn applied_to(&self, mut event: NewEvent) -> NewEvent {
        event.metadata.clone_from(&self.metadata);
        event.idempotency_key.clone_from(&self.key);
        event.command_id = Some(self.command_id.clone());
        event
    }
}
