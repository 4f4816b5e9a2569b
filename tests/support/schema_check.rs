//! Stand-ins for pg_jsonschema, which checks data of events in SQL.
//!
//! The stand-in in PL/pgSQL is in every test's database: it works on every server and supports what the catalog's schemas use. If the server
//! has PL/Python, and Python has jsonschema, an independent implementation can replace it.

use tokio_postgres::Client;

/// Python's implementation, without a format checker, because pg_jsonschema has none.
const IN_PYTHON: &str = "
create extension if not exists plpython3u;
create or replace function extensions.jsonb_matches_schema(schema json, instance jsonb) returns boolean language plpython3u immutable as $$
import json, jsonschema
return jsonschema.Draft202012Validator(json.loads(schema)).is_valid(json.loads(instance))
$$";

/// Installs the stand-in in PL/pgSQL; the client must be a superuser.
pub async fn install_schema_check(superuser: &Client) {
    let sql = include_str!("schema_check.sql");
    superuser
        .batch_execute(sql)
        .await
        .expect("a stand-in for pg_jsonschema");
}

/// Replaces it by Python's implementation if the server has PL/Python and Python has jsonschema; returns whether it did.
pub async fn check_schemas_in_python(superuser: &Client) -> bool {
    let works = "select extensions.jsonb_matches_schema('{\"type\": \"object\"}', '{}')";
    let replaced = superuser
        .batch_execute(&format!("begin; {IN_PYTHON}; {works}; commit"))
        .await;
    if replaced.is_err() {
        superuser
            .batch_execute("rollback")
            .await
            .expect("the one before is back");
    }
    replaced.is_ok()
}

/// Removes the stand-in, as in a database that never had pg_jsonschema.
pub async fn remove_schema_check(superuser: &Client) {
    let gone = superuser.batch_execute("drop schema extensions cascade").await;
    gone.expect("no stand-in");
}
