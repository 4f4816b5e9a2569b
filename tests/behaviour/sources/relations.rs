//! `events` and `event_types` as relations: for the owner, as whom psql and Supabase's editor log in, and through PostgREST.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{Person, World};
use tokio_postgres::Client;
use uuid::Uuid;

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(client: &Client, relation: &str) -> i64 {
    let sql = format!("select count(*) from {relation}");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// A world in which the second event of `C-1` cannot be applied, and a third one waits after it.
async fn parked(staff: &Person) -> World {
    let world = World::new().await;
    let owner = world.owner().await;
    world
        .append(staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    world
        .append(staff, "customer.created", "C-2", json!({"name": "Eve"}))
        .await;
    let broken = "alter table public.customers add constraint broken check (phone <> '1')";
    owner.batch_execute(broken).await.unwrap();
    for phone in ["1", "2"] {
        let data = json!({ "phone": phone });
        world.append(staff, "customer.profile_updated", "C-1", data).await;
    }
    world.project().await;
    world
}

/// The statements in the guide's "Troubleshooting", on a connection without any settings.
#[tokio::test]
async fn the_guides_statements_work_unchanged_for_the_owner() {
    let staff = Person::staff();
    let world = parked(&staff).await;
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    world
        .append(&elsewhere, "customer.created", "C-1", json!({"name": "Bo"}))
        .await;
    let owner = world.owner().await;
    assert_eq!(count(&owner, "events").await, 5, "every tenant's");
    let failed = "SELECT * FROM events
        WHERE processed = false
        AND processing_error IS NOT NULL;";
    let rows = owner.query(failed, &[]).await.unwrap();
    assert_eq!(rows.len(), 1, "the event at fault, not what waits behind it");
    let error: String = rows[0].get("processing_error");
    assert!(error.contains("broken"), "{error}");
    assert_eq!(
        (
            rows[0].get::<_, i32>("aggregate_version"),
            rows[0].get::<_, &str>("version")
        ),
        (2, "1.0")
    );
    let same = "select (data = payload and payload = '{\"phone\": \"1\"}')::text from events where processing_error is not null";
    assert_eq!(texts(&owner, same).await, ["true"]);
    let indexes = texts(
        &owner,
        "SELECT indexname::text FROM pg_indexes WHERE tablename = 'events';",
    )
    .await;
    assert!(indexes.len() >= 6, "{indexes:?}");
    assert!(
        count(&owner, "event_types").await >= 20,
        "the guide's catalog has 20 and more"
    );
}

/// After a retry has applied the event, it has no error, although the row of the parked stream may still exist for a while.
#[tokio::test]
async fn an_event_that_has_been_applied_has_no_error() {
    let staff = Person::staff();
    let world = parked(&staff).await;
    let owner = world.owner().await;
    let id = texts(&owner, "select id::text from events where processing_error is not null").await;
    let repair = "alter table public.customers drop constraint broken";
    owner.batch_execute(repair).await.unwrap();
    let path = format!("/events/{}/processing", id[0]);
    world.put(&staff, &path, json!({"action": "retry"})).await.expect(200);
    world.project().await;
    let left = "select id::text from events where processing_error is not null or not processed";
    assert_eq!(texts(&owner, left).await, Vec::<String>::new());
}

#[tokio::test]
async fn requests_see_the_rows_their_policies_show_and_errors_only_if_they_see_the_tenant() {
    let staff = Person::staff();
    let world = parked(&staff).await;
    let user = Person::user();
    world
        .append(&user, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    for (person, events, errors) in [
        (&staff, 5, 1),
        (&Person::service("crm"), 5, 1),
        (&user, 1, 0),
        (&Person::agent("pricing"), 0, 0),
        (&stranger, 0, 0),
    ] {
        let session = world.session_of(person).await;
        assert_eq!(count(&session, "events").await, events, "{person:?}");
        let with_error = "events where processing_error is not null";
        assert_eq!(count(&session, with_error).await, errors, "{person:?}");
    }
    // A user whose own event failed sees the event, but not the database's error message.
    let owner = world.owner().await;
    let broken = "alter table public.orders add constraint broken check (notes is null)";
    owner.batch_execute(broken).await.unwrap();
    world
        .append(
            &user,
            "order.created",
            "O-2",
            json!({"customer_id": "C-1", "notes": "n"}),
        )
        .await;
    world.project().await;
    assert_eq!(
        count(
            &owner,
            "events where processing_error is not null and aggregate_id = 'O-2'"
        )
        .await,
        1
    );
    let session = world.session_of(&user).await;
    assert_eq!(
        count(&session, "events where not processed and processing_error is null").await,
        1
    );
    // Without claims, or as anon, no rows are visible.
    let no_claims = world.api_login().await;
    no_claims.batch_execute("set role authenticated").await.unwrap();
    assert_eq!(count(&no_claims, "events").await, 0);
    let anon = world.superuser().await;
    anon.batch_execute("set role anon").await.unwrap();
    for relation in ["events", "event_types"] {
        let refused = anon.query(&format!("select from {relation}"), &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{relation}");
    }
}

#[tokio::test]
async fn event_types_has_each_type_of_the_callers_tenant_once() {
    let world = World::new().await;
    let (staff, other) = (Person::staff(), Person::staff().in_tenant(Uuid::new_v4()));
    let evolved = json!({"event_type": "customer.deleted", "aggregate_type": "customer", "version": "1.1", "description": "Ours.",
        "effect": "delete", "posters": ["staff"], "example": {"name": "Ada"},
        "schema": {"type": "object", "properties": {"name": {"type": "string"}, "deleted_at": {"type": "string", "format": "date-time"}}}});
    let known = world
        .get(&staff, "/events/types/customer.deleted")
        .await
        .expect(200)
        .body;
    let mut registered = evolved.clone();
    registered["schema"] = known["schema"].clone();
    registered["example"] = known["example"].clone();
    registered["effect"] = known["effect"].clone();
    world.post(&staff, "/events/types", registered).await.expect(201);
    for (person, version, built_in) in [
        (&staff, "1.1", "false"),
        (&other, known["version"].as_str().unwrap(), "true"),
    ] {
        let session = world.session_of(person).await;
        let found =
            "select concat_ws(' ', version, (tenant_id is null)::text, jsonb_typeof(schema), jsonb_typeof(example))
            from event_types where event_type = 'customer.deleted'";
        assert_eq!(
            texts(&session, found).await,
            [format!("{version} {built_in} object object")]
        );
        let names: Vec<String> = texts(
            &session,
            "select event_type from event_types order by event_type collate \"C\"",
        )
        .await;
        let listed = world.all_pages(person, "/events/types").await;
        let listed: Vec<&str> = listed.iter().filter_map(|kind| kind["event_type"].as_str()).collect();
        assert_eq!(names, listed, "as GET /events/types lists them");
    }
    let owner = world.owner().await;
    assert_eq!(
        count(&owner, "event_types where event_type = 'customer.deleted'").await,
        2
    );
}

#[tokio::test]
async fn no_role_can_write_through_them_not_even_the_owner() {
    let staff = Person::staff();
    let world = parked(&staff).await;
    let before = world.log().await;
    let sessions = [
        ("owner", world.owner().await),
        ("staff", world.session_of(&staff).await),
        ("hostile", world.hostile(Some(&staff)).await),
    ];
    for (who, session) in &sessions {
        for sql in [
            "insert into events (event_type) values ('customer.created')",
            "update events set data = '{}'",
            "delete from events",
            "truncate events",
            "insert into event_types (event_type) values ('a.b')",
            "update event_types set description = ''",
            "delete from event_types",
        ] {
            let refused = session.batch_execute(sql).await.expect_err(sql);
            let code = refused.code().unwrap().code().to_owned();
            assert!(
                ["42501", "55000", "42809"].contains(&code.as_str()),
                "{who}: {sql}: {code}"
            );
        }
    }
    assert_eq!(world.log().await, before);
}

/// The columns that the sources show exist; there may be others.
#[tokio::test]
async fn the_relations_have_the_columns_that_the_sources_show() {
    let owner = World::new().await.owner().await;
    let columns = async |relation: &str| -> BTreeSet<String> {
        let sql = format!(
            "select attname::text from pg_attribute where attrelid = 'public.{relation}'::regclass and attnum > 0"
        );
        texts(&owner, &sql).await.into_iter().collect()
    };
    let shown = [
        "id",
        "event_number",
        "event_type",
        "aggregate_type",
        "aggregate_id",
        "aggregate_version",
        "version",
        "timestamp",
        "data",
        "payload",
        "metadata",
        "source",
        "created_by",
        "user_id",
        "created_at",
        "processed",
        "processing_error",
        "correlation_id",
        "causation_id",
        "command_id",
        "idempotency_key",
    ];
    let events = columns("events").await;
    let missing: Vec<&str> = shown.into_iter().filter(|name| !events.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let types = columns("event_types").await;
    let shown = [
        "event_type",
        "aggregate_type",
        "version",
        "description",
        "schema",
        "example",
    ];
    assert!(shown.iter().all(|name| types.contains(*name)), "{types:?}");
}
