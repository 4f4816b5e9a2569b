//! Readers, writers and projectors while read models are rebuilt and exchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use annals::store::{EntityWrite, Feed, ProjectionWrite, StoreError};
use serde_json::{Value, json};
use tests::{Person, World};
use tokio_postgres::Client;

use super::{all_there_is, assert_no_shadow_is_left, everything, module, populate, rebuild};

/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);
const CUSTOMERS: i64 = 7;

/// Waits until somebody waits for a lock on this relation, or for a row of it.
pub(super) async fn until_waited_for(client: &Client, relation: &str) {
    // Of this database: the numbers of relations are the same in all copies of the template. Whoever waits for a row waits for
    // the transaction that holds it, and has a lock on the relation, as the projector has on others.
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
        assert!(started.elapsed() < PATIENCE, "nobody waits for {relation}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What everybody does until told to stop, and how often they have.
struct Traffic {
    stop: AtomicBool,
    appended: AtomicI64,
    read: AtomicI64,
    projected: AtomicI64,
}

impl Traffic {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn counts(&self) -> [i64; 3] {
        [&self.appended, &self.read, &self.projected].map(|count| count.load(Ordering::Relaxed))
    }

    async fn until_all_have_moved(&self, since: [i64; 3]) {
        let started = Instant::now();
        while self.counts().iter().zip(since).any(|(now, then)| *now < then + 3) {
            assert!(started.elapsed() < PATIENCE, "{:?} since {since:?}", self.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn write(world: Arc<World>, staff: Person, traffic: Arc<Traffic>) {
    let mut n = 0;
    while traffic.goes_on() {
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

/// Every read is answered, and no customer ever goes back.
async fn read(world: Arc<World>, staff: Person, traffic: Arc<Traffic>) {
    let mut seen: HashMap<String, (i64, i64)> = HashMap::new();
    let table = world.session_of(&staff).await;
    while traffic.goes_on() {
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
    while traffic.goes_on() {
        let failed = world.deliver(world.take_wake_ups().await).await;
        assert!(failed.is_empty(), "{failed:?}");
        traffic.projected.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_no_append_is_refused_and_no_event_is_doubled_while_read_models_are_exchanged() {
    let world = Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    for n in 0..CUSTOMERS {
        world
            .append(&staff, "customer.created", &format!("C-{n}"), json!({"name": "N"}))
            .await;
    }
    // Nothing comes in about this one, so that only a rebuild can mend it.
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
        traffic.until_all_have_moved(traffic.counts()).await;
        // What is wrong now must be right in the end, whoever projects it in between.
        superuser
            .batch_execute("update public.customers set name = 'wrong'; update public.dealers set name = 'wrong'")
            .await
            .unwrap();
        let before = traffic.counts();
        let done = rebuild(&world, &everything()).await.unwrap();
        assert!(done.changed_rows > 0, "round {round}");
        traffic.until_all_have_moved(before).await;
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
        assert!(feed.settle(PATIENCE).await.unwrap());
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

/// The middle of the exchange, made certain: one row that it changes is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_the_exchange_reads_and_appends_go_on_and_projections_wait() {
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
    assert_eq!(wrong, 8, "nobody sees half of an exchange");
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

/// A projector holds its place: the exchange steps back again and again, and comes through in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_waits_for_a_projector_in_the_middle_and_others_are_not_held_up_behind_it() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let superuser = world.superuser().await;
    superuser
        .batch_execute("update annals.entities set state = '{}'")
        .await
        .unwrap();
    let mut holder = world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("lock table annals_locks.read_models in row exclusive mode")
        .await
        .unwrap();
    let rebuilding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { rebuild(&world, &everything()).await }
    });
    until_waited_for(&superuser, "annals_locks.read_models").await;
    // This one queues up behind whoever waits for the lock, and gets its turn when that one steps back.
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "meanwhile"}))
        .await;
    // Streams that have been folded go on, so they are folded again.
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
    held.rollback().await.unwrap();
    let done = rebuilding.await.unwrap().unwrap();
    assert!(done.changed_rows > 0);
    world.assert_read_models_are_the_fold().await;
    let there_are = "select count(*), sum(projected_version)::bigint from annals.heads";
    let row = superuser.query_one(there_are, &[]).await.unwrap();
    assert_eq!(
        (done.streams, done.events),
        (row.get(0), row.get(1)),
        "each counted once"
    );
    let noted = &world.rows_of("annals.rebuilds").await[0];
    assert_eq!(
        (&noted["streams"], &noted["events"]),
        (&json!(done.streams), &json!(done.events))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_read_before_the_exchange_does_not_bring_back_what_was_exchanged() {
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
        .flat_map(|body| match annals::queue::decode(body).unwrap() {
            annals::queue::WakeUp::Streams(streams) => streams,
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

/// Taken after the fold has looked at snapshots, of the state that it is about to mend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_wrong_state_that_is_taken_meanwhile_goes_with_the_state() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let superuser = world.superuser().await;
    let wrong = "update annals.entities set state = '{\"name\": \"wrong\"}' where aggregate_id = 'C-1'";
    superuser.batch_execute(wrong).await.unwrap();
    let mut holder = world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("lock table annals_locks.read_models in row exclusive mode")
        .await
        .unwrap();
    let rebuilding = tokio::spawn({
        let world = Arc::clone(&world);
        async move { rebuild(&world, &everything()).await }
    });
    until_waited_for(&superuser, "annals_locks.read_models").await;
    let path = "/entities/customer/C-1/snapshots";
    world.post(&staff, path, json!({"reason": "a test"})).await.expect(201);
    assert_eq!(
        world.rows_of("annals.snapshots").await[0]["state"],
        json!({"name": "wrong"})
    );
    held.rollback().await.unwrap();
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

/// Asking for a rebuild locks what the end of another one wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_was_asked_for_and_not_committed_keeps_nobody_waiting() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, stranger) = populate(&world).await;
    let superuser = world.superuser().await;
    let mut holder = world.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("lock table annals_locks.read_models in row exclusive mode")
        .await
        .unwrap();
    let rebuilding = tokio::spawn({
        let (world, due) = (Arc::clone(&world), module("organization", Some(stranger.tenant)));
        async move { rebuild(&world, &due).await }
    });
    until_waited_for(&superuser, "annals_locks.read_models").await;
    let asking = world.session_of(&staff).await;
    asking
        .batch_execute("begin; select annals.request_rebuild(null)")
        .await
        .unwrap();
    held.rollback().await.unwrap();
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
        .expect("it waits for no request");
    rebuilt.unwrap().unwrap();
    asking.batch_execute("rollback").await.unwrap();
    world.assert_read_models_are_the_fold().await;
}

/// What a server lets a request take is not what it lets a rebuild take.
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
    // A pool of its own: connections made before know nothing of the limits.
    let elsewhere = world.elsewhere();
    assert_eq!(rebuild(&elsewhere, &everything()).await.unwrap().changed_rows, 8);
}
