//! Computes the inverse of an event from the inverse that the catalog declares, the entity's states before the event and now, and
//! whether the event may be compensated.

use crate::App;
use annals_domain::compensate::{Correction, Refused};
use annals_domain::event::{FieldFault, Part};
use annals_domain::{
    AggregateId, AggregateType, Caller, Catalog, Effect, Event, EventId, EventKind, Fact, FoldError, Inverse, NewEvent,
    Timestamp,
};
use annals_http::{ApiError, Problem};
use annals_store::{Bounds, CompensationStatus, PastEntity, StoreError};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

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
    if declared(&*app.store.catalog(caller).await?, event).is_err() {
        declared(&*app.store.fresh_catalog(caller).await?, event)?;
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

/// The event's type, its inverse, and the inverse's type.
fn declared<'a>(catalog: &'a Catalog, event: &Event) -> Result<(&'a EventKind, &'a Inverse, &'a EventKind), ApiError> {
    let kind = catalog.find(event.tenant_id, &event.event_type);
    kind.and_then(|kind| {
        let inverse = kind.inverse.as_ref()?;
        let inverse_kind = catalog.find(event.tenant_id, &inverse.event_type)?;
        Some((&**kind, inverse, &**inverse_kind))
    })
    .ok_or_else(|| no_inverse(&format!("the catalog declares no inverse for {}", event.event_type)))
}

fn compute(
    catalog: &Catalog,
    caller: &Caller,
    event: &Event,
    before: Option<&PastEntity>,
    now: &PastEntity,
    request: &CompensationRequest,
) -> Result<NewEvent, ApiError> {
    let (kind, inverse, inverse_kind) = declared(catalog, event)?;
    let entity = |past: &'_ PastEntity| past.found.as_ref().map(|stored| stored.entity.clone());
    let is_starter = now
        .found
        .as_ref()
        .is_some_and(|stored| stored.started_by == caller.actor().as_str());
    let (before, now) = (
        before.and_then(entity),
        entity(now).ok_or_else(ApiError::no_such_event)?,
    );
    let mut data: Map<String, Value> =
        serde_json::from_str(event.data.get()).map_err(|e| ApiError::Internal(Box::new(e)))?;
    kind.upcast(&event.version, &mut data)
        .map_err(|e| StoreError::Unfoldable(FoldError::from(e)))?;
    let correction = Correction {
        event: Fact {
            version: event.aggregate_version,
            created_at: event.created_at,
            effect: &kind.effect,
            data: &data,
        },
        inverse,
        inverse_effect: &inverse_kind.effect,
        before: before.as_ref(),
        now: &now,
        at: Timestamp::now(),
    };
    let mut data = correction.data().map_err(refused)?;
    match &inverse.data {
        // The reason is always in the metadata, and the stream's starter does not see the metadata of other actors' events. The starter
        // sees their data if the type says `starter_sees`. In that case the reason is added to the data only if the caller is the starter.
        None if is_starter || !inverse_kind.starter_sees => add_reason(inverse_kind, request, &mut data),
        None => {}
        Some(_) => refuse_nulls(inverse_kind, &data)?,
    }
    let mut event = caused_by(event, inverse_kind, data)?;
    if inverse.data.is_none() && (&kind.effect, &inverse_kind.effect) == (&Effect::Delete, &Effect::Create) {
        event.part = Some(Part::Restoration);
    }
    request.add_to(&mut event);
    event.expected_version = Some(now.version);
    Ok(event)
}

/// Adds the reason to the data of a deletion or removal, if the schema allows it.
fn add_reason(kind: &EventKind, request: &CompensationRequest, data: &mut Map<String, Value>) {
    let (Effect::Delete | Effect::RemoveChild(_), Some(reason)) = (&kind.effect, &request.reason) else {
        return;
    };
    data.insert("reason".to_owned(), json!(reason));
    if kind.current().is_some_and(|schema| schema.check(data).is_err()) {
        data.remove("reason");
    }
}

/// Refuses an inverse with null for a field that had no value before the event, if the schema of the inverse does not allow null.
fn refuse_nulls(kind: &EventKind, data: &Map<String, Value>) -> Result<(), ApiError> {
    let says_none = data.values().any(Value::is_null);
    let Some(Err(faults)) = kind.current().filter(|_| says_none).map(|schema| schema.check(data)) else {
        return Ok(());
    };
    let fault = faults.first().map_or_else(String::new, |fault| {
        format!(" (data{}: {})", fault.pointer, fault.detail)
    });
    Err(no_inverse(&format!(
        "an event of type {} cannot restore the state before the event{fault}; append an event that corrects it",
        kind.event_type
    )))
}

fn caused_by(event: &Event, kind: &EventKind, data: Map<String, Value>) -> Result<NewEvent, ApiError> {
    let unreadable = |_| ApiError::Internal("the log holds an invalid name".into());
    let mut inverse = NewEvent::plain(
        kind.event_type.clone(),
        AggregateType::try_from(event.aggregate_type.clone()).map_err(unreadable)?,
        AggregateId::stored(event.aggregate_id.clone()),
        data,
    );
    inverse.causation_id = Some(*event.id.as_uuid());
    inverse.part = Some(Part::Compensation);
    let correlation_id = event.correlation_id.clone().map(TryFrom::try_from).transpose();
    inverse.correlation_id = correlation_id.map_err(unreadable)?;
    Ok(inverse)
}

fn no_inverse(detail: &str) -> ApiError {
    ApiError::unprocessable("no_inverse", detail, Vec::new())
}

fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::NoInverse(why) => no_inverse(&format!("the event cannot be compensated: {why}")),
        Refused::TooLarge => crate::entities::state_too_large(),
        Refused::NoEffect => ApiError::conflict("not_applied", "the event changed nothing"),
        Refused::ChangedSince(places) => {
            let detail = format!("the entity has been changed since the event: {}", places.join(", "));
            let fault = |place| FieldFault::new(place, "changed_since", "has been changed since the event");
            Problem::new(StatusCode::CONFLICT, "changed_since", detail)
                .with_errors(places.into_iter().map(fault).collect())
                .into()
        }
    }
}
