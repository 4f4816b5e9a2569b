//! Intake: events are checked against the catalog, appended, and the projector is woken. The HTTP API and the CSV upload both
//! come through here.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::domain::event::FieldFault;
use crate::domain::{Caller, Catalog, Event, EventId, EventKind, NewEvent, TenantId, semver};
use crate::store::{Appended, StoreError};
use crate::telemetry::{self, metrics};

/// How often a catalog that changes under an append is read again.
const CATALOG_TRIES: usize = 5;

/// Why events were not appended.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The catalog refuses some.
    #[error("the catalog refuses the events")]
    Checked {
        /// Stable code of the first fault.
        code: &'static str,
        /// Every fault; pointers begin with the member's, `/events/3`, where there is more than one event.
        faults: Vec<FieldFault>,
    },
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose words a pointer speaks in: a single event stands at the root of its request, members of a batch do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The request is the event.
    Single,
    /// The request is `{"events": […]}`.
    Batch,
}

impl Framing {
    /// JSON pointer to a member of the request.
    pub fn pointer(self, member: usize) -> String {
        match self {
            Self::Single => String::new(),
            Self::Batch => format!("/events/{member}"),
        }
    }
}

/// Appends events as the caller, all or none, and wakes the projector for those that are new. `context` is what the server
/// knows of the request.
///
/// # Errors
/// [`IntakeError`]; then nothing was appended.
pub async fn append(
    app: &App,
    caller: &Caller,
    events: &[NewEvent],
    context: &Value,
    framing: Framing,
) -> Result<Vec<Appended>, IntakeError> {
    correlate(events);
    let mut catalog = app.store.catalog(caller).await?;
    let mut checked = check(&catalog, caller.tenant_id(), events, framing);
    if checked.as_ref().is_err_and(may_be_stale) {
        catalog = app.store.fresh_catalog(caller).await?;
        checked = check(&catalog, caller.tenant_id(), events, framing);
    }
    for _ in 0..CATALOG_TRIES {
        checked?;
        match app.store.append(caller, events, context, catalog.revision()).await {
            Err(StoreError::Refused(refusal)) if refusal.code == "catalog_changed" => {
                catalog = app.store.fresh_catalog(caller).await?;
                checked = check(&catalog, caller.tenant_id(), events, framing);
            }
            Err(error) => return Err(error.into()),
            Ok(appended) => {
                let fresh = appended.iter().filter(|a| !a.replayed);
                metrics::appended(fresh.clone().count());
                let fresh = fresh.filter_map(|a| events.get(a.member));
                app.queue
                    .wake(fresh.map(|event| event.stream(caller.tenant_id())))
                    .await;
                return Ok(appended);
            }
        }
    }
    Err(StoreError::Unavailable("the catalog changes all the time".into()).into())
}

/// Lines about a request name what its events are correlated by, where that is one thing.
fn correlate(events: &[NewEvent]) {
    let mut ids = events.iter().map(|event| event.correlation_id.as_ref());
    if let Some(Some(first)) = ids.next()
        && ids.all(|id| id == Some(first))
    {
        telemetry::correlate(first.as_str());
    }
}

/// A type or version that memory lacks may have been registered meanwhile. So may a schema that lets more through, but that is
/// found out by the revision, at the append.
fn may_be_stale(error: &IntakeError) -> bool {
    matches!(
        error,
        IntakeError::Checked {
            code: "unknown_event_type" | "unknown_version" | "schema_violation",
            ..
        }
    )
}

/// Checks each event's type, aggregate, version and data.
///
/// # Errors
/// The faults of the first kind that occurs.
fn check(catalog: &Catalog, tenant_id: TenantId, events: &[NewEvent], framing: Framing) -> Result<(), IntakeError> {
    for (member, event) in events.iter().enumerate() {
        let at = framing.pointer(member);
        let refuse = |field: &str, code, detail: String| IntakeError::Checked {
            code,
            faults: vec![FieldFault::new(format!("{at}/{field}"), code, detail)],
        };
        let kind = catalog.find(tenant_id, event.event_type.as_str()).ok_or_else(|| {
            refuse(
                "event_type",
                "unknown_event_type",
                format!("{} is not in the catalog", event.event_type),
            )
        })?;
        if kind.aggregate_type != event.aggregate_type {
            let detail = format!(
                "{} belongs to aggregates of type {}",
                event.event_type, kind.aggregate_type
            );
            return Err(refuse("aggregate_type", "aggregate_type_mismatch", detail));
        }
        check_data(kind, event, &at)?;
    }
    Ok(())
}

fn check_data(kind: &EventKind, event: &NewEvent, at: &str) -> Result<(), IntakeError> {
    let version = event.version.as_ref().unwrap_or(&kind.current_version);
    // A later version than the tenant's current one, which a module may have brought beside it, is not in use yet.
    let in_use = !semver::is_later(version.as_str(), kind.current_version.as_str());
    let Some(schema) = kind.versions.get(version.as_str()).filter(|_| in_use) else {
        let detail = format!("{} has no version {version}", event.event_type);
        let fault = FieldFault::new(format!("{at}/version"), "unknown_version", detail);
        return Err(IntakeError::Checked {
            code: "unknown_version",
            faults: vec![fault],
        });
    };
    schema.check(&event.data).map_err(|faults| IntakeError::Checked {
        code: "schema_violation",
        faults: faults
            .into_iter()
            .map(|f| FieldFault {
                pointer: format!("{at}/data{}", f.pointer),
                ..f
            })
            .collect(),
    })
}

/// The events as they now stand in the log, in order. New ones are put together from what was sent and what the database
/// decided, which saves reading them back; retries are read.
///
/// # Errors
/// The database's, where there were retries.
pub async fn stored_events(
    app: &App,
    caller: &Caller,
    events: Vec<NewEvent>,
    appended: &[Appended],
    context: &Value,
) -> Result<Vec<Event>, StoreError> {
    let replayed: Vec<EventId> = appended.iter().filter(|a| a.replayed).map(|a| a.id).collect();
    let mut originals = if replayed.is_empty() {
        Vec::new()
    } else {
        app.store.find_events(caller, &replayed).await?
    };
    let mut stored = Vec::with_capacity(events.len());
    for (event, decided) in events.into_iter().zip(appended) {
        if decided.replayed {
            let place = originals.iter().position(|original| original.id == decided.id);
            let place = place.ok_or_else(|| StoreError::Unexpected("a retried event is not to be seen".to_owned()))?;
            stored.push(originals.swap_remove(place));
        } else {
            stored.push(assemble(caller, event, decided, context)?);
        }
    }
    Ok(stored)
}

/// The same decisions as `annals.append_event` takes about actor, person and metadata.
fn assemble(caller: &Caller, event: NewEvent, decided: &Appended, context: &Value) -> Result<Event, StoreError> {
    let created_by = event.created_by.as_ref().unwrap_or(caller.actor()).as_str().to_owned();
    let user_id = caller
        .user_id()
        .or(event.user_id)
        .or_else(|| created_by.strip_prefix("user:").and_then(lower_case_uuid));
    let mut metadata: Map<String, Value> = context.as_object().cloned().unwrap_or_default();
    metadata.extend(event.metadata);
    if created_by == caller.actor().as_str() {
        metadata.remove("posted_by");
    } else {
        metadata.insert("posted_by".to_owned(), json!(caller.actor()));
    }
    Ok(Event {
        id: decided.id,
        event_number: decided.event_number,
        tenant_id: caller.tenant_id(),
        event_type: event.event_type.as_str().to_owned(),
        aggregate_type: event.aggregate_type.as_str().to_owned(),
        aggregate_id: event.aggregate_id.as_str().to_owned(),
        aggregate_version: decided.aggregate_version,
        version: decided.schema_version.clone(),
        data: raw(&event.data)?,
        metadata: raw(&metadata)?,
        created_by,
        user_id,
        source: event
            .source
            .map_or_else(|| "api".to_owned(), |source| source.as_str().to_owned()),
        timestamp: event.timestamp.unwrap_or(decided.created_at),
        created_at: decided.created_at,
        correlation_id: event.correlation_id.map(|c| c.as_str().to_owned()),
        command_id: event.command_id.map(|c| c.as_str().to_owned()),
        causation_id: event.causation_id,
        idempotency_key: event.idempotency_key.map(|k| k.as_str().to_owned()),
        processed: false,
    })
}

/// The database takes only this spelling for a person's id within an actor.
fn lower_case_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text)
}

fn raw(members: &Map<String, Value>) -> Result<Box<serde_json::value::RawValue>, StoreError> {
    serde_json::value::to_raw_value(members).map_err(|e| StoreError::Unexpected(e.to_string()))
}
