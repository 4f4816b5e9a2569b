//! The mark: readers wait for every append that is under way, and for nothing else.

use std::time::Duration;

use annals_store::Feed;
use serde_json::Value;
use tests::{Person, Server, World};

use super::{PATIENCE, append, next_page, numbers};

/// Any session can take a transaction id and keep it. Readers used to wait for each of them.
#[tokio::test]
async fn a_transaction_that_appends_nothing_holds_no_reader_back() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (idle, session) = (world.hostile(Some(&staff)).await, world.session_of(&staff).await);
    idle.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    let number = append(&session, "C-1").await;
    assert_eq!(
        world.app.store.high_water_mark(Duration::ZERO).await.unwrap(),
        Some(number)
    );
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!(status["oldest_append"], Value::Null);
    assert_eq!(world.projector.sweep().await.unwrap().position, number);
    idle.batch_execute("rollback").await.unwrap();
}

/// Readers wait only for appends that were under way when the mark was taken; later ones do not delay it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_begin_after_the_mark_are_not_waited_for() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (first, second) = (world.session_of(&staff).await, world.session_of(&staff).await);
    first.batch_execute("begin").await.unwrap();
    append(&first, "first").await;
    let number = append(&second, "second").await;
    let mark = tokio::spawn({
        let store = world.app.store.clone();
        async move { store.high_water_mark(PATIENCE).await.unwrap() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    second.batch_execute("begin").await.unwrap();
    append(&second, "second").await;
    assert!(!mark.is_finished());
    first.batch_execute("commit").await.unwrap();
    assert_eq!(mark.await.unwrap(), Some(number));
    second.batch_execute("rollback").await.unwrap();
}

/// Rolling back to a savepoint releases the lock and discards what was appended since.
#[tokio::test]
async fn an_append_that_was_rolled_back_to_a_savepoint_is_not_waited_for() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    session.batch_execute("begin; savepoint one").await.unwrap();
    append(&session, "C-1").await;
    assert_eq!(world.app.store.high_water_mark(Duration::ZERO).await.unwrap(), None);
    session.batch_execute("rollback to savepoint one").await.unwrap();
    assert_eq!(world.app.store.high_water_mark(Duration::ZERO).await.unwrap(), Some(0));
    let mut feed = Feed::after(world.app.store.clone(), 0);
    assert!(next_page(&mut feed, 10, PATIENCE).await.is_empty());
    session.batch_execute("savepoint two").await.unwrap();
    let kept = append(&session, "C-1").await;
    session.batch_execute("release savepoint two").await.unwrap();
    assert_eq!(world.app.store.high_water_mark(Duration::ZERO).await.unwrap(), None);
    session.batch_execute("commit").await.unwrap();
    assert_eq!(numbers(&next_page(&mut feed, 10, PATIENCE).await), [kept]);
}

/// A prepared transaction keeps the lock without a session. Readers wait for it, the status names it, and it survives a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_append_is_waited_for_and_named() {
    let server = Server::start(20).await;
    let superuser = server.world().superuser().await;
    superuser
        .batch_execute("alter system set max_prepared_transactions = 5")
        .await
        .unwrap();
    server.control(&["restart", "-l", "/dev/null"]);
    let (world, staff) = (server.world(), Person::staff());
    let session = world.superuser().await;
    // This server has no pg_jsonschema, so only services may post by SQL.
    let claims = Person::service("crm").caller().database_claims().to_string();
    let set_claims = "select set_config('request.jwt.claims', $1, false)";
    session.execute(set_claims, &[&claims]).await.unwrap();
    session.batch_execute("set role authenticated; begin").await.unwrap();
    let number = append(&session, "C-1").await;
    session.batch_execute("prepare transaction 'forgotten'").await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.app.store.high_water_mark(Duration::ZERO).await.unwrap(), None);
        let status = world.get(&staff, "/projector/status").await.expect(200).body;
        let oldest = &status["oldest_append"];
        assert_eq!(
            (&oldest["prepared"], &oldest["pid"]),
            (&"forgotten".into(), &Value::Null)
        );
        assert!(oldest["age_seconds"].is_i64(), "{status}");
        server.control(&["restart", "-m", "immediate", "-l", "/dev/null"]);
    }
    let superuser = world.superuser().await;
    superuser.batch_execute("commit prepared 'forgotten'").await.unwrap();
    assert_eq!(world.app.store.high_water_mark(PATIENCE).await.unwrap(), Some(number));
    server.cluster.stop().await.unwrap();
}

/// In SQL, a transaction that has appended does not wait for itself, and a transaction with too old a snapshot is refused.
#[tokio::test]
async fn reading_in_sql_does_not_wait_for_the_own_transaction_and_refuses_too_old_a_snapshot() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    let visible = append(&session, "C-1").await;
    world.sweep().await;
    session.batch_execute("begin").await.unwrap();
    append(&session, "C-2").await;
    let rows = session
        .query("select event_number from public.read_events()", &[])
        .await
        .unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [visible]);
    session
        .batch_execute("rollback; begin isolation level repeatable read")
        .await
        .unwrap();
    let refused = session
        .query("select * from public.read_events()", &[])
        .await
        .unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(
        (refused.code().code(), refused.constraint()),
        ("PT400", Some("wrong_isolation"))
    );
    session.batch_execute("rollback").await.unwrap();
    let rows = session
        .query("select event_number from public.read_events($1, 1)", &[&visible])
        .await
        .unwrap();
    assert_eq!(rows.len(), 0);
}
