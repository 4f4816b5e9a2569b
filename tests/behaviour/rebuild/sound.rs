//! What is right already is looked at and not written, and what happens to it after the look is found all the same.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::going_on::until_waited_for;
use super::{all_there_is, everything, populate, rebuild};
use crate::verify::verify;
use projector::{RebuildError, Rebuilt};
use tests::World;

/// A rebuild that has compared everything and waits for its lock; what is handed back lets it go on.
async fn rebuild_that_waits(world: &Arc<World>) -> (Client, JoinHandle<Result<Rebuilt, RebuildError>>) {
    let holder = world.superuser().await;
    holder
        .batch_execute(
            "set session_replication_role = replica; begin; lock table annals_locks.read_models in row exclusive mode",
        )
        .await
        .unwrap();
    let rebuilding = tokio::spawn({
        let world = Arc::clone(world);
        async move { rebuild(&world, &everything()).await }
    });
    until_waited_for(&world.superuser().await, "annals_locks.read_models").await;
    (holder, rebuilding)
}

/// Rows of a table of the one rebuild there is.
async fn rows_beside(client: &Client, table: &str) -> i64 {
    let schema = "select nspname::text from pg_namespace where nspname like 'annals\\_rebuild\\_%'";
    let schema: String = client.query_one(schema, &[]).await.unwrap().get(0);
    let count = format!("select count(*) from {schema}.\"{table}\"");
    client.query_one(&count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_right_is_not_written_beside_it() {
    let world = Arc::new(World::new().await);
    populate(&world).await;
    let right = all_there_is(&world).await;
    let damage = "update public.organizations set country = 'XX' where id = 'ORG-1';
        update annals.entities set state = jsonb_set(state, '{total_cents}', '12.0') where aggregate_type = 'order'";
    world.superuser().await.batch_execute(damage).await.unwrap();
    world.outlive_open_transactions().await;
    let (holder, rebuilding) = rebuild_that_waits(&world).await;
    // Two tenants: two organizations by their rows, two orders by their states, and nothing else.
    for (table, rows) in [
        ("annals.entities", 4),
        ("organizations", 2),
        ("orders", 2),
        ("customers", 0),
    ] {
        assert_eq!(rows_beside(&holder, table).await, rows, "{table}");
    }
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(rebuilding.await.unwrap().unwrap().changed_rows, 4);
    assert_eq!(all_there_is(&world).await, right);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hand_does_after_the_look_is_mended() {
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
        let world = Arc::new(World::new().await);
        populate(&world).await;
        let right = all_there_is(&world).await;
        let (holder, rebuilding) = rebuild_that_waits(&world).await;
        holder.batch_execute(damage).await.unwrap();
        holder.batch_execute("commit").await.unwrap();
        let done = rebuilding.await.unwrap().unwrap();
        assert!(done.changed_rows > 0, "{damage}");
        assert_eq!(all_there_is(&world).await, right, "{damage}");
        assert_eq!(verify(&world).await, [], "{damage}");
    }
}
