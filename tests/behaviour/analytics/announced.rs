//! Days that are over are announced, once, and again when they have been corrected.

use chrono::{Days, Utc};
use serde_json::{Value, json};
use tests::{Person, World};

use super::{change, sell, spend};
use crate::rebuild::{everything, rebuild};

async fn announced(world: &World) -> Vec<Value> {
    world
        .all_pages(&Person::staff(), "/events?event_type=kpi.calculated&order=asc")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_over_is_announced_once_with_what_caused_it() {
    let world = World::new().await;
    let (today, tomorrow) = (Utc::now().date_naive(), Utc::now().date_naive() + Days::new(2));
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    spend(&world, "E-1", "2026-01-01", 70, None).await;
    sell(&world, "S-2", &tomorrow.to_string(), 5, "A", "Pump").await;
    world.sweep().await;
    let events = announced(&world).await;
    let last = world
        .get(&Person::staff(), "/audit/entity/E-1")
        .await
        .expect(200)
        .items()[0]
        .clone();
    assert_eq!(events.len(), 1, "{today}: {events:?}");
    assert_eq!(
        events[0]["data"],
        json!({"day": "2026-01-01", "currency": "USD", "revision": 1, "revenue_cents": 1000, "refunds_cents": 0, "net_cents": 1000,
               "sales_count": 1, "average_sale_cents": 1000, "expenses_cents": 70, "expenses_count": 1, "profit_cents": 930,
               "new_customers": 1, "active_customers": 1})
    );
    assert_eq!(
        [
            &events[0]["aggregate_id"],
            &events[0]["created_by"],
            &events[0]["causation_id"],
            &events[0]["metadata"]["posted_by"]
        ],
        [
            &json!("USD:2026-01-01"),
            &json!("system"),
            &last["id"],
            &json!("service:annals")
        ]
    );
    assert_eq!(events[0]["idempotency_key"], "kpi:USD:2026-01-01:1");
    let entity = world
        .get(&Person::staff(), "/entities/kpi/USD:2026-01-01")
        .await
        .expect(200);
    assert_eq!(entity.body["projected_version"], 1);

    for _ in 0..3 {
        world.sweep().await;
        rebuild(&world, &everything()).await.unwrap();
    }
    assert_eq!(announced(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_day_is_announced_again_and_a_day_next_to_it_whose_customers_are_new_by_that() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-05", 200, "A", "Pump").await;
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), 2);
    // What is no correction of any figure is none.
    change(&world, "sale.updated", "S-1", "notes", json!("by phone")).await;
    change(&world, "sale.updated", "S-1", "product", json!("Hose")).await;
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), 2);

    let deleted = world.append(&Person::staff(), "sale.deleted", "S-1", json!({})).await;
    world.sweep().await;
    world.sweep().await;
    let events = announced(&world).await;
    let corrections: Vec<Value> = events[2..]
        .iter()
        .map(|e| {
            json!([
                e["aggregate_id"],
                e["data"]["revision"],
                e["data"]["sales_count"],
                e["data"]["new_customers"],
                e["causation_id"]
            ])
        })
        .collect();
    assert_eq!(
        corrections,
        [
            json!(["USD:2026-01-01", 2, 0, 0, deleted["id"]]),
            json!(["USD:2026-01-05", 2, 1, 1, deleted["id"]]),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_takes_several_sweeps_and_another_tenant_does_not_wait_for_it() {
    let world = World::new().await;
    let first = chrono::NaiveDate::from_ymd_opt(2015, 1, 1).unwrap();
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let sale = |place: u64| {
        json!({"event_type": "sale.created", "aggregate_type": "sale", "aggregate_id": format!("S-{place}"),
               "data": {"sale_date": first + Days::new(place), "amount_cents": place, "currency": "USD"}})
    };
    for batch in 0..3 {
        let events: Vec<Value> = (batch * 400..batch * 400 + 400).map(sale).collect();
        world
            .post(&Person::staff(), "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    let own = json!({"sale_date": "2020-01-01", "amount_cents": 1, "currency": "USD"});
    world.append(&elsewhere, "sale.created", "S-1", own).await;
    let mut counts = Vec::new();
    for _ in 0..4 {
        world.projector.sweep().await.unwrap();
        counts.push(announced(&world).await.len());
    }
    counts.retain(|count| *count > 0);
    assert_eq!(counts.last(), Some(&1200));
    assert!(counts[0] <= 500, "{counts:?}");
    let theirs = world.all_pages(&elsewhere, "/events?event_type=kpi.calculated").await;
    assert_eq!(theirs.len(), 1);
    let schema = world
        .get(&Person::staff(), "/events/types/kpi.calculated")
        .await
        .expect(200)
        .body;
    assert_eq!(schema["posters"], json!(["service"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sweeps_at_the_same_moment_announce_a_day_once() {
    let world = World::new().await;
    for day in 1..=28 {
        sell(
            &world,
            &format!("S-{day}"),
            &format!("2026-01-{day:02}"),
            day,
            "A",
            "Pump",
        )
        .await;
    }
    world.project().await;
    let others = [world.elsewhere(), world.elsewhere(), world.elsewhere()];
    let sweeps = others.iter().map(|other| other.projector.sweep());
    for swept in futures_util::future::join_all(sweeps).await {
        swept.unwrap();
    }
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), 28);
    world.assert_kpis_are_the_events().await;
}
