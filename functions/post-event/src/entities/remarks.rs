//! What a client says about a change beside the fields: why, as part of which flow, and under which key.

use annals::domain::ids::Text;
use annals::domain::{AggregateId, Caller, NewEvent};
use annals::http::{ApiError, Params, idempotency_key};
use axum::http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

/// What a client says about its request, beside the fields.
pub(super) struct Remarks {
    reason: Option<String>,
    correlation_id: Option<Text<128>>,
    causation_id: Option<Uuid>,
    pub(super) idempotency_key: Option<Text<255>>,
}

impl Remarks {
    pub(super) fn read(mut params: Params, headers: &HeaderMap) -> Result<Self, ApiError> {
        let remarks = Self {
            reason: params.read("reason", "must have at most 1000 characters", |v| {
                (v.chars().count() <= 1000).then(|| v.to_owned())
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
