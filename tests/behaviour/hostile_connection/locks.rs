//! Locks: whatever a connection as `authenticated` locks, for however long, other work is not blocked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_store::Feed;
use projector::Invocation;
use serde_json::json;
use tests::{Person, World};
use tokio_postgres::Client;

use crate::rebuild::{everything, rebuild};
use crate::verify::verify;

/// A limit that only a failure reaches, even on a busy machine.
const LONG: Duration = Duration::from_secs(240);

/// Keys that our advisory locks used to have, and other likely ones: one number, two numbers, and hashes.
const ADVISORY: &str = "
    select pg_advisory_lock(key) from generate_series(-50, 50) as key;
    select pg_advisory_lock(107117088107635), pg_advisory_lock(1634627180), pg_advisory_lock(1634627181, 0);
    select pg_advisory_lock(1634627180, id) from generate_series(0, 50) as id;
    select pg_advisory_lock(hashtextextended('annals.kpis 00000000-0000-0000-0000-000000000000', 0))";

/// Takes the strongest lock that PREPARE of an INSERT takes before rights are checked, on every table, and a transaction id.
async fn lock_everything(world: &World, hostile: &Client) -> usize {
    let tables =
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname in ('annals', 'annals_locks', 'public') and c.relkind in ('r', 'p') order by 1";
    let tables: Vec<String> = world
        .owner()
        .await
        .query(tables, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    hostile
        .batch_execute(&format!("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; {ADVISORY}; begin; select pg_current_xact_id()"))
        .await
        .unwrap();
    let mut locked = 0;
    for (place, table) in tables.iter().enumerate() {
        for attempt in [
            format!("lock table {table} in access exclusive mode nowait"),
            format!("lock table {table} in row exclusive mode nowait"),
            format!("lock table {table} in access share mode nowait"),
            format!("select from {table} limit 1 for update"),
            format!("prepare p{place} as insert into {table} default values"),
        ] {
            hostile.batch_execute("savepoint one").await.unwrap();
            match hostile.batch_execute(&attempt).await {
                Ok(()) => locked += 1,
                Err(_) => hostile.batch_execute("rollback to savepoint one").await.unwrap(),
            }
        }
    }
    let held = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
                 where l.pid = $1 and c.relnamespace = 'annals_locks'::regnamespace";
    let pid: i32 = hostile.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let held: i64 = world.superuser().await.query_one(held, &[&pid]).await.unwrap().get(0);
    assert_eq!(held, 0, "the attacker holds a lock on it");
    locked
}

async fn everyone_works(world: &World, round: usize) {
    let (staff, store) = (Person::staff(), &world.app.store);
    let id = format!("S-{round}");
    let data = json!({"sale_date": "2026-01-01", "amount_cents": 5, "currency": "USD"});
    let sale = world.append(&staff, "sale.created", &id, data).await;
    world.project().await;
    let number = sale["event_number"].as_i64().unwrap();
    assert_eq!(store.high_water_mark(Duration::ZERO).await.unwrap(), Some(number));
    assert!(world.projector.sweep().await.unwrap().position >= number);
    let kpis = world
        .get(&staff, "/analytics/kpis?from=2026-01-01&to=2026-01-02")
        .await
        .expect(200)
        .body;
    assert_eq!(kpis["changes_pending"], 0, "{kpis}");

    let asked = world
        .post(&staff, "/projector/rebuild", json!({"module": "sale"}))
        .await
        .expect(202);
    assert!(asked.body["id"].is_number());
    world.projector.handle(Invocation::Rebuilds).await.unwrap();
    rebuild(world, &everything()).await.unwrap();
    assert_eq!(verify(world).await, []);

    let file = format!("sale_id,sale_date,amount\nI-{round},2026-01-31,1.25\n");
    let imported = world
        .import(&staff, json!({"dataset": "sales"}), file)
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&imported["status"], &imported["events_appended"]),
        (&json!("completed"), &json!(1))
    );
    world.project().await;

    let mut feed = Feed::after(store.clone(), number - 1);
    assert!(feed.advance_mark(Duration::ZERO).await.unwrap());
    assert_eq!(feed.next_page(1).await.unwrap()[0].event_number, number);
    let listed = world.get(&staff, "/events/feed?after=now").await.expect(200);
    assert!(listed.body["cursor"].is_string());
    assert_eq!(
        annals_store::migrate(&tests::cluster().url_of(&world.database))
            .await
            .unwrap()
            .applied
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_every_kind_held_on_purpose_block_no_work_of_others() {
    let world = Arc::new(World::new().await);
    everyone_works(&world, 0).await;
    for person in [Person::user(), Person::staff()] {
        let hostile = world.hostile(Some(&person)).await;
        assert!(lock_everything(&world, &hostile).await > 50);
        let working = tokio::time::timeout(
            LONG,
            everyone_works(&world, 1 + usize::from(person.role == Person::staff().role)),
        );
        working.await.expect("no work waits for the attacker");
        hostile.batch_execute("rollback").await.unwrap();
    }
}

/// A request for a rebuild that is never committed does not keep another rebuild from starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requested_rebuild_that_is_never_committed_blocks_no_other() {
    let world = World::new().await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    hostile
        .batch_execute("begin; select annals.request_rebuild(null)")
        .await
        .unwrap();
    tokio::time::timeout(LONG, rebuild(&world, &everything()))
        .await
        .expect("it waits")
        .unwrap();
    hostile.batch_execute("commit").await.unwrap();
    let twice = hostile
        .batch_execute("select annals.request_rebuild(null)")
        .await
        .unwrap_err();
    assert_eq!(twice.as_db_error().unwrap().constraint(), Some("rebuild_running"));
}

/// A registration locks the catalog's row until its transaction ends, and rebuilds of all tenants need that row. So clients cannot register
/// a type in a transaction of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_cannot_be_left_open() {
    let world = World::new().await;
    everyone_works(&world, 0).await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    let claims = Person::staff().claims();
    hostile
        .batch_execute("set idle_in_transaction_session_timeout = 0; begin; savepoint one")
        .await
        .unwrap();
    let arguments = "'customer.praised', 'customer', '1.0', 'x', '\"none\"', '{user}', '{}', '{}'";
    for sql in [
        format!("select annals.register_event_type('{claims}', {arguments})"),
        "select from annals.catalog_revision for update".to_owned(),
        "update annals.catalog_revision set revision = revision".to_owned(),
    ] {
        assert_eq!(super::refusal(&hostile, &sql).await, "42501", "{sql}");
        hostile.batch_execute("rollback to savepoint one").await.unwrap();
    }
    let register = async {
        let kind =
            json!({"event_type": "gadget.made", "schema": {"type": "object"}, "example": {}, "effect": "create"});
        let staff = Person::staff().in_tenant(uuid::Uuid::new_v4());
        world.post(&staff, "/events/types", kind).await.expect(201);
        everyone_works(&world, 1).await;
    };
    tokio::time::timeout(LONG, register).await.expect("it waits");
    hostile.batch_execute("rollback").await.unwrap();
}

/// A statement of a migration may need a table to itself, and an open transaction that has read the table prevents that. The migration
/// waits for 2 s at a time, so that others who come after it are not kept waiting, and tries again. Here it is the last statement of a
/// run, which gives the history of migrations its row security, and the history has none as after a run that was killed before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_readers_without_blocking_others_and_continues_when_they_end() {
    let world = World::new().await;
    let owner = world.owner().await;
    owner
        .batch_execute("alter table annals.schema_history disable row level security")
        .await
        .unwrap();
    let (reader, other) = (world.owner().await, world.owner().await);
    let read = "select count(*) from annals.schema_history";
    reader.batch_execute("begin").await.unwrap();
    reader.batch_execute(read).await.unwrap();
    let address = tests::cluster().url_of(&world.database);
    let migrating = tokio::spawn(async move { annals_store::migrate(&address).await });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        tokio::time::timeout(LONG, other.batch_execute(read))
            .await
            .expect("readers get through between the attempts of the migration")
            .unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!migrating.is_finished());
    reader.batch_execute("commit").await.unwrap();
    tokio::time::timeout(LONG, migrating).await.unwrap().unwrap().unwrap();
    let closed = "select relrowsecurity from pg_class where oid = 'annals.schema_history'::regclass";
    assert!(owner.query_one(closed, &[]).await.unwrap().get::<_, bool>(0));
}

/// If an open append locks a stream's head, that stream is projected after the append ends; other streams are projected now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_stays_open_delays_projection_of_its_own_stream_only() {
    let world = Arc::new(World::new().await);
    let (staff, user) = (Person::staff(), Person::user());
    let customer = json!({"name": "A", "email": "a@example.com"});
    for (person, id) in [(&user, "held"), (&staff, "C-1"), (&staff, "C-2"), (&staff, "C-3")] {
        world.append(person, "customer.registered", id, customer.clone()).await;
    }
    let hostile = world.hostile(Some(&user)).await;
    let update = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "held", "data": {"phone": "1"}});
    hostile.batch_execute("begin").await.unwrap();
    hostile
        .query("select public.post_event($1::text::jsonb)", &[&update.to_string()])
        .await
        .unwrap();
    let projecting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.project().await }
    });
    let owner = world.owner().await;
    let left = "select string_agg(aggregate_id, ' ' order by aggregate_id) from annals.heads where projected_version < version";
    let started = Instant::now();
    while super::text(&owner, left).await != "held" {
        assert!(started.elapsed() < LONG, "other streams wait for the open append");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hostile.batch_execute("commit").await.unwrap();
    tokio::time::timeout(LONG, projecting).await.unwrap().unwrap();
    world.project().await;
    world.sweep().await;
    let state = world.get(&staff, "/entities/customer/held").await.expect(200).body;
    assert_eq!(
        (&state["projected_version"], &state["state"]["phone"]),
        (&json!(2), &json!("1"))
    );
}
