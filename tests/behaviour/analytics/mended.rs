//! Whatever a hand has done to figures is named by a proof and mended by a rebuild.

use serde_json::json;
use tests::{Person, World};

use super::{sell, spend};
use crate::rebuild::{everything, module, rebuild};
use crate::verify::{verify, verify_of};

async fn damaged(world: &World, sql: &str) {
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
async fn each_damage_is_named_and_mended_and_what_is_right_is_left_alone() {
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
        ("update annals.kpi_returns set customers = 7 where day = '2026-01-05'", "annals.kpi_returns", "customers"),
        ("delete from annals.kpi_returns where day = '2026-01-02'", "annals.kpi_returns", "customers"),
        ("insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, cause_id, cause_version, caused_at)
          values ('00000000-0000-0000-0000-000000000000', 1, 'sale', '2026-01-01', 'USD', 5, 'x', 1, now())", "annals.kpi_days", "revenue_cents"),
        ("delete from annals.kpi_names; delete from annals.kpi_days; delete from annals.kpi_returns", "annals.kpi_days", "sales_count"),
        // The trigger carries a sale that a hand has changed; it is right again with the sale.
        ("update public.sales set amount_cents = 1 where id = 'S-5'", "annals.kpi_days", "revenue_cents"),
        ("alter table public.sales disable trigger all; delete from public.sales where id = 'S-5'; alter table public.sales enable trigger all",
         "public.sales", ""),
        ("truncate public.sales", "public.sales", ""),
    ] {
        damaged(&world, sql).await;
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
async fn noted_changes_count_in_a_proof_before_they_are_settled() {
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
async fn a_rebuild_of_another_module_leaves_figures_to_others() {
    let world = shop().await;
    damaged(&world, "update annals.kpi_days set revenue_cents = 0").await;
    assert_eq!(verify_of(&world, &module("customer", None)).await, []);
    assert_eq!(
        rebuild(&world, &module("customer", None)).await.unwrap().changed_rows,
        0
    );
    assert_ne!(verify_of(&world, &module("expense", None)).await, []);
    rebuild(&world, &module("expense", None)).await.unwrap();
    assert_eq!(verify(&world).await, []);
}
