//! Working an inverse out: what the catalog declares, what the entity was and is, and how the event stands.

use annals::App;
use annals::domain::compensate::{Correction, Refused};
use annals::domain::event::{FieldFault, Part};
use annals::domain::{
    AggregateId, AggregateType, Caller, Catalog, Effect, Event, EventKind, Fact, FoldError, Inverse, NewEvent,
    Timestamp,
};
use annals::http::{ApiError, Problem};
use annals::store::{Bounds, PastEntity, Standing, StoreError};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;

/// The event that compensates another; none where the catalog changed meanwhile, and all has to be read again.
pub(super) async fn inverse(
    app: &App,
    caller: &Caller,
    event: &Event,
    ask: &Ask,
) -> Result<Option<NewEvent>, ApiError> {
    let catalog = app.store.catalog(caller).await?;
    let sees_none = declared(&catalog, event).is_err();
    let catalog = if sees_none {
        app.store.fresh_catalog(caller).await?
    } else {
        catalog
    };
    declared(&catalog, event)?;
    let Some(now) = entity_at(app, caller, event, None).await? else {
        let detail = "another actor has started the entity, or it has events that you may not see: its state is not shown to you, \
                      so you cannot correct it; ask staff";
        return Err(ApiError::forbidden("state_hidden", detail));
    };
    // After the state: what is found now covers every version up to the one that the append will ask for.
    let id = match app.store.find_standing(caller, event.id).await? {
        Some(Standing::Counts { compensation }) => compensation,
        Some(Standing::Compensated { by }) => {
            return Err(ApiError::conflict(
                "already_compensated",
                format!("event {by} compensates it"),
            ));
        }
        Some(Standing::NotApplied) => {
            let detail = "the event is left out of state, or its stream is parked: there is nothing to compensate";
            return Err(ApiError::conflict("not_applied", detail));
        }
        None => return Err(super::missing()),
    };
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
    let mut inverse = worked_out(&catalog, caller, event, before.as_ref(), &now, ask)?;
    inverse.id = id;
    Ok(Some(inverse))
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
    .ok_or_else(|| no_inverse(&format!("{} has no inverse in the catalog", event.event_type)))
}

fn worked_out(
    catalog: &Catalog,
    caller: &Caller,
    event: &Event,
    before: Option<&PastEntity>,
    now: &PastEntity,
    ask: &Ask,
) -> Result<NewEvent, ApiError> {
    let (kind, inverse, inverse_kind) = declared(catalog, event)?;
    let entity = |past: &'_ PastEntity| past.found.as_ref().map(|stored| stored.entity.clone());
    let is_starter = now
        .found
        .as_ref()
        .is_some_and(|stored| stored.started_by == caller.actor().as_str());
    let (before, now) = (before.and_then(entity), entity(now).ok_or_else(super::missing)?);
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
        // The reason is in the metadata, too, which a stream's starter does not see of events that others append; data the starter sees.
        None if is_starter || !inverse_kind.starter_sees => add_reason(inverse_kind, ask, &mut data),
        None => {}
        Some(_) => refuse_unsayable(inverse_kind, &data)?,
    }
    let mut event = caused_by(event, inverse_kind, data)?;
    if inverse.data.is_none() && (&kind.effect, &inverse_kind.effect) == (&Effect::Delete, &Effect::Create) {
        event.part = Some(Part::Restoration);
    }
    let mut event = ask.applied_to(event);
    event.expected_version = Some(now.version);
    Ok(event)
}

/// What is deleted or removed says why, where its schema has a place for it.
fn add_reason(kind: &EventKind, ask: &Ask, data: &mut Map<String, Value>) {
    let (Effect::Delete | Effect::RemoveChild(_), Some(reason)) = (&kind.effect, &ask.reason) else {
        return;
    };
    data.insert("reason".to_owned(), json!(reason));
    if kind.current().is_some_and(|schema| schema.check(data).is_err()) {
        data.remove("reason");
    }
}

/// Null means that there was no value before. The inverse's schema may not allow null.
fn refuse_unsayable(kind: &EventKind, data: &Map<String, Value>) -> Result<(), ApiError> {
    let says_none = data.values().any(Value::is_null);
    let Some(Err(faults)) = kind.current().filter(|_| says_none).map(|schema| schema.check(data)) else {
        return Ok(());
    };
    let fault = faults.first().map_or_else(String::new, |fault| {
        format!(" (data{}: {})", fault.pointer, fault.detail)
    });
    Err(no_inverse(&format!(
        "{} cannot say what the entity was before the event{fault}; correct it by an event of your own",
        kind.event_type
    )))
}

fn caused_by(event: &Event, kind: &EventKind, data: Map<String, Value>) -> Result<NewEvent, ApiError> {
    let unreadable = |_| ApiError::Internal("the log holds a name that none can have".into());
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
        Refused::NoInverse(detail) => no_inverse(detail),
        Refused::TooLarge => crate::entities::state_too_large(),
        Refused::NoEffect => ApiError::conflict("not_applied", "the event changed nothing that could be changed back"),
        Refused::ChangedSince(places) => {
            let detail = format!("changed since the event: {}", places.join(", "));
            let fault = |place| FieldFault::new(place, "changed_since", "is not as the event left it");
            Problem::new(StatusCode::CONFLICT, "changed_since", detail)
                .with_errors(places.into_iter().map(fault).collect())
                .into()
        }
    }
}
