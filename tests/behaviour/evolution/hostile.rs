//! `annals.register_event_type` called directly, without the checks in Rust and with the claims of a tenant's staff: whatever is registered,
//! functions can read the catalog, every version has a path to the current one, and the types of other tenants stay unchanged.

use serde_json::json;
use tests::{Person, World};
use uuid::Uuid;

use super::{gauge, gauge_2, register, renamed};

const ARGUMENTS: [&str; 11] = [
    "'gauge.read'",
    "'gauge'",
    "'3.0'",
    "'d'",
    "'\"create\"'::jsonb",
    "'{staff}'::text[]",
    "'{}'::jsonb",
    "'{}'::jsonb",
    "null::jsonb",
    r#"'[{"from_version": "2.0", "to_version": "3.0", "steps": []}]'::jsonb"#,
    "null::text",
];

/// For each argument, values that might do harm.
const ATTACKS: &[(usize, &str)] = &[
    (0, "null"),
    (0, "'gauge.read.'"),
    (0, "'projection.skipped'"),
    (1, "null"),
    (1, "'projection'"),
    (2, "null"),
    (2, "'x'"),
    (2, "'1.0'"),
    (2, "'02.00'"),
    (2, "'99999.0'"),
    (2, "'3.0.0.0'"),
    (2, "'3'"),
    (3, "null"),
    (4, "null::jsonb"),
    (4, "'\"delete\"'::jsonb"),
    (4, "'5'::jsonb"),
    (5, "null::text[]"),
    (5, "'{root}'::text[]"),
    (5, "'{{staff},{staff}}'::text[]"),
    (6, "'5'::jsonb"),
    (6, "null::jsonb"),
    (7, "'[]'::jsonb"),
    (8, "'5'::jsonb"),
    (8, "'null'::jsonb"),
    (8, r#"'{"event_type": "gauge.unread"}'::jsonb"#),
    (8, r#"'{"event_type": "customer.deleted"}'::jsonb"#),
    (8, r#"'{"event_type": 5}'::jsonb"#),
    (8, r#"'{"event_type": "gauge.read", "data": {"a": 5}}'::jsonb"#),
    (8, r#"'{"event_type": "gauge.read", "data": null}'::jsonb"#),
    (8, r#"'{"event_type": "gauge.read", "more": 1}'::jsonb"#),
    (9, "null::jsonb"),
    (9, "'null'::jsonb"),
    (9, "'{}'::jsonb"),
    (9, "'5'::jsonb"),
    (9, "'[null]'::jsonb"),
    (9, "'[5]'::jsonb"),
    (9, "'[[]]'::jsonb"),
    (9, "'[]'::jsonb"),
    (9, r#"'[{"from_version": "2.0", "to_version": "3.0"}]'::jsonb"#),
    (9, r#"'[{"from_version": "2.0", "steps": []}]'::jsonb"#),
    (
        9,
        r#"'[{"from_version": null, "to_version": "3.0", "steps": []}]'::jsonb"#,
    ),
    (
        9,
        r#"'[{"from_version": "2.0", "to_version": "1.0", "steps": []}]'::jsonb"#,
    ),
    (
        9,
        r#"'[{"from_version": "2.0", "to_version": "2.0", "steps": []}]'::jsonb"#,
    ),
    (
        9,
        r#"'[{"from_version": "1.0", "to_version": "3.0", "steps": []}]'::jsonb"#,
    ),
    (10, "'1.0'"),
];

/// Invalid steps, each tried by itself.
const STEPS: &[&str] = &[
    "null",
    "{}",
    "5",
    "[5]",
    "[null]",
    "[[]]",
    "[{}]",
    r#"["rename"]"#,
    r#"[{"explode": {}}]"#,
    r#"[{"rename": {"a": "b"}, "set": {"c": 1}}]"#,
    r#"[{"rename": null}]"#,
    r#"[{"rename": []}]"#,
    r#"[{"rename": {"a": 1}}]"#,
    r#"[{"rename": {"a": null}}]"#,
    r#"[{"rename": {"a": ""}}]"#,
    r#"[{"rename": {"": "a"}}]"#,
    r#"[{"default": 5}]"#,
    r#"[{"default": {"": 5}}]"#,
    r#"[{"set": null}]"#,
    r#"[{"set": {"": 5}}]"#,
    r#"[{"split": {"a": 5}}]"#,
    r#"[{"split": {"a": ""}}]"#,
    r#"[{"split": {"": ","}}]"#,
    r#"[{"remove": {}}]"#,
    r#"[{"remove": [5]}]"#,
    r#"[{"remove": [null]}]"#,
    r#"[{"remove": [""]}]"#,
    r#"[{"map": null}]"#,
    r#"[{"map": {}}]"#,
    r#"[{"map": {"from": "a", "to": "b"}}]"#,
    r#"[{"map": {"from": 1, "to": "b", "values": {}}}]"#,
    r#"[{"map": {"from": "", "to": "b", "values": {}}}]"#,
    r#"[{"map": {"from": "a", "to": null, "values": {}}}]"#,
    r#"[{"map": {"from": "a", "to": "b", "values": []}}]"#,
    r#"[{"map": {"from": "a", "to": "b", "values": null}}]"#,
    r#"[{"map": {"from": "a", "to": "b", "values": {}, "else": 1}}]"#,
    r#"[{"set": {"a": {"$serde_json::private::Number": "1"}}}]"#,
    r#"[{"set": {"$serde_json::private::RawValue": "1"}}]"#,
];

fn call(place: usize, argument: &str) -> String {
    let mut arguments = ARGUMENTS;
    arguments[place] = argument;
    let claims = "current_setting('request.jwt.claims')::jsonb";
    format!("select annals.register_event_type({claims}, {})", arguments.join(", "))
}

#[tokio::test]
async fn the_catalog_stays_readable_and_complete_whatever_is_registered() {
    let world = World::new().await;
    let here = Person::staff().in_tenant(Uuid::new_v4());
    register(&world, &here, gauge()).await.expect(201);
    register(&world, &here, gauge_2("2.0", &renamed())).await.expect(201);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(110), "}".repeat(110));
    let many = format!("[{}]", vec![r#"{"set": {"a": 1}}"#; 101].join(","));
    let deep = format!(r#"[{{"set": {{"a": {deep}}}}}]"#);
    let steps = STEPS.iter().copied().chain([many.as_str(), deep.as_str()]);
    let steps = steps.map(|steps| {
        (
            9,
            format!(r#"'[{{"from_version": "2.0", "to_version": "3.0", "steps": {steps}}}]'::jsonb"#),
        )
    });
    let attacks = ATTACKS
        .iter()
        .map(|(place, argument)| (*place, (*argument).to_owned()))
        .chain(steps);
    let before = world.rows_of("annals.event_types").await;
    let mut session = world.appender(Some(&here)).await;
    for (place, argument) in attacks {
        let sql = call(place, &argument);
        let attempt = session.transaction().await.unwrap();
        let refused = attempt.batch_execute(&sql).await;
        assert!(refused.is_err(), "{sql}");
        drop(attempt);
    }
    assert_eq!(world.rows_of("annals.event_types").await, before);
    assert_usable(&world, &here).await;
    // A valid registration is accepted, so the attacks failed because of what they contain.
    session.batch_execute(&call(3, "'d'")).await.unwrap();
    assert_usable(&world, &here).await;
}

/// Other processes, the projector's included, can read the catalog, and events of every version fold.
async fn assert_usable(world: &World, staff: &Person) {
    let elsewhere = world.elsewhere();
    for person in [staff.clone(), Person::staff()] {
        elsewhere.get(&person, "/events/types").await.expect(200);
    }
    for (version, data) in [("1.0", json!({"value": 1})), ("2.0", json!({"temperature": 1}))] {
        let id = Uuid::new_v4().to_string();
        super::post(&elsewhere, staff, "gauge.read", &id, version, &data).await;
        assert_eq!(super::state(&elsewhere, staff, "gauge", &id).await["temperature"], 1);
    }
    elsewhere.project().await;
    elsewhere.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn only_staff_registers_versions_and_no_role_writes_upcasters_directly() {
    let world = World::new().await;
    register(&world, &Person::staff(), gauge()).await.expect(201);
    for person in [Person::user(), Person::agent("a"), Person::service("s")] {
        assert_eq!(
            register(&world, &person, gauge_2("2.0", &renamed())).await.problem(403),
            "staff_only"
        );
    }
    let hostile = world.hostile(Some(&Person::staff())).await;
    for sql in [
        "insert into annals.upcasters (event_type, from_version, to_version, steps, created_by) values ('gauge.read', '1.0', '2.0', '[]', 'x')",
        "update annals.upcasters set steps = '[]'",
        "delete from annals.upcasters",
        "truncate annals.upcasters",
        "update annals.fold_versions set rebuilt_version = 0",
        "insert into annals.fold_versions (fold_version, aggregate_type) values (1, 'gauge')",
        "select annals.register_upcasters(null, 'x', 'gauge.read', '[]', '1.0', '2.0')",
        "select annals.declare_version('customer.created', '2.0', '{}', '{}', '[]')",
        "select annals.declare_inverse('customer.created', '{}')",
        "select annals.raise_fold_version(null, 'customer')",
        "select annals.declare_child('customer', 'note', 'a note', '{}', '{}', '{}')",
    ] {
        let refused = hostile.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
    // The owner cannot either.
    for sql in [
        "update annals.upcasters set steps = '[]'",
        "delete from annals.upcasters",
        "truncate annals.upcasters",
    ] {
        let refused = world.owner().await.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
}
