//! If figures were changed manually, `verify` names the difference and a rebuild repairs it.

use serde_json::json;
use tests::{Person, World};

use super::announced::announced;
use super::{sell, spend};
use crate::rebuild::{everything, module, rebuild, rebuild_before_exchange};
use crate::verify::{verify, verify_of};

const DAYS: &str = "from=2026-01-01&to=2026-02-01";

async fn damage(world: &World, sql: &str) {
    world.superuser().await.batch_execute(sql).await.unwrap();
}

async fn shop() -> World {
    let world = World::new().await;
    for day in 1..=9 {
        let (id, date) = (format!("S-{day}"), format!("2026-01-0{day}"));
        sell(
            &world,
            &id,
            &date,
            100 * day,
            if day % 2 == 0 { "A" } else { "B" },
            "Pump",
        )
        .await;
    }
    spend(&world, "E-1", "2026-01-01", 70, Some("Rent")).await;
    world.sweep().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_damage_is_named_and_repaired_and_correct_rows_are_not_written() {
    let world = shop().await;
    assert_eq!(verify(&world).await, []);
    assert_eq!(rebuild(&world, &everything()).await.unwrap().changed_rows, 0);
    for (sql, table, column) in [
        ("update annals.kpi_days set revenue_cents = revenue_cents + 1 where day = '2026-01-03'", "annals.kpi_days", "revenue_cents"),
        ("update annals.kpi_days set expenses_cents = 0 where day = '2026-01-01'", "annals.kpi_days", "expenses_cents"),
        ("delete from annals.kpi_days where day = '2026-01-04'", "annals.kpi_days", "sales_count"),
        ("insert into annals.kpi_days select (jsonb_populate_record(d, '{\"currency\": \"EUR\"}')).* from annals.kpi_days d where day = '2026-01-04'", "annals.kpi_days", "sales_count"),
        ("update annals.kpi_names set entries = entries + 1 where kind = 'product' and span = 'month'", "annals.kpi_names", "entries"),
        ("delete from annals.kpi_names where kind = 'category'", "annals.kpi_names", "positive_cents"),
        ("update annals.kpi_repeat_customers set customers = 7 where day = '2026-01-05'", "annals.kpi_repeat_customers", "customers"),
        ("delete from annals.kpi_repeat_customers where day = '2026-01-02'", "annals.kpi_repeat_customers", "customers"),
        ("insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, cause_id, cause_version, caused_at)
          values ('00000000-0000-0000-0000-000000000000', 1, 'sale', '2026-01-01', 'USD', 5, 'x', 1, now())", "annals.kpi_days", "revenue_cents"),
        ("delete from annals.kpi_names; delete from annals.kpi_days; delete from annals.kpi_repeat_customers", "annals.kpi_days", "sales_count"),
        // The trigger passes a manual change of a sale on to the figures; they are right again when the sale is.
        ("update public.sales set amount_cents = 1 where id = 'S-5'", "annals.kpi_days", "revenue_cents"),
        ("alter table public.sales disable trigger all; delete from public.sales where id = 'S-5'; alter table public.sales enable trigger all",
         "public.sales", ""),
        ("truncate public.sales", "public.sales", ""),
    ] {
        damage(&world, sql).await;
        let found = verify(&world).await;
        let is_named = found.iter().any(|d| d.table == table && d.column.as_deref().unwrap_or_default() == column);
        assert!(is_named, "{sql}: {found:?}");
        let rebuilt = rebuild(&world, &everything()).await.unwrap();
        assert!(rebuilt.changed_rows > 0, "{sql}");
        assert_eq!(verify(&world).await, [], "{sql}");
        world.assert_kpis_are_the_events().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_counts_recorded_changes_that_are_not_applied_yet() {
    let world = shop().await;
    sell(&world, "S-10", "2026-01-09", 7, "C", "Clip").await;
    world.append(&Person::staff(), "sale.deleted", "S-1", json!({})).await;
    world.project().await;
    assert_eq!(world.rows_of("annals.kpi_changes").await.len(), 2);
    assert_eq!(verify(&world).await, []);
    assert_eq!(verify_of(&world, &module("sale", None)).await, []);
    assert_eq!(rebuild(&world, &module("sale", None)).await.unwrap().changed_rows, 0);
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_of_a_module_without_figures_does_not_touch_figures() {
    let world = shop().await;
    damage(&world, "update annals.kpi_days set revenue_cents = 0").await;
    assert_eq!(verify_of(&world, &module("customer", None)).await, []);
    assert_eq!(
        rebuild(&world, &module("customer", None)).await.unwrap().changed_rows,
        0
    );
    assert_ne!(verify_of(&world, &module("expense", None)).await, []);
    rebuild(&world, &module("expense", None)).await.unwrap();
    assert_eq!(verify(&world).await, []);
}

/// Until the exchange, other sessions do not see the repaired figures, and the sweep does not announce them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_sweep_between_the_repair_and_the_exchange_announces_nothing() {
    let world = shop().await;
    let (before, days) = (announced(&world).await.len(), world.kpis(DAYS).await);
    damage(&world, "truncate public.sales").await;
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    world.projector.sweep().await.unwrap();
    assert_eq!(announced(&world).await.len(), before);
    assert_eq!(world.kpis(DAYS).await, days);
    holder.batch_execute("rollback").await.unwrap();
    assert!(rebuilding.await.unwrap().unwrap().changed_rows > 0);
    world.sweep().await;
    assert_eq!(announced(&world).await.len(), before);
    assert_eq!(world.kpis(DAYS).await, days);
    assert_eq!(verify(&world).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rebuild_that_is_killed_or_fails_leaves_figures_as_they_were() {
    let world = shop().await;
    let (before, days) = (announced(&world).await.len(), world.kpis(DAYS).await);
    damage(&world, "truncate public.sales").await;
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    rebuilding.abort();
    assert!(rebuilding.await.unwrap_err().is_cancelled());
    holder.batch_execute("rollback").await.unwrap();
    damage(
        &world,
        "alter table public.sales add constraint narrow check (amount_cents <> 500)",
    )
    .await;
    rebuild(&world, &everything()).await.unwrap_err();
    world.projector.sweep().await.unwrap();
    assert_eq!(world.kpis(DAYS).await, days);
    assert_eq!(announced(&world).await.len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_and_rebuild_of_one_tenant_do_not_touch_other_tenants() {
    let world = shop().await;
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let sale =
        json!({"sale_date": "2026-01-03", "amount_cents": 5, "currency": "USD", "customer_id": "A", "product": "Pump"});
    world.append(&elsewhere, "sale.created", "S-1", sale).await;
    world.sweep().await;
    damage(
        &world,
        "update annals.kpi_days set revenue_cents = 1 where day = '2026-01-03'; delete from annals.kpi_names where kind = 'product'",
    )
    .await;
    let all = verify(&world).await.len();
    let of = |tenant: uuid::Uuid| module("sale", Some(tenant));
    let theirs = verify_of(&world, &of(elsewhere.tenant)).await.len();
    let ours = verify_of(&world, &of(uuid::Uuid::nil())).await.len();
    assert!(theirs > 0 && ours > 0);
    assert_eq!(theirs + ours, all);
    rebuild(&world, &of(elsewhere.tenant)).await.unwrap();
    assert_eq!(verify_of(&world, &of(elsewhere.tenant)).await, []);
    assert_eq!(verify(&world).await.len(), ours);
    rebuild(&world, &of(uuid::Uuid::nil())).await.unwrap();
    assert_eq!(verify(&world).await, []);
    world.assert_kpis_are_the_events().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compensations_of_a_sale_and_an_expense_correct_the_past_day() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    spend(&world, "E-1", "2026-01-01", 70, Some("Rent")).await;
    let raised = json!({"changes": {"amount_cents": {"old": 1000, "new": 1}}});
    let raised = world.append(&Person::staff(), "sale.updated", "S-1", raised).await;
    let spent = json!({"changes": {"amount_cents": {"old": 70, "new": 700}}});
    let spent = world.append(&Person::staff(), "expense.updated", "E-1", spent).await;
    world.sweep().await;
    for event in [raised, spent] {
        let path = format!("/events/{}/compensate", event["id"].as_str().unwrap());
        world
            .post(&Person::staff(), &path, json!({"reason": "a slip of the pen"}))
            .await
            .expect(201);
    }
    world.sweep().await;
    let events = announced(&world).await;
    let profits: Vec<_> = events.iter().map(|e| e["data"]["profit_cents"].clone()).collect();
    assert_eq!(profits, [json!(-699), json!(930)]);
    world.assert_kpis_are_the_events().await;
}
