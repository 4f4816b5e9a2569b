//! Idempotency keys of requests that found nothing to do and so appended no event (migration `kept_keys`).

use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::log::events::{FIND_EVENT_BY_KEY, event_from};
use crate::{Store, StoreError};
use annals_domain::{AggregateId, AggregateType, Caller, Event};

const FIND_KEPT_KEY: &str = "-- find_kept_key
select k.request_digest, k.outcome from annals.find_kept_key($1) as k";

const KEEP_KEY: &str = "-- keep_key
select annals.keep_key($1, $2, $3, $4, $5, $6) as kept";

/// A request that is repeated after more than 30 days counts as a new one.
const FORGET_KEYS: &str = "-- forget_kept_keys
delete from annals.kept_keys where kept_at < now() - interval '30 days'";

/// The answer to a request without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptOutcome {
    /// The entity already was as the request wants it.
    Unchanged,
    /// The entity was already deleted.
    Deleted,
}

/// A request that found nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// Digest of the request.
    pub request_digest: String,
    /// Its answer.
    pub outcome: KeptOutcome,
}

/// The request that an idempotency key was used for.
#[derive(Debug)]
pub enum KnownKey {
    /// A request that appended an event.
    Event(Box<Event>),
    /// A request that found nothing to do.
    Kept(KeptKey),
}

impl KeptOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

impl Store {
    /// What the caller has used this key for, if anything. Both kinds are looked up, because a key belongs to one request.
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
                "deleted" => KeptOutcome::Deleted,
                _ => KeptOutcome::Unchanged,
            },
        })))
    }

    /// Keeps the key of a request that found nothing to do at this version of an entity. Returns false if the entity has changed since
    /// or the key is known by now: then the request must be handled again.
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
        let row = self.write_row(As::Caller(caller), KEEP_KEY, &params).await?;
        Ok(row.try_get("kept")?)
    }

    /// Deletes keys that were kept more than 30 days ago.
    pub async fn forget_kept_keys(&self) -> Result<(), StoreError> {
        self.write(As::Projector, FORGET_KEYS, &[]).await.map(|_| ())
    }
}
