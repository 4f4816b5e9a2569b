//! A request to change an entity, read and ready to be decided on.

use annals_domain::{AggregateId, NewEvent};
use annals_http::{ApiError, Problem};
use annals_store::{AppendError, Appended, StoredEntity};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::change_context::ChangeContext;
use super::digest::with_digest;
use super::verb::Verb;
use crate::write_request::Sender;

/// A request to create, update or delete an entity.
pub(super) struct Change {
    pub(super) by: Sender,
    /// The event type that the request emits.
    pub(super) verb: Verb,
    /// The entity's id as it was sent: no entity has an id that is invalid.
    pub(super) aggregate_id: String,
    pub(super) context: ChangeContext,
    /// Digest of what was sent, if there is an idempotency key.
    pub(super) digest: Option<String>,
}

impl Change {
    /// The change that a request with this context and body asks for.
    pub(super) fn new(
        by: Sender,
        verb: Verb,
        aggregate_id: String,
        context: ChangeContext,
        body: impl FnOnce() -> Value,
    ) -> Self {
        Self {
            digest: context.digest(&verb, &aggregate_id, body),
            by,
            verb,
            aggregate_id,
            context,
        }
    }

    /// The entity as it is now; `None` if it does not exist or the caller may not see it.
    pub(super) async fn find(&self) -> Result<Option<StoredEntity>, ApiError> {
        if AggregateId::try_from(self.aggregate_id.clone()).is_err() {
            return Ok(None);
        }
        let (by, kind) = (&self.by, self.verb.aggregate_type.as_str());
        Ok(by.app.store.find_entity(&by.caller, kind, &self.aggregate_id).await?)
    }

    /// The entity that was found, if it exists, has a version that `If-Match` requires, and is not parked before an event that is too
    /// large.
    ///
    /// # Errors
    /// 404, 412 and 413.
    pub(super) fn present(
        &self,
        found: Option<StoredEntity>,
        required: Option<&[i32]>,
    ) -> Result<StoredEntity, ApiError> {
        let kind = self.verb.aggregate_type.as_str();
        let found = found.ok_or_else(|| ApiError::no_such_entity(kind, &self.aggregate_id))?;
        if required.is_some_and(|versions| !versions.contains(&found.entity.version)) {
            let detail = format!(
                "the entity is at version {}, which If-Match does not list; read it again and retry",
                found.entity.version
            );
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail).into());
        }
        if let Some(stopped) = &found.stopped {
            let detail = format!(
                "the entity's stream is parked before version {}, which is too large; ask staff to skip that event",
                stopped.version
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, stopped.code, detail).into());
        }
        Ok(found)
    }

    /// Appends the request's event at this version of the stream only.
    ///
    /// # Errors
    /// The append's: `version_conflict` if the stream has another version by now.
    pub(super) async fn append(
        &self,
        id: AggregateId,
        data: Map<String, Value>,
        version: i32,
    ) -> Result<Appended, AppendError> {
        let Verb {
            event_type,
            aggregate_type,
        } = &self.verb;
        let mut event = NewEvent::plain(event_type.clone(), aggregate_type.clone(), id, data);
        self.context.add_to(&mut event);
        event.expected_version = Some(version);
        let by = &self.by;
        let observed = with_digest(&by.observed, self.digest.as_ref());
        by.app.append.append_one(&by.caller, &event, &observed).await
    }
}
