//! Streams with many writers: versions without gaps, one winner for each version, recorded times and numbers in the same order.

mod requires;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

const WRITERS: usize = 32;

fn event(id: &str, phone: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": phone}})
}

fn expecting(id: &str, version: i64) -> Value {
    let mut event = event(id, "1");
    event["expected_version"] = json!(version);
    event
}

/// What an answer acknowledges: id, stream and version.
fn acknowledged(event: &Value) -> (String, String, i64) {
    let text = |field: &str| event[field].as_str().unwrap().to_owned();
    (
        text("id"),
        text("aggregate_id"),
        event["aggregate_version"].as_i64().unwrap(),
    )
}

/// Checks that the versions of every stream start at 1 and have no gaps, and that times and numbers rise with them. Returns the log.
async fn checked_log(world: &World) -> BTreeSet<(String, String, i64)> {
    let rows = world
        .owner()
        .await
        .query(
            "select id::text, aggregate_id, aggregate_version::bigint, event_number, created_at
               from annals.events order by tenant_id, aggregate_type, aggregate_id, aggregate_version",
            &[],
        )
        .await
        .unwrap();
    let mut last: HashMap<String, (i64, i64, DateTime<Utc>)> = HashMap::new();
    let mut log = BTreeSet::new();
    for row in &rows {
        let (id, stream, version): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let (number, time): (i64, DateTime<Utc>) = (row.get(3), row.get(4));
        match last.insert(stream.clone(), (version, number, time)) {
            None => assert_eq!(version, 1, "{stream}"),
            Some((before, lower, earlier)) => {
                assert_eq!(version, before + 1, "{stream}");
                assert!(number > lower && time > earlier, "{stream} {version}");
            }
        }
        log.insert((id, stream, version));
    }
    log
}

#[tokio::test]
async fn appends_with_the_same_expected_version_let_exactly_one_win() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let mut won = BTreeSet::new();
    for version in 0..8 {
        let posts = (0..WRITERS).map(|_| world.post(&staff, "/events", expecting("C-1", version)));
        let answers = join_all(posts).await;
        let (winners, losers): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|a| a.status == 201);
        assert_eq!(winners.len(), 1);
        assert!(losers.iter().all(|loser| loser.problem(409) == "version_conflict"));
        won.insert(acknowledged(&winners[0].body));
        assert_eq!(winners[0].body["aggregate_version"], version + 1);
    }
    assert_eq!(checked_log(&world).await, won);
}

#[tokio::test]
async fn writers_that_retry_with_a_new_expected_version_each_get_their_own_version() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let write = async || {
        let mut version = 0;
        loop {
            let answer = world.post(&staff, "/events", expecting("C-1", version)).await;
            if answer.status == 201 {
                return acknowledged(&answer.body);
            }
            assert_eq!(answer.problem(409), "version_conflict");
            let count = world.get(&staff, "/audit/count/C-1").await.expect(200).body["count"]
                .as_i64()
                .unwrap();
            assert!(count > version, "a conflict without a winner");
            version = count;
        }
    };
    let won: BTreeSet<_> = join_all((0..WRITERS).map(|_| write())).await.into_iter().collect();
    assert_eq!(won.len(), WRITERS);
    assert_eq!(checked_log(&world).await, won);
    for (id, _, version) in &won {
        let found = world.get(&staff, &format!("/events/{id}")).await.expect(200);
        assert_eq!(found.body["aggregate_version"], *version);
    }
}

#[tokio::test]
async fn writers_without_an_expected_version_all_win() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let posts = (0..WRITERS).map(|writer| world.post(&staff, "/events", event("C-1", &writer.to_string())));
    let won: BTreeSet<_> = join_all(posts)
        .await
        .into_iter()
        .map(|a| acknowledged(&a.expect(201).body))
        .collect();
    assert_eq!(checked_log(&world).await, won);
    assert_eq!(won.len(), WRITERS);
}

/// Batches name the streams in opposite orders, single writes come in between, and the projector updates the heads meanwhile.
#[tokio::test]
async fn batches_that_share_streams_in_opposite_order_wait_for_each_other() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let streams = ["a", "B", "c", "D"];
    let write = async |writer: usize| {
        let mut won = Vec::new();
        for round in 0..6 {
            let mut order = streams.to_vec();
            order.rotate_left(round % 4);
            if writer % 2 == 1 {
                order.reverse();
            }
            let answer = if writer % 4 == 3 {
                world
                    .post(&staff, "/events", event(order[0], "1"))
                    .await
                    .expect(201)
                    .body
            } else {
                order.push(order[0]);
                let events: Vec<Value> = order.iter().map(|id| event(id, "1")).collect();
                world
                    .post(&staff, "/events", json!({"events": events}))
                    .await
                    .expect(201)
                    .body
            };
            match answer["items"].as_array() {
                Some(items) => won.extend(items.iter().map(acknowledged)),
                None => won.push(acknowledged(&answer)),
            }
            if writer == 0 {
                world.project().await;
            }
        }
        won
    };
    let won = join_all((0..16).map(write)).await;
    let singles = 4 * 6;
    let members = 12 * 6 * 5;
    let won: BTreeSet<_> = won.into_iter().flatten().collect();
    assert_eq!(won.len(), singles + members);
    assert_eq!(checked_log(&world).await, won);
    world.project().await;
    // After a deadlock the append would be tried again a second later; here no deadlock happens at all.
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(
        world
            .owner()
            .await
            .query_one(deadlocks, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
    let behind = "select count(*) from annals.heads where version > projected_version";
    assert_eq!(
        world
            .owner()
            .await
            .query_one(behind, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn recorded_time_rises_within_a_stream_even_if_the_clock_is_behind() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world.post(&staff, "/events", event("C-1", "1")).await.expect(201);
    // As if the clock had been an hour ahead when the last event was appended.
    let ahead = "update annals.heads set last_created_at = last_created_at + interval '1 hour'";
    world.owner().await.execute(ahead, &[]).await.unwrap();
    let single = world.post(&staff, "/events", event("C-1", "2")).await.expect(201).body;
    let batch = json!({"events": [event("C-1", "3"), event("C-1", "4")]});
    let batch = world.post(&staff, "/events", batch).await.expect(201);
    let time = |event: &Value| event["created_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(time(&single) > Utc::now() + chrono::TimeDelta::minutes(30));
    assert!(time(&batch.items()[0]) > time(&single));
    checked_log(&world).await;
}

#[tokio::test]
async fn a_batch_with_one_refused_member_stores_nothing() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world.post(&staff, "/events", event("C-1", "1")).await.expect(201);
    let before = checked_log(&world).await;
    let refused = json!({"events": [event("new", "1"), event("C-1", "2"), expecting("C-1", 1), event("newer", "1")]});
    let answer = world.post(&staff, "/events", refused).await;
    assert_eq!(answer.problem(409), "version_conflict");
    assert_eq!(answer.body["errors"][0]["pointer"], "/events/2");
    assert_eq!(checked_log(&world).await, before);
    let heads = "select count(*), max(version) from annals.heads";
    let heads = world.owner().await.query_one(heads, &[]).await.unwrap();
    assert_eq!((heads.get::<_, i64>(0), heads.get::<_, i32>(1)), (1, 1));
    // The streams continue at the versions they had.
    let batch = json!({"events": [expecting("new", 0), expecting("C-1", 1), expecting("C-1", 2)]});
    world.post(&staff, "/events", batch).await.expect(201);
    checked_log(&world).await;
}
