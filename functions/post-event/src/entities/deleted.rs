//! Refusals of changes to a deleted entity. A deleted entity still exists: a request to change it, or to create it again, is refused with
//! the time of the deletion and how the entity can be restored.

use annals_domain::event::FieldFault;
use annals_http::{ApiError, Problem};
use annals_store::StoredEntity;
use axum::http::StatusCode;

use super::change::Change;

/// The refusal to change a deleted entity.
pub(super) async fn refusal(change: &Change, found: &StoredEntity) -> Result<ApiError, ApiError> {
    let (deletion, remedy) = describe(change, found).await?;
    Ok(ApiError::conflict("entity_deleted", format!("{deletion}; {remedy}")))
}

/// The refusal to create an entity whose id is taken.
pub(super) async fn already_there(change: &Change) -> Result<ApiError, ApiError> {
    let found = change.find().await?;
    match found.filter(|found| found.entity.deleted_at.is_some()) {
        None => {
            let (kind, id) = (&change.verb.aggregate_type, &change.aggregate_id);
            let detail = format!("the {kind} {id} exists already; change it with PATCH, or choose another id");
            Ok(ApiError::conflict("already_exists", detail))
        }
        Some(found) => {
            let (deletion, remedy) = describe(change, &found).await?;
            let detail = format!("{deletion}, and its id cannot be used again: choose another id, or {remedy}");
            let fault = FieldFault::new("/id", "entity_deleted", deletion);
            let problem = Problem::new(StatusCode::CONFLICT, "already_exists", detail);
            Ok(problem.with_errors(vec![fault]).into())
        }
    }
}

/// The answer to a retry of a deletion that found the entity deleted when it was first sent.
pub(super) fn was_before() -> ApiError {
    let detail = "the entity was already deleted when this request first arrived";
    ApiError::conflict("entity_deleted", detail)
}

/// When and by which event the entity was deleted, and how it can be restored.
async fn describe(change: &Change, found: &StoredEntity) -> Result<(String, String), ApiError> {
    let (kind, id) = (&change.verb.aggregate_type, &found.aggregate_id);
    let Some(at) = found.entity.deleted_at else {
        return Err(ApiError::Internal("an entity was taken for deleted that is not".into()));
    };
    let (store, caller) = (&change.by.app.store, &change.by.caller);
    let Some((event, event_type)) = store.find_event_recorded_at(caller, found, at).await? else {
        let remedy = "ask staff to restore it by compensating the event that deleted it";
        return Ok((format!("{kind} {id} was deleted at {at}"), remedy.to_owned()));
    };
    let catalog = store.catalog(caller).await?;
    let known = catalog.find(caller.tenant_id(), &event_type);
    let remedy = match known.is_some_and(|known| known.inverse.is_some()) {
        true => format!("restore it with POST /api/v1/events/{event}/compensate"),
        false => format!("it cannot be restored, because {event_type} has no inverse"),
    };
    Ok((format!("{kind} {id} was deleted at {at} by event {event}"), remedy))
}
