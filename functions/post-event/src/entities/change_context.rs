//! What a client says about a change beside the fields: the reason, the ids that tie it to other events, and the idempotency key.

use annals_domain::ids::Text;
use annals_domain::reason::Reason;
use annals_domain::{AggregateId, Caller, NewEvent};
use annals_http::{ApiError, JsonBody, Params, idempotency_key};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::reason::{reason_at, refused_reason};

/// The body of a request that has no fields: `{"reason": "…"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    reason: Option<String>,
}

/// What a client says about its request beside the fields.
pub(super) struct ChangeContext {
    pub(super) reason: Option<Reason>,
    pub(super) correlation_id: Option<Text<128>>,
    pub(super) causation_id: Option<Uuid>,
    pub(super) idempotency_key: Option<Text<255>>,
}

impl ChangeContext {
    /// Reads the query and the header `Idempotency-Key`.
    ///
    /// # Errors
    /// 400 for values that are invalid, and for other parameters.
    pub(super) fn read(mut params: Params, headers: &HeaderMap) -> Result<Self, ApiError> {
        let context = Self {
            reason: params.read(
                "reason",
                "must have 1 to 1000 characters, not only spaces and invisible ones",
                |v| v.to_owned().try_into().ok(),
            )?,
            correlation_id: params.read("correlation_id", "must be 1 to 128 printable characters", |v| {
                v.to_owned().try_into().ok()
            })?,
            causation_id: params.uuid("causation_id")?,
            idempotency_key: idempotency_key(headers)?,
        };
        params.end()?;
        Ok(context)
    }

    /// The same with the reason that the body gives.
    ///
    /// # Errors
    /// 400 for other members of the body, and if body and query give different reasons.
    pub(super) fn with_reason_in(mut self, body: Option<JsonBody>) -> Result<Self, ApiError> {
        let Some(body) = body else { return Ok(self) };
        let ReasonBody { reason } = body.read()?;
        let Some(reason) = reason_at("/reason", reason)? else {
            return Ok(self);
        };
        if self.reason.as_ref().is_some_and(|other| *other != reason) {
            let detail = "differs from the reason in the query; send only one of them";
            return Err(refused_reason("/reason", detail));
        }
        self.reason = Some(reason);
        Ok(self)
    }

    /// An id for an entity that is created without one. With an idempotency key it follows from the key, so that a retry gets the same id.
    pub(super) fn new_id(&self, caller: &Caller) -> String {
        match &self.idempotency_key {
            Some(key) => {
                let owner = format!("{}/{}", caller.tenant_id(), caller.actor());
                AggregateId::from_key(&owner, key.as_str()).to_string()
            }
            None => Uuid::now_v7().to_string(),
        }
    }

    /// Adds the context to the request's event.
    pub(super) fn add_to(&self, event: &mut NewEvent) {
        if let Some(reason) = &self.reason {
            event.metadata.insert("reason".to_owned(), json!(reason));
        }
        event.correlation_id.clone_from(&self.correlation_id);
        event.causation_id = self.causation_id;
        event.idempotency_key.clone_from(&self.idempotency_key);
    }
}
