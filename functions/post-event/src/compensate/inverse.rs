//! Computes the inverse of an event from the inverse that the catalog declares, the entity's states before the event and now, and
//! whether the event may be compensated.

use crate::App;
use annals_append::{CompensationError, Mistake, compensation, declared_inverse};
use annals_domain::event::FieldFault;
use annals_domain::{Caller, Catalog, Event, EventId, NewEvent};
use annals_http::{ApiError, Problem};
use annals_store::{Bounds, CompensationStatus, PastEntity, StoreError};
use axum::http::StatusCode;

use super::request::CompensationRequest;

/// The event that compensates `event`; `None` if the catalog changed meanwhile, so that everything has to be read again.
pub(super) async fn inverse(
    app: &App,
    caller: &Caller,
    event: &Event,
    request: &CompensationRequest,
) -> Result<Option<NewEvent>, ApiError> {
    refuse_without_inverse(app, caller, event).await?;
    let Some(now) = entity_at(app, caller, event, None).await? else {
        let detail = "you may not see the state of this entity, because another actor started it or it has events that are hidden \
                      from you; ask staff to compensate the event";
        return Err(ApiError::forbidden("state_hidden", detail));
    };
    // The id is read after the state, so it takes into account every version up to the one that the append will expect.
    let id = compensation_id(app, caller, event).await?;
    let before = match event.aggregate_version - 1 {
        0 => None,
        version => entity_at(app, caller, event, Some(version)).await?,
    };
    let catalog = app.store.catalog_since(caller, now.catalog_revision).await?;
    let folded_by = [
        Some(now.catalog_revision),
        before.as_ref().map(|past| past.catalog_revision),
    ];
    if folded_by
        .into_iter()
        .flatten()
        .any(|revision| revision != catalog.revision())
    {
        return Ok(None);
    }
    let mut inverse = compute(&catalog, caller, event, before.as_ref(), &now, request)?;
    inverse.id = id;
    Ok(Some(inverse))
}

/// Refuses an event whose type has no inverse. The catalog in memory may be out of date, so the one in the database is read before a
/// refusal.
async fn refuse_without_inverse(app: &App, caller: &Caller, event: &Event) -> Result<(), ApiError> {
    if declared_inverse(&*app.store.catalog(caller).await?, event).is_err() {
        declared_inverse(&*app.store.fresh_catalog(caller).await?, event).map_err(refused)?;
    }
    Ok(())
}

/// The id that the compensation will have, if the event may be compensated.
async fn compensation_id(app: &App, caller: &Caller, event: &Event) -> Result<EventId, ApiError> {
    match app.store.find_compensation_status(caller, event.id).await? {
        Some(CompensationStatus::Open { compensation }) => Ok(compensation),
        Some(CompensationStatus::Compensated { by }) => Err(ApiError::conflict(
            "already_compensated",
            format!("event {by} has already compensated it"),
        )),
        Some(CompensationStatus::NotApplied) => {
            let detail = "the event was skipped, or its stream is parked: it is not part of the state, so there is nothing to compensate";
            Err(ApiError::conflict("not_applied", detail))
        }
        None => Err(ApiError::no_such_event()),
    }
}

async fn entity_at(
    app: &App,
    caller: &Caller,
    event: &Event,
    version: Option<i32>,
) -> Result<Option<PastEntity>, StoreError> {
    let bounds = Bounds {
        version,
        ..Bounds::default()
    };
    let found = app
        .store
        .find_entity_at(caller, &event.aggregate_type, &event.aggregate_id, bounds)
        .await?;
    Ok(found.filter(|past| past.found.is_some()))
}

fn compute(
    catalog: &Catalog,
    caller: &Caller,
    event: &Event,
    before: Option<&PastEntity>,
    now: &PastEntity,
    request: &CompensationRequest,
) -> Result<NewEvent, ApiError> {
    let now = now.found.as_ref().ok_or_else(ApiError::no_such_event)?;
    let mistake = Mistake {
        event,
        before: before.and_then(|past| past.found.as_ref()).map(|found| &found.entity),
        now: &now.entity,
        is_starter: now.started_by == caller.actor().as_str(),
    };
    let mut inverse = compensation(catalog, mistake, request.reason.as_ref()).map_err(refused)?;
    request.add_to(&mut inverse);
    Ok(inverse)
}

fn refused(error: CompensationError) -> ApiError {
    match error {
        CompensationError::NoInverse(detail) => ApiError::unprocessable("no_inverse", &detail, Vec::new()),
        CompensationError::TooLarge => crate::entities::state_too_large(),
        CompensationError::NoEffect => ApiError::conflict("not_applied", "the event changed nothing"),
        CompensationError::ChangedSince(places) => {
            let detail = format!("the entity has been changed since the event: {}", places.join(", "));
            let fault = |place| FieldFault::new(place, "changed_since", "has been changed since the event");
            Problem::new(StatusCode::CONFLICT, "changed_since", detail)
                .with_errors(places.into_iter().map(fault).collect())
                .into()
        }
        CompensationError::Store(error) => error.into(),
    }
}
