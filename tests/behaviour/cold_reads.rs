//! Every cold start reads the catalog. PostgreSQL compiles (JIT) statements with a high estimated cost, which takes longer than running
//! this one twenty times; and without statistics it estimates a high cost.

use serde_json::{Value, json};
use tests::{Passed, Person, Proxy, World};

const SOURCE: &str = include_str!("../../shared/store/src/catalog.rs");

/// The cost that PostgreSQL estimates for the statement in a new database.
async fn plan_of(statement: &str, part: &str, begin: &str, person: &Person) -> Value {
    let (_, sql) = SOURCE
        .split_once(&format!("\"-- {statement}\n"))
        .expect("the statement");
    let (sql, _) = sql.split_once("\";").expect("its end");
    let client = World::without_requirements().await.session_of(person).await;
    client.batch_execute(begin).await.unwrap();
    let explain = format!("explain (format json) {}", sql.replace("$1", part));
    client.query_one(&explain, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_statement_that_reads_the_catalog_is_not_compiled() {
    let staff = Person::staff();
    let as_projector = "reset role; begin isolation level repeatable read read only; set local role annals_projector";
    for begin in [as_projector, "begin isolation level repeatable read read only"] {
        for statement in ["read_types", "read_versions", "read_upcasters"] {
            for part in ["true", "false"] {
                let plan = plan_of(statement, part, begin, &staff).await;
                assert!(plan[0]["Plan"]["Total Cost"].as_f64().unwrap() < 10_000.0, "{plan:#}");
                assert!(plan[0].get("JIT").is_none(), "{plan:#}");
            }
        }
    }
}

/// The number of rows that the database sent.
fn rows(record: &[Passed]) -> usize {
    record
        .iter()
        .filter(|passed| matches!(passed, Passed::Server('D')))
        .count()
}

fn reads_schemas(record: &[Passed]) -> bool {
    record
        .iter()
        .any(|passed| matches!(passed, Passed::Parse { sql, .. } if sql.starts_with("-- read_versions")))
}

/// A function with memory of its own, behind a proxy.
async fn started_behind(proxy: &Proxy) -> World {
    proxy.before(&World::without_requirements().await)
}

#[tokio::test]
async fn for_a_second_tenant_only_its_own_types_are_read() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = started_behind(&proxy).await;
    world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    assert!(rows(&proxy.take_record()) > 100, "types, upcasters and schemas");
    let other = Person::staff().in_tenant(uuid::Uuid::from_u128(1));
    world.append(&other, "customer.deleted", "C-1", json!({})).await;
    assert!(rows(&proxy.take_record()) < 10, "the revision, the claims, the event");
}

#[tokio::test]
async fn reads_that_only_fold_do_not_read_schemas() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = started_behind(&proxy).await;
    world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    let reader = proxy.before(&world);
    proxy.take_record();
    reader
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    reader.get(&staff, "/entities/customer").await.expect(200);
    reader.projector.sweep().await.unwrap();
    reader.project().await;
    assert!(!reads_schemas(&proxy.take_record()));
    reader.get(&staff, "/events/types/customer.deleted").await.expect(200);
    assert!(reads_schemas(&proxy.take_record()));
}

/// The built-in types are cached for all tenants, but a migration can add more while functions run.
#[tokio::test]
async fn built_in_types_are_read_again_after_they_have_changed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let other = Person::staff().in_tenant(uuid::Uuid::from_u128(1));
    for person in [&staff, &other] {
        world.append(person, "customer.deleted", "C-1", json!({})).await;
    }
    let brought = "insert into annals.event_types (tenant_id, event_type, aggregate_type, current_version, description, effect, posters, created_by)
        values (null, 'meter.read', 'meter', '1.0', 'read', '\"create\"', '{staff}', 'system');
        insert into annals.event_type_versions (tenant_id, event_type, version, schema, example, created_by)
        values (null, 'meter.read', '1.0', '{\"type\": \"object\", \"required\": [\"value\"]}', '{\"value\": 1}', 'system')";
    world.owner().await.batch_execute(brought).await.unwrap();
    for person in [&staff, &other] {
        world.append(person, "meter.read", "M-1", json!({"value": 1})).await;
        let event = json!({"event_type": "meter.read", "aggregate_type": "meter", "aggregate_id": "M-2", "data": {}});
        assert_eq!(
            world.post(person, "/events", event).await.problem(422),
            "schema_violation"
        );
    }
}
