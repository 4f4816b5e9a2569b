//! Which roles may call which function. No role may call a function of ours without a grant. Functions that the migrating role creates
//! elsewhere in the database keep PostgreSQL's defaults.

use std::fs;
use std::path::Path;

use tests::World;

/// Functions of ours in any schema that PUBLIC or `anon` may execute. Those in `auth` are granted to `anon`, as in Supabase.
const OPEN: &str = "
    select p.oid::regprocedure::text
      from pg_proc p
     where p.proowner = (select n.nspowner from pg_namespace n where n.nspname = 'annals')
       and p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace, 'auth'::regnamespace)
       and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
       and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
                    where a.privilege_type = 'EXECUTE'
                      and (a.grantee = 0 or a.grantee = 'anon'::regrole and p.pronamespace <> 'auth'::regnamespace))
     order by 1";

#[tokio::test]
async fn neither_public_nor_anon_may_execute_a_function_of_ours() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let open = async || -> Vec<String> {
        let rows = superuser.query(OPEN, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert!(open().await.is_empty(), "{:?}", open().await);
    // The check does not depend on names, so it finds a function that a later migration forgets.
    let forgotten = "create function public.of_a_later_migration() returns int language sql as 'select 1'";
    world.owner().await.batch_execute(forgotten).await.unwrap();
    assert_eq!(open().await, ["of_a_later_migration()"]);
}

/// The database may be used by another project as well.
#[tokio::test]
async fn a_function_that_the_migrating_role_creates_elsewhere_keeps_the_default_grant() {
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
fn every_migration_that_creates_functions_ends_by_revoking_execute_from_public() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // schema.sql is no migration.
        if path
            .file_name()
            .is_none_or(|name| !name.to_string_lossy().starts_with('V'))
        {
            continue;
        }
        let sql = fs::read_to_string(&path).unwrap();
        let makes = sql.contains("create function annals.") || sql.contains("create or replace function annals.");
        let last = "revoke execute on all functions in schema annals from public;";
        assert!(!makes || sql.trim_end().ends_with(last), "{}", path.display());
    }
}
