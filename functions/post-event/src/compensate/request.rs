//! The request for a compensation: its reason, its metadata and its idempotency key.

use crate::App;
use annals_domain::ids::Text;
use annals_domain::reason::Reason;
use annals_domain::{Caller, Event, EventId, NewEvent, json};
use annals_http::{ApiError, JsonBody, idempotency_key};
use annals_store::KnownKey;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::entities::{digest_of, kept_for_another, reused, with_digest};
use crate::reason::reason_at;

/// The body: `{"reason": "…", "metadata": {…}}`, both optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// A request for a compensation.
pub(super) struct CompensationRequest {
    pub(super) reason: Option<Reason>,
    metadata: Map<String, Value>,
    key: Option<Text<255>>,
    digest: String,
    /// Names this request in its event, which shows that this request appended the event. The event's id does not show it: all
    /// compensations of an event have the same one.
    command_id: Text<128>,
}

impl CompensationRequest {
    /// Reads the body and the header `Idempotency-Key`.
    ///
    /// # Errors
    /// 400 for a body or a key that is invalid.
    pub(super) fn read(body: Option<JsonBody>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let json = body.unwrap_or_else(|| JsonBody(json!({})));
        let digest = json::digest(&json.0);
        let body: Body = json.read()?;
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

    /// The compensation that the same request has appended before, by its idempotency key. The data of a compensation depend on the state
    /// that it found, so the requests are compared, not the events.
    ///
    /// # Errors
    /// 422 if the key was used for another request.
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

    /// Whether this request has appended the event.
    pub(super) fn made(&self, event: &Event) -> bool {
        event.command_id.as_deref() == Some(self.command_id.as_str())
    }

    /// What the server observed of the request, with the digest of what was sent if the request has an idempotency key.
    pub(super) fn observed(&self, observed: &Value) -> Value {
        with_digest(observed, self.key.is_some().then_some(&self.digest))
    }

    /// Adds metadata, key and command id to the compensating event.
    pub(super) fn add_to(&self, event: &mut NewEvent) {
        event.metadata.clone_from(&self.metadata);
        event.idempotency_key.clone_from(&self.key);
        event.command_id = Some(self.command_id.clone());
    }
}
