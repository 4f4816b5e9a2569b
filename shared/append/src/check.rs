//! The checks before an append: an event's size, type, aggregate type, version, data, poster, actor and metadata.
//!
//! The SQL append function does not trust its callers and repeats the checks of type, aggregate type, version, poster and actor. It
//! does not repeat those of the JSON Schema and of the reserved metadata, and sizes are limited there only by constraints of the
//! table.

use annals_domain::event::{EventFault, FieldFault, Part};
use annals_domain::{Caller, Catalog, EventKind, NewEvent, Role, semver};

/// Checks events that the caller wants to append. Returns every fault of every event, in the order of the events. `member` of a fault
/// is the number that the event came with.
pub fn check<'a>(
    catalog: &Catalog,
    caller: &Caller,
    events: impl Iterator<Item = (usize, &'a NewEvent)>,
) -> Vec<EventFault> {
    let mut faults = Vec::new();
    for (member, event) in events {
        let checked = Check {
            catalog,
            caller,
            event,
            member,
            faults: &mut faults,
        };
        checked.run();
    }
    faults
}

/// Whether the fault may be due to a catalog in memory that is out of date: the type or version may have been registered meanwhile,
/// opened to the caller, or given another schema. A schema in memory that allows too much is found by the append, which compares
/// revisions.
pub(super) fn may_be_stale(fault: &EventFault) -> bool {
    matches!(
        fault.code,
        "unknown_event_type" | "unknown_version" | "schema_violation" | "event_type_forbidden"
    )
}

/// The check of one event.
struct Check<'a> {
    catalog: &'a Catalog,
    caller: &'a Caller,
    event: &'a NewEvent,
    member: usize,
    /// Faults of all events so far.
    faults: &'a mut Vec<EventFault>,
}

impl Check<'_> {
    fn run(mut self) {
        let (caller, event) = (self.caller, self.event);
        let found_before = self.faults.len();
        for fault in event.size_faults() {
            self.push(fault.code, fault);
        }
        let is_too_large = self.faults.len() > found_before;
        let Some(kind) = self.catalog.find(caller.tenant_id(), event.event_type.as_str()) else {
            let detail = format!("event type {} is not in the catalog", event.event_type);
            return self.add("/event_type", "unknown_event_type", detail);
        };
        if kind.aggregate_type != event.aggregate_type {
            let detail = format!("{} belongs to aggregate type {}", event.event_type, kind.aggregate_type);
            return self.add("/aggregate_type", "aggregate_type_mismatch", detail);
        }
        // Data that are too large are not checked further: that could take long. Data of a restoration are the entity's state, which the
        // schema of new entities may not describe.
        if !is_too_large && event.part != Some(Part::Restoration) {
            self.check_data(kind);
        }
        if !kind.posters.contains(&caller.role()) {
            let role = caller.role().as_str();
            let detail = format!("the role {role} may not post {}", event.event_type);
            self.add("/event_type", "event_type_forbidden", detail);
        }
        self.check_actor();
        self.check_metadata();
    }

    fn check_data(&mut self, kind: &EventKind) {
        let event = self.event;
        let version = event.version.as_ref().unwrap_or(&kind.current_version);
        // A module may bring a version that is later than the tenant's current one. The tenant does not use it yet.
        let in_use = !semver::is_later(version.as_str(), kind.current_version.as_str());
        let Some(schema) = kind.versions.get(version.as_str()).filter(|_| in_use) else {
            let detail = format!("{} has no version {version}", event.event_type);
            return self.add("/version", "unknown_version", detail);
        };
        for fault in schema.check(&event.data).err().into_iter().flatten() {
            let pointer = format!("/data{}", fault.pointer);
            self.push("schema_violation", FieldFault { pointer, ..fault });
        }
    }

    /// Only a service may name another actor or person. The two must agree.
    fn check_actor(&mut self) {
        let (caller, event) = (self.caller, self.event);
        if caller.role() == Role::Service {
            let named = event.created_by.as_ref().map(|actor| actor.as_str());
            if let (Some(actor), Some(person)) = (named, event.user_id)
                && actor.starts_with("user:")
                && actor != format!("user:{person}")
            {
                let detail = "created_by and user_id name different users".to_owned();
                self.add("/user_id", "user_is_not_actor", detail);
            }
            return;
        }
        let detail = || "created_by and user_id must match the token; only a service may name another actor".to_owned();
        if event.created_by.as_ref().is_some_and(|actor| actor != caller.actor()) {
            self.add("/created_by", "actor_forged", detail());
        }
        if event.user_id.is_some() && event.user_id != caller.user_id() {
            self.add("/user_id", "actor_forged", detail());
        }
    }

    /// Answers add `migration_applied` to the metadata of an upcast event. If a client could write it, any event could look upcast.
    fn check_metadata(&mut self) {
        if self.event.metadata.contains_key("migration_applied") {
            let detail = "is reserved: Annals adds it to events that it has upcast; leave it out".to_owned();
            self.add("/metadata/migration_applied", "reserved_metadata", detail);
        }
    }

    fn add(&mut self, pointer: &str, code: &'static str, detail: String) {
        self.push(code, FieldFault::new(pointer, code, detail));
    }

    fn push(&mut self, code: &'static str, fault: FieldFault) {
        let member = self.member;
        self.faults.push(EventFault { member, code, fault });
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
