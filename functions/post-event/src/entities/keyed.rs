//! A request under an idempotency key: sent again, it comes to what it came to first, whatever has become of the entity and of the
//! catalog since.
//!
//! What an event holds depends on what it found: an update's on the state, a creation's on the schema. So a retry is not known by
//! its event's data but by what the client sent, of which a digest is kept: in the event's `recorded`, or, where a request finds
//! nothing to do and leaves no event, with its key (V48).
//!
//! Invariant: the key is looked for after the entity has been read. V48 says why that order matters. A creation reads none: it asks
//! for version 0.

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::{AggregateId, Caller, Event, json};
use annals::http::ApiError;
use annals::store::{KeptKey, KnownKey, Outcome, StoredEntity};
use serde_json::{Value, json};

use super::KEY_REUSED;
use super::remarks::Remarks;
use super::verb::Verb;

/// Where `recorded` of a keyed request's event keeps the digest of what was sent.
const REQUEST_DIGEST: &str = "request_digest";

/// A change that a client asks for.
pub(super) struct Keyed<'a> {
    caller: &'a Caller,
    verb: &'a Verb,
    aggregate_id: &'a str,
    remarks: &'a Remarks,
    /// Of what was sent; only where there is a key.
    digest: Option<String>,
}

/// What the same request came to before.
pub(super) enum Earlier {
    /// It appended the event that made this version.
    Appended(i32),
    /// It found nothing to do.
    Kept(Outcome),
}

impl Earlier {
    /// The version of the entity that it led to, where it led to one.
    pub(super) fn version(&self) -> Option<i32> {
        match self {
            Self::Appended(version) => Some(*version),
            Self::Kept(_) => None,
        }
    }
}

impl<'a> Keyed<'a> {
    /// The request of a verb, with an id as it was sent.
    pub(super) fn new(
        caller: &'a Caller,
        verb: &'a Verb,
        aggregate_id: &'a str,
        remarks: &'a Remarks,
        body: impl FnOnce() -> Value,
    ) -> Self {
        let reason = remarks.reason.as_ref().map(|reason| reason.as_str());
        let correlation_id = remarks.correlation_id.as_ref().map(|id| id.as_str());
        let causation_id = remarks.causation_id;
        let event_type = verb.event_type.as_str();
        let sent = |_: &_| json!([event_type, aggregate_id, body(), reason, correlation_id, causation_id]);
        let digest = remarks
            .idempotency_key
            .as_ref()
            .map(sent)
            .map(|sent| json::digest(&sent));
        Self {
            caller,
            verb,
            aggregate_id,
            remarks,
            digest,
        }
    }

    /// What the same request came to before; none where it is the first.
    ///
    /// # Errors
    /// 422 where the key belongs to another request.
    pub(super) async fn earlier(&self, app: &App) -> Result<Option<Earlier>, ApiError> {
        let Some(key) = &self.remarks.idempotency_key else {
            return Ok(None);
        };
        match app.store.find_known_key(self.caller, key.as_str()).await? {
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

    /// Keeps the key of the request, which finds nothing to do in the entity as it was read. False: look again.
    pub(super) async fn keep(
        &self,
        app: &App,
        (id, found): (&AggregateId, &StoredEntity),
        outcome: Outcome,
    ) -> Result<bool, ApiError> {
        let (Some(key), Some(digest)) = (&self.remarks.idempotency_key, &self.digest) else {
            return Ok(true);
        };
        let kept = KeptKey {
            request_digest: digest.clone(),
            outcome,
        };
        let entity = (&self.verb.aggregate_type, id);
        let version = found.entity.version;
        Ok(app
            .store
            .keep_key(self.caller, entity, version, key.as_str(), &kept)
            .await?)
    }

    /// What the server observed of the request, by which it is known again.
    pub(super) fn recorded(&self, context: &Value) -> Value {
        with_digest(context, self.digest.as_ref())
    }

    /// In what this request differs from the one that appended the event.
    fn differing(&self, event: &Event) -> Vec<&'static str> {
        let metadata: Value = serde_json::from_str(event.metadata.get()).unwrap_or_default();
        let reason = self.remarks.reason.as_ref().map(|reason| reason.as_str());
        let correlation_id = self.remarks.correlation_id.as_ref().map(|id| id.as_str());
        let same = [
            ("event_type", event.event_type == self.verb.event_type.as_str()),
            ("aggregate_id", event.aggregate_id == self.aggregate_id),
            ("reason", metadata["reason"].as_str() == reason),
            ("correlation_id", event.correlation_id.as_deref() == correlation_id),
            ("causation_id", event.causation_id == self.remarks.causation_id),
        ];
        let differing: Vec<_> = same.into_iter().filter(|(_, same)| !same).collect();
        match differing.is_empty() {
            true => vec!["body"],
            false => differing.into_iter().map(|(name, _)| name).collect(),
        }
    }
}

/// What the server observed of a request, with the digest of what was sent.
pub(crate) fn with_digest(recorded: &Value, digest: Option<&String>) -> Value {
    let mut recorded = recorded.clone();
    if let (Some(digest), Some(members)) = (digest, recorded.as_object_mut()) {
        members.insert(REQUEST_DIGEST.to_owned(), json!(digest));
    }
    recorded
}

/// The digest of what was sent for an event.
pub(crate) fn digest_of(event: &Event) -> Option<String> {
    let recorded: Value = serde_json::from_str(event.recorded.get()).ok()?;
    Some(recorded.get(REQUEST_DIGEST)?.as_str()?.to_owned())
}

/// The refusal of a key that was used for an event; `differing` names what the two requests do not share.
pub(crate) fn reused(differing: &[&str]) -> ApiError {
    let fault = |name: &&str| {
        let pointer = if *name == "body" {
            String::new()
        } else {
            format!("/{name}")
        };
        FieldFault::new(pointer, "differs", "is not what was sent under this key before")
    };
    let detail = format!(
        "the idempotency key was used for a request with another {}; send a new request under a new key",
        differing.join(", ")
    );
    let faults = differing.iter().map(fault).collect();
    ApiError::unprocessable(KEY_REUSED, detail, faults)
}

/// The refusal of a key that is kept for another request.
pub(crate) fn kept_for_another() -> ApiError {
    let detail = "the idempotency key was used for a PATCH or DELETE with another path, body or reason, which found nothing to do; \
                  send a new request under a new key";
    ApiError::unprocessable(KEY_REUSED, detail, Vec::new())
}
