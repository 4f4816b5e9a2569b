//! The clock of a function is off by an hour, in either direction. In the log, only ids of events (UUIDv7, which begin with the time) and the
//! `deleted_at` of a generic delete depend on it: recorded times, versions and numbers come from the database. The time limit of an
//! invocation is measured by the monotonic clock (`deployed_times.rs`). `audit/recent` and the default days of key figures use the
//! function's time. What the function signs for S3 and RDS is refused there. That is an outage (503, or the next scheduled run), or an
//! address that accepts no file (403); nothing is lost.
//!
//! Tokens are checked with a leeway of thirty seconds, because synchronized clocks differ by that much (`auth.rs`, `tokens.rs`). An hour is
//! not tolerated, because a withdrawn token would stay valid for that hour. Such a function answers 401, which no client takes for an
//! acknowledgement.

use annals_domain::{AggregateId, AggregateType, EventId, EventType, NewEvent};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tests::{Ledger, Person, World};
use uuid::{NoContext, Timestamp, Uuid};

/// An id made by a function whose clock is off by so much.
fn id_made_at(off: TimeDelta) -> EventId {
    let at = Utc::now() + off;
    let seconds = u64::try_from(at.timestamp()).unwrap();
    EventId::from(Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        at.timestamp_subsec_nanos(),
    )))
}

#[tokio::test]
async fn ids_made_with_a_wrong_clock_change_neither_the_order_nor_recorded_times() {
    let (world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    let began = Utc::now() - TimeDelta::minutes(5);
    let hours = [0, 1, -1, 1, 0, -1, -1, 1];
    for (place, hour) in hours.into_iter().enumerate() {
        let mut event = NewEvent::plain(
            EventType::try_from("customer.profile_updated".to_owned()).unwrap(),
            AggregateType::try_from("customer".to_owned()).unwrap(),
            AggregateId::try_from(format!("C-{}", place % 2)).unwrap(),
            json!({"phone": place.to_string()}).as_object().unwrap().clone(),
        );
        event.id = id_made_at(TimeDelta::hours(hour));
        let context = json!({});
        world
            .app
            .appends()
            .append(&staff.caller(), &[event], &context)
            .await
            .unwrap();
    }
    let listed = world.all_pages(&staff, "/events?order=asc&limit=3").await;
    let phones: Vec<_> = listed
        .iter()
        .map(|event| event["data"]["phone"].as_str().unwrap())
        .collect();
    assert_eq!(
        phones,
        ["0", "1", "2", "3", "4", "5", "6", "7"],
        "the order of recording, whatever their ids say"
    );
    let ids: Vec<_> = listed.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert!(!ids.is_sorted(), "the wrong clocks have put the ids out of order");
    for event in &listed {
        assert_eq!(
            event["timestamp"], event["created_at"],
            "the default timestamp is the database's"
        );
        let at: DateTime<Utc> = event["created_at"].as_str().unwrap().parse().unwrap();
        assert!((began..began + TimeDelta::minutes(30)).contains(&at), "{at}");
    }
    let history = world
        .all_pages(&staff, "/events/aggregate/customer/C-1/history?limit=2")
        .await;
    let phones: Vec<_> = history
        .iter()
        .map(|event| event["data"]["phone"].as_str().unwrap())
        .collect();
    assert_eq!(phones, ["1", "3", "5", "7"]);
    let now = world.get(&staff, "/entities/customer/C-1").await.expect(200).body;
    assert_eq!(now["state"]["phone"], "7");
    world.assert_valid(&ledger).await;
}
