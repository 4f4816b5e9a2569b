//! Rows that are right are compared but not written. If they are changed after the comparison, that is found all the same.

use tests::World;
use tokio_postgres::Client;

use super::{all_there_is, everything, populate, rebuild_before_exchange};
use crate::verify::verify;

/// The number of rows in a table of the only rebuild that is running.
async fn rebuilt_rows(client: &Client, table: &str) -> i64 {
    let schema = "select nspname::text from pg_namespace where nspname like 'annals\\_rebuild\\_%'";
    let schema: String = client.query_one(schema, &[]).await.unwrap().get(0);
    let count = format!("select count(*) from {schema}.\"{table}\"");
    client.query_one(&count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correct_rows_are_not_written_to_the_tables_of_the_rebuild() {
    let world = World::new().await;
    populate(&world).await;
    let right = all_there_is(&world).await;
    let damage = "update public.organizations set country = 'XX' where id = 'ORG-1';
        update annals.entities set state = jsonb_set(state, '{total_cents}', '12.0') where aggregate_type = 'order'";
    world.superuser().await.batch_execute(damage).await.unwrap();
    world.outlive_open_transactions().await;
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    // In each of the two tenants one organization (its row) and one order (its state) are wrong; nothing else is written.
    for (table, rows) in [
        ("annals.entities", 4),
        ("organizations", 2),
        ("orders", 2),
        ("customers", 0),
    ] {
        assert_eq!(rebuilt_rows(&holder, table).await, rows, "{table}");
    }
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(rebuilding.await.unwrap().unwrap().changed_rows, 4);
    assert_eq!(all_there_is(&world).await, right);
}

/// Without this, plans would be made for empty tables until autovacuum comes by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_a_rebuild_has_filled_are_analyzed() {
    let world = World::new().await;
    populate(&world).await;
    let superuser = world.superuser().await;
    superuser
        .batch_execute("delete from annals.entities; delete from public.orders")
        .await
        .unwrap();
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    holder.batch_execute("rollback").await.unwrap();
    assert!(rebuilding.await.unwrap().unwrap().changed_rows > 0);
    for table in ["annals.entities", "public.orders"] {
        let known = format!(
            "select reltuples::bigint, (select count(*) from {table}) from pg_class where oid = '{table}'::regclass"
        );
        let row = superuser.query_one(&known, &[]).await.unwrap();
        let (known, rows): (i64, i64) = (row.get(0), row.get(1));
        assert!(known == rows && rows > 0, "{table}: {known} of {rows} rows are known");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_changes_after_the_comparison_are_repaired() {
    for damage in [
        "update annals.entities set state = '{\"name\": \"wrong\"}' where aggregate_id = 'C-1'",
        "delete from annals.entities where aggregate_id = 'ORG-0'",
        "insert into annals.entities select tenant_id, created_at, updated_at, null, 1, 'customer', 'C-none', started_by, state
           from annals.entities where aggregate_id = 'C-1'",
        "update public.customers set name = 'wrong'",
        "delete from public.orders",
        "insert into public.customers (tenant_id, id, version, started_by, created_at, updated_at) select tenant_id, 'C-none', 1, started_by, created_at, updated_at
           from public.customers",
        "delete from public.organization_financial_years where id = 'fy-2021'",
        "update public.organization_bank_accounts set account_number = '1'",
        "delete from public.customers where tenant_id <> '00000000-0000-0000-0000-000000000000';
         insert into public.customers (tenant_id, id, version, started_by, created_at, updated_at) select tenant_id, 'C-none', 1, started_by, created_at, updated_at
           from public.customers",
        "delete from annals.entities where aggregate_id = 'C-1';
         insert into annals.entities select tenant_id, created_at, updated_at, null, 1, 'customer', 'C-none', started_by, state
           from annals.entities where aggregate_id = 'O-1'",
    ] {
        let world = World::new().await;
        populate(&world).await;
        let right = all_there_is(&world).await;
        let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
        let damage_without_triggers = format!("set session_replication_role = replica; {damage}");
        holder.batch_execute(&damage_without_triggers).await.unwrap();
        holder.batch_execute("commit").await.unwrap();
        let done = rebuilding.await.unwrap().unwrap();
        assert!(done.changed_rows > 0, "{damage}");
        assert_eq!(all_there_is(&world).await, right, "{damage}");
        assert_eq!(verify(&world).await, [], "{damage}");
    }
}
