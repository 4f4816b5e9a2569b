//! Readers, writers and projectors while read models are rebuilt and exchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use annals_store::{EntityWrite, Feed, ProjectionWrite, StoreError};
use serde_json::{Value, json};
use tests::{PATIENCE, Person, World};
use tokio_postgres::Client;

use super::{all_there_is, assert_no_shadow_is_left, everything, module, populate, rebuild, rebuild_before_exchange};

const CUSTOMERS: i64 = 7;

/// Waits until a session waits for a lock on this relation, or for one of its rows.
pub(super) async fn until_waited_for(client: &Client, relation: &str) {
    // Only in this database: copies of the template have the same relation ids. A session that waits for a row waits for the transaction that
    // holds it, and has a lock on the relation; the projector has locks on other relations as well.
    let row = if relation == "annals_locks.read_models" {
        "false"
    } else {
        "w.locktype in ('transactionid', 'tuple')"
    };
    let waiting = format!(
        "select count(*) from pg_locks w join pg_locks h on h.pid = w.pid and h.relation = '{relation}'::regclass
           join pg_database d on d.oid = h.database and d.datname = current_database()
          where not w.granted and (w.relation = h.relation or {row})"
    );
    let started = Instant::now();
    while client.query_one(&waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(started.elapsed() < PATIENCE, "no session waits for {relation}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Background work until `stop`, with counts of what was done.
struct Traffic {
    stop: AtomicBool,
    appended: AtomicI64,
    read: AtomicI64,
    projected: AtomicI64,
}

impl Traffic {
    fn is_running(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn counts(&self) -> [i64; 3] {
        [&self.appended, &self.read, &self.projected].map(|count| count.load(Ordering::Relaxed))
    }

    async fn until_all_have_advanced(&self, since: [i64; 3]) {
        let started = Instant::now();
        while self.counts().iter().zip(since).any(|(now, then)| *now < then + 3) {
            assert!(started.elapsed() < PATIENCE, "{:?} since {since:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn write(world: Arc<World>, staff: Person, traffic: Arc<Traffic>) {
    let mut n = 0;
    while traffic.is_running() {
        n += 1;
        let id = format!("C-{}", n % CUSTOMERS);
        world
            .append(&staff, "customer.profile_updated", &id, json!({"phone": n.to_string()}))
            .await;
        world
            .append(&staff, "order.created", &format!("W-{n}"), json!({"customer_id": id}))
            .await;
        traffic.appended.fetch_add(2, Ordering::Relaxed);
    }
}

/// Every read succeeds, and no customer's version or phone ever goes back.
async fn read(world: Arc<World>, staff: Person, traffic: Arc<Traffic>) {
    let mut seen: HashMap<String, (i64, i64)> = HashMap::new();
    let table = world.session_of(&staff).await;
    while traffic.is_running() {
        for item in world.get(&staff, "/entities/customer").await.expect(200).items() {
            let version = item["version"].as_i64().unwrap();
            let phone = item["state"]["phone"]
                .as_str()
                .map_or(0, |phone| phone.parse().unwrap());
            let last = seen
                .insert(item["aggregate_id"].to_string(), (version, phone))
                .unwrap_or_default();
            assert!(last <= (version, phone), "{item} after {last:?}");
        }
        let rows = table
            .query("select id, version, name from public.customers", &[])
            .await
            .unwrap();
        assert_eq!(rows.len(), usize::try_from(CUSTOMERS).unwrap());
        traffic.read.fetch_add(1, Ordering::Relaxed);
    }
}

async fn project(world: Arc<World>, traffic: Arc<Traffic>) {
    while traffic.is_running() {
        let failed = world.deliver(world.take_wake_ups().await).await;
        assert!(failed.is_empty(), "{failed:?}");
        traffic.projected.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_an_exchange_no_read_fails_no_append_is_refused_and_no_event_is_projected_twice() {
    let world = Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    for n in 0..CUSTOMERS {
        world
            .append(&staff, "customer.created", &format!("C-{n}"), json!({"name": "N"}))
            .await;
    }
    // No events arrive for this one, so only the rebuild can repair it.
    world
        .append(&staff, "dealer.created", "D-1", json!({"name": "N"}))
        .await;
    world.project().await;
    let traffic = Arc::new(Traffic {
        stop: AtomicBool::new(false),
        appended: AtomicI64::new(0),
        read: AtomicI64::new(0),
        projected: AtomicI64::new(0),
    });
    let working = [
        tokio::spawn(write(Arc::clone(&world), staff.clone(), Arc::clone(&traffic))),
        tokio::spawn(read(Arc::clone(&world), staff.clone(), Arc::clone(&traffic))),
        tokio::spawn(project(Arc::clone(&world), Arc::clone(&traffic))),
    ];
    let superuser = world.superuser().await;
    for round in 0..4 {
        traffic.until_all_have_advanced(traffic.counts()).await;
        // These rows are wrong now. They must be right at the end, even if a projector writes them before the exchange.
        superuser
            .batch_execute("update public.customers set name = 'wrong'; update public.dealers set name = 'wrong'")
            .await
            .unwrap();
        let before = traffic.counts();
        let done = rebuild(&world, &everything()).await.unwrap();
        assert!(done.changed_rows > 0, "round {round}");
        traffic.until_all_have_advanced(before).await;
    }
    traffic.stop.store(true, Ordering::Relaxed);
    for task in working {
        task.await.unwrap();
    }
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
    let log = world.log().await;
    assert_eq!(log.events, CUSTOMERS + 1 + traffic.counts()[0]);
    let mut feed = Feed::after(world.app.store.clone(), 0);
    let (mut numbers, started) = (Vec::new(), Instant::now());
    while i64::try_from(numbers.len()).unwrap() < log.events {
        assert!(started.elapsed() < PATIENCE);
        assert!(feed.advance_mark(PATIENCE).await.unwrap());
        numbers.extend(
            feed.next_page(500)
                .await
                .unwrap()
                .iter()
                .map(|event| event.event_number),
        );
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "each event once");
    assert_no_shadow_is_left(&world).await;
}

/// A row that the exchange has to change is locked, so that the exchange is certainly in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_the_exchange_reads_and_appends_continue_and_projection_waits() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let right = world.read_models().await;
    let superuser = world.superuser().await;
    superuser
        .batch_execute("update public.organizations set name = 'wrong'")
        .await
        .unwrap();
    let mut holder = world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("select from public.organizations where id = 'ORG-1' for update")
        .await
        .unwrap();

    let rebuilding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { rebuild(&world, &everything()).await }
    });
    until_waited_for(&superuser, "public.organizations").await;
    let name = "select count(*) from public.organizations where name = 'wrong'";
    let wrong: i64 = superuser.query_one(name, &[]).await.unwrap().get(0);
    assert_eq!(wrong, 8, "other sessions do not see a part of the exchange");
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "meanwhile"}))
        .await;
    let answer = world.get(&staff, "/entities/customer/C-2").await.expect(200);
    assert_eq!(answer.body["state"], json!({"name": "meanwhile"}));
    world.get(&staff, "/entities/organization").await.expect(200);
    let projecting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.project().await }
    });
    until_waited_for(&superuser, "annals_locks.read_models").await;
    assert!(!projecting.is_finished() && !rebuilding.is_finished());

    held.rollback().await.unwrap();
    assert_eq!(rebuilding.await.unwrap().unwrap().changed_rows, 8);
    projecting.await.unwrap();
    world.assert_read_models_are_the_fold().await;
    assert_eq!(
        world.read_models().await["public.organizations"],
        right["public.organizations"]
    );
}

/// A projector holds its lock: the exchange gives up waiting and tries again several times, and succeeds in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_waits_for_a_projector_and_does_not_block_others_behind_it() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let superuser = world.superuser().await;
    superuser
        .batch_execute("update annals.entities set state = '{}'")
        .await
        .unwrap();
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    // This projection queues up behind the waiting exchange, and gets the lock when the exchange gives up for a moment.
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "meanwhile"}))
        .await;
    // Streams that have already been folded get new events, so they are folded again.
    for n in 0..4 {
        let renamed = json!({"changes": {"name": {"old": null, "new": "meanwhile"}}});
        world
            .append(&staff, "organization.updated", &format!("ORG-{n}"), renamed)
            .await;
    }
    world.project().await;
    let customer = "select name from public.customers where id = 'C-2'";
    assert_eq!(
        superuser.query_one(customer, &[]).await.unwrap().get::<_, String>(0),
        "meanwhile"
    );
    holder.batch_execute("rollback").await.unwrap();
    let done = rebuilding.await.unwrap().unwrap();
    assert!(done.changed_rows > 0);
    world.assert_read_models_are_the_fold().await;
    let there_are = "select count(*), sum(projected_version)::bigint from annals.heads";
    let row = superuser.query_one(there_are, &[]).await.unwrap();
    assert_eq!(
        (done.streams, done.events),
        (row.get(0), row.get(1)),
        "each stream and event is counted once"
    );
    let noted = &world.rows_of("annals.rebuilds").await[0];
    assert_eq!(
        (&noted["streams"], &noted["events"]),
        (&json!(done.streams), &json!(done.events))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_read_before_the_exchange_does_not_restore_the_old_rows() {
    let world = World::without_requirements().await;
    let (staff, _) = populate(&world).await;
    world
        .superuser()
        .await
        .batch_execute("update annals.entities set state = '{\"name\": \"wrong\"}' where aggregate_id = 'C-1'")
        .await
        .unwrap();
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    let stream: Vec<_> = world
        .take_wake_ups()
        .await
        .iter()
        .flat_map(|body| match annals_queue::decode(body).unwrap() {
            annals_queue::WakeUp::Streams(streams) => streams,
            other => panic!("{other:?}"),
        })
        .collect();
    let work = world.app.store.read_work(&stream, 10).await.unwrap();
    let (revision, mut work) = (work.revision, work.streams);
    let work = work.remove(0);
    let mut entity = work.base.as_ref().unwrap().entity().unwrap();
    assert_eq!(Value::Object(entity.state.clone()), json!({"name": "wrong"}));

    rebuild(&world, &everything()).await.unwrap();
    let after = all_there_is(&world).await;
    entity.version += 1;
    let stale = ProjectionWrite {
        entities: vec![EntityWrite {
            stream: work.stream.clone(),
            started_by: work.started_by.clone(),
            from_version: work.projected_version,
            entity,
        }],
        ..ProjectionWrite::default()
    };
    let tables = world.app.store.state_tables().await.unwrap();
    let refused = world.app.store.write_projection(revision, &tables, &stale).await;
    assert!(matches!(refused, Err(StoreError::Outdated)), "{refused:?}");
    assert_eq!(all_there_is(&world).await, after);
    world.projector.project(&stream).await.unwrap();
    world.assert_read_models_are_the_fold().await;
}

/// A snapshot of the wrong state is taken after the rebuild has checked snapshots and before it repairs the state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_wrong_state_taken_meanwhile_is_removed() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let superuser = world.superuser().await;
    let wrong = "update annals.entities set state = '{\"name\": \"wrong\"}' where aggregate_id = 'C-1'";
    superuser.batch_execute(wrong).await.unwrap();
    let (holder, rebuilding) = rebuild_before_exchange(&world, everything()).await;
    let path = "/entities/customer/C-1/snapshots";
    world.post(&staff, path, json!({"reason": "a test"})).await.expect(201);
    assert_eq!(
        world.rows_of("annals.snapshots").await[0]["state"],
        json!({"name": "wrong"})
    );
    holder.batch_execute("rollback").await.unwrap();
    rebuilding.await.unwrap().unwrap();
    assert_eq!(world.rows_of("annals.snapshots").await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_streams_keep_their_place_and_skipped_events_stay_out() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let mut parked = Vec::new();
    for id in ["ORG-1", "ORG-2"] {
        world
            .append(&staff, "organization.created", id, json!({"name": "N"}))
            .await;
        let poison = json!({"id": "fy", "start_date": "2026-04-01", "end_date": "2025-04-01"});
        parked.push(
            world
                .append(&staff, "organization.financial_year.added", id, poison)
                .await,
        );
        world
            .append(
                &staff,
                "organization.updated",
                id,
                json!({"changes": {"name": {"old": "N", "new": "M"}}}),
            )
            .await;
    }
    world.sweep().await;
    let path = format!("/events/{}/processing", parked[1]["id"].as_str().unwrap());
    world
        .put(&staff, &path, json!({"action": "skip", "reason": "a slip"}))
        .await
        .expect(200);
    world.sweep().await;
    let before = all_there_is(&world).await;
    assert_eq!(
        (
            before["annals.parked_streams"].len(),
            before["annals.skipped_events"].len()
        ),
        (1, 1)
    );
    let names: Vec<Value> = world
        .rows_of("public.organizations")
        .await
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert!(names.contains(&json!("N")) && names.contains(&json!("M")), "{names:?}");
    world
        .superuser()
        .await
        .batch_execute("update public.organizations set name = 'wrong'; delete from annals.entities")
        .await
        .unwrap();
    assert_eq!(rebuild(&world, &everything()).await.unwrap().changed_rows, 2 + 3);
    assert_eq!(all_there_is(&world).await, before);
}

/// A request for a rebuild locks rows that the end of another rebuild needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requested_rebuild_that_is_not_committed_blocks_no_other() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, stranger) = populate(&world).await;
    let due = module("organization", Some(stranger.tenant));
    let (holder, rebuilding) = rebuild_before_exchange(&world, due).await;
    let asking = world.session_of(&staff).await;
    asking
        .batch_execute("begin; select annals.request_rebuild(null)")
        .await
        .unwrap();
    holder.batch_execute("rollback").await.unwrap();
    for n in 0..5 {
        world
            .append(
                &staff,
                "customer.profile_updated",
                "C-1",
                json!({"phone": n.to_string()}),
            )
            .await;
        tokio::time::timeout(PATIENCE, world.project()).await.unwrap();
    }
    let rebuilt = tokio::time::timeout(PATIENCE, rebuilding)
        .await
        .expect("it does not wait for the request");
    rebuilt.unwrap().unwrap();
    asking.batch_execute("rollback").await.unwrap();
    world.assert_read_models_are_the_fold().await;
}

/// The server's time limits for requests do not apply to a rebuild.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_server_do_not_end_an_exchange() {
    let world = Arc::new(World::without_requirements().await);
    populate(&world).await;
    let superuser = world.superuser().await;
    let limits = "update public.organizations set name = 'wrong';
         do $$ begin execute format('alter database %I set statement_timeout = 800', current_database());
                     execute format('alter database %I set idle_in_transaction_session_timeout = 800', current_database()); end $$;
         create function public.dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(1); return null; end';
         create trigger dawdle after update on public.organizations for each statement execute function public.dawdle()";
    superuser.batch_execute(limits).await.unwrap();
    // A pool of its own, because existing connections do not have the new limits.
    let elsewhere = world.elsewhere();
    assert_eq!(rebuild(&elsewhere, &everything()).await.unwrap().changed_rows, 8);
}
