//! What every cold start waits for: the catalog. PostgreSQL compiles statements that it believes to be dear, which takes longer
//! than to run this one twenty times, and tables without statistics make it believe much.

use serde_json::Value;
use tests::{Person, World};

const SOURCE: &str = include_str!("../../shared/src/store/catalog.rs");

/// What PostgreSQL expects the statement to cost, in a new database.
async fn plan_of(statement: &str, begin: &str, person: &Person) -> Value {
    let (_, sql) = SOURCE
        .split_once(&format!("\"-- {statement}\n"))
        .expect("the statement");
    let (sql, _) = sql.split_once("\";").expect("its end");
    let client = World::new().await.session_of(person).await;
    client.batch_execute(begin).await.unwrap();
    let explain = format!("explain (format json) {sql}");
    client.query_one(&explain, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn reading_the_catalog_is_not_compiled() {
    let staff = Person::staff();
    for begin in ["reset role; begin; set local role annals_projector", "begin read only"] {
        for statement in ["read_types", "read_versions", "read_upcasters"] {
            let plan = plan_of(statement, begin, &staff).await;
            assert!(plan[0]["Plan"]["Total Cost"].as_f64().unwrap() < 10_000.0, "{plan:#}");
            assert!(plan[0].get("JIT").is_none(), "{plan:#}");
        }
    }
}
