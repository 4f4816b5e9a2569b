//! What the streams of a plain user may cost the projector, which all tenants share.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Person, World, recorded};
use uuid::Uuid;

use super::{Process, event, register_extended, small_objects};

/// How long another tenant's event may wait during the attack, with an unoptimized build on cores shared with other tests.
const WAIT: Duration = Duration::from_secs(60);

/// Appends fifteen events with 255 KB of new fields each, and then 250 small ones.
async fn attack(world: &World, user: &Person) {
    for part in 0..15 {
        let data = json!({format!("extra_{part}"): "x".repeat(255_000)});
        world.append(user, "customer.extended", "HUGE", data).await;
    }
    let phone = event("customer.extended", "HUGE", &json!({"phone": "1"}));
    world
        .post(user, "/events", json!({"events": vec![phone; 250]}))
        .await
        .expect(201);
}

fn wake_up(streams: &[(Uuid, &str)]) -> Value {
    let streams: Vec<Value> = streams
        .iter()
        .map(|(tenant, id)| json!([tenant, "customer", id]))
        .collect();
    recorded::wake_up(&json!({"streams": streams}).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_grows_beyond_its_limit_parks_its_stream_and_delays_no_other_tenant() {
    let (world, user) = (World::new().await, Person::user());
    let other = Person::staff().in_tenant(Uuid::from_u128(7));
    register_extended(&world, &Person::staff()).await;
    attack(&world, &user).await;
    world
        .append(
            &other,
            "customer.registered",
            "C-1",
            json!({"name": "Ada", "email": "a@example.com"}),
        )
        .await;
    let mut function = Process::start(&world, "projector", "Projector").await;
    let begun = Instant::now();
    let answer = function
        .invoke(wake_up(&[(Uuid::nil(), "HUGE"), (other.tenant, "C-1")]))
        .await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert!(begun.elapsed() < WAIT, "{:?}", begun.elapsed());
    let theirs = world.get(&other, "/entities/customer/C-1").await.expect(200).body;
    assert_eq!(theirs["projected_version"], 1);

    let parked = world.rows_of("annals.parked_streams").await;
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (&parked[0]["aggregate_version"], &parked[0]["error_code"]),
        (&json!(5), &json!("state_too_large"))
    );
    let entity = world.get(&user, "/entities/customer/HUGE").await.expect(200).body;
    assert_eq!(
        (&entity["version"], &entity["projected_version"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(entity["stopped"], json!({"version": 5, "code": "state_too_large"}));
    // Another sweep and the same message again change nothing.
    function.invoke(recorded::tick()).await;
    function.invoke(wake_up(&[(Uuid::nil(), "HUGE")])).await;
    assert_eq!(world.rows_of("annals.parked_streams").await[0]["aggregate_version"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_with_the_largest_states_are_projected_one_state_at_a_time() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    let ids: Vec<String> = (0..8).map(|n| format!("C-{n}")).collect();
    let small = json!(small_objects(255_000));
    for id in &ids {
        let events: Vec<Value> = (0..4)
            .map(|part| event("customer.extended", id, &json!({format!("extra_{part}"): small})))
            .collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
        let phone = event("customer.extended", id, &json!({"phone": "1"}));
        world
            .post(&staff, "/events", json!({"events": vec![phone; 30]}))
            .await
            .expect(201);
    }
    let mut function = Process::start(&world, "projector", "Projector").await;
    let streams: Vec<(Uuid, &str)> = ids.iter().map(|id| (Uuid::nil(), id.as_str())).collect();
    let answer = function.invoke(wake_up(&streams)).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    world.assert_read_models_are_the_fold().await;
    for id in &ids {
        let entity = world
            .get(&staff, &format!("/entities/customer/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(
            (&entity["projected_version"], &entity["state"]["phone"]),
            (&json!(34), &json!("1"))
        );
    }
}

/// The table refuses the state after the fourth of six events, whether the six are projected together or one after the other.
#[tokio::test]
async fn which_state_a_table_refuses_does_not_depend_on_batches() {
    let staff = Person::staff();
    let owner_type = json!({"event_type": "customer.corrected", "effect": "merge", "description": "d", "example": {"phone": 1},
                            "schema": {"type": "object"}});
    let mut versions = Vec::new();
    for one_by_one in [false, true] {
        let world = World::new().await;
        world
            .post(&staff, "/events/types", owner_type.clone())
            .await
            .expect(201);
        let constraint = "alter table public.customers add constraint no_nines check (phone <> '9')";
        world.owner().await.batch_execute(constraint).await.unwrap();
        for phone in ["1", "2", "3", "9", "5", "6"] {
            let filler = "x".repeat(100_000);
            world
                .append(
                    &staff,
                    "customer.corrected",
                    "C-1",
                    json!({"phone": phone, "extra": filler}),
                )
                .await;
            if one_by_one {
                world.project().await;
            }
        }
        world.project().await;
        versions.push(world.rows_of("annals.parked_streams").await[0]["aggregate_version"].clone());
    }
    assert_eq!(versions, [json!(4), json!(4)]);
}
