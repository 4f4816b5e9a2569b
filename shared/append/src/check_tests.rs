use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use annals_domain::event::MAX_DATA_BYTES;
use annals_domain::schema::EventSchema;
use annals_domain::{Effect, TenantId, Timestamp};

const SCHEMA: &str = r#"{"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}}"#;

fn catalog() -> Catalog {
    let version = annals_domain::ids::FIRST_VERSION.clone();
    let schema = Arc::new(EventSchema::new(SCHEMA.into(), "{}".into()));
    let kind = EventKind {
        tenant_id: None,
        event_type: "customer.created".to_owned().try_into().expect("a type"),
        aggregate_type: "customer".to_owned().try_into().expect("a type"),
        versions: BTreeMap::from([(version.as_str().to_owned(), schema)]),
        current_version: version,
        description: String::new(),
        effect: Effect::Create,
        posters: vec![Role::Staff, Role::Service],
        requires: None,
        starter_sees: false,
        closed: false,
        indexed: BTreeSet::new(),
        created_at: Timestamp::now(),
        upcasters: BTreeMap::new(),
        inverse: None,
    };
    Catalog::new(1, [kind])
}

fn caller(role: Role) -> Caller {
    let tenant = TenantId::from(Uuid::nil());
    Caller::new(tenant, role, Uuid::nil(), Some("crm".to_owned())).expect("a caller")
}

fn event(changed: Value) -> NewEvent {
    let mut event = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1",
                           "data": {"email": "a@example.com"}});
    for (name, value) in changed.as_object().expect("fields") {
        event[name] = value.clone();
    }
    NewEvent::from_json(event, "").expect("an event").0
}

/// Index, pointer and code of each fault.
fn faults(role: Role, events: &[NewEvent]) -> Vec<(usize, String, &'static str)> {
    let found = check(&catalog(), &caller(role), events.iter().enumerate());
    found
        .into_iter()
        .map(|found| (found.member, found.fault.pointer, found.code))
        .collect()
}

fn expected(faults: &[(usize, &str, &'static str)]) -> Vec<(usize, String, &'static str)> {
    let owned = |(member, pointer, code): &(usize, &str, &'static str)| (*member, (*pointer).to_owned(), *code);
    faults.iter().map(owned).collect()
}

#[test]
fn every_fault_of_every_event_is_found_with_its_index_and_a_pointer_inside_the_event() {
    let events = [
        event(json!({})),
        event(json!({"data": {"email": 1}, "metadata": {"migration_applied": "1.0_to_2.0"}})),
        event(json!({"event_type": "customer.lost"})),
        event(json!({"aggregate_type": "dealer"})),
        event(json!({"version": "2.0"})),
    ];
    assert_eq!(
        faults(Role::Staff, &events),
        expected(&[
            (1, "/data/email", "schema_violation"),
            (1, "/metadata/migration_applied", "reserved_metadata"),
            (2, "/event_type", "unknown_event_type"),
            (3, "/aggregate_type", "aggregate_type_mismatch"),
            (4, "/version", "unknown_version"),
        ])
    );
}

#[test]
fn only_a_poster_may_post_and_only_a_service_may_name_another_actor() {
    let another = json!({"created_by": "user:00000000-0000-0000-0000-000000000001"});
    assert_eq!(
        faults(Role::User, &[event(another.clone())]),
        expected(&[
            (0, "/event_type", "event_type_forbidden"),
            (0, "/created_by", "actor_forged")
        ])
    );
    assert_eq!(
        faults(Role::Staff, &[event(another.clone())]),
        expected(&[(0, "/created_by", "actor_forged")])
    );
    assert_eq!(faults(Role::Service, &[event(another)]), []);
    let two = json!({"created_by": "user:00000000-0000-0000-0000-000000000001", "user_id": "00000000-0000-0000-0000-000000000002"});
    assert_eq!(
        faults(Role::Service, &[event(two)]),
        expected(&[(0, "/user_id", "user_is_not_actor")])
    );
}

#[test]
fn data_that_are_too_large_are_not_checked_against_the_schema() {
    let large = event(json!({"data": {"note": "n".repeat(MAX_DATA_BYTES)}}));
    let invalid = event(json!({"data": {}}));
    assert_eq!(
        faults(Role::Staff, &[large, invalid]),
        expected(&[(0, "/data", "data_too_large"), (1, "/data", "schema_violation")])
    );
}

#[test]
fn a_restoration_may_hold_any_state() {
    let mut restored = event(json!({"data": {"note": "no email"}}));
    restored.part = Some(Part::Restoration);
    assert_eq!(faults(Role::Staff, &[restored]), []);
}
