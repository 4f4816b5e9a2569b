//! Rebuilds that are refused, and leave live read models unchanged.

use projector::RebuildError;
use serde_json::json;
use tests::World;
use uuid::Uuid;

use super::{all_there_is, assert_no_shadow_is_left, everything, module, populate, rebuild, rebuild_before_exchange};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rebuilds_of_the_same_read_models_the_second_is_refused() {
    let world = World::new().await;
    let (staff, stranger) = populate(&world).await;
    let due = module("organization", Some(staff.tenant));
    let (holder, first) = rebuild_before_exchange(&world, due).await;
    for overlapping in [
        everything(),
        module("organization", None),
        module("organization", Some(staff.tenant)),
    ] {
        let refused = rebuild(&world, &overlapping).await;
        assert!(matches!(refused, Err(RebuildError::Refused(_))), "{refused:?}");
    }
    world.post(&staff, "/projector/rebuild", json!({})).await.problem(409);
    // Other read models can be rebuilt at the same time.
    world
        .post(&stranger, "/projector/rebuild", json!({"module": "organization"}))
        .await
        .expect(202);
    world
        .post(&staff, "/projector/rebuild", json!({"module": "customer"}))
        .await
        .expect(202);
    holder.batch_execute("rollback").await.unwrap();
    first.await.unwrap().unwrap();
    rebuild(&world, &everything()).await.unwrap();
    world.sweep().await;
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_module_is_refused() {
    let world = World::new().await;
    let refused = rebuild(&world, &module("unheard_of", None)).await;
    assert!(matches!(refused, Err(RebuildError::Refused(_))), "{refused:?}");
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_its_table_refuses_is_named_and_nothing_is_changed() {
    let world = World::new().await;
    let (staff, stranger) = populate(&world).await;
    let owner = world.owner().await;
    owner
        .batch_execute(
            "alter table public.organizations add constraint organizations_no_three check (name <> 'No. 3') not valid",
        )
        .await
        .unwrap();
    let damage = "update public.customers set name = 'wrong'; delete from public.orders";
    world.superuser().await.batch_execute(damage).await.unwrap();
    let before = all_there_is(&world).await;
    let refused = rebuild(&world, &module("organization", Some(staff.tenant)))
        .await
        .unwrap_err();
    let RebuildError::AtStream { stream, message } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (stream.aggregate_id.as_str(), *stream.tenant_id.as_uuid()),
        ("ORG-3", staff.tenant)
    );
    assert!(message.contains("organizations_no_three"), "{message}");
    assert!(rebuild(&world, &everything()).await.is_err());
    assert_eq!(all_there_is(&world).await, before);
    assert_no_shadow_is_left(&world).await;

    // A failed rebuild is shown to its tenant; one of all tenants is shown to the tenant at whose stream it failed.
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    let own = status["rebuilds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["module"] == "organization")
        .unwrap();
    assert_eq!(
        (&own["status"], &own["error"]),
        (&json!("failed"), &json!(refused.to_string()))
    );
    let failed_at = "select failed_tenant_id from annals.rebuilds where tenant_id is null";
    let failed_at: Uuid = world.superuser().await.query_one(failed_at, &[]).await.unwrap().get(0);
    for person in [&staff, &stranger] {
        let status = world.get(person, "/projector/status").await.expect(200).body;
        let shown = status["rebuilds"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["module"].is_null());
        assert_eq!(shown, person.tenant == failed_at);
        let others = status["rebuilds"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["module"] == "organization");
        assert_eq!(others, person.tenant == staff.tenant);
    }
}
