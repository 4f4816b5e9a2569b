//! A dump is restored into another cluster whose transaction ids are lower. Everything continues there without a difference.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use annals::replay::{BatchSize, Replay, replay};
use annals_domain::{CheckpointName, Event};
use annals_store::Feed;
use futures_util::future::join_all;
use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use serde_json::json;
use tests::{Person, World, cluster, connect, set_api_password};
use tokio::sync::Notify;

use super::{PATIENCE, assert_in_order, next_page, numbers, read_all};

/// The path of a program of the running server's installation.
async fn program(name: &str) -> PathBuf {
    let superuser = connect(&cluster().superuser_url_of("postgres")).await;
    let folder = "select setting from pg_config where name = 'BINDIR'";
    let folder: String = superuser.query_one(folder, &[]).await.unwrap().get(0);
    PathBuf::from(folder).join(name)
}

async fn move_database(name: &str, from: &str, to: &str) {
    let dump = Command::new(program("pg_dump").await).arg(from).output().unwrap();
    // A newer pg_dump writes settings that the server may not know.
    let dump = String::from_utf8(dump.stdout)
        .unwrap()
        .replace("\nSET transaction_timeout = 0;\n", "\n");
    assert!(dump.contains("PostgreSQL database dump complete"), "{name}");
    let mut restored = Command::new(program("psql").await)
        .args([
            "--quiet",
            "--no-psqlrc",
            "--set",
            "ON_ERROR_STOP=1",
            "--single-transaction",
            "--output",
            "/dev/null",
            to,
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    restored.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    assert!(restored.wait().unwrap().success(), "{name}");
}

async fn next_xid(url: &str) -> i64 {
    let xid = "select pg_current_xact_id()::text::bigint";
    connect(url).await.query_one(xid, &[]).await.unwrap().get(0)
}

/// A new cluster with an empty database of the world's name and the roles that the migrations create.
async fn other_cluster_for(world: &World) -> Cluster {
    let options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
    let other = Cluster::start(options).await.unwrap();
    let superuser = connect(&other.superuser_url_of("postgres")).await;
    // Roles belong to the cluster. The migrations create them in another database, which is not used otherwise.
    annals_store::migrate(&other.url()).await.unwrap();
    set_api_password(&other).await;
    let create = format!("create database {} owner {}", world.database, local::cluster::OWNER);
    superuser.batch_execute(&create).await.unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_into_a_cluster_with_lower_xids_works_like_the_original() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let data = json!({"name": "Ada", "email": "ada@example.com"});
    for id in ["C-1", "C-2", "C-1"] {
        world.append(&staff, "customer.registered", id, data.clone()).await;
    }
    world.project().await;
    let key = |id: &str| json!({"event_type": "customer.deleted", "aggregate_type": "customer", "aggregate_id": id, "data": {}, "idempotency_key": "k-1"});
    let kept = world.post(&staff, "/events", key("C-2")).await.expect(201).body;
    let mut before = Feed::after(world.app.store.clone(), 0);
    let first = next_page(&mut before, 2, PATIENCE).await;

    let other = other_cluster_for(&world).await;
    let source = cluster().superuser_url_of(&world.database);
    // Many transactions later …
    let burn = "do $$ begin for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$";
    connect(&source).await.batch_execute(burn).await.unwrap();
    move_database(&world.database, &source, &other.superuser_url_of(&world.database)).await;
    let there = other.url_of(&world.database);
    assert!(next_xid(&there).await < next_xid(&source).await, "the test's premise");
    assert_eq!(annals_store::migrate(&there).await.unwrap().applied.len(), 0);

    let moved = World::at(world.database.clone(), &there);
    let again = moved.post(&staff, "/events", key("C-2")).await.expect(200).body;
    assert_eq!(again["id"], kept["id"]);
    let next = moved.append(&staff, "customer.deleted", "C-1", json!({})).await;
    assert_eq!(next["aggregate_version"], 3);
    let number = next["event_number"].as_i64().unwrap();
    assert!(number > kept["event_number"].as_i64().unwrap());

    // The consumer takes its position along.
    let mut after = Feed::after(moved.app.store.clone(), before.position());
    let rest = read_all(&mut after).await;
    let all = numbers(&read_all(&mut Feed::after(moved.app.store.clone(), 0)).await);
    assert_eq!([numbers(&first), numbers(&rest)].concat(), all);
    assert_eq!((all.len(), all.last()), (5, Some(&number)));

    moved.project().await;
    moved.projector.sweep().await.unwrap();
    let entity = moved.get(&staff, "/entities/customer/C-2").await.expect(200);
    assert_eq!(entity.body["projected_version"], 2);
    other.stop().await.unwrap();
}

/// Appends to streams of its own until `stop`, and returns the number of events.
async fn write(world: &World, writer: usize, stop: &AtomicBool, written: &AtomicUsize) {
    let staff = Person::staff();
    for round in 0.. {
        let id = format!("C-{writer}-{}", round % 3);
        let event_type = if round < 3 {
            "customer.registered"
        } else {
            "customer.profile_updated"
        };
        let data = json!({"name": id, "email": "a@example.com", "phone": format!("{writer}-{round}")});
        world.append(&staff, event_type, &id, data).await;
        written.fetch_add(1, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// The dump is taken while four writers append, the projector projects, and a replay is in the middle of its third batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_live_database_works_like_the_original() {
    let world = World::without_requirements().await;
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (half_way, go_on) = (Notify::new(), Notify::new());
    let wanted = Replay {
        checkpoint: Some(CheckpointName::try_from("moves along".to_owned()).unwrap()),
        batch_size: BatchSize::new(5).unwrap(),
        patience: PATIENCE,
        ..Replay::default()
    };
    let other = other_cluster_for(&world).await;
    let there = other.url_of(&world.database);
    let handed = Mutex::new(Vec::new());
    let replaying = replay(&world.app.store, &wanted, async |event: Event| {
        let count = {
            let mut handed = handed.lock().unwrap();
            handed.push(event.event_number);
            handed.len()
        };
        if count == 13 {
            half_way.notify_one();
            go_on.notified().await;
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let dumping = async {
        half_way.notified().await;
        let (source, to) = (
            cluster().superuser_url_of(&world.database),
            other.superuser_url_of(&world.database),
        );
        let (name, before) = (world.database.clone(), written.load(Ordering::SeqCst));
        let handle = tokio::runtime::Handle::current();
        let moved = tokio::task::spawn_blocking(move || handle.block_on(move_database(&name, &source, &to)));
        moved.await.unwrap();
        assert!(
            written.load(Ordering::SeqCst) > before,
            "events were appended during the dump"
        );
        go_on.notify_one();
        stop.store(true, Ordering::SeqCst);
    };
    let project = async {
        while !stop.load(Ordering::SeqCst) {
            world.project().await;
            tokio::task::yield_now().await;
        }
    };
    // The replay needs forty events, because it takes its end when it begins.
    for n in 0..40 {
        world
            .append(
                &Person::staff(),
                "customer.registered",
                &format!("C-4-{}", n % 4),
                json!({"name": "n", "email": "a@example.com", "phone": "0"}),
            )
            .await;
    }
    let writing = join_all((0..4).map(|writer| write(&world, writer, &stop, &written)));
    let (replayed, (), (), _) = tokio::join!(replaying, dumping, project, writing);
    assert!(replayed.unwrap().events >= 40, "the original continues, too");

    let copy = World::at(world.database.clone(), &there);
    let owner = connect(&there).await;
    let in_the_copy = numbers(&read_all(&mut Feed::after(copy.app.store.clone(), 0)).await);
    assert!(
        in_the_copy.len() > 40 && in_the_copy.len() < 40 + written.load(Ordering::SeqCst),
        "the test's premise"
    );

    // New versions continue each stream, with numbers above all that the copy holds.
    for id in ["C-4-0", "C-0-0", "C-1-0"] {
        let version = "select version from annals.heads where aggregate_id = $1";
        let version: i32 = owner.query_one(version, &[&id]).await.unwrap().get(0);
        let next = copy
            .append(
                &Person::staff(),
                "customer.profile_updated",
                id,
                json!({"phone": "copy"}),
            )
            .await;
        assert_eq!(next["aggregate_version"], version + 1);
        assert!(next["event_number"].as_i64() > in_the_copy.last().copied());
    }

    // The checkpoint in the copy covers the two batches that the consumer had finished; the rest follows now.
    let rest = Mutex::new(Vec::new());
    let replayed = replay(&copy.app.store, &wanted, async |event: Event| {
        rest.lock().unwrap().push(event.event_number);
        Ok::<(), std::convert::Infallible>(())
    });
    replayed.await.unwrap();
    let all = read_all(&mut Feed::after(copy.app.store.clone(), 0)).await;
    assert_in_order(&all);
    let handled = [&handed.into_inner().unwrap()[..10], &rest.into_inner().unwrap()].concat();
    assert_eq!(handled, numbers(&all), "no event is lost or repeated");

    // Projection continues from the progress in the dump.
    while copy.projector.sweep().await.unwrap().position < *numbers(&all).last().unwrap() {}
    let wrong = "select count(*) from annals.heads h
                   join annals.events e on e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type
                                       and e.aggregate_id = h.aggregate_id and e.aggregate_version = h.version
                   left join annals.entities n on n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type
                                              and n.aggregate_id = h.aggregate_id and n.version = h.version
                  where h.projected_version < h.version or n.state ->> 'phone' is distinct from e.data ->> 'phone'";
    assert_eq!(owner.query_one(wrong, &[]).await.unwrap().get::<_, i64>(0), 0);
    drop(owner);
    other.stop().await.unwrap();
}
