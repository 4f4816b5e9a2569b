//! Rebuild: read models are built again from the log in separate tables and exchanged, while reads, appends and projection continue.

mod changed_fold;
mod concurrent_work;
mod killed;
mod refusals;
mod requests;
mod unchanged;

use std::sync::Arc;

use annals_domain::{AggregateType, TenantId};
use annals_store::{DueRebuild, RebuildScope};
use projector::{RebuildError, Rebuilt};
use serde_json::json;
use tests::{Person, ReadModels, World};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

use concurrent_work::until_waited_for;

pub(crate) const WORKERS: usize = 3;

/// All read models of all tenants.
pub(crate) fn everything() -> DueRebuild {
    DueRebuild {
        id: None,
        scope: RebuildScope::default(),
    }
}

/// The read models of one module, of one tenant or of all.
pub(crate) fn module(aggregate_type: &str, tenant: Option<Uuid>) -> DueRebuild {
    let scope = RebuildScope {
        tenant_id: tenant.map(TenantId::from),
        aggregate_type: Some(AggregateType::try_from(aggregate_type.to_owned()).unwrap()),
    };
    DueRebuild { id: None, scope }
}

pub(crate) async fn rebuild(world: &World, due: &DueRebuild) -> Result<Rebuilt, RebuildError> {
    world.projector.rebuild(due, WORKERS, Arc::default()).await
}

/// A session that holds back every exchange of tables, as a projector does; rolling back its transaction ends that.
pub(crate) async fn hold_exchanges(world: &World) -> Client {
    let holder = world.superuser().await;
    holder
        .batch_execute("begin; lock table annals_locks.read_models in row exclusive mode")
        .await
        .unwrap();
    holder
}

/// A rebuild that has done everything except the exchange. Rolling back the transaction of the returned session lets it continue.
pub(crate) async fn rebuild_before_exchange(
    world: &World,
    due: DueRebuild,
) -> (Client, JoinHandle<Result<Rebuilt, RebuildError>>) {
    let (holder, projector) = (hold_exchanges(world).await, world.projector.clone());
    let rebuilding = tokio::spawn(async move { projector.rebuild(&due, WORKERS, Arc::default()).await });
    until_waited_for(&holder, "annals_locks.read_models").await;
    (holder, rebuilding)
}

/// Organizations with added and removed children, orders, customers; some are deleted, some belong to another tenant.
pub(crate) async fn populate(world: &World) -> (Person, Person) {
    let staff = Person::staff();
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    for person in [&staff, &stranger] {
        for n in 0..4 {
            let id = format!("ORG-{n}");
            world
                .append(
                    person,
                    "organization.created",
                    &id,
                    json!({"name": format!("No. {n}"), "country": "IN"}),
                )
                .await;
            let year = |y: i32| json!({"id": format!("fy-{y}"), "start_date": format!("{y}-04-01"), "end_date": format!("{}-03-31", y + 1)});
            for y in 2020..2020 + n {
                world
                    .append(person, "organization.financial_year.added", &id, year(y))
                    .await;
            }
            let account = json!({"id": "bank", "account_number": "50100012345678", "currency": "INR"});
            world
                .append(person, "organization.bank_account.added", &id, account)
                .await;
            if n == 2 {
                world
                    .append(person, "organization.deleted", &id, json!({"name": "No. 2"}))
                    .await;
            }
        }
        let order = json!({"customer_id": "C-1", "total_cents": 12, "items": [{"sku": "S", "quantity": 1.5}]});
        world.append(person, "order.created", "O-1", order).await;
        world
            .append(person, "order.status_changed", "O-1", json!({"new_status": "shipped"}))
            .await;
        world
            .append(person, "customer.created", "C-1", json!({"name": "N"}))
            .await;
    }
    world.sweep().await;
    (staff, stranger)
}

/// Everything that a rebuild must leave unchanged or restore.
pub(crate) async fn all_there_is(world: &World) -> ReadModels {
    let mut models = world.read_models().await;
    for table in [
        "annals.events",
        "annals.parked_streams",
        "annals.event_counts",
        "annals.checkpoints",
    ] {
        let rows = world.rows_of(table).await.iter().map(ToString::to_string).collect();
        models.insert(table.to_owned(), rows);
    }
    models
}

/// Schemas of finished rebuilds are gone.
pub(crate) async fn assert_no_shadow_is_left(world: &World) {
    let left = "select count(*) from pg_namespace where nspname like 'annals\\_rebuild\\_%'";
    let left: i64 = world.superuser().await.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correct_rows_are_not_written() {
    let world = World::without_requirements().await;
    populate(&world).await;
    world.take_wake_ups().await;
    let before = all_there_is(&world).await;
    let versions =
        "select string_agg(concat_ws(' ', xmin, ctid, id), ',' order by tenant_id, id) from public.organizations";
    let rows: String = world.superuser().await.query_one(versions, &[]).await.unwrap().get(0);

    world.outlive_open_transactions().await;
    let done = rebuild(&world, &everything()).await.unwrap();
    let heads = before["annals.heads"].len();
    assert_eq!((done.changed_rows, done.streams), (0, i64::try_from(heads).unwrap()));
    assert_eq!(done.events, i64::try_from(before["annals.events"].len()).unwrap());
    assert_eq!(all_there_is(&world).await, before);
    let still: String = world.superuser().await.query_one(versions, &[]).await.unwrap().get(0);
    assert_eq!(still, rows, "no row was written again");
    assert_eq!(
        world.take_wake_ups().await,
        [] as [String; 0],
        "no event is appended and no message sent"
    );
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_rows_are_restored_and_rows_without_events_are_removed() {
    let world = World::without_requirements().await;
    populate(&world).await;
    let before = all_there_is(&world).await;
    let damage = "delete from annals.entities where aggregate_id = 'ORG-1'; truncate public.orders;
         delete from public.organization_bank_accounts where organization_id = 'ORG-3';
         insert into public.organization_financial_years (tenant_id, organization_id, id, started_by)
         select tenant_id, id, 'never', started_by from public.organizations;
         update public.organizations set name = 'somebody else''s' where id = 'ORG-0';
         update annals.entities set state = state || '{\"name\": \"nobody\"}', deleted_at = null where aggregate_id = 'ORG-2'";
    world.superuser().await.batch_execute(damage).await.unwrap();
    assert_ne!(all_there_is(&world).await, before);
    let done = rebuild(&world, &everything()).await.unwrap();
    // In each of two tenants: a state, an order, an account, four years too many, a name, a state.
    assert_eq!(done.changed_rows, 2 * (1 + 1 + 1 + 4 + 1 + 1));
    assert_eq!(all_there_is(&world).await, before);
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_of_one_module_or_one_tenant_leaves_the_others_unchanged() {
    let world = World::without_requirements().await;
    let (staff, _) = populate(&world).await;
    let right = all_there_is(&world).await;
    let damage = "update public.organizations set name = 'wrong'; update public.orders set notes = 'wrong';
         update annals.entities set state = '{\"wrong\": true}'";
    world.superuser().await.batch_execute(damage).await.unwrap();
    let wrong = all_there_is(&world).await;

    rebuild(&world, &module("organization", Some(staff.tenant)))
        .await
        .unwrap();
    let found = all_there_is(&world).await;
    let tenant = staff.tenant.to_string();
    let of_tenant = |row: &&String| row.contains(&tenant);
    let (repaired, left): (Vec<_>, Vec<_>) = found["public.organizations"].iter().partition(of_tenant);
    assert_eq!(
        repaired,
        right["public.organizations"]
            .iter()
            .filter(of_tenant)
            .collect::<Vec<_>>()
    );
    assert!(left.iter().all(|row| row.contains("wrong")) && !left.is_empty());

    rebuild(&world, &module("organization", None)).await.unwrap();
    let found = all_there_is(&world).await;
    assert_eq!(found["public.organizations"], right["public.organizations"]);
    assert_eq!(found["public.orders"], wrong["public.orders"]);
    let orders = |models: &ReadModels| -> Vec<String> {
        models["annals.entities"]
            .iter()
            .filter(|row| row.contains("\"order\""))
            .cloned()
            .collect()
    };
    assert_eq!(orders(&found), orders(&wrong));
    rebuild(&world, &everything()).await.unwrap();
    assert_eq!(all_there_is(&world).await, right);
}
