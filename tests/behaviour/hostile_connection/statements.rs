//! Every statement that writes, locks or redefines, on every relation and function.

use tests::{Person, World};
use tokio_postgres::Client;

use crate::policies::strings;

/// Refused because a right is missing, or because the statement is never possible on such an object.
const REFUSED: [&str; 5] = ["42501", "42809", "42P16", "0A000", "55000"];

async fn refuse_all(hostile: &Client, attempts: &[String]) {
    for attempt in attempts {
        let code = super::refusal(hostile, attempt).await;
        assert!(REFUSED.contains(&code.as_str()), "{attempt}: {code}");
        hostile.batch_execute("rollback").await.unwrap();
    }
}

/// Granting a right without the grant option is a warning, not an error. The test checks at the end that it had no effect.
async fn give_away(hostile: &Client, object: &str) {
    for grantee in ["hostile", "anon", "public"] {
        let _warned = hostile
            .batch_execute(&format!("grant all on {object} to {grantee}"))
            .await;
    }
}

/// `%t` is the relation, `%c` one of its columns.
const AGAINST_RELATIONS: [&str; 44] = [
    "insert into %t default values",
    "insert into %t select * from %t",
    "insert into %t select * from %t where false on conflict do nothing",
    "update %t set %c = %c",
    "update %t set %c = %c where false",
    "delete from %t",
    "delete from %t where false",
    "merge into %t t using (select 1) s on true when matched then delete",
    "merge into %t t using (select 1) s on false when not matched then insert default values",
    "with gone as (delete from %t returning 1) select count(*) from gone",
    "truncate %t",
    "truncate %t restart identity cascade",
    "copy %t from stdin",
    "copy %t from program 'true'",
    "copy %t from '/dev/null'",
    "copy %t to '/tmp/copied'",
    "begin; lock table %t in row share mode",
    "begin; lock table %t in row exclusive mode",
    "begin; lock table %t in share mode",
    "begin; lock table %t in access exclusive mode",
    "create table if not exists public.mine (a int references %t)",
    "create table public.mine () inherits (%t)",
    "create temp table mine () inherits (%t)",
    "create temp table mine partition of %t default",
    "create temp table mine (like %t); alter table %t inherit mine",
    "create trigger mine before insert on %t for each row execute function suppress_redundant_updates_trigger()",
    "create rule mine as on insert to %t do instead nothing",
    "create policy mine on %t using (true)",
    "create index on %t (%c)",
    "create statistics mine on %c, %c from %t",
    "alter table %t disable trigger all",
    "alter table %t disable row level security",
    "alter table %t no force row level security",
    "alter table %t add column mine int",
    "alter table %t drop column %c",
    "alter table %t rename to mine",
    "alter table %t set schema public",
    "alter table %t owner to hostile",
    "alter table %t replica identity full",
    "drop table %t",
    "drop table %t cascade",
    "comment on table %t is 'mine'",
    "cluster %t",
    "reindex table %t",
];

#[tokio::test]
async fn no_statement_writes_locks_or_redefines_any_relation() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    let before = super::everything(&owner).await;
    let relations = "select c.oid::regclass || ' ' || (select quote_ident(a.attname) from pg_attribute a
                                                        where a.attrelid = c.oid and a.attnum > 0 order by a.attnum limit 1)
                       from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v', 'm', 'f')";
    let relations = strings(&owner, relations).await;
    assert!(relations.len() > 20, "{relations:?}");
    for relation in relations {
        let (table, column) = relation.split_once(' ').unwrap();
        let attempts: Vec<String> = AGAINST_RELATIONS
            .iter()
            .map(|attempt| attempt.replace("%t", table).replace("%c", column))
            .collect();
        refuse_all(&hostile, &attempts).await;
        let row_locks: Vec<String> = ["update", "no key update", "share", "key share"]
            .iter()
            .map(|strength| format!("select from {table} t for {strength} of t"))
            .collect();
        refuse_all(&hostile, &row_locks).await;
        give_away(&hostile, table).await;
    }
    super::assert_untouched(&owner, &before).await;
}

#[tokio::test]
async fn every_column_refuses_to_be_set() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    owner.batch_execute("set search_path = pg_catalog").await.unwrap();
    let updates = "select format('update %s set %I = %I', c.oid::regclass, a.attname, a.attname)
                     from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
                    where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped";
    for update in strings(&owner, updates).await {
        let code = super::refusal(&hostile, &update).await;
        assert!(REFUSED.contains(&code.as_str()), "{update}: {code}");
    }
}

#[tokio::test]
async fn no_function_is_redefined_dropped_or_given_away() {
    let world = World::new().await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    let before = super::everything(&owner).await;
    let functions = "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                      where n.nspname in ('annals', 'public', 'auth')";
    for function in strings(&owner, functions).await {
        let attempts = [
            format!("alter function {function} security invoker"),
            format!("alter function {function} reset search_path"),
            format!("alter function {function} set search_path = pg_temp"),
            format!("alter function {function} owner to hostile"),
            format!("alter function {function} rename to mine"),
            format!("drop function {function} cascade"),
        ];
        refuse_all(&hostile, &attempts).await;
        give_away(&hostile, &format!("function {function}")).await;
    }
    super::assert_untouched(&owner, &before).await;
}
