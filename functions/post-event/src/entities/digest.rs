//! The digest of a request with an idempotency key, by which a retry is recognised. It is kept in the event's `recorded`.

use annals_domain::{Event, json};
use serde_json::{Value, json};

use super::change_context::ChangeContext;
use super::verb::Verb;

/// The member of an event's `recorded` that holds the digest of the request.
const REQUEST_DIGEST: &str = "request_digest";

impl ChangeContext {
    /// Digest of a request, if it has an idempotency key: of its event type, the id as it was sent, its body and its query parameters.
    pub(super) fn digest(&self, verb: &Verb, aggregate_id: &str, body: impl FnOnce() -> Value) -> Option<String> {
        self.idempotency_key.as_ref()?;
        let reason = self.reason.as_ref().map(|reason| reason.as_str());
        let correlation_id = self.correlation_id.as_ref().map(|id| id.as_str());
        let event_type = verb.event_type.as_str();
        let sent = json!([
            event_type,
            aggregate_id,
            body(),
            reason,
            correlation_id,
            self.causation_id
        ]);
        Some(json::digest(&sent))
    }
}

/// What the server observed of a request, with the digest of what was sent.
pub(crate) fn with_digest(observed: &Value, digest: Option<&String>) -> Value {
    let mut observed = observed.clone();
    if let (Some(digest), Some(members)) = (digest, observed.as_object_mut()) {
        members.insert(REQUEST_DIGEST.to_owned(), json!(digest));
    }
    observed
}

/// The digest of the request that appended an event.
pub(crate) fn digest_of(event: &Event) -> Option<String> {
    let recorded: Value = serde_json::from_str(event.recorded.get()).ok()?;
    Some(recorded.get(REQUEST_DIGEST)?.as_str()?.to_owned())
}
