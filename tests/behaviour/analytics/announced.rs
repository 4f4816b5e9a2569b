//! A day that is over is announced once by `kpi.calculated`, and once more after each correction.

use std::time::Duration;

use annals_domain::TenantId;
use chrono::{Days, TimeDelta, Utc};
use projector::KpiSettings;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{change, sell, spend};
use crate::rebuild::{everything, rebuild};

pub(super) async fn announced(world: &World) -> Vec<Value> {
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
            &events[0]["recorded"]["posted_by"]
        ],
        [
            &json!("USD:2026-01-01"),
            &json!("system"),
            &last["id"],
            &json!("service:annals")
        ]
    );
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
async fn a_corrected_day_is_announced_again_and_so_is_a_later_day_whose_customers_became_new() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-05", 200, "A", "Pump").await;
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), 2);
    // A change that affects no figure is not a correction.
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

/// At UTC-12 a day ends last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_announced_when_it_is_over_everywhere() {
    let world = World::new().await;
    let last_place = (Utc::now() - TimeDelta::hours(12)).date_naive();
    for (id, day) in [("S-1", last_place), ("S-2", last_place - Days::new(1))] {
        sell(&world, id, &day.to_string(), 5, "A", "Pump").await;
    }
    world.sweep().await;
    // Midnight may have passed at UTC-12 since the test began.
    if (Utc::now() - TimeDelta::hours(12)).date_naive() == last_place {
        let days: Vec<Value> = announced(&world)
            .await
            .iter()
            .map(|e| e["data"]["day"].clone())
            .collect();
        assert_eq!(days, [json!(last_place - Days::new(1))]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_are_announced_after_a_delay() {
    let world = World::new().await;
    let patient = world.projector.clone().with_kpi_settings(KpiSettings::default());
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    patient.sweep().await.unwrap();
    world.sweep().await;
    for cents in [7, 8, 9] {
        change(&world, "sale.updated", "S-1", "amount_cents", json!(cents)).await;
        world.project().await;
        patient.sweep().await.unwrap();
    }
    assert_eq!(announced(&world).await.len(), 1);
    let earlier = "update annals.kpi_days set due_since = now() - interval '6 minutes'";
    world.superuser().await.batch_execute(earlier).await.unwrap();
    patient.sweep().await.unwrap();
    world.sweep().await;
    let events = announced(&world).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["data"]["revenue_cents"], 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_forbids_announcements_does_not_block_those_of_others() {
    let world = World::new().await;
    let mut tenants = Vec::new();
    for place in 0..4 {
        let staff = Person::staff().in_tenant(uuid::Uuid::new_v4());
        if place % 2 == 0 {
            world.superuser().await.execute(
                "insert into annals.event_types (tenant_id, event_type, aggregate_type, current_version, description, effect, posters, created_by)
                 select $1::text::uuid, event_type, aggregate_type, current_version, description, effect, '{staff}', 'x'
                   from annals.event_types where event_type = 'kpi.calculated' and tenant_id is null",
                &[&staff.tenant.to_string()]).await.unwrap();
        }
        let sale = json!({"sale_date": "2026-01-01", "amount_cents": 5, "currency": "USD"});
        world.append(&staff, "sale.created", "S-1", sale).await;
        tenants.push(staff);
    }
    world.sweep().await;
    for (place, staff) in tenants.iter().enumerate() {
        let events = world.all_pages(staff, "/events?event_type=kpi.calculated").await;
        assert_eq!(events.len(), place % 2, "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_can_neither_announce_a_day_nor_keep_the_sweep_from_announcing_it() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    let forged = json!({"day": "2026-01-01", "currency": "USD", "revision": 1, "revenue_cents": 9, "refunds_cents": 0, "net_cents": 9,
        "sales_count": 1, "average_sale_cents": 9, "expenses_cents": 0, "expenses_count": 0, "profit_cents": 9, "new_customers": 1,
        "active_customers": 1});
    for person in [Person::service("till"), Person::service("annals")] {
        let event = json!({"event_type": "kpi.calculated", "aggregate_type": "kpi", "aggregate_id": "USD:2026-01-01", "data": forged});
        let answer = world.post(&person, "/events", event.clone()).await;
        assert_eq!(answer.problem(403), "event_type_forbidden");
        let several = json!({"events": [event.clone(), event]});
        assert_eq!(
            world.post(&person, "/events", several).await.problem(403),
            "event_type_forbidden"
        );
        // The idempotency key that announcements used to have.
        let taken = json!({"event_type": "sync.started", "aggregate_type": "sync", "aggregate_id": person.name, "data": {"system": "shop"},
                           "idempotency_key": "kpi:USD:2026-01-01:1"});
        world.post(&person, "/events", taken).await.expect(201);
    }
    world.sweep().await;
    let events = announced(&world).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["data"]["revenue_cents"], 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_date_style_does_not_change_the_names_of_streams() {
    let world = World::new().await;
    let owner = world.superuser().await;
    owner
        .batch_execute(&format!("alter database {} set datestyle to 'German'", world.database))
        .await
        .unwrap();
    let world = world.elsewhere();
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.sweep().await;
    change(&world, "sale.updated", "S-1", "amount_cents", json!(7)).await;
    world.sweep().await;
    let events = announced(&world).await;
    let announcements: Vec<Value> = events
        .iter()
        .map(|e| json!([e["aggregate_id"], e["data"]["revision"]]))
        .collect();
    assert_eq!(
        announcements,
        [json!(["USD:2026-01-01", 1]), json!(["USD:2026-01-01", 2])]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_announcements_does_not_wait_for_a_session_that_applies_changes() {
    let (world, tenant) = (World::new().await, TenantId::from(uuid::Uuid::nil()));
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.project().await;
    let apply = "select annals.apply_kpi_changes('00000000-0000-0000-0000-000000000000', 10)";
    world.superuser().await.batch_execute(apply).await.unwrap();
    let other = world.superuser().await;
    other
        .batch_execute("begin; select from annals.kpi_days for update")
        .await
        .unwrap();
    let due = world.app.store.due_kpis(tenant, Duration::ZERO).await.unwrap();
    let noted = tokio::time::timeout(Duration::from_secs(60), world.app.store.note_announced(tenant, &due)).await;
    noted.unwrap().unwrap();
    other.batch_execute("rollback").await.unwrap();
    assert_eq!(world.rows_of("annals.kpi_days").await[0]["is_due"], true);
    world.app.store.note_announced(tenant, &due).await.unwrap();
    assert_eq!(world.rows_of("annals.kpi_days").await[0]["is_due"], false);
}
