//! The event that compensates an event: its declared inverse, with data that follow from the entity before the event and now. For single
//! compensations and for reverts of uploads.
//!
//! Nothing is read or appended here. The caller reads the entities, chooses the event's id, and appends it at the version of `now` only.

use annals_domain::compensate::{Correction, Refused};
use annals_domain::event::Part;
use annals_domain::ids::TextFault;
use annals_domain::reason::Reason;
use annals_domain::{
    AggregateId, AggregateType, Catalog, Effect, Entity, Event, EventKind, Fact, FoldError, Inverse, NewEvent,
    Timestamp,
};
use annals_store::StoreError;
use serde_json::{Map, Value, json};

/// Why an event is not compensated.
#[derive(Debug, thiserror::Error)]
pub enum CompensationError {
    /// There is no inverse, or it cannot restore the state before the event. Holds a sentence.
    #[error("{0}")]
    NoInverse(String),
    /// The event changed nothing.
    #[error("the event changed nothing")]
    NoEffect,
    /// What the event changed has been changed since. Holds JSON pointers into the state.
    #[error("the entity has been changed since the event: {}", .0.join(", "))]
    ChangedSince(Vec<String>),
    /// The state or the data would be too large.
    #[error("the state would be too large")]
    TooLarge,
    /// The log or the catalog is at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refused> for CompensationError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoInverse(why) => Self::NoInverse(format!("the event cannot be compensated: {why}")),
            Refused::NoEffect => Self::NoEffect,
            Refused::ChangedSince(places) => Self::ChangedSince(places),
            Refused::TooLarge => Self::TooLarge,
        }
    }
}

/// An event that is to be compensated, and its entity.
#[derive(Debug, Clone, Copy)]
pub struct Mistake<'a> {
    /// The event, as it was stored.
    pub event: &'a Event,
    /// The entity before the event; `None` if the event began the stream.
    pub before: Option<&'a Entity>,
    /// The entity now. The compensation expects its version.
    pub now: &'a Entity,
    /// Whether the caller started the stream.
    pub is_starter: bool,
}

/// The event's type, its inverse, and the inverse's type.
///
/// # Errors
/// [`CompensationError::NoInverse`] if the catalog declares none.
pub fn declared_inverse<'a>(
    catalog: &'a Catalog,
    event: &Event,
) -> Result<(&'a EventKind, &'a Inverse, &'a EventKind), CompensationError> {
    let kind = catalog.find(event.tenant_id, &event.event_type);
    kind.and_then(|kind| {
        let inverse = kind.inverse.as_ref()?;
        let inverse_kind = catalog.find(event.tenant_id, &inverse.event_type)?;
        Some((&**kind, inverse, &**inverse_kind))
    })
    .ok_or_else(|| CompensationError::NoInverse(format!("the catalog declares no inverse for {}", event.event_type)))
}

/// The compensating event, with a new id and without metadata.
///
/// # Errors
/// [`CompensationError`]: why there is none.
pub fn compensation(
    catalog: &Catalog,
    mistake: Mistake<'_>,
    reason: Option<&Reason>,
) -> Result<NewEvent, CompensationError> {
    let Mistake { event, before, now, .. } = mistake;
    let (kind, inverse, inverse_kind) = declared_inverse(catalog, event)?;
    let unreadable = |_| StoreError::Unexpected("unreadable JSON in the log".to_owned());
    let mut data: Map<String, Value> = serde_json::from_str(event.data.get()).map_err(unreadable)?;
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
        before,
        now,
        at: Timestamp::now(),
    };
    let mut data = correction.data()?;
    match &inverse.data {
        // The reason is always in the metadata, and the stream's starter does not see the metadata of other actors' events. The starter
        // sees their data if the type says `starter_sees`. In that case the reason is added to the data only if the caller is the starter.
        None if mistake.is_starter || !inverse_kind.starter_sees => add_reason(inverse_kind, reason, &mut data),
        None => {}
        Some(_) => refuse_nulls(inverse_kind, &data)?,
    }
    let mut compensation = caused_by(event, inverse_kind, data)?;
    if inverse.data.is_none() && (&kind.effect, &inverse_kind.effect) == (&Effect::Delete, &Effect::Create) {
        compensation.part = Some(Part::Restoration);
    }
    compensation.expected_version = Some(now.version);
    Ok(compensation)
}

/// Adds the reason to the data of a deletion or removal, if the schema allows it.
fn add_reason(kind: &EventKind, reason: Option<&Reason>, data: &mut Map<String, Value>) {
    let (Effect::Delete | Effect::RemoveChild(_), Some(reason)) = (&kind.effect, reason) else {
        return;
    };
    data.insert("reason".to_owned(), json!(reason));
    if kind.current().is_some_and(|schema| schema.check(data).is_err()) {
        data.remove("reason");
    }
}

/// Refuses an inverse with null for a field that had no value before the event, if the schema of the inverse does not allow null.
fn refuse_nulls(kind: &EventKind, data: &Map<String, Value>) -> Result<(), CompensationError> {
    let says_none = data.values().any(Value::is_null);
    let Some(Err(faults)) = kind.current().filter(|_| says_none).map(|schema| schema.check(data)) else {
        return Ok(());
    };
    let fault = faults.first().map_or_else(String::new, |fault| {
        format!(" (data{}: {})", fault.pointer, fault.detail)
    });
    Err(CompensationError::NoInverse(format!(
        "an event of type {} cannot restore the state before the event{fault}; append an event that corrects it",
        kind.event_type
    )))
}

fn caused_by(event: &Event, kind: &EventKind, data: Map<String, Value>) -> Result<NewEvent, StoreError> {
    let unreadable = |_: TextFault| StoreError::Unexpected("the log holds an invalid name".to_owned());
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
