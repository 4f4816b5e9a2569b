//! Every function that requests may call, with every argument in turn null, too long, too short, nested or absurd: the call is refused, or
//! the log stays consistent and the event has the caller's own name.

use serde_json::json;
use tests::{Person, World};

use super::appends::{CLAIMS, many, one};

/// Calls of `append_events` with two members, each with one argument replaced.
fn batch(place: usize, replacement: &str) -> String {
    let mut arguments = [
        "array[gen_random_uuid(), gen_random_uuid()]::uuid[]",
        "array['customer.registered', 'customer.registered']::text[]",
        "array['customer', 'customer']::text[]",
        "array['same', 'same']::text[]",
        "array[null, null]::text[]",
        "array['{}', '{}']::jsonb[]",
        "array['{}', '{}']::jsonb[]",
        "'{}'::jsonb",
        "array[null, null]::text[]",
        "array[null, null]::uuid[]",
        "array[null, null]::text[]",
        "array[null, null]::timestamptz[]",
        "array[null, null]::text[]",
        "array[null, null]::uuid[]",
        "array[null, null]::text[]",
        "array[null, null]::text[]",
        "array[null, null]::int[]",
        "array[null, null]::text[]",
        "null::bigint",
    ]
    .map(str::to_owned);
    let sql_type = arguments[place].rsplit("::").next().unwrap_or_default().to_owned();
    let nested = arguments[place]
        .rsplit_once("::")
        .map_or(String::new(), |(value, _)| format!("array[{value}, {value}]"));
    arguments[place] = match replacement {
        "nested" => format!("{nested}::{sql_type}"),
        "longer" => format!("{0} || {0}", arguments[place]),
        value => format!("{value}::{sql_type}"),
    };
    format!("select * from annals.append_events({CLAIMS}, {})", arguments.join(", "))
}

#[tokio::test]
async fn arrays_of_any_shape_append_complete_events_or_nothing() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.appender(Some(&user)).await;
    for place in 0..19 {
        for replacement in [
            "null",
            "'{}'",
            "'{null}'",
            "'{null,null}'",
            "'[5:6]={null,null}'",
            "longer",
            "nested",
        ] {
            // The function decides whether to refuse; the test checks what is stored.
            let _outcome = hostile.batch_execute(&batch(place, replacement)).await;
        }
        super::assert_whole(&owner).await;
    }
    for replacement in ["'{-1,-1}'", "'{2147483647,2147483647}'", "'{-2147483648,0}'", "'{0,5}'"] {
        let sql = batch(16, replacement).replace("'same'", "'other'");
        let code = super::refusal(&hostile, &sql).await;
        assert!(["PT403", "PT409", "22003"].contains(&code.as_str()), "{sql}: {code}");
    }
    super::assert_whole(&owner).await;
    let strangers = format!(
        "select count(*)::text from annals.events
          where aggregate_id <> 'staff''s' and (tenant_id, created_by, posted_by, user_id, started_by)
                is distinct from ('{}'::uuid, '{1}', '{1}', '{2}'::uuid, '{1}')",
        user.tenant,
        user.actor(),
        user.sub
    );
    assert_eq!(super::text(&owner, &strangers).await, "0");
}

#[tokio::test]
async fn an_event_with_any_argument_null_is_appended_for_the_caller_or_refused() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.appender(Some(&user)).await;
    for needed in [
        "new_id",
        "event_type",
        "aggregate_type",
        "aggregate_id",
        "data",
        "metadata",
        "recorded",
    ] {
        for sql in [one("new", &[(needed, "null")]), many("new", &[(needed, "null")])] {
            let code = super::refusal(&hostile, &sql).await;
            assert!(["23502", "PT422"].contains(&code.as_str()), "{sql}: {code}");
        }
    }
    for absurd in [
        ("expected_version", "-1"),
        ("expected_version", "2147483647"),
        ("expected_version", "-2147483648"),
        ("version", "''"),
        ("version", "'99.99'"),
        ("event_type", "'customer.erased'"),
        ("aggregate_type", "'order'"),
        ("source", "''"),
        ("correlation_id", "repeat('x', 129)"),
        ("command_id", "''"),
        ("idempotency_key", "repeat('x', 256)"),
        ("catalog_revision", "-1"),
        ("catalog_revision", "9223372036854775807"),
        ("recorded", "'[]'"),
        ("recorded", "'1'"),
    ] {
        for sql in [one("new", &[absurd]), many("new", &[absurd])] {
            let code = super::refusal(&hostile, &sql).await;
            assert!(
                ["PT403", "PT409", "PT422", "PT503", "22003", "23514", "22023"].contains(&code.as_str()),
                "{sql}: {code}"
            );
        }
    }
    let streams = "select count(*)::text from annals.heads";
    assert_eq!(super::text(&owner, streams).await, "2", "no stream was created");
}

#[tokio::test]
async fn claims_without_an_actor_append_nothing() {
    let world = World::new().await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    let sub = Person::user().sub;
    for claims in [
        json!(null),
        json!({}),
        json!([]),
        json!({"sub": null}),
        json!({"sub": "nobody"}),
        json!({"sub": sub, "app_metadata": {"role": "admin"}}),
        json!({"sub": sub, "app_metadata": {"role": "agent"}}),
        json!({"sub": sub, "app_metadata": {"role": "service"}}),
        json!({"sub": sub, "app_metadata": {"role": ""}}),
        json!({"app_metadata": {"role": "staff", "name": "billing"}}),
        json!({"sub": sub, "app_metadata": {"tenant_id": "nowhere"}}),
    ] {
        let session = world.appender(None).await;
        session
            .execute(
                "select set_config('request.jwt.claims', $1, false)",
                &[&claims.to_string()],
            )
            .await
            .unwrap();
        for sql in [one("x", &[]), many("x", &[])] {
            let code = super::refusal(&session, &sql).await;
            assert!(["PT401", "22P02"].contains(&code.as_str()), "{claims}: {code}");
        }
    }
    let session = world.appender(None).await;
    for sql in [
        one("x", &[]),
        many("x", &[]),
        format!("select annals.find_appended({CLAIMS}, '{{customer}}', '{{x}}', '{{}}')"),
        format!("select annals.known_keys({CLAIMS}, '{{k}}')"),
    ] {
        let code = super::refusal(&session, &sql).await;
        assert!(["PT401", "23502"].contains(&code.as_str()), "{sql}: {code}");
    }
    let keep = "select annals.keep_key('customer', 'x', 1, 'k', repeat('0', 64), 'unchanged')";
    assert_eq!(super::refusal(&world.hostile(None).await, keep).await, "PT401");
    super::assert_untouched(&owner, &before).await;
}

#[tokio::test]
async fn only_staff_registers_types_for_its_own_tenant_and_only_readable_ones() {
    let world = World::new().await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    let register = |event_type: &str, aggregate_type: &str, version: &str, effect: &str, posters: &str| {
        format!(
            "select annals.register_event_type({CLAIMS}, {event_type}, {aggregate_type}, {version}, 'x', {effect}, {posters}, '{{}}', '{{}}')"
        )
    };
    let good = register("'customer.praised'", "'customer'", "'1.0'", "'\"none\"'", "'{user}'");
    for person in [Person::user(), Person::agent("pricing"), Person::service("billing")] {
        let session = world.appender(Some(&person)).await;
        assert_eq!(super::refusal(&session, &good).await, "PT403", "{person:?}");
    }
    assert_eq!(super::refusal(&world.appender(None).await, &good).await, "PT401");
    let staff = world.appender(Some(&Person::staff())).await;
    for effect in [
        "'{}'",
        "'null'",
        "'[]'",
        "'\"explode\"'",
        "'{\"add_child\": 1}'",
        "'{\"set\": {\"a\": 5}}'",
        "'{\"set\": {\"a\": \"b\"}}'",
        "'{\"set\": {\"a\": [\"/b\"]}}'",
        "'{\"set\": []}'",
        "'{\"add_child\": \"a\", \"remove_child\": \"a\"}'",
        "'{\"x\": null}'",
    ] {
        let bad = register("'customer.praised'", "'customer'", "'1.0'", effect, "'{user}'");
        assert_eq!(super::refusal(&staff, &bad).await, "23514", "{effect}");
    }
    for (event_type, aggregate_type, version, posters) in [
        ("'customer.a.b'", "'customer.a'", "'1.0'", "'{user}'"),
        ("'Customer.praised'", "'Customer'", "'1.0'", "'{user}'"),
        ("'customer'", "'customer'", "'1.0'", "'{user}'"),
        ("e'customer.praised\\n'", "'customer'", "'1.0'", "'{user}'"),
        ("'customer.praised'", "'order'", "'1.0'", "'{user}'"),
        ("'customer.registered'", "'order'", "'2.0'", "'{user}'"),
        ("'customer.registered'", "'customer'", "'1.0'", "'{user}'"),
        ("'customer.registered'", "'customer'", "'0.9'", "'{user}'"),
        ("'customer.praised'", "'customer'", "'one'", "'{user}'"),
        ("'customer.praised'", "'customer'", "'1.0'", "'{root}'"),
        ("'customer.praised'", "'customer'", "'1.0'", "'{null}'"),
        ("'customer.praised'", "'customer'", "'1.0'", "null"),
        ("null", "'customer'", "'1.0'", "'{user}'"),
        ("'customer.praised'", "null", "'1.0'", "'{user}'"),
        ("'customer.praised'", "'customer'", "null", "'{user}'"),
    ] {
        let bad = register(event_type, aggregate_type, version, "'\"none\"'", posters);
        let code = super::refusal(&staff, &bad).await;
        assert!(
            ["23514", "23502", "PT409", "PT422", "22P02"].contains(&code.as_str()),
            "{bad}: {code}"
        );
    }
    super::assert_untouched(&owner, &before).await;
    staff.batch_execute(&good).await.unwrap();
    let elsewhere = world
        .hostile(Some(&Person::staff().in_tenant(uuid::Uuid::new_v4())))
        .await;
    staff.batch_execute("set role authenticated").await.unwrap();
    let seen = "select count(*)::text from annals.event_types where event_type = 'customer.praised'";
    assert_eq!(super::text(&elsewhere, seen).await, "0");
    assert_eq!(super::text(&staff, seen).await, "1");
}

#[tokio::test]
async fn waiting_for_streams_writes_nothing_and_keeps_no_lock() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    let hostile = world.appender(Some(&Person::user())).await;
    let lookup = |streams: &str| format!("select annals.find_appended({CLAIMS}, {streams}, array[gen_random_uuid()])");
    hostile.batch_execute("begin").await.unwrap();
    hostile
        .batch_execute(&format!(
            "{}; {}",
            lookup("'{customer,customer,nothing}', '{theirs,theirs,new}'"),
            lookup("null, null")
        ))
        .await
        .unwrap();
    // The session is still in its transaction, and the owner of the stream does not wait for it.
    let theirs = world.appender(Some(&user)).await;
    theirs.batch_execute("set statement_timeout = '60s'").await.unwrap();
    theirs.batch_execute(&lookup("'{customer}', '{theirs}'")).await.unwrap();
    for mismatched in [
        "'{customer,customer}', '{theirs}'",
        "'{customer}', null",
        "'{null}', '{null}'",
    ] {
        let _outcome = hostile
            .batch_execute(&format!("rollback; begin; {}", lookup(mismatched)))
            .await;
    }
    hostile.batch_execute("rollback").await.unwrap();
    super::assert_untouched(&owner, &before).await;
}
