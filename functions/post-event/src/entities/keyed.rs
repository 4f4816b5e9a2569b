//! A change under an idempotency key: a request sent again under the same key gets the first request's result and changes nothing, even
//! if the entity has changed since.
//!
//! What an update's event holds depends on what it found, so a retry's would differ from the original's; what the client asked
//! for is what has to be the same. A request that finds nothing to do leaves no event, and its key is kept by itself (V48).
//!
//! Invariant: the key is looked for after the entity has been read. V48 says why that order matters.

use annals::App;
use annals::domain::ids::Text;
use annals::domain::{AggregateId, Caller, Event, json};
use annals::http::ApiError;
use annals::store::{KeptKey, Outcome, StoredEntity};
use serde_json::json;

use super::verb::Verb;

/// A change that a client asks for.
pub(super) struct Keyed<'a> {
    pub(super) caller: &'a Caller,
    pub(super) verb: &'a Verb,
    /// As the path has it.
    pub(super) aggregate_id: &'a str,
    pub(super) key: Option<&'a Text<255>>,
    /// Digest of the body, with what is said beside it.
    pub(super) body: String,
}

impl Keyed<'_> {
    /// What the same request came to before; none where it is the first.
    ///
    /// # Errors
    /// 422 where the key belongs to another request.
    pub(super) async fn earlier(
        &self,
        app: &App,
        asks_the_same: impl Fn(&Event) -> bool,
    ) -> Result<Option<Outcome>, ApiError> {
        let Some(key) = self.key else { return Ok(None) };
        if let Some(event) = app.store.find_event_by_key(self.caller, key.as_str()).await? {
            let same_entity =
                event.event_type == self.verb.event_type.as_str() && event.aggregate_id == self.aggregate_id;
            return match same_entity && asks_the_same(&event) {
                true => Ok(Some(Outcome::Unchanged)),
                false => Err(reused()),
            };
        }
        match app.store.find_kept_key(self.caller, key.as_str()).await? {
            None => Ok(None),
            Some(kept) if kept.request_digest == self.digest() => Ok(Some(kept.outcome)),
            Some(_) => Err(reused()),
        }
    }

    /// Keeps the key of the request, which finds nothing to do in the entity as it was read. False: look again.
    pub(super) async fn keep(
        &self,
        app: &App,
        (id, found): (&AggregateId, &StoredEntity),
        outcome: Outcome,
    ) -> Result<bool, ApiError> {
        let Some(key) = self.key else { return Ok(true) };
        let kept = KeptKey {
            request_digest: self.digest(),
            outcome,
        };
        let entity = (&self.verb.aggregate_type, id);
        let version = found.entity.version;
        Ok(app
            .store
            .keep_key(self.caller, entity, version, key.as_str(), &kept)
            .await?)
    }

    fn digest(&self) -> String {
        json::digest(&json!([self.verb.event_type.as_str(), self.aggregate_id, self.body]))
    }
}

fn reused() -> ApiError {
    let detail = "the idempotency key belongs to another request; send a new key with a new request";
    ApiError::unprocessable("idempotency_key_reused", detail, Vec::new())
}
