//! Code and migrations are deployed one after the other: a function whose database is older than it says so, does nothing, and works as
//! soon as the migrations have run.

use serde_json::{Value, json};
use tests::{Answer, Passed, Person, Proxy, World, cluster, database_at};

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
    assert_eq!(failed, ["0"], "the queue keeps what the projector cannot do now");
    let swept = function.projector.sweep().await.unwrap_err();
    let said = annals::store::told(&swept);
    assert!(said.contains("run the migrations"), "{said}");

    let remember = "insert into annals.schema_history select * from json_populate_record(null::annals.schema_history, $1::text::json)";
    administrator.execute(remember, &[&forgotten]).await.unwrap();
    function.post(&staff, "/events", event("C-1")).await.expect(201);
    assert_eq!(
        function.get(&staff, "/events").await.expect(200).items().len(),
        1,
        "what was answered 503 is not there"
    );
}

#[tokio::test]
async fn a_database_from_before_that_could_be_asked_is_refused_too() {
    let (world, _owner) = database_at("before_schema_versions", 44).await;
    assert_outdated(&world.get(&Person::staff(), "/events").await);
    annals::store::migrate(&cluster().url_of(&world.database))
        .await
        .unwrap();
    world.get(&Person::staff(), "/events").await.expect(200);
}

/// It is looked at with the first connection, and no request pays for it later.
#[tokio::test]
async fn the_schema_is_looked_at_once() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = proxy.before(&World::without_requirements().await);
    for _ in 0..3 {
        world.post(&staff, "/events", event("C-1")).await.expect(201);
    }
    let looks =
        |passed: &&Passed| matches!(passed, Passed::Parse { sql, .. } if sql.starts_with("-- newest_migration"));
    assert_eq!(proxy.take_record().iter().filter(looks).count(), 1);
}
