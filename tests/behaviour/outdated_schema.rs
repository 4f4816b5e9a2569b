//! Migrations and code are not deployed at the same moment. A function whose database is older than its code says so, does nothing, and
//! works as soon as the migrations have run.

use local::cluster::{Cluster, FAST_BUT_UNSAFE, OWNER, Options};
use serde_json::{Value, json};
use tests::{Answer, Passed, Person, Proxy, World, cluster};

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

fn assert_outdated(answer: &Answer) {
    assert_eq!(answer.problem(503), "schema_outdated", "{}", answer.text);
    assert!(answer.body["detail"].as_str().unwrap().contains("run its migrations"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn a_function_refuses_a_database_that_lacks_the_newest_migration_until_it_has_run() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let administrator = world.superuser().await;
    let forget = "with newest as (delete from annals.schema_history where version = (select max(version) from annals.schema_history) returning *)
                  select row_to_json(newest)::text from newest";
    let forgotten: String = administrator.query_one(forget, &[]).await.unwrap().get(0);
    let function = World::directly_at(world.database.clone(), &world.url_as("annals_api"));

    assert_outdated(&function.post(&staff, "/events", event("C-1")).await);
    assert_outdated(&function.get(&staff, "/events").await);
    assert_outdated(&function.get(&staff, "/projector/status").await);
    let failed = function.deliver(vec![r#"{"sweep":{}}"#.to_owned()]).await;
    assert_eq!(failed, ["0"], "the failed message stays in the queue");
    let swept = function.projector.sweep().await.unwrap_err();
    assert_says_what_to_do(&swept);
    let imported = function.importer().import_due(None).await.unwrap_err();
    assert_says_what_to_do(&imported);
    let health = function.get(&staff, "/health").await.expect(200).body;
    assert_eq!(
        (&health["status"], &health["features"]["database"]),
        (&json!("degraded"), &json!("degraded"))
    );

    let remember = "insert into annals.schema_history select * from json_populate_record(null::annals.schema_history, $1::text::json)";
    administrator.execute(remember, &[&forgotten]).await.unwrap();
    function.post(&staff, "/events", event("C-1")).await.expect(201);
    assert_eq!(
        function.get(&staff, "/events").await.expect(200).items().len(),
        1,
        "what was answered 503 is not there"
    );
}

/// Checks Lambda's log of an invocation that fails.
#[track_caller]
fn assert_says_what_to_do(error: &(dyn std::error::Error + 'static)) {
    let said = annals_store::redacted_error(error);
    assert!(said.contains("run the migrations"), "{said}");
}

/// Migrations would not help, so this is not reported as an old schema. Roles belong to the server, so the test has a server of its own.
#[tokio::test]
async fn a_missing_right_is_not_reported_as_an_old_schema() {
    let server = Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE))
        .await
        .unwrap();
    annals_store::migrate(&server.url()).await.unwrap();
    let owner = tests::connect(&server.url()).await;
    let change = "alter role annals_api password 'p'; revoke annals_projector from annals_api";
    owner.batch_execute(change).await.unwrap();
    let url = format!(
        "postgresql://annals_api:p@127.0.0.1:{}/annals?sslmode=disable",
        server.port()
    );
    let world = World::directly_at("annals".to_owned(), &url);
    let refused = world.get(&Person::staff(), "/events").await;
    assert_eq!(refused.problem(500), "internal", "{}", refused.text);
    owner
        .batch_execute("grant annals_projector to annals_api")
        .await
        .unwrap();
    world.get(&Person::staff(), "/events").await.expect(200);
    server.stop().await.unwrap();
}

/// The function that tells the newest migration is missing in a database that no migration, or only the first ones, were applied to.
#[tokio::test]
async fn a_database_without_migrations_is_refused_until_they_have_run() {
    let name = "before_the_first_migration";
    let admin = tests::connect(&cluster().superuser_url_of("postgres")).await;
    admin
        .batch_execute(&format!("create database {name} owner {OWNER}"))
        .await
        .unwrap();
    let url = cluster().url_of(name);
    let (world, staff) = (World::at(name.to_owned(), &url), Person::staff());
    assert_outdated(&world.get(&staff, "/events").await);
    annals_store::migrate(&url).await.unwrap();
    world.get(&staff, "/events").await.expect(200);

    let world = World::new().await;
    let owner = world.owner().await;
    let forget = "alter function annals.newest_migration() rename to not_yet";
    owner.batch_execute(forget).await.unwrap();
    assert_outdated(&world.get(&staff, "/events").await);
    let made = "alter function annals.not_yet() rename to newest_migration";
    owner.batch_execute(made).await.unwrap();
    world.get(&staff, "/events").await.expect(200);
}

/// The check runs on the first connection only; later requests do not repeat it.
#[tokio::test]
async fn the_schema_is_checked_once() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = proxy.before(&World::without_requirements().await);
    for _ in 0..3 {
        world.post(&staff, "/events", event("C-1")).await.expect(201);
    }
    let looks =
        |passed: &&Passed| matches!(passed, Passed::Parse { sql, .. } if sql.starts_with("-- newest_migration"));
    assert_eq!(proxy.take_record().iter().filter(looks).count(), 1);
}
