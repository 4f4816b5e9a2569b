//! Sales that were there before figures were, and figures that were there before they had all of their columns.

use serde_json::json;
use tests::{Person, cluster, database_at};

use crate::verify::verify;

/// The last migration without key figures, and the last one before they were mended.
const BEFORE: [i32; 2] = [38, 42];

/// Sales and expenses as events and in their tables, whatever projects by now.
const SALES: &str = "
    insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
    select '00000000-0000-0000-0000-000000000000', 'sale', 'S-' || i, 1, 0, now(), 'user:x' from generate_series(1, 40) i;
    insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                               version, created_by, posted_by, started_by, source, data, metadata)
    select nextval('annals.event_numbers'), now(), now(), gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 1, 'sale.created', 'sale',
           'S-' || i, '1.0', 'user:x', 'user:x', 'user:x', 'api',
           jsonb_build_object('sale_date', date '2025-11-20' + i * 3, 'amount_cents', i * 7 - 20, 'currency', 'USD', 'customer_id', 'C-' || i % 7,
                              'product', 'P-' || i % 3), '{}'
      from generate_series(1, 40) i;
    insert into public.sales (tenant_id, id, version, started_by, created_at, updated_at, sale_date, amount_cents, currency, customer_id, product)
    select tenant_id, aggregate_id, 1, 'user:x', created_at, created_at, (data ->> 'sale_date')::date, (data ->> 'amount_cents')::bigint,
           data ->> 'currency', data ->> 'customer_id', data ->> 'product'
      from annals.events where aggregate_type = 'sale'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_filled_with_what_was_there() {
    for version in BEFORE {
        let (world, owner) = database_at(&format!("kpis_before_{version}"), version).await;
        owner.batch_execute(SALES).await.unwrap();
        if version == 42 {
            let settled =
                "select annals.settle_kpis(25); update annals.kpi_days set is_due = false where day < '2025-12-20'";
            owner.batch_execute(settled).await.unwrap();
        }
        annals::store::migrate(&cluster().url_of(&world.database))
            .await
            .unwrap();
        world.sweep().await;
        world.assert_kpis_are_the_events().await;
        assert_eq!(verify(&world).await, [], "{version}");
        let sale = json!({"sale_date": "2025-11-01", "amount_cents": 5, "currency": "USD", "customer_id": "C-1", "product": "P-1"});
        world.append(&Person::staff(), "sale.created", "S-0", sale).await;
        world.sweep().await;
        world.assert_kpis_are_the_events().await;
    }
}
