//! Idempotency keys of requests that were answered without an event: they found nothing to do (V48).

use tokio_postgres::types::Type;

use super::events::{FIND_EVENT_BY_KEY, event_from};
use super::session::{As, Param, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::{AggregateId, AggregateType, Caller, Event};

const FIND_KEPT_KEY: &str = "-- find_kept_key
select k.request_digest, k.outcome from annals.find_kept_key($1) as k";

const KEEP_KEY: &str = "-- keep_key
select annals.keep_key($1, $2, $3, $4, $5, $6) as kept";

/// A request sent again after that long is a new one.
const FORGET_KEYS: &str = "-- forget_kept_keys
delete from annals.kept_keys where kept_at < now() - interval '30 days'";

/// What a request without an event was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The entity was as the request wants it.
    Unchanged,
    /// What the request would delete was deleted already.
    Deleted,
}

/// A request that found nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// Digest of what was asked for.
    pub request_digest: String,
    /// What was answered.
    pub outcome: Outcome,
}

/// What an idempotency key was used for.
#[derive(Debug)]
pub enum KnownKey {
    /// A request that appended an event.
    Event(Box<Event>),
    /// A request that found nothing to do.
    Kept(KeptKey),
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

impl Store {
    /// What the caller has used this key for, if anything: both kinds are looked for, because a key belongs to one request.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_known_key(&self, caller: &Caller, key: &str) -> Result<Option<KnownKey>, StoreError> {
        let actor = caller.actor().as_str();
        let of_event: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&actor, Type::TEXT),
            (&key, Type::TEXT),
        ];
        let kept: [Param<'_>; 1] = [(&key, Type::TEXT)];
        let statements = [(FIND_EVENT_BY_KEY, &of_event[..]), (FIND_KEPT_KEY, &kept[..])];
        let [events, kept] = self.read_together(As::Caller(caller), statements).await?;
        if let Some(event) = events.first() {
            return Ok(Some(KnownKey::Event(Box::new(event_from(event)?))));
        }
        let Some(row) = kept.first() else { return Ok(None) };
        Ok(Some(KnownKey::Kept(KeptKey {
            request_digest: row.try_get("request_digest")?,
            outcome: match row.try_get::<_, &str>("outcome")? {
                "deleted" => Outcome::Deleted,
                _ => Outcome::Unchanged,
            },
        })))
    }

    /// Keeps the key of a request that found nothing to do at this version of an entity; whether it did. Where not, the entity has
    /// moved on, or the key is known by now: the request has to be looked at again.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_key(
        &self,
        caller: &Caller,
        (aggregate_type, aggregate_id): (&AggregateType, &AggregateId),
        version: i32,
        key: &str,
        kept: &KeptKey,
    ) -> Result<bool, StoreError> {
        let (aggregate_type, aggregate_id) = (aggregate_type.as_str(), aggregate_id.as_str());
        let outcome = kept.outcome.as_str();
        let params: [Param<'_>; 6] = [
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
            (&version, Type::INT4),
            (&key, Type::TEXT),
            (&kept.request_digest, Type::TEXT),
            (&outcome, Type::TEXT),
        ];
        let written = self.write(As::Caller(caller), KEEP_KEY, &params).await;
        let rows = written.map_err(lost_is_unavailable)?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no word of a kept key".to_owned()))?;
        Ok(row.try_get("kept")?)
    }

    /// Forgets keys that were kept 30 days ago.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_kept_keys(&self) -> Result<(), StoreError> {
        let forgotten = self.write(As::Projector, FORGET_KEYS, &[]).await;
        forgotten.map(|_| ()).map_err(lost_is_unavailable)
    }
}
