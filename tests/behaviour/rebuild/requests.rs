//! Staff requests a rebuild, and the projector runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Person, World};

use super::concurrent_work::until_waited_for;
use super::{assert_no_shadow_is_left, everything, hold_exchanges, populate, rebuild};

async fn damage(world: &World) {
    let damage = "update public.organizations set name = 'wrong'; update public.customers set name = 'wrong'";
    world.superuser().await.batch_execute(damage).await.unwrap();
}

async fn last(world: &World, person: &Person) -> Value {
    world.get(person, "/projector/status").await.expect(200).body["rebuilds"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_projector_rebuilds_the_read_models_of_staffs_tenant_on_request() {
    let world = World::new().await;
    let (staff, stranger) = populate(&world).await;
    let right = world.read_models().await;
    world.take_wake_ups().await;
    damage(&world).await;
    let answer = world
        .post(&staff, "/projector/rebuild", json!({"module": "organization"}))
        .await
        .expect(202)
        .body;
    assert_eq!(answer["status"], "requested");
    let asked = last(&world, &staff).await;
    assert_eq!(
        (&asked["id"], &asked["status"], &asked["requested_by"]),
        (&answer["id"], &json!("requested"), &json!(staff.actor()))
    );
    assert_eq!(
        world.post(&staff, "/projector/rebuild", json!({})).await.problem(409),
        "rebuild_running"
    );
    assert!(
        last(&world, &stranger).await.is_null(),
        "no tenant sees another tenant's rebuilds"
    );

    let messages = world.take_wake_ups().await;
    assert_eq!(messages, [r#"{"rebuilds":{}}"#]);
    // The message is delivered twice, as queues do.
    let failed = world.deliver([messages.clone(), messages].concat()).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(
        last(&world, &staff).await["status"],
        "requested",
        "the request does not wait for the rebuild"
    );
    world.outlive_open_transactions().await;
    world.projector.rebuild_due().await.unwrap();
    let done = last(&world, &staff).await;
    assert_eq!(
        (&done["id"], &done["status"], &done["changed_rows"]),
        (&answer["id"], &json!("done"), &json!(4))
    );
    assert_eq!(
        (&done["streams"], &done["module"], &done["requested_by"]),
        (&json!(4), &json!("organization"), &json!(staff.actor()))
    );
    let wrong = world.rows_of("public.organizations").await;
    let wrong = wrong.iter().filter(|row| row["name"] == "wrong");
    assert!(wrong.clone().count() == 4 && wrong.clone().all(|row| row["tenant_id"] == json!(stranger.tenant)));

    // All read models of the other tenant; the message was lost, and a sweep finds the request.
    world.post(&stranger, "/projector/rebuild", json!({})).await.expect(202);
    world.take_wake_ups().await;
    world.sweep().await;
    assert_eq!(last(&world, &stranger).await["status"], "done");
    let found = world.read_models().await;
    assert_eq!(found["public.organizations"], right["public.organizations"]);
    let of_staff = |row: &Value| row["tenant_id"] == json!(staff.tenant);
    let customers = world.rows_of("public.customers").await;
    assert!(customers.iter().all(|row| (row["name"] == "wrong") == of_staff(row)));
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test]
async fn invalid_requests_for_rebuilds_are_refused() {
    let world = World::new().await;
    let staff = Person::staff();
    for person in [Person::user(), Person::agent("pricing"), Person::service("crm")] {
        assert_eq!(
            world.post(&person, "/projector/rebuild", json!({})).await.problem(403),
            "staff_only"
        );
    }
    assert_eq!(
        world
            .post(&staff, "/projector/rebuild", json!({"module": "unheard_of"}))
            .await
            .problem(422),
        "unknown_module"
    );
    for body in [json!({"modul": "order"}), json!({"module": 1}), json!([])] {
        world.post(&staff, "/projector/rebuild", body).await.problem(400);
    }
    assert_eq!(world.take_wake_ups().await, [] as [String; 0]);
    let rows: i64 = world
        .superuser()
        .await
        .query_one("select count(*) from annals.rebuilds", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn only_the_projector_may_use_the_tables_of_rebuilds() {
    let world = World::new().await;
    let (staff, user) = (Person::staff(), Person::user());
    for person in [&staff, &user] {
        let session = world.hostile(Some(person)).await;
        for attempt in [
            "select annals.open_shadow(1)",
            "select annals.drop_shadow(1)",
            "select annals.analyze_rebuilt(1)",
            "select annals.start_rebuild(1, 'rebuild', null, null, 'system', '1/1')",
            "select annals.exchange_rows('public.orders', 'public.orders', null, null, 'false')",
            "insert into annals.rebuilds (id, status, requested_by) values (1, 'requested', 'system')",
            "update annals.fold_versions set rebuilt_version = fold_version",
            "do $$ begin lock table annals.entities in exclusive mode; end $$",
            "do $$ begin lock table annals_locks.read_models in exclusive mode; end $$",
        ] {
            let refused = session.batch_execute(attempt).await.expect_err(attempt);
            assert_eq!(refused.code().unwrap().code(), "42501", "{attempt}: {refused:?}");
        }
    }
    let session = world.hostile(Some(&user)).await;
    let refused = session
        .batch_execute("select annals.request_rebuild(null)")
        .await
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "PT403");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requested_rebuild_that_was_killed_runs_again_and_leaves_nothing_behind() {
    let world = Arc::new(World::new().await);
    let (staff, _) = populate(&world).await;
    damage(&world).await;
    let id = world
        .post(&staff, "/projector/rebuild", json!({}))
        .await
        .expect(202)
        .body["id"]
        .clone();
    let holder = hold_exchanges(&world).await;
    let rebuilding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.projector.rebuild_due().await }
    });
    until_waited_for(&holder, "annals_locks.read_models").await;
    rebuilding.abort();
    assert!(rebuilding.await.unwrap_err().is_cancelled());
    holder.batch_execute("rollback").await.unwrap();
    let started = Instant::now();
    while last(&world, &staff).await["status"] != "abandoned" {
        assert!(started.elapsed() < Duration::from_secs(300));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Another one was killed after its exchange and before its end: it is done, but its tables still exist.
    world
        .owner()
        .await
        .batch_execute("create schema annals_rebuild_987654")
        .await
        .unwrap();
    world.projector.rebuild_due().await.unwrap();
    let done = last(&world, &staff).await;
    assert_eq!(
        (&done["id"], &done["status"], &done["attempts"]),
        (&id, &json!("done"), &json!(2))
    );
    assert_no_shadow_is_left(&world).await;
    world.projector.rebuild_due().await.unwrap();
    assert_eq!(
        world.rows_of("annals.rebuilds").await.len(),
        1,
        "a finished rebuild is not repeated"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_a_rebuild_of_all_tenants_are_shown_to_no_tenant() {
    let world = World::new().await;
    let (staff, _) = populate(&world).await;
    damage(&world).await;
    rebuild(&world, &everything()).await.unwrap();
    let shown = last(&world, &staff).await;
    assert_eq!(shown["status"], "done");
    for figure in ["events", "streams", "changed_rows"] {
        assert_eq!(shown[figure], Value::Null, "{figure}");
    }
}
