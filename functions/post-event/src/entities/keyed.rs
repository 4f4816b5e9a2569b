//! Requests with an idempotency key. Sent again, such a request gets the answer that it got first, even if the entity or the catalog has
//! changed since.
//!
//! The data of an event depend on what the request found: an update's on the state, a creation's on the schema. A retry is therefore
//! recognised by a digest of what the client sent, not by the event's data. The digest is kept in the event's `recorded` or, if the request
//! found nothing to do and left no event, with its key (`annals.kept_keys`).
//!
//! Invariant: the key is looked up after the entity has been read. `V8__kept_keys.sql` says why that order matters. A creation reads no
//! entity: it requires version 0.

use annals_domain::event::FieldFault;
use annals_domain::{AggregateId, Event};
use annals_http::ApiError;
use annals_store::{KeptKey, KeptOutcome, KnownKey, StoredEntity};
use serde_json::Value;

use super::change::Change;
use super::digest::digest_of;
use super::refusals::KEY_REUSED;

/// The outcome of the same request when it was first sent.
pub(super) enum Earlier {
    /// It appended the event with this version.
    Appended(i32),
    /// It found nothing to do.
    Kept(KeptOutcome),
}

impl Earlier {
    /// The version of the entity that the request led to, if it appended an event.
    pub(super) fn version(&self) -> Option<i32> {
        match self {
            Self::Appended(version) => Some(*version),
            Self::Kept(_) => None,
        }
    }
}

impl Change {
    /// The outcome of the same request when it was first sent. `None` if this is the first time.
    ///
    /// # Errors
    /// 422 if the key was used for another request.
    pub(super) async fn earlier(&self) -> Result<Option<Earlier>, ApiError> {
        let Some(key) = &self.context.idempotency_key else {
            return Ok(None);
        };
        match self.by.app.store.find_known_key(&self.by.caller, key.as_str()).await? {
            None => Ok(None),
            Some(KnownKey::Event(event)) if digest_of(&event) == self.digest => {
                Ok(Some(Earlier::Appended(event.aggregate_version)))
            }
            Some(KnownKey::Event(event)) => Err(reused(&self.differing(&event))),
            Some(KnownKey::Kept(kept)) if Some(&kept.request_digest) == self.digest.as_ref() => {
                Ok(Some(Earlier::Kept(kept.outcome)))
            }
            Some(KnownKey::Kept(_)) => Err(kept_for_another()),
        }
    }

    /// Keeps the key of a request that found nothing to do in the entity as it was read. False if the entity has changed since or the key
    /// was used: read both again.
    pub(super) async fn keep_key(&self, found: &StoredEntity, outcome: KeptOutcome) -> Result<bool, ApiError> {
        let (Some(key), Some(digest)) = (&self.context.idempotency_key, &self.digest) else {
            return Ok(true);
        };
        let kept = KeptKey {
            request_digest: digest.clone(),
            outcome,
        };
        let id = AggregateId::stored(found.aggregate_id.clone());
        let entity = (&self.verb.aggregate_type, &id);
        let version = found.entity.version;
        let store = &self.by.app.store;
        Ok(store
            .keep_key(&self.by.caller, entity, version, key.as_str(), &kept)
            .await?)
    }

    /// Names of the parts in which this request differs from the one that appended the event.
    fn differing(&self, event: &Event) -> Vec<&'static str> {
        let metadata: Value = serde_json::from_str(event.metadata.get()).unwrap_or_default();
        let reason = self.context.reason.as_ref().map(|reason| reason.as_str());
        let correlation_id = self.context.correlation_id.as_ref().map(|id| id.as_str());
        let same = [
            ("event_type", event.event_type == self.verb.event_type.as_str()),
            ("aggregate_id", event.aggregate_id == self.aggregate_id),
            ("reason", metadata["reason"].as_str() == reason),
            ("correlation_id", event.correlation_id.as_deref() == correlation_id),
            ("causation_id", event.causation_id == self.context.causation_id),
        ];
        let differing: Vec<_> = same.into_iter().filter(|(_, same)| !same).collect();
        match differing.is_empty() {
            true => vec!["body"],
            false => differing.into_iter().map(|(name, _)| name).collect(),
        }
    }
}

/// The refusal of a key that was used for an event; `differing` names the parts in which the two requests differ.
pub(crate) fn reused(differing: &[&str]) -> ApiError {
    let fault = |name: &&str| {
        let pointer = if *name == "body" {
            String::new()
        } else {
            format!("/{name}")
        };
        FieldFault::new(pointer, "differs", "differs from the first request with this key")
    };
    let detail = format!(
        "the idempotency key was used for a request with a different {}; use a new key for a new request",
        differing.join(", ")
    );
    let faults = differing.iter().map(fault).collect();
    ApiError::unprocessable(KEY_REUSED, detail, faults)
}

/// The refusal of a key that is kept for another request.
pub(crate) fn kept_for_another() -> ApiError {
    let detail = "the idempotency key was used for a PATCH or DELETE with a different path, body or reason, which changed nothing; \
                  use a new key for a new request";
    ApiError::unprocessable(KEY_REUSED, detail, Vec::new())
}
