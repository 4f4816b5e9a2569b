//! What is deleted is still there: a request to change it, or to create it anew, is refused with the time of the deletion and how to bring
//! the entity back.

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::{AggregateId, Caller};
use annals::http::{ApiError, Problem};
use annals::store::StoredEntity;
use axum::http::StatusCode;

use super::verb::Verb;

/// The refusal to change a deleted entity.
pub(super) async fn refusal(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    found: &StoredEntity,
) -> Result<ApiError, ApiError> {
    let (said, way_back) = told(app, caller, verb, found).await?;
    Ok(ApiError::conflict("entity_deleted", format!("{said}; {way_back}")))
}

/// The refusal to create what is there already.
pub(super) async fn already_there(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    id: &AggregateId,
) -> Result<ApiError, ApiError> {
    let found = app
        .store
        .find_entity(caller, verb.aggregate_type.as_str(), id.as_str())
        .await?;
    match found.filter(|found| found.entity.deleted_at.is_some()) {
        None => {
            let detail = format!(
                "there is a {} {id} already; change it by PATCH, or choose another id",
                verb.aggregate_type
            );
            Ok(ApiError::conflict("already_exists", detail))
        }
        Some(found) => {
            let (said, way_back) = told(app, caller, verb, &found).await?;
            let detail = format!("{said}, and its id stays taken: choose another id, or {way_back}");
            let fault = FieldFault::new("/id", "entity_deleted", said);
            let problem = Problem::new(StatusCode::CONFLICT, "already_exists", detail);
            Ok(problem.with_errors(vec![fault]).into())
        }
    }
}

/// The answer to a deletion that is sent again, and found nothing to delete the first time.
pub(super) fn was_before() -> ApiError {
    let detail = "the entity had been deleted already when this request came for the first time";
    ApiError::conflict("entity_deleted", detail)
}

/// When and by what it was deleted, and how it comes back.
async fn told(app: &App, caller: &Caller, verb: &Verb, found: &StoredEntity) -> Result<(String, String), ApiError> {
    let (kind, id) = (&verb.aggregate_type, &found.aggregate_id);
    let Some(at) = found.entity.deleted_at else {
        return Err(ApiError::Internal("what is not deleted was taken to be".into()));
    };
    let event = app.store.find_event_recorded_at(caller, found, at).await?;
    let Some((event, event_type)) = event else {
        let way_back = "ask staff to bring it back by compensating the event that deleted it";
        return Ok((format!("{kind} {id} was deleted at {at}"), way_back.to_owned()));
    };
    let catalog = app.store.catalog(caller).await?;
    let known = catalog.find(caller.tenant_id(), &event_type);
    let way_back = match known.is_some_and(|known| known.inverse.is_some()) {
        true => format!("bring it back by POST /api/v1/events/{event}/compensate"),
        false => format!("it cannot be brought back, because {event_type} has no inverse"),
    };
    Ok((format!("{kind} {id} was deleted at {at} by event {event}"), way_back))
}
