//! What a client says about a compensation: why, with which context, and under which key.

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::ids::Text;
use annals::domain::{Caller, Event, EventId, NewEvent, json};
use annals::http::{ApiError, JsonBody, idempotency_key};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::entities::{digest_of, with_digest};

/// Most characters of a reason.
const MAX_REASON: usize = 1_000;

/// The body.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// What a client says.
pub(super) struct Ask {
    pub(super) reason: Option<String>,
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
        if let Some(reason) = &body.reason {
            let length = reason.chars().count();
            if !(1..=MAX_REASON).contains(&length) {
                return Err(fault("/reason", format!("must have 1 to {MAX_REASON} characters")));
            }
        }
        let mut metadata = body.metadata.unwrap_or_default();
        if let Some(reason) = &body.reason {
            metadata.insert("reason".to_owned(), Value::String(reason.clone()));
        }
        let key = idempotency_key(headers)?;
        let command_id = Text::try_from(Uuid::now_v7().to_string());
        Ok(Self {
            reason: body.reason,
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
        let Some(event) = app.store.find_event_by_key(caller, key.as_str()).await? else {
            return Ok(None);
        };
        let is_same = digest_of(&event).as_ref() == Some(&self.digest);
        if event.causation_id == Some(*id.as_uuid()) && is_same {
            return Ok(Some(event));
        }
        let detail = "the idempotency key belongs to another request";
        Err(ApiError::unprocessable("idempotency_key_reused", detail, Vec::new()))
    }

    /// Whether this very request has appended the event.
    pub(super) fn made(&self, event: &Event) -> bool {
        event.command_id.as_deref() == Some(self.command_id.as_str())
    }

    /// What the server observed of the request; a keyed one is known again by what was sent.
    pub(super) fn recorded(&self, context: &Value) -> Value {
        with_digest(context, self.key.is_some().then(|| self.digest.clone()))
    }

    pub(super) fn applied_to(&self, mut event: NewEvent) -> NewEvent {
        event.metadata.clone_from(&self.metadata);
        event.idempotency_key.clone_from(&self.key);
        event.command_id = Some(self.command_id.clone());
        event
    }
}

fn fault(pointer: &str, detail: String) -> ApiError {
    ApiError::malformed(vec![FieldFault::new(pointer, "invalid_value", detail)])
}
