//! Stand-ins for pg_jsonschema, by which SQL checks events' data.
//!
//! The one in PL/pgSQL is in every test's database: it works on every server and knows what the catalog's schemas use. Where the
//! server has PL/Python and Python has jsonschema, a second one, by an implementation that nobody here wrote, can take its place.

use tokio_postgres::Client;

/// By Python's implementation; without a format checker, as pg_jsonschema has none.
const IN_PYTHON: &str = "
create extension if not exists plpython3u;
create or replace function extensions.jsonb_matches_schema(schema json, instance jsonb) returns boolean language plpython3u immutable as $$
import json, jsonschema
return jsonschema.Draft202012Validator(json.loads(schema)).is_valid(json.loads(instance))
$$";

/// Installs the stand-in in PL/pgSQL; for a superuser.
pub async fn install_schema_check(superuser: &Client) {
    let sql = include_str!("schema_check.sql");
    superuser
        .batch_execute(sql)
        .await
        .expect("a stand-in for pg_jsonschema");
}

/// Has Python take its place, where the server has PL/Python and Python has jsonschema: whether it does.
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

/// Takes every stand-in away, as in a database that never had pg_jsonschema.
pub async fn remove_schema_check(superuser: &Client) {
    let gone = superuser.batch_execute("drop schema extensions cascade").await;
    gone.expect("no stand-in");
}
