//! What a client says about a change beside the fields: why, as part of which flow, and under which key.

use annals::domain::event::FieldFault;
use annals::domain::ids::Text;
use annals::domain::{AggregateId, Caller, Event, NewEvent};
use annals::http::{ApiError, JsonBody, Params, idempotency_key};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Most characters of a reason.
const MAX_REASON: usize = 1_000;

/// The body of a request that has no fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: Option<String>,
}

/// What a client says about its request, beside the fields.
pub(super) struct Remarks {
    pub(super) reason: Option<String>,
    correlation_id: Option<Text<128>>,
    causation_id: Option<Uuid>,
    pub(super) idempotency_key: Option<Text<255>>,
}

impl Remarks {
    pub(super) fn read(mut params: Params, headers: &HeaderMap) -> Result<Self, ApiError> {
        let remarks = Self {
            reason: params.read("reason", "must have at most 1000 characters", |v| {
                (v.chars().count() <= MAX_REASON).then(|| v.to_owned())
            })?,
            correlation_id: params.read("correlation_id", "must be 1 to 128 printable characters", |v| {
                v.to_owned().try_into().ok()
            })?,
            causation_id: params.uuid("causation_id")?,
            idempotency_key: idempotency_key(headers)?,
        };
        params.end()?;
        Ok(remarks)
    }

    /// The same with the reason that the body gives.
    ///
    /// # Errors
    /// 400 for a body with anything else, and where body and query give two reasons.
    pub(super) fn with_reason_in(mut self, body: Option<JsonBody>) -> Result<Self, ApiError> {
        let Some(JsonBody(body)) = body else { return Ok(self) };
        let ReasonBody { reason } = serde_json::from_str(&body.to_string())
            .map_err(|e| ApiError::bad_request("malformed_request", format!("the body may hold a reason: {e}")))?;
        let Some(reason) = reason else { return Ok(self) };
        let refuse = |detail: String| ApiError::malformed(vec![FieldFault::new("/reason", "invalid_value", detail)]);
        if !(1..=MAX_REASON).contains(&reason.chars().count()) {
            return Err(refuse(format!("must have 1 to {MAX_REASON} characters")));
        }
        if self.reason.as_ref().is_some_and(|other| *other != reason) {
            return Err(refuse(
                "differs from the reason in the query; give one of them".to_owned(),
            ));
        }
        self.reason = Some(reason);
        Ok(self)
    }

    /// Whether the event was posted for the reason that this request gives.
    pub(super) fn gave_the_reason_of(&self, event: &Event) -> bool {
        let metadata: Option<Value> = serde_json::from_str(event.metadata.get()).ok();
        metadata.is_some_and(|metadata| metadata["reason"].as_str() == self.reason.as_deref())
    }

    /// An id for an entity that comes without one: a retry's is that of the first try.
    pub(super) fn new_id(&self, caller: &Caller) -> String {
        match &self.idempotency_key {
            Some(key) => {
                let owner = format!("{}/{}", caller.tenant_id(), caller.actor());
                AggregateId::from_key(&owner, key.as_str()).to_string()
            }
            None => Uuid::now_v7().to_string(),
        }
    }

    pub(super) fn applied_to(&self, mut event: NewEvent) -> NewEvent {
        if let Some(reason) = &self.reason {
            event.metadata.insert("reason".to_owned(), json!(reason));
        }
        event.correlation_id.clone_from(&self.correlation_id);
        event.causation_id = self.causation_id;
        event.idempotency_key.clone_from(&self.idempotency_key);
        event
    }
}
