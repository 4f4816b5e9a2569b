//! The cost of figures depends on how much of the log is beyond the sweep's checkpoint, not on how much is behind it.

use serde_json::json;
use tests::{Person, World};
use tokio_postgres::Client;
use uuid::Uuid;

use super::figures::Past;

/// Index entries and rows of the log that the statements of a request have read. A server process reports its counts when it ends, so the
/// request gets a pool of its own, whose sessions are ended.
async fn read_of_the_log(world: &World, owner: &Client, person: &Person, path: &str) -> i64 {
    let read = async || -> i64 {
        let end = "select count(pg_terminate_backend(pid, 60000)) from pg_stat_activity where application_name = 'annals' and datname = current_database()";
        world.superuser().await.query_one(end, &[]).await.expect("their end");
        let sql = "select (select seq_tup_read from pg_stat_user_tables where relid = 'annals.events'::regclass)
                        + (select sum(idx_tup_read) from pg_stat_user_indexes where relid = 'annals.events'::regclass)::bigint";
        // In a new session, because statistics that a session has read are cached in it.
        world.owner().await.query_one(sql, &[]).await.expect("figures").get(0)
    };
    owner.batch_execute("analyze annals.events").await.expect("statistics");
    let before = read().await;
    world.elsewhere().get(person, path).await.expect(200);
    read().await - before
}

/// What each request reads of a log with an event every so many seconds, from seven hours ago until two hours ago, and twenty events after the
/// sweep's checkpoint.
async fn read_with_an_event_every(seconds: u32) -> Vec<(&'static str, i64)> {
    let world = World::new().await;
    let (staff, user, owner) = (Person::staff(), Person::user(), world.owner().await);
    // Most of the log belongs to another tenant. If a tenant is only a tenth of it, the planner uses an index by tenant.
    for (tenant, seconds) in [(staff.tenant, 10 * seconds), (Uuid::new_v4(), seconds)] {
        let past = Past {
            tenant,
            from: "clock_timestamp() - interval '7 hours'",
            to: "clock_timestamp() - interval '2 hours'",
            seconds,
        };
        past.insert(&owner).await;
    }
    for number in 0..5 {
        world
            .append(
                &user,
                "order.created",
                &format!("C-{number}"),
                json!({"customer_id": "C-1"}),
            )
            .await;
    }
    world.project().await;
    world.sweep().await;
    for number in 0..20 {
        world
            .append(&staff, "customer.created", &number.to_string(), json!({"name": "N"}))
            .await;
    }
    let mut read = Vec::new();
    for (person, path) in [
        (&staff, "/events/stats"),
        (&staff, "/projector/status"),
        (&staff, "/status"),
        (&user, "/events/stats"),
        (&user, "/status"),
    ] {
        read.push((path, read_of_the_log(&world, &owner, person, path).await));
    }
    read
}

#[tokio::test]
async fn figures_read_as_much_of_twenty_thousand_events_as_of_two_thousand() {
    let (few, many) = (read_with_an_event_every(10).await, read_with_an_event_every(1).await);
    let pairs = few.iter().zip(&many);
    let dearer: Vec<_> = pairs
        .filter(|((_, few), (_, many))| *many > few + 100 || *many > 500)
        .collect();
    assert!(dearer.is_empty(), "{dearer:?}");
}
