//! A database that had types with several versions before there were upcasters: its old data are read as they are, and evolve
//! from there.

use serde_json::{Value, json};
use tests::{Person, World, cluster, database_at};

use super::{assert_reads_as, post, register, state};

/// The last migration without upcasters.
const BEFORE_UPCASTERS: i32 = 16;

/// What staff of a tenant did at that time, and a migration of somebody's.
const HISTORY: &str = r#"
    insert into annals.event_types (tenant_id, event_type, aggregate_type, current_version, description, effect, posters, created_by)
    values ('00000000-0000-0000-0000-000000000000', 'gauge.read', 'gauge', '1.10', 'read', '"create"', '{staff}', 'x'),
           ('00000000-0000-0000-0000-000000000000', 'customer.created', 'customer', '2.0', 'stricter', '"create"', '{staff}', 'x'),
           ('00000000-0000-0000-0000-000000000001', 'customer.created', 'customer', '1.1', 'looser', '"create"', '{staff}', 'x'),
           ('00000000-0000-0000-0000-000000000000', 'payment.received', 'payment', '1.0', 'received', '"create"', '{staff}', 'x'),
           (null, 'meter.read', 'meter', '1.1', 'read', '"create"', '{staff}', 'system');
    insert into annals.event_type_versions (tenant_id, event_type, version, schema, example, created_by)
    select '00000000-0000-0000-0000-000000000000'::uuid, 'gauge.read', version, '{"type": "object"}'::jsonb, '{}'::jsonb, 'x' from unnest('{1.0,1.9,1.10}'::text[]) as version
    union all
    select '00000000-0000-0000-0000-000000000000', 'payment.received', '1.0', '{"type": "object", "required": ["sum"]}', '{"sum": 1}', 'x'
    union all
    select '00000000-0000-0000-0000-000000000000', 'customer.created', '2.0', '{"type": "object"}', '{}', 'x'
    union all
    select '00000000-0000-0000-0000-000000000001', 'customer.created', '1.1', '{"type": "object"}', '{}', 'x'
    union all
    select null, 'meter.read', version, '{"type": "object"}', '{}', 'system' from unnest('{1.0,1.1}'::text[]) as version;"#;

/// What is posted of a kind: a field that the built-in type does not list is refused.
fn data_of(kind: &str) -> Value {
    match kind {
        "customer" => json!({"name": "N"}),
        _ => json!({"name": "N", "value": 1}),
    }
}

/// A database as it was then, with an event of every version.
async fn old_world(name: &str) -> World {
    let (world, owner) = database_at(name, BEFORE_UPCASTERS).await;
    owner.batch_execute(HISTORY).await.unwrap();
    let session = world.session_of(&Person::staff()).await;
    for (event_type, version) in [
        ("gauge.read", "1.0"),
        ("gauge.read", "1.9"),
        ("customer.created", "1.0"),
        ("meter.read", "1.0"),
    ] {
        let kind = event_type.split('.').next().unwrap();
        let event = json!({"event_type": event_type, "aggregate_type": kind, "aggregate_id": version, "version": version, "data": data_of(kind)});
        session
            .execute("select public.post_event($1::text::jsonb)", &[&event.to_string()])
            .await
            .unwrap();
    }
    world
}

#[tokio::test]
async fn versions_from_before_there_were_upcasters_are_read_as_they_are() {
    let (world, staff) = (old_world("before_upcasters").await, Person::staff());
    annals::store::migrate(&cluster().url_of(&world.database))
        .await
        .unwrap();
    for (kind, version) in [
        ("gauge", "1.0"),
        ("gauge", "1.9"),
        ("customer", "1.0"),
        ("meter", "1.0"),
    ] {
        let data = data_of(kind);
        assert_eq!(state(&world, &staff, kind, version).await, data, "{kind}");
        let history = format!("/events/aggregate/{kind}/{version}/history");
        let event = world.get(&staff, &history).await.expect(200).items()[0].clone();
        assert_eq!((&event["data"], &event["version"]), (&data, &json!(version)), "{kind}");
        assert!(
            event["metadata"].get("migration_applied").is_none(),
            "nothing is done to it"
        );
    }
    // Each tenant's way is its own, though both begin at the built-in version.
    let neighbour = Person::staff().in_tenant(uuid::Uuid::from_u128(1));
    for (tenant, current) in [(&staff, "2.0"), (&neighbour, "1.1")] {
        let kind = world
            .get(tenant, "/events/types/customer.created")
            .await
            .expect(200)
            .body;
        assert_eq!(
            kind["upcasters"],
            json!([{"from_version": "1.0", "to_version": current, "steps": []}])
        );
    }
    post(
        &world,
        &neighbour,
        "customer.created",
        "C-1",
        "1.0",
        &json!({"name": "N"}),
    )
    .await;
    assert_eq!(state(&world, &neighbour, "customer", "C-1").await, json!({"name": "N"}));
    world.sweep().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;
    let reshaping = "select count(*) from annals.shapes";
    let reshaping: i64 = world.superuser().await.query_one(reshaping, &[]).await.unwrap().get(0);
    assert_eq!(reshaping, 0, "no state has come to mean something else");

    // From here on steps are wanted, and they reach back to the first version.
    let next = json!({"event_type": "gauge.read", "version": "2.0", "schema": {"type": "object"}, "example": {}});
    assert_eq!(
        register(&world, &staff, next.clone()).await.problem(422),
        "upcaster_hole"
    );
    let mut next = next;
    next["upcasters"] = json!([{"from_version": "1.10", "steps": [{"rename": {"value": "temperature"}}]}]);
    register(&world, &staff, next).await.expect(201);
    let old = world
        .get(&staff, "/events?aggregate_type=gauge&aggregate_id=1.0")
        .await
        .expect(200);
    let old = old.items()[0]["id"].as_str().unwrap().to_owned();
    assert_reads_as(
        &world,
        &staff,
        &old,
        "2.0",
        "1.0_to_2.0",
        &json!({"name": "N", "temperature": 1}),
    )
    .await;
    let new = post(&world, &staff, "gauge.read", "1.0", "2.0", &json!({"temperature": 2})).await;
    let read = world.get(&staff, &format!("/events/{new}")).await.expect(200).body;
    assert_eq!(read["data"], json!({"temperature": 2}));
}

/// A module that comes later than a tenant's own type of the same name and version changes nothing for the tenant.
#[tokio::test]
async fn a_tenants_own_type_stays_what_it_was_when_a_module_brings_one_of_its_name() {
    let (world, staff) = (old_world("before_payments").await, Person::staff());
    annals::store::migrate(&cluster().url_of(&world.database))
        .await
        .unwrap();
    post(&world, &staff, "payment.received", "P-1", "1.0", &json!({"sum": 5})).await;
    let built_in = super::event(
        "payment.received",
        "P-2",
        "1.0",
        &json!({"amount_cents": 5, "currency": "INR"}),
    );
    assert_eq!(
        world.post(&staff, "/events", built_in.clone()).await.problem(422),
        "schema_violation"
    );
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::new_v4());
    world.post(&elsewhere, "/events", built_in).await.expect(201);
    world.sweep().await;
    assert_eq!(state(&world, &staff, "payment", "P-1").await, json!({"sum": 5}));
    world.assert_read_models_are_the_fold().await;
}
