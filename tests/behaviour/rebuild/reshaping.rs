//! When stored events come to fold to another state: reads are right at once, read models after the next sweep.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::going_on::until_waited_for;
use super::{assert_no_shadow_is_left, everything, rebuild};

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

/// Version 2.0 keeps the country in another field.
async fn reshape(world: &World, staff: &Person) {
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

async fn is_reshaping(world: &World) -> bool {
    let due = "select exists (select from annals.shapes where rebuilt_shape < shape)";
    world.superuser().await.query_one(due, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_shape_is_read_at_once_and_in_the_tables_after_the_sweep() {
    let world = World::without_requirements().await;
    let (staff, stranger) = (Person::staff(), Person::staff().in_tenant(Uuid::new_v4()));
    customers(&world, &staff).await;
    customers(&world, &stranger).await;
    world
        .post(&staff, &format!("{ID}/snapshots"), json!({"reason": "before"}))
        .await
        .expect(201);
    reshape(&world, &staff).await;
    assert_eq!(world.take_wake_ups().await, [r#"{"rebuilds":{}}"#]);
    assert!(is_reshaping(&world).await);
    let lifted = json!({"name": "N", "segment": "IN"});
    assert_eq!(world.get(&staff, ID).await.expect(200).body["state"], lifted);
    assert!(
        rows(&world, &staff)
            .await
            .iter()
            .all(|row| row["segment"] == "old" && row["country"] == "IN")
    );

    // More comes in before the rebuild: folded onto a state of the old shape.
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world.project().await;
    world.sweep().await;
    assert!(!is_reshaping(&world).await);
    for row in rows(&world, &staff).await {
        assert_eq!(
            (&row["segment"], &row["country"]),
            (&json!("IN"), &Value::Null),
            "{row}"
        );
    }
    assert!(
        rows(&world, &stranger).await.iter().all(|row| row["segment"] == "old"),
        "others never notice"
    );
    let found = world.get(&staff, ID).await.expect(200).body;
    assert_eq!(found["state"], json!({"name": "N", "segment": "IN", "phone": "1"}));
    assert_eq!(
        world.rows_of("annals.snapshots").await,
        [] as [Value; 0],
        "none of the old shape is kept"
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
async fn a_shape_that_comes_up_while_rebuilding_is_the_one_that_is_exchanged() {
    let world = Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    customers(&world, &staff).await;
    let superuser = world.superuser().await;
    let mut holder = world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("lock table annals_locks.read_models in row exclusive mode")
        .await
        .unwrap();
    let rebuilding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { rebuild(&world, &everything()).await }
    });
    // All is folded by now, and the exchange only waits for the lock.
    until_waited_for(&superuser, "annals_locks.read_models").await;
    reshape(&world, &staff).await;
    held.rollback().await.unwrap();
    rebuilding.await.unwrap().unwrap();
    assert!(!is_reshaping(&world).await);
    assert!(rows(&world, &staff).await.iter().all(|row| row["segment"] == "IN"));
    world.assert_read_models_are_the_fold().await;
}

/// A table that refuses the new shape: the sweep goes on, tries again when something has changed, and tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_shape_that_a_table_refuses_stops_no_sweep_and_is_not_tried_all_the_time() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    customers(&world, &staff).await;
    let owner = world.owner().await;
    owner
        .batch_execute("alter table public.customers add constraint customers_segment check (segment = 'old')")
        .await
        .unwrap();
    reshape(&world, &staff).await;
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

    // Time goes by: tried again, and the time after that is longer.
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
    assert!(!is_reshaping(&world).await);
    world.assert_read_models_are_the_fold().await;
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_comes_late_has_its_table_filled_with_what_was_there_before() {
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
    assert!(is_reshaping(&world).await);
    world.sweep().await;
    assert!(!is_reshaping(&world).await);
    let rows = world.rows_of("public.gadgets").await;
    assert_eq!(
        (rows.len(), &rows[0]["id"], &rows[0]["colour"]),
        (1, &json!("G-1"), &json!("red"))
    );
}
