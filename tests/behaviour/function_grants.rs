//! Who may call which function: ours are nobody's until they are granted, and what the migrating role makes elsewhere in the database is
//! none of our business.

use std::fs;
use std::path::Path;

use tests::World;

/// Functions of ours, wherever they are.
const OURS: &str = "
    select p.oid::regprocedure::text
      from pg_proc p
     where (p.pronamespace = 'annals'::regnamespace
            or p.proname in ('post_event', 'get_aggregate_events') and p.pronamespace = 'public'::regnamespace
            or p.pronamespace = 'auth'::regnamespace)
       and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
                    where a.grantee = 0 and a.privilege_type = 'EXECUTE')
     order by 1";

#[tokio::test]
async fn no_function_of_ours_is_everybodys() {
    let rows = World::new().await.superuser().await.query(OURS, &[]).await.unwrap();
    let open: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(open.is_empty(), "executable by PUBLIC: {open:?}");
}

/// The database may be somebody else's project as well.
#[tokio::test]
async fn a_function_that_the_migrating_role_makes_elsewhere_keeps_its_default() {
    let world = World::new().await;
    let owner = world.owner().await;
    owner
        .batch_execute("create schema theirs; create function theirs.two() returns int language sql as 'select 2'; grant usage on schema theirs to public")
        .await
        .unwrap();
    let changed = "select count(*) from pg_default_acl where defaclrole = current_user::regrole";
    assert_eq!(owner.query_one(changed, &[]).await.unwrap().get::<_, i64>(0), 0);
    let session = world.superuser().await;
    session.batch_execute("set role anon").await.unwrap();
    assert_eq!(
        session
            .query_one("select theirs.two()", &[])
            .await
            .unwrap()
            .get::<_, i32>(0),
        2
    );
}

#[test]
fn every_migration_that_makes_functions_takes_them_back_from_everybody_before_it_ends() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let sql = fs::read_to_string(&path).unwrap();
        let makes = sql.contains("create function annals.") || sql.contains("create or replace function annals.");
        let last = "revoke execute on all functions in schema annals from public;";
        assert!(!makes || sql.trim_end().ends_with(last), "{}", path.display());
    }
}
