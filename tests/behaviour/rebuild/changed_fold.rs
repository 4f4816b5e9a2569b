//! A new version of a type changes what stored events fold to: reads are right immediately, read models after the next sweep.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::{assert_no_shadow_is_left, everything, rebuild_before_exchange};

const ID: &str = "/entities/customer/C-1";

async fn customers(world: &World, staff: &Person) {
    for n in 0..3 {
        world
            .append(
                staff,
                "customer.created",
                &format!("C-{n}"),
                json!({"name": "N", "country": "IN", "segment": "old"}),
            )
            .await;
    }
    world.sweep().await;
    world.take_wake_ups().await;
}

/// In version 2.0 the country is in another field.
async fn register_second_version(world: &World, staff: &Person) {
    let body = json!({
        "event_type": "customer.created", "version": "2.0",
        "schema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "segment": {"type": "string"}}},
        "example": {"name": "N", "segment": "IN"},
        "upcasters": [{"from_version": "1.0", "steps": [{"rename": {"country": "segment"}}]}],
    });
    world.post(staff, "/events/types", body).await.expect(201);
}

async fn rows(world: &World, staff: &Person) -> Vec<Value> {
    let mut rows = world.rows_of("public.customers").await;
    rows.retain(|row| row["tenant_id"] == json!(staff.tenant));
    rows
}

async fn rebuild_is_needed(world: &World) -> bool {
    let due = "select exists (select from annals.fold_versions where rebuilt_version < fold_version)";
    world.superuser().await.query_one(due, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_fold_is_read_immediately_and_reaches_the_tables_with_the_sweep() {
    let world = World::without_requirements().await;
    let (staff, stranger) = (Person::staff(), Person::staff().in_tenant(Uuid::new_v4()));
    customers(&world, &staff).await;
    customers(&world, &stranger).await;
    world
        .post(&staff, &format!("{ID}/snapshots"), json!({"reason": "before"}))
        .await
        .expect(201);
    register_second_version(&world, &staff).await;
    assert_eq!(world.take_wake_ups().await, [r#"{"rebuilds":{}}"#]);
    assert!(rebuild_is_needed(&world).await);
    let upcast = json!({"name": "N", "segment": "IN"});
    assert_eq!(world.get(&staff, ID).await.expect(200).body["state"], upcast);
    assert!(
        rows(&world, &staff)
            .await
            .iter()
            .all(|row| row["segment"] == "old" && row["country"] == "IN")
    );

    // An event that arrives before the rebuild is folded onto a state of the old version.
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world.project().await;
    world.sweep().await;
    assert!(!rebuild_is_needed(&world).await);
    for row in rows(&world, &staff).await {
        assert_eq!(
            (&row["segment"], &row["country"]),
            (&json!("IN"), &Value::Null),
            "{row}"
        );
    }
    assert!(
        rows(&world, &stranger).await.iter().all(|row| row["segment"] == "old"),
        "other tenants are not affected"
    );
    let found = world.get(&staff, ID).await.expect(200).body;
    assert_eq!(found["state"], json!({"name": "N", "segment": "IN", "phone": "1"}));
    assert_eq!(
        world.rows_of("annals.snapshots").await,
        [] as [Value; 0],
        "snapshots of the old fold are removed"
    );
    world.assert_read_models_are_the_fold().await;
    let rebuilds = world.rows_of("annals.rebuilds").await;
    assert_eq!(
        (
            rebuilds.len(),
            &rebuilds[0]["tenant_id"],
            &rebuilds[0]["aggregate_type"]
        ),
        (1, &json!(staff.tenant), &json!("customer"))
    );
    world.sweep().await;
    assert_eq!(world.rows_of("annals.rebuilds").await.len(), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_the_fold_changes_during_a_rebuild_the_new_one_is_exchanged() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    customers(&world, &staff).await;
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    register_second_version(&world, &staff).await;
    holder.batch_execute("rollback").await.unwrap();
    rebuilding.await.unwrap().unwrap();
    assert!(!rebuild_is_needed(&world).await);
    assert!(rows(&world, &staff).await.iter().all(|row| row["segment"] == "IN"));
    world.assert_read_models_are_the_fold().await;
}

/// A table refuses the new states: the sweep continues, tries again later or when something has changed, and reports the error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_fold_that_a_table_refuses_stops_no_sweep_and_is_retried_with_growing_delays() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    customers(&world, &staff).await;
    let owner = world.owner().await;
    owner
        .batch_execute("alter table public.customers add constraint customers_segment check (segment = 'old')")
        .await
        .unwrap();
    register_second_version(&world, &staff).await;
    world
        .append(&staff, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    for _ in 0..3 {
        world.sweep().await;
    }
    assert_eq!(world.rows_of("public.orders").await.len(), 1);
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    let rebuilds = status["rebuilds"].as_array().unwrap();
    assert_eq!(
        (rebuilds.len(), &rebuilds[0]["status"], &rebuilds[0]["attempts"]),
        (1, &json!("failed"), &json!(1))
    );
    assert!(
        rebuilds[0]["error"].as_str().unwrap().contains("customers_segment"),
        "{status}"
    );
    assert_eq!(
        world.get(&staff, ID).await.expect(200).body["state"]["segment"],
        "IN",
        "reads are right all the same"
    );

    // Time passes: it is tried again, and the next delay is longer.
    let later = "update annals.rebuilds set finished_at = finished_at - interval '61 seconds'";
    for attempts in [2, 2] {
        world.superuser().await.batch_execute(later).await.unwrap();
        world.sweep().await;
        let status = world.get(&staff, "/projector/status").await.expect(200).body;
        assert_eq!(status["rebuilds"][0]["attempts"], attempts);
    }
    owner
        .batch_execute("alter table public.customers drop constraint customers_segment")
        .await
        .unwrap();
    world.superuser().await.batch_execute(later).await.unwrap();
    world.sweep().await;
    assert!(!rebuild_is_needed(&world).await);
    world.assert_read_models_are_the_fold().await;
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_a_new_module_is_filled_from_existing_events() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let body = json!({"event_type": "gadget.created", "version": "1.0", "effect": "create",
        "schema": {"type": "object", "properties": {"colour": {"type": "string"}}}, "example": {"colour": "red"}});
    world.post(&staff, "/events/types", body).await.expect(201);
    world
        .append(&staff, "gadget.created", "G-1", json!({"colour": "red"}))
        .await;
    world.sweep().await;
    let module = "create table public.gadgets (like annals.state_row including all, colour text);
         select annals.register_state_table('public.gadgets', 'gadget')";
    world.owner().await.batch_execute(module).await.unwrap();
    assert!(rebuild_is_needed(&world).await);
    world.sweep().await;
    assert!(!rebuild_is_needed(&world).await);
    let rows = world.rows_of("public.gadgets").await;
    assert_eq!(
        (rows.len(), &rows[0]["id"], &rows[0]["colour"]),
        (1, &json!("G-1"), &json!("red"))
    );
}
