//! Lists of a time range read only the event numbers of that range and miss nothing, even if clocks went back.

use annals_store::SweepWindow;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tests::{Person, World};
use tokio_postgres::Client;

/// Minutes of the events in their order, as from the clock of a second server, from a clock that was set back, and with hours of no events.
fn clocks() -> impl Strategy<Value = Vec<i32>> {
    let step = prop_oneof![6 => 0..2i32, 2 => 2..90i32, 2 => -3..0i32, 1 => -200..-100i32];
    proptest::collection::vec(step, 1..40).prop_map(|steps| {
        steps
            .iter()
            .scan(300, |minute, step| {
                *minute = (*minute + step).max(0);
                Some(*minute)
            })
            .collect()
    })
}

/// Inserts events, each in a stream of its own, every third one for another tenant, recorded at half past the given minute.
async fn insert(owner: &Client, minutes: &[i32]) {
    let sql = "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type,
                      aggregate_type, aggregate_id, version, created_by, posted_by, started_by, source, data, metadata)
        select nextval('annals.event_numbers'), t.at, t.at, gen_random_uuid(), case when place % 3 = 0 then $2::uuid else $3::uuid end, 1,
               'customer.created', 'customer', gen_random_uuid()::text, '1.0', 'system', 'system', 'system', 'api', '{\"name\": \"N\"}', '{}'
          from unnest($1::int[]) with ordinality as m (minute, place)
         cross join lateral (select timestamptz '2026-01-01 00:00:30Z' + m.minute * interval '1 minute' as at) as t order by place";
    let (other, own) = (uuid::Uuid::new_v4(), Person::staff().tenant);
    owner.execute(sql, &[&minutes, &other, &own]).await.expect("a log");
}

/// Rows that contradict their column comments.
const WRONG: &str = "
select m.minute::text from annals.event_minutes m
 where m.first_number <> (select min(e.event_number) from annals.events e, annals.noted_events n
                           where e.tenant_id = m.tenant_id and e.created_at >= m.minute and e.event_number <= n.position)
    or m.last_number <> (select max(e.event_number) from annals.events e, annals.noted_events n
                          where e.tenant_id = m.tenant_id and e.created_at < m.minute + interval '1 minute' and e.event_number <= n.position)
 union all
select e.created_at::text from annals.events e, annals.noted_events n
 where e.event_number <= n.position
   and not exists (select from annals.event_minutes m where m.tenant_id = e.tenant_id and m.minute = date_trunc('minute', e.created_at, 'UTC'))";

/// Records ranges of these lengths, the last one cut at the end of the log.
async fn record_minutes(world: &World, stretches: &[i64]) {
    let mut from = world.app.store.noted_position().await.expect("a position");
    for length in stretches {
        let to = (from + length).min(world.last_event_number().await);
        // The second time repeats what another sweep has already done.
        for _ in 0..2 {
            let window = SweepWindow { from, to };
            world.app.store.note_minutes(window).await.expect("minutes");
        }
        from = to;
    }
}

async fn listed(world: &World, query: &str) -> Vec<i64> {
    let events = world
        .all_pages(&Person::staff(), &format!("/events?limit=7{query}"))
        .await;
    events
        .iter()
        .filter_map(|event| event["event_number"].as_i64())
        .collect()
}

#[test]
fn a_time_range_is_listed_completely_even_if_clocks_went_back() {
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::without_requirements());
    let cases = (clocks(), proptest::collection::vec(1..9i64, 0..6), 0..400i32, 0..400i32);
    TestRunner::new(config)
        .run(&cases, |(minutes, stretches, from, to)| {
            runtime.block_on(check(&world, &minutes, &stretches, from, to));
            Ok(())
        })
        .expect("every range is complete");
}

async fn check(world: &World, minutes: &[i32], stretches: &[i64], from: i32, to: i32) {
    let owner = world.owner().await;
    insert(&owner, minutes).await;
    record_minutes(world, stretches).await;
    let wrong = owner.query(WRONG, &[]).await.expect("minutes");
    assert!(
        wrong.is_empty(),
        "{:?}",
        wrong.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    );
    let all = world.all_pages(&Person::staff(), "/events?limit=1000&order=asc").await;
    // With microseconds, as in answers, because they are compared as text.
    let at = |minute: i32| {
        format!(
            "2026-01-01T{:02}:{:02}:{:02}.000000Z",
            minute / 60,
            minute % 60,
            minute % 2 * 30
        )
    };
    let (from, to) = (at(from), at(to));
    for (query, holds) in [
        (
            format!("&from={from}"),
            &(|time: &str| time >= from.as_str()) as &dyn Fn(&str) -> bool,
        ),
        (format!("&to={to}"), &|time: &str| time < to.as_str()),
        (format!("&from={from}&to={to}"), &|time: &str| {
            time >= from.as_str() && time < to.as_str()
        }),
    ] {
        let expected: Vec<i64> = all
            .iter()
            .filter(|event| event["created_at"].as_str().is_some_and(holds))
            .filter_map(|event| event["event_number"].as_i64())
            .collect();
        let newest: Vec<i64> = expected.iter().rev().copied().collect();
        assert_eq!(listed(world, &format!("{query}&order=asc")).await, expected, "{query}");
        assert_eq!(listed(world, &query).await, newest, "{query}");
        assert_eq!(
            listed(world, &format!("{query}&event_type=customer.*")).await,
            newest,
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_sweep_records_the_minutes_of_the_events_it_passes() {
    let world = World::new().await;
    world
        .append(
            &Person::staff(),
            "customer.created",
            "C-1",
            serde_json::json!({"name": "N"}),
        )
        .await;
    world.sweep().await;
    assert_eq!(
        world.app.store.noted_position().await.expect("a position"),
        world.last_event_number().await
    );
    let later: Vec<Value> = world
        .all_pages(&Person::staff(), "/events?from=2999-01-01T00:00:00Z")
        .await;
    assert!(later.is_empty(), "{later:?}");
    let wrong = world.owner().await.query(WRONG, &[]).await.expect("minutes");
    assert!(wrong.is_empty());
}
