//! Figures are exact, however much the sweep has counted and however much is beyond its checkpoint.

use serde_json::{Value, json};
use tests::{Person, World};
use tokio_postgres::Client;
use uuid::Uuid;

/// Events recorded between two moments, one every so many seconds, as if they had been appended then. They are in streams of their own, and
/// projected.
pub struct Past<'a> {
    pub tenant: Uuid,
    /// SQL: `clock_timestamp() - interval '1 hour'`.
    pub from: &'a str,
    pub to: &'a str,
    pub seconds: u32,
}

impl Past<'_> {
    pub async fn insert(&self, owner: &Client) {
        let Self {
            tenant,
            from,
            to,
            seconds,
        } = self;
        let insert = format!(
            "with added as (
                 insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type,
                        aggregate_type, aggregate_id, version, created_by, posted_by, started_by, source, data, metadata)
                 select nextval('annals.event_numbers'), t, t, gen_random_uuid(), '{tenant}', 1,
                        case when extract(epoch from t)::bigint % 3 = 0 then 'order.created' else 'customer.created' end,
                        case when extract(epoch from t)::bigint % 3 = 0 then 'order' else 'customer' end,
                        gen_random_uuid()::text, '1.0', 'system', 'system', 'system', 'api', '{{}}', '{{}}'
                   from generate_series({from}, {to}, interval '{seconds} seconds') as t
                 returning *)
             insert into annals.heads (tenant_id, last_created_at, version, projected_version, aggregate_type, aggregate_id, started_by)
             select tenant_id, created_at, 1, 1, aggregate_type, aggregate_id, started_by from added"
        );
        owner.batch_execute(&insert).await.expect("a past");
    }
}

/// The result of a plain count over the log, now.
async fn counted(owner: &Client, tenant: Uuid, window: &str) -> i64 {
    let sql = format!(
        "select count(*) from annals.events where tenant_id = '{tenant}' and created_at >= clock_timestamp() - interval '{window}'"
    );
    owner.query_one(&sql, &[]).await.expect("a count").get(0)
}

/// Time windows move during the test, so each figure must lie between plain counts before and after it. Events are seven seconds apart over
/// two days, in three groups that each cover all of the time; two of the groups are behind the checkpoint.
#[tokio::test]
async fn figures_equal_a_plain_count_wherever_the_checkpoint_is() {
    let world = World::new().await;
    let (staff, owner) = (Person::staff(), world.owner().await);
    let other = staff.clone().in_tenant(Uuid::new_v4());
    for lot in 0..3 {
        let (from, to) = (
            format!(
                "date_trunc('minute', now()) - interval '26 hours' + interval '{} seconds'",
                lot * 7
            ),
            "clock_timestamp()",
        );
        for (tenant, seconds) in [(staff.tenant, 21), (other.tenant, 600)] {
            Past {
                tenant,
                from: &from,
                to,
                seconds,
            }
            .insert(&owner)
            .await;
        }
        if lot < 2 {
            world.sweep().await;
        }
        for person in [&staff, &other] {
            let windows = ["24 hours", "1 hour", "1 minute"];
            let mut most = Vec::new();
            for window in windows {
                most.push(counted(&owner, person.tenant, window).await);
            }
            let stats = world.get(person, "/events/stats").await.expect(200).body;
            let rates = world.get(person, "/projector/status").await.expect(200).body["rates"].clone();
            let figures = [
                &stats["events_last_24_hours"],
                &stats["storage_rate"]["last_hour"]["events"],
                &stats["storage_rate"]["last_minute"]["events"],
            ];
            for ((window, most), figure) in windows.iter().zip(most).zip(figures) {
                let least = counted(&owner, person.tenant, window).await;
                let figure = figure.as_i64().expect("a number");
                assert!(
                    (least..=most).contains(&figure),
                    "{window}: {figure} is not in {least}..={most}"
                );
            }
            assert_eq!(rates["appended"], rates["projected"]);
            let plain = owner
                .query(
                    "select event_type, count(*) from annals.events where tenant_id = $1 group by event_type",
                    &[&person.tenant],
                )
                .await
                .expect("counts");
            let plain: serde_json::Map<String, Value> =
                plain.iter().map(|r| (r.get(0), json!(r.get::<_, i64>(1)))).collect();
            assert_eq!(stats["events_by_type"], json!(plain));
            assert_eq!(
                stats["total_events"].as_i64(),
                Some(plain.values().filter_map(Value::as_i64).sum())
            );
        }
    }
}

#[tokio::test]
async fn minutes_that_no_figure_needs_any_more_are_removed_by_the_next_sweep() {
    let world = World::new().await;
    let (tenant, owner) = (Person::staff().tenant, world.owner().await);
    let kept = async || -> Vec<bool> {
        let sql = "select minute < now() - interval '25 hours' from annals.event_rates order by minute";
        owner
            .query(sql, &[])
            .await
            .expect("minutes")
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    let (from, to) = ("clock_timestamp() - interval '30 hours'", "clock_timestamp()");
    Past {
        tenant,
        from,
        to,
        seconds: 3600,
    }
    .insert(&owner)
    .await;
    world.sweep().await;
    let minutes = kept().await;
    assert!(
        (24..=26).contains(&minutes.len()) && !minutes.contains(&true),
        "{minutes:?}"
    );
    owner
        .batch_execute("update annals.event_rates set minute = minute - interval '3 hours'")
        .await
        .expect("three hours later");
    world
        .append(&Person::staff(), "customer.created", "C-1", json!({"name": "N"}))
        .await;
    world.sweep().await;
    let minutes = kept().await;
    assert!(
        (22..=24).contains(&minutes.len()) && !minutes.contains(&true),
        "{minutes:?}"
    );
}

#[tokio::test]
async fn rates_and_shares_are_exact_decimals() {
    let world = World::new().await;
    let staff = Person::staff();
    let world_of_figures = async |person: &Person| world.get(person, "/events/stats").await.expect(200).body;
    let before = world_of_figures(&staff).await;
    assert_eq!(before["upcasting"]["success_rate"], Value::Null);
    assert_eq!(
        before["snapshots"],
        json!({"hits": 0, "misses": 0, "corrupt": 0, "hit_rate": null})
    );
    assert_eq!(
        before["storage_rate"]["last_minute"],
        json!({"events": 0, "events_per_second": 0})
    );
    let uses = [
        annals_store::Usage {
            snapshot_hits: 2,
            snapshot_misses: 1,
            ..Default::default()
        },
        annals_store::Usage {
            snapshots_corrupt: 1,
            upcasts: 7,
            ..Default::default()
        },
        annals_store::Usage {
            upcasts: 2,
            upcasts_failed: 1,
            ..Default::default()
        },
        annals_store::Usage::default(),
    ];
    for usage in uses {
        world.app.store.tally(staff.tenant.into(), usage).await;
    }
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    let figures = world_of_figures(&staff).await;
    assert_eq!(
        figures["snapshots"],
        json!({"hits": 2, "misses": 1, "corrupt": 1, "hit_rate": 0.6667})
    );
    let upcasting = &figures["upcasting"];
    assert_eq!(
        (
            &upcasting["succeeded"],
            &upcasting["failed"],
            &upcasting["success_rate"]
        ),
        (&json!(9), &json!(1), &json!(0.9))
    );
    assert_eq!(
        figures["storage_rate"]["last_minute"],
        json!({"events": 1, "events_per_second": 0.0167})
    );
    assert_eq!(
        figures["storage_rate"]["last_hour"],
        json!({"events": 1, "events_per_second": 0.0003})
    );
    // Figures of other tenants are separate, and users get the same as always.
    let elsewhere = world_of_figures(&staff.clone().in_tenant(Uuid::new_v4())).await;
    assert_eq!(elsewhere["snapshots"]["hits"], 0);
    let user = world_of_figures(&Person::user()).await;
    for figure in ["snapshots", "upcasting", "storage_rate", "parked_events"] {
        assert_eq!(user.get(figure), None, "{figure}");
    }
}

#[tokio::test]
async fn concurrent_readers_count_every_use_and_a_failing_count_fails_no_read() {
    let world = World::new().await;
    let staff = Person::staff();
    let usage = annals_store::Usage {
        snapshot_hits: 1,
        upcasts: 3,
        ..Default::default()
    };
    let tenant = staff.tenant.into();
    futures_util::future::join_all((0..100).map(|_| world.app.store.tally(tenant, usage))).await;
    let figures = world.get(&staff, "/events/stats").await.expect(200).body;
    assert_eq!(
        (&figures["snapshots"]["hits"], &figures["upcasting"]["succeeded"]),
        (&json!(100), &json!(300))
    );
    let owner = world.owner().await;
    owner
        .batch_execute("begin; lock annals.usage_counts in access exclusive mode")
        .await
        .expect("the lock");
    world.app.store.tally(tenant, usage).await;
    owner
        .batch_execute("drop table annals.usage_counts cascade; commit")
        .await
        .expect("no table");
    world.app.store.tally(tenant, usage).await;
}

#[tokio::test]
async fn upcasters_that_change_something_are_counted_with_the_tenants_own_in_place_of_built_in_ones() {
    let world = World::new().await;
    let staff = Person::staff();
    let other = staff.clone().in_tenant(Uuid::new_v4());
    let registered = async |person: &Person| {
        let stats = world.get(person, "/events/stats").await.expect(200).body["upcasting"]["registered"].clone();
        let health = world.get(person, "/status").await.expect(200).body["health"]["upcasters_registered"].clone();
        assert_eq!(stats, health);
        stats.as_i64().expect("a number")
    };
    let before = registered(&staff).await;
    let kind = |version: &str, upcasters: Value| {
        json!({"event_type": "widget.made", "aggregate_type": "widget", "version": version, "description": "Was made.", "effect": "create",
               "posters": ["staff"], "schema": {"type": "object"}, "example": {}, "upcasters": upcasters})
    };
    world
        .post(&staff, "/events/types", kind("1.0", json!([])))
        .await
        .expect(201);
    world
        .post(&staff, "/events/types", kind("1.1", json!([])))
        .await
        .expect(201);
    assert_eq!(registered(&staff).await, before);
    let steps = json!([{"from_version": "1.1", "to_version": "2.0", "steps": [{"set": {"colour": "red"}}]}]);
    world
        .post(&staff, "/events/types", kind("2.0", steps))
        .await
        .expect(201);
    assert_eq!(registered(&staff).await, before + 1);
    assert_eq!(registered(&other).await, before);
}

#[tokio::test]
async fn replays_are_shown_with_the_rate_of_their_last_run_to_callers_who_see_the_tenant() {
    let (world, staff) = (World::new().await, Person::staff());
    let other = staff.clone().in_tenant(Uuid::new_v4());
    let insert = "insert into annals.checkpoints (name, tenant_id, consumer, position, event_count, updated_at, run_started_at, run_ended_at, run_event_count)
        values ('ended', $1, '{}', 9, 700, '2026-01-01T00:00:09Z', '2026-01-01T00:00:00Z', '2026-01-01T00:00:08Z', 500),
               ('killed', $1, '{}', 5, 5, '2026-01-01T00:00:03Z', '2026-01-01T00:00:00Z', null, 5),
               ('begun', $1, '{}', 5, 5, '2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z', null, 0),
               ('theirs', $2, '{}', 1, 1, '2026-01-01T00:00:01Z', '2026-01-01T00:00:00Z', null, 1),
               ('everybody''s', null, '{}', 1, 1, '2026-01-01T00:00:01Z', '2026-01-01T00:00:00Z', null, 1)";
    world
        .owner()
        .await
        .execute(insert, &[&staff.tenant, &other.tenant])
        .await
        .expect("checkpoints");
    let replays =
        async |person: &Person| world.get(person, "/projector/status").await.expect(200).body["replays"].clone();
    let own = replays(&staff).await;
    let shown: Vec<_> = own
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| (&r["checkpoint"], &r["run_events_per_second"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("ended"), &json!(62.5)),
            (&json!("killed"), &json!(1.6667)),
            // A replay of all tenants; staff of the default tenant sees the part of its own tenant.
            (&json!("everybody's"), &json!(0)),
            (&json!("begun"), &Value::Null)
        ]
    );
    assert_eq!(
        own[0],
        json!({"checkpoint": "ended", "position": 9, "event_count": 700, "last_event_id": null, "metadata": {}, "moved_at": "2026-01-01T00:00:09.000000Z", "run_events": 500,
               "run_started_at": "2026-01-01T00:00:00.000000Z", "run_ended_at": "2026-01-01T00:00:08.000000Z",
               "run_events_per_second": 62.5})
    );
    let theirs = replays(&other).await;
    assert_eq!(
        (theirs.as_array().map(Vec::len), &theirs[0]["checkpoint"]),
        (Some(1), &json!("theirs"))
    );
}
