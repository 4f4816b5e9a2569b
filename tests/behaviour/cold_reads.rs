//! What every cold start waits for: the catalog. PostgreSQL compiles statements that it believes to be dear, which takes longer
//! than to run this one twenty times, and tables without statistics make it believe much.

use serde_json::Value;
use tests::{Person, World};

const SOURCE: &str = include_str!("../../shared/src/store/catalog.rs");

/// What PostgreSQL expects the statement to cost, in a new database.
async fn expected_cost(begin: &str, person: &Person) -> Value {
    let (_, statement) = SOURCE.split_once("\"-- read_catalog").expect("the statement");
    let (statement, _) = statement.split_once("\";").expect("its end");
    let client = World::new().await.session_of(person).await;
    client.batch_execute(begin).await.unwrap();
    let sql = format!("explain (format json) /* {statement}").replacen('\n', " */ ", 1);
    let plan: Value = client.query_one(&sql, &[]).await.unwrap().get(0);
    plan
}

#[tokio::test]
async fn reading_the_catalog_is_not_compiled() {
    let staff = Person::staff();
    for begin in ["reset role; begin; set local role annals_projector", "begin read only"] {
        let plan = expected_cost(begin, &staff).await;
        assert!(plan[0]["Plan"]["Total Cost"].as_f64().unwrap() < 10_000.0, "{plan:#}");
        assert!(plan[0].get("JIT").is_none(), "{plan:#}");
    }
}
