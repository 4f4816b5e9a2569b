//! Intake: events are checked against the catalog, appended, and the projector is woken. The HTTP API and the CSV upload both
//! come through here.
//!
//! An idempotency key goes before every check: a retry returns what is stored, whatever the catalog or the caller's rights have
//! become. The database looks keys up first; here only an event at fault is asked for its key, so that a good one costs no round
//! trip more.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::domain::event::{FieldFault, Part};
use crate::domain::{Caller, Catalog, Event, EventId, EventKind, NewEvent, Role, naming, semver};
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
        /// Every fault of every event; pointers begin with the member's, `/events/3`, where there is more than one event.
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

/// What is wrong with one of several events.
#[derive(Debug)]
pub struct MemberFault {
    /// Which event, from 0.
    pub member: usize,
    /// Stable code of the refusal.
    code: &'static str,
    /// Where and what.
    pub fault: FieldFault,
}

/// Appends events as the caller, all or none, and wakes the projector for those that are new. `recorded` is what the server
/// observed of the request.
///
/// # Errors
/// [`IntakeError`]; then nothing was appended.
pub async fn append(
    app: &App,
    caller: &Caller,
    events: &[NewEvent],
    recorded: &Value,
    framing: Framing,
) -> Result<Vec<Appended>, IntakeError> {
    correlate(events);
    let recorded = &naming::observed(caller, recorded);
    let members = || events.iter().enumerate();
    let (mut catalog, mut faults) = checked(app, caller, members(), framing).await?;
    for _ in 0..CATALOG_TRIES {
        refuse(but_for_retries(app, caller, members(), faults).await?)?;
        match app.store.append(caller, events, recorded, catalog.revision()).await {
            Err(StoreError::Refused(refusal)) if refusal.code == "catalog_changed" => {
                catalog = app.store.fresh_catalog(caller).await?;
                faults = check(&catalog, caller, members(), framing);
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

/// The catalog's refusals of a request that is refused already, so that the answer names all faults at once.
///
/// # Errors
/// The database's.
pub async fn faults<'a>(
    app: &App,
    caller: &Caller,
    members: impl Iterator<Item = (usize, &'a NewEvent)> + Clone,
    framing: Framing,
) -> Result<Vec<MemberFault>, StoreError> {
    let (_, faults) = checked(app, caller, members.clone(), framing).await?;
    but_for_retries(app, caller, members, faults).await
}

/// Checks events against what memory holds of the catalog, and once more against the database's where that may make a difference.
async fn checked<'a>(
    app: &App,
    caller: &Caller,
    members: impl Iterator<Item = (usize, &'a NewEvent)> + Clone,
    framing: Framing,
) -> Result<(Arc<Catalog>, Vec<MemberFault>), StoreError> {
    let catalog = app.store.catalog(caller).await?;
    let faults = check(&catalog, caller, members.clone(), framing);
    if !faults.iter().any(may_be_stale) {
        return Ok((catalog, faults));
    }
    let catalog = app.store.fresh_catalog(caller).await?;
    let faults = check(&catalog, caller, members, framing);
    Ok((catalog, faults))
}

/// The faults of events that are not stored yet: what was appended before under its key was acceptable then.
async fn but_for_retries<'a>(
    app: &App,
    caller: &Caller,
    members: impl Iterator<Item = (usize, &'a NewEvent)>,
    mut faults: Vec<MemberFault>,
) -> Result<Vec<MemberFault>, StoreError> {
    let at_fault: HashSet<usize> = faults.iter().map(|fault| fault.member).collect();
    let keyed: Vec<(usize, &str)> = members
        .filter(|(member, _)| at_fault.contains(member))
        .filter_map(|(member, event)| Some((member, event.idempotency_key.as_ref()?.as_str())))
        .collect();
    if keyed.is_empty() {
        return Ok(faults);
    }
    let keys: Vec<&str> = keyed.iter().map(|(_, key)| *key).collect();
    let known = app.store.known_keys(caller, &keys).await?;
    let retries = keyed.into_iter().filter(|(_, key)| known.contains(*key));
    let retries: HashSet<usize> = retries.map(|(member, _)| member).collect();
    faults.retain(|fault| !retries.contains(&fault.member));
    Ok(faults)
}

fn refuse(faults: Vec<MemberFault>) -> Result<(), IntakeError> {
    match faults.first().map(|fault| fault.code) {
        None => Ok(()),
        Some(code) => Err(IntakeError::Checked {
            code,
            faults: faults.into_iter().map(|fault| fault.fault).collect(),
        }),
    }
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

/// A type or version that memory lacks may have been registered meanwhile, or opened to the caller. So may a schema that lets
/// more through, but that is found out by the revision, at the append.
fn may_be_stale(fault: &MemberFault) -> bool {
    matches!(
        fault.code,
        "unknown_event_type" | "unknown_version" | "schema_violation" | "event_type_forbidden"
    )
}

/// Checks each event's size, type, aggregate, version, data, poster and actor; everything that is wrong with any of them.
fn check<'a>(
    catalog: &Catalog,
    caller: &Caller,
    members: impl Iterator<Item = (usize, &'a NewEvent)>,
    framing: Framing,
) -> Vec<MemberFault> {
    let mut faults = Vec::new();
    for (member, event) in members {
        let mut found = Found {
            member,
            framing,
            faults: &mut faults,
        };
        found.check(catalog, caller, event);
    }
    faults
}

/// Collects what is wrong with one event.
struct Found<'a> {
    member: usize,
    framing: Framing,
    faults: &'a mut Vec<MemberFault>,
}

impl Found<'_> {
    fn check(&mut self, catalog: &Catalog, caller: &Caller, event: &NewEvent) {
        // What is too large is not looked into.
        for fault in event.size_faults(&self.framing.pointer(self.member)) {
            self.push(fault.code, fault);
        }
        let Some(kind) = catalog.find(caller.tenant_id(), event.event_type.as_str()) else {
            let detail = format!("{} is not in the catalog", event.event_type);
            return self.add("event_type", "unknown_event_type", detail);
        };
        if kind.aggregate_type != event.aggregate_type {
            let detail = format!(
                "{} belongs to aggregates of type {}",
                event.event_type, kind.aggregate_type
            );
            return self.add("aggregate_type", "aggregate_type_mismatch", detail);
        }
        let brings_back = event.part == Some(Part::Restoration);
        if !brings_back && self.faults.last().is_none_or(|last| last.member != self.member) {
            self.check_data(kind, event);
        }
        if !kind.posters.contains(&caller.role()) {
            let role = caller.role().as_str();
            let detail = format!("a caller of role {role} may not post {}", event.event_type);
            self.add("event_type", "event_type_forbidden", detail);
        }
        self.check_actor(caller, event);
        self.check_metadata(event);
    }

    fn check_data(&mut self, kind: &EventKind, event: &NewEvent) {
        let version = event.version.as_ref().unwrap_or(&kind.current_version);
        // A later version than the tenant's current one, which a module may have brought beside it, is not in use yet.
        let in_use = !semver::is_later(version.as_str(), kind.current_version.as_str());
        let Some(schema) = kind.versions.get(version.as_str()).filter(|_| in_use) else {
            let detail = format!("{} has no version {version}", event.event_type);
            return self.add("version", "unknown_version", detail);
        };
        for fault in schema.check(&event.data).err().into_iter().flatten() {
            let pointer = format!("{}/data{}", self.framing.pointer(self.member), fault.pointer);
            self.push("schema_violation", FieldFault { pointer, ..fault });
        }
    }

    /// Only a service may name another actor or person, and not two different ones.
    fn check_actor(&mut self, caller: &Caller, event: &NewEvent) {
        if caller.role() == Role::Service {
            let named = event.created_by.as_ref().map(|actor| actor.as_str());
            if let (Some(actor), Some(person)) = (named, event.user_id)
                && actor.starts_with("user:")
                && actor != format!("user:{person}")
            {
                let detail = "created_by names another user than user_id".to_owned();
                self.add("user_id", "user_is_not_actor", detail);
            }
            return;
        }
        let detail = || "created_by and user_id are the token's; only a service may name another".to_owned();
        if event.created_by.as_ref().is_some_and(|actor| actor != caller.actor()) {
            self.add("created_by", "actor_forged", detail());
        }
        if event.user_id.is_some() && event.user_id != caller.user_id() {
            self.add("user_id", "actor_forged", detail());
        }
    }

    /// Reads add `migration_applied` to the metadata of a lifted event. A client that could write it would make any event look lifted.
    fn check_metadata(&mut self, event: &NewEvent) {
        if event.metadata.contains_key("migration_applied") {
            let detail = "is written by Annals alone, in answers with lifted events; leave it out".to_owned();
            self.add("metadata/migration_applied", "reserved_metadata", detail);
        }
    }

    fn add(&mut self, field: &str, code: &'static str, detail: String) {
        let pointer = format!("{}/{field}", self.framing.pointer(self.member));
        self.push(code, FieldFault::new(pointer, code, detail));
    }

    fn push(&mut self, code: &'static str, fault: FieldFault) {
        let member = self.member;
        self.faults.push(MemberFault { member, code, fault });
    }
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
    recorded: &Value,
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
            stored.push(assemble(caller, event, decided, recorded)?);
        }
    }
    Ok(stored)
}

/// The same decisions as `annals.append_event` takes about actor, person and what is recorded.
fn assemble(caller: &Caller, event: NewEvent, decided: &Appended, recorded: &Value) -> Result<Event, StoreError> {
    let created_by = event.created_by.as_ref().unwrap_or(caller.actor()).as_str().to_owned();
    let user_id = caller
        .user_id()
        .or(event.user_id)
        .or_else(|| created_by.strip_prefix("user:").and_then(lower_case_uuid));
    let mut recorded = naming::observed(caller, recorded);
    recorded["posted_by"] = json!(caller.actor());
    let recorded = serde_json::value::to_raw_value(&recorded).map_err(|e| StoreError::Unexpected(e.to_string()))?;
    let created_by_name = naming::of_event(&created_by, &recorded);
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
        metadata: raw(&event.metadata)?,
        recorded,
        created_by_name,
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
        not_lifted: None,
        parked: false,
        ends_read: false,
    })
}

/// The database takes only this spelling for a person's id within an actor.
fn lower_case_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text)
}

fn raw(members: &Map<String, Value>) -> Result<Box<serde_json::value::RawValue>, StoreError> {
    serde_json::value::to_raw_value(members).map_err(|e| StoreError::Unexpected(e.to_string()))
}
