//! A dump, restored into another cluster whose transaction ids are lower: everything goes on as if nothing had happened.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use annals::store::Feed;
use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use serde_json::json;
use tests::{Person, World, cluster, connect};

use super::{PATIENCE, next_page, numbers, read_all};

/// The program beside the server that runs.
async fn program(name: &str) -> PathBuf {
    let superuser = connect(&cluster().superuser_url_of("postgres")).await;
    let folder = "select setting from pg_config where name = 'BINDIR'";
    let folder: String = superuser.query_one(folder, &[]).await.unwrap().get(0);
    PathBuf::from(folder).join(name)
}

async fn move_database(name: &str, from: &str, to: &str) {
    let dump = Command::new(program("pg_dump").await)
        .arg(from)
        .stdout(Stdio::piped())
        .spawn();
    let mut dump = dump.unwrap();
    let restored = Command::new(program("psql").await)
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
        .stdin(dump.stdout.take().unwrap())
        .status()
        .unwrap();
    assert!(dump.wait().unwrap().success() && restored.success(), "{name}");
}

async fn next_xid(url: &str) -> i64 {
    let xid = "select pg_current_xact_id()::text::bigint";
    connect(url).await.query_one(xid, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_into_a_cluster_with_lower_xids_goes_on() {
    let (world, staff) = (World::new().await, Person::staff());
    let data = json!({"name": "Ada", "email": "ada@example.com"});
    for id in ["C-1", "C-2", "C-1"] {
        world.append(&staff, "customer.registered", id, data.clone()).await;
    }
    world.project().await;
    let key = |id: &str| json!({"event_type": "customer.deleted", "aggregate_type": "customer", "aggregate_id": id, "data": {}, "idempotency_key": "k-1"});
    let kept = world.post(&staff, "/events", key("C-2")).await.expect(201).body;
    let mut before = Feed::after(world.app.store.clone(), 0);
    let first = next_page(&mut before, 2, PATIENCE).await;

    let options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
    let other = Cluster::start(options).await.unwrap();
    let superuser = connect(&other.superuser_url_of("postgres")).await;
    // Roles belong to the cluster, so the migrations make them: in a database that is not needed otherwise.
    annals::store::migrate(&other.url()).await.unwrap();
    let create = format!("create database {} owner {}", world.database, local::cluster::OWNER);
    superuser.batch_execute(&create).await.unwrap();
    let source = cluster().superuser_url_of(&world.database);
    // Many transactions later …
    let burn = "do $$ begin for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$";
    connect(&source).await.batch_execute(burn).await.unwrap();
    move_database(&world.database, &source, &other.superuser_url_of(&world.database)).await;
    let there = other.url_of(&world.database);
    assert!(next_xid(&there).await < next_xid(&source).await, "the test's premise");
    assert_eq!(annals::store::migrate(&there).await.unwrap().applied.len(), 0);

    let moved = World::at(world.database.clone(), &there);
    let again = moved.post(&staff, "/events", key("C-2")).await.expect(200).body;
    assert_eq!(again["id"], kept["id"]);
    let next = moved.append(&staff, "customer.deleted", "C-1", json!({})).await;
    assert_eq!(next["aggregate_version"], 3);
    let number = next["event_number"].as_i64().unwrap();
    assert!(number > kept["event_number"].as_i64().unwrap());

    // The consumer takes its one number along.
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
