//! Events that no reader could read: a time that cannot be printed, a stream that cannot be named, data nested deeper than a parser allows.
//! One of them in the log would block pages and projection for all tenants.

use tests::{Person, World};

use super::appends::{many, one};

#[tokio::test]
async fn recorded_time_is_the_databases_and_business_time_can_always_be_printed() {
    let world = World::without_requirements().await;
    let owner = world.owner().await;
    let user = Person::user();
    let (hostile, appender) = (world.hostile(Some(&user)).await, world.appender(Some(&user)).await);
    let began = super::text(&owner, "select clock_timestamp()::text").await;
    for (place, happened) in ["'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'", "null"]
        .iter()
        .enumerate()
    {
        let id = format!("C-{place}");
        for sql in [
            one(&id, &[("timestamp", happened)]),
            many(&id, &[("timestamp", happened)]),
        ] {
            appender.batch_execute(&sql).await.unwrap();
        }
    }
    let outside = format!(
        "select count(*)::text from annals.events where created_at not between '{began}' and clock_timestamp()"
    );
    assert_eq!(super::text(&owner, &outside).await, "0");
    for unspeakable in [
        "'infinity'",
        "'-infinity'",
        "'4000-01-01 BC'",
        "'10000-01-01 00:00:00+00'",
        "'294276-01-01'",
    ] {
        for sql in [
            one("C-9", &[("timestamp", unspeakable)]),
            many("C-9", &[("timestamp", unspeakable)]),
        ] {
            assert_eq!(super::refusal(&appender, &sql).await, "PT422", "{sql}");
        }
        let event = format!(
            "select public.post_event(jsonb_build_object('event_type', 'customer.registered', 'aggregate_type', 'customer', 'aggregate_id', 'C-9',
                 'data', jsonb_build_object('name', 'a', 'email', 'a@b.cd'), 'timestamp', {unspeakable}))"
        );
        assert_eq!(super::refusal(&hostile, &event).await, "PT400", "{event}");
    }
    let staff = Person::staff();
    assert_eq!(
        world.all_pages(&staff, "/events").await.len(),
        6,
        "every event can be read"
    );
    super::assert_whole(&owner).await;
}

/// Data that the functions could not parse would block the projector for all tenants.
#[tokio::test]
async fn unreadable_streams_and_data_are_refused_and_projection_continues() {
    let world = World::without_requirements().await;
    let owner = world.owner().await;
    let user = Person::user();
    let (hostile, appender) = (world.hostile(Some(&user)).await, world.appender(Some(&user)).await);
    let before = super::everything(&owner).await;
    for id in [
        "",
        "a\u{1}b",
        "a\nb",
        "a\u{85}b",
        "a\u{ad}b",
        "a\u{200b}b",
        "a\u{202e}b",
        "a\u{2066}b",
        "\u{feff}",
        "\u{e000}",
        &"x".repeat(129),
    ] {
        for sql in [one(id, &[]), many(id, &[])] {
            assert_eq!(super::refusal(&appender, &sql).await, "PT422", "{id:?}");
        }
    }
    let deep = format!(
        "'{{\"name\": \"a\", \"email\": \"a@b.cd\", \"x\": {}{}}}'",
        "[".repeat(200),
        "]".repeat(200)
    );
    for place in ["data", "metadata"] {
        for sql in [one("deep", &[(place, &deep)]), many("deep", &[(place, &deep)])] {
            assert_eq!(super::refusal(&appender, &sql).await, "PT422", "{place}");
        }
    }
    let posted = format!(
        "select public.post_event(jsonb_build_object('event_type', 'customer.registered', 'aggregate_type', 'customer', 'aggregate_id', 'deep', 'data', {deep}::jsonb))"
    );
    assert_eq!(super::refusal(&hostile, &posted).await, "PT400");
    for scalar in ["'1'", "'[]'", "'null'", "'\"x\"'"] {
        for sql in [
            one("x", &[("data", scalar)]),
            one("x", &[("metadata", scalar)]),
            many("x", &[("data", scalar)]),
        ] {
            let code = super::refusal(&appender, &sql).await;
            assert!(["PT422", "22023"].contains(&code.as_str()), "{sql}: {code}");
        }
    }
    super::assert_untouched_but_numbers(&owner, &before).await;
    appender.batch_execute(&one("C-1 ü/€ 漢字 👍", &[])).await.unwrap();
    world.projector.sweep().await.unwrap();
    let projected = super::text(&owner, "select projected_version::text from annals.heads").await;
    assert_eq!(projected, "1");
}
