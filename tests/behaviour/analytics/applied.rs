//! Applying recorded changes to figures: in batches, tenant by tenant, concurrently with others. The number of pending changes is shown.

use std::time::Duration;

use projector::{Invocation, KpiSettings, Projector};
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::announced::announced;
use super::{change, sell};
use crate::rebuild::{everything, rebuild};

fn at_pace(world: &World, at_once: i32, patience: Duration) -> Projector {
    let pace = KpiSettings {
        batch_size: at_once,
        time_limit: patience,
        announce_delay: Duration::ZERO,
    };
    world.projector.clone().with_kpi_settings(pace)
}

async fn pending_changes(world: &World) -> Vec<Value> {
    world.rows_of("annals.kpi_changes").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_another_session_has_half_applied_is_not_announced_and_other_tenants_do_not_wait() {
    let world = World::new().await;
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-01", 500, "A", "Pump").await;
    let theirs = json!({"sale_date": "2026-01-01", "amount_cents": 5, "currency": "USD"});
    world.append(&elsewhere, "sale.created", "S-1", theirs).await;
    world.project().await;
    let other = world.superuser().await;
    let half = "select annals.apply_kpi_changes('00000000-0000-0000-0000-000000000000', 1)";
    other.batch_execute(half).await.unwrap();
    let keep = "begin; select from annals_locks.kpi_tenants where tenant_id = '00000000-0000-0000-0000-000000000000' for update";
    other.batch_execute(keep).await.unwrap();
    world.sweep().await;
    assert_eq!(announced(&world).await, Vec::<Value>::new());
    assert_eq!(pending_changes(&world).await.len(), 1);
    let theirs = world.all_pages(&elsewhere, "/events?event_type=kpi.calculated").await;
    assert_eq!(theirs.len(), 1);
    other.batch_execute("rollback").await.unwrap();
    world.sweep().await;
    let events = announced(&world).await;
    assert_eq!((events.len(), &events[0]["data"]["revenue_cents"]), (1, &json!(1500)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_pending_changes_announces_nothing() {
    let world = World::new().await;
    for day in 1..=9 {
        sell(&world, &format!("S-{day}"), &format!("2026-01-0{day}"), 5, "A", "Pump").await;
    }
    world.project().await;
    let slow = at_pace(&world, 3, Duration::ZERO);
    for left in [6, 3] {
        slow.sweep().await.unwrap();
        assert_eq!(pending_changes(&world).await.len(), left);
        assert_eq!(announced(&world).await, Vec::<Value>::new());
    }
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), 9);
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_and_the_new_row_of_a_change_are_applied_together() {
    let world = World::new().await;
    for sale in 1..=5 {
        sell(&world, &format!("S-{sale}"), "2026-01-01", 100, "A", "Pump").await;
    }
    world.sweep().await;
    let raised = json!({"changes": {"amount_cents": {"old": 100, "new": 200}}});
    let raise = |sale: u8| json!({"event_type": "sale.updated", "aggregate_type": "sale", "aggregate_id": format!("S-{sale}"), "data": raised});
    let events: Vec<Value> = (1..=5).map(raise).collect();
    world
        .post(&Person::staff(), "/events", json!({"events": events}))
        .await
        .expect(201);
    world.project().await;
    assert_eq!(pending_changes(&world).await.len(), 10);
    let slow = at_pace(&world, 1, Duration::ZERO);
    for step in 1..=5 {
        slow.sweep().await.unwrap();
        let total = world.kpis("from=2026-01-01&to=2026-01-02").await["totals"][0].clone();
        assert_eq!(
            (&total["revenue_cents"], &total["sales_count"]),
            (&json!(500 + 100 * step), &json!(5))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_are_applied_while_others_sell() {
    let world = World::new().await;
    let (other, staff) = (world.elsewhere(), Person::staff());
    let selling = async {
        for round in 0..12 {
            let sale = |n: u32| {
                json!({"event_type": "sale.created", "aggregate_type": "sale", "aggregate_id": format!("S-{round}-{n}"),
                       "data": {"sale_date": format!("2026-01-{:02}", n % 20 + 1), "amount_cents": n, "currency": "USD", "customer_id": format!("C-{}", n % 7)}})
            };
            let events: Vec<Value> = (0..40).map(sale).collect();
            other
                .post(&staff, "/events", json!({"events": events}))
                .await
                .expect(201);
            other.project().await;
        }
    };
    let applying = async {
        let projector = at_pace(&world, 7, Duration::from_millis(50));
        for _ in 0..20 {
            projector.sweep().await.unwrap();
        }
    };
    tokio::join!(selling, applying);
    world.sweep().await;
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_applied_although_an_open_transaction_holds_the_sweep_back() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.project().await;
    let open = world.superuser().await;
    open.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    world.projector.sweep().await.unwrap();
    assert_eq!(pending_changes(&world).await, Vec::<Value>::new());
    open.batch_execute("rollback").await.unwrap();
}

#[tokio::test]
async fn the_number_of_pending_changes_is_answered_with_the_figures() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.project().await;
    for (pending, items) in [(1, 0), (0, 1)] {
        let found = world.kpis("from=2026-01-01&to=2026-01-02").await;
        assert_eq!(found["changes_pending"], pending);
        assert_eq!(found["items"].as_array().unwrap().len(), items);
        let status = world.get(&Person::staff(), "/projector/status").await.expect(200).body;
        assert_eq!(status["kpis"]["changes_pending"], pending);
        world.sweep().await;
    }
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    sell(&world, "S-2", "2026-01-01", 1000, "A", "Pump").await;
    world.project().await;
    let theirs = world.get(&stranger, "/analytics/kpis").await.expect(200).body;
    assert_eq!(theirs["changes_pending"], 0);
    let spent = json!({"expense_date": "2026-01-01", "amount_cents": 5, "currency": "USD"});
    world.append(&stranger, "expense.created", "E-1", spent).await;
    world.project().await;
    let older = format!(
        "update annals.kpi_changes set changed_at = changed_at - interval '1000 seconds' where tenant_id = '{}'",
        stranger.tenant
    );
    world.superuser().await.batch_execute(&older).await.unwrap();
    let lag = world.app.store.backlog().await.unwrap().kpi_lag_seconds;
    assert!((1000..1600).contains(&lag), "{lag}");
}

#[tokio::test]
async fn rows_that_have_become_zero_are_removed() {
    let world = World::new().await;
    for sale in 1..=3 {
        sell(&world, &format!("S-{sale}"), "2026-01-01", 100, "A", "Pump").await;
    }
    super::spend(&world, "E-1", "2026-01-01", 70, Some("Rent")).await;
    world.sweep().await;
    for sale in 1..=3 {
        world
            .append(&Person::staff(), "sale.deleted", &format!("S-{sale}"), json!({}))
            .await;
    }
    world
        .append(&Person::staff(), "expense.deleted", "E-1", json!({}))
        .await;
    world.sweep().await;
    assert_eq!(world.rows_of("annals.kpi_names").await, Vec::<Value>::new());
    assert_eq!(world.rows_of("annals.kpi_repeat_customers").await, Vec::<Value>::new());
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_succeeds_although_its_changes_cannot_be_applied() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.sweep().await;
    let owner = world.owner().await;
    owner
        .batch_execute("update public.sales set amount_cents = 7; revoke execute on function annals.apply_kpi_changes(uuid, int) from annals_projector")
        .await
        .unwrap();
    rebuild(&world, &everything()).await.unwrap();
    owner
        .batch_execute("grant execute on function annals.apply_kpi_changes(uuid, int) to annals_projector")
        .await
        .unwrap();
    world.sweep().await;
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_is_the_last_change_that_had_an_effect() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-01", 1000, "B", "Pump").await;
    world.sweep().await;
    let changes = json!({"changes": {"amount_cents": {"old": 1000, "new": 7}}});
    let raised = world.append(&Person::staff(), "sale.updated", "S-1", changes).await;
    change(&world, "sale.updated", "S-2", "product", json!("Hose")).await;
    world.sweep().await;
    let events = announced(&world).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["causation_id"], raised["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_changes_cannot_be_applied_does_not_block_others() {
    let world = World::new().await;
    let mut tenants = Vec::new();
    for cents in [1000, 1, 2, 3] {
        let staff = Person::staff().in_tenant(Uuid::new_v4());
        let sale = json!({"sale_date": "2026-01-01", "amount_cents": cents, "currency": "USD"});
        world.append(&staff, "sale.created", "S-1", sale).await;
        tenants.push(staff);
    }
    let owner = world.owner().await;
    owner
        .batch_execute("alter table annals.kpi_days add constraint narrow check (revenue_cents < 100)")
        .await
        .unwrap();
    world.sweep().await;
    assert_eq!(pending_changes(&world).await.len(), 1);
    for (place, staff) in tenants.iter().enumerate() {
        let events = world.all_pages(staff, "/events?event_type=kpi.calculated").await;
        assert_eq!(events.len(), usize::from(place > 0), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rebuilders_tick_applies_changes_too() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    world.project().await;
    world.projector.handle(Invocation::Rebuilds).await.unwrap();
    assert_eq!(pending_changes(&world).await, Vec::<Value>::new());
    world.assert_kpis_are_the_events().await;
}
