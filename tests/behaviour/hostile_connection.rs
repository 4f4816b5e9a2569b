//! The hostile-connection invariant: arbitrary SQL on a connection as `authenticated`, with claims set as the API sets them, cannot read what
//! policies hide, forge anything, leave a gap, change stored data or shadow a name.
//!
//! Relations, functions, sequences, schemas and types are read from the system catalogs. So a new one is attacked automatically, and its
//! allowed use must be decided here.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{Person, World};
use tokio_postgres::Client;

use crate::policies::strings;

mod appends;
mod arguments;
mod leaks;
mod locks;
mod objects;
mod posts;
mod roles;
mod settings;
mod shadows;
mod statements;
mod unreadable;

/// SQLSTATE of a script that must fail.
async fn refusal(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("not refused: {sql}"),
        Err(error) => code_of(&error, sql),
    }
}

fn code_of(error: &tokio_postgres::Error, sql: &str) -> String {
    let code = error.code().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    code.code().to_owned()
}

/// One text from one row. For queries without parameters.
async fn text(client: &Client, sql: &str) -> String {
    let row = client
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    row.get(0)
}

/// A log with two projected streams, one of them started by `starter`.
async fn world_of(starter: &Person) -> World {
    let world = World::without_requirements().await;
    let data = || json!({"name": "Ada", "email": "ada@example.com"});
    world.append(starter, "customer.registered", "theirs", data()).await;
    world
        .append(&Person::staff(), "customer.registered", "staff's", data())
        .await;
    world.project().await;
    world
}

/// Every row of every table, every sequence's position, and all definitions that protect them. If this is equal before and after, nothing
/// was written and nothing redefined.
async fn everything(owner: &Client) -> BTreeSet<String> {
    // With full names, whatever the search_path is.
    owner.batch_execute("set search_path = pg_catalog").await.unwrap();
    let ours =
        "(select c.oid from pg_class c where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace))";
    let tables = format!(
        "select format('select concat_ws('' '', %L, to_jsonb(t)) from %s t', c.oid::regclass, c.oid::regclass) from pg_class c
          where c.oid in {ours} and c.relkind in ('r', 'p')"
    );
    let contents: Vec<String> = strings(owner, &tables).await.into_iter().collect();
    strings(
        owner,
        &format!(
            "{} union all select to_jsonb(s)::text from pg_sequences s
             union all select concat_ws(' ', c.oid::regclass, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity)
                         from pg_class c where c.oid in {ours}
             union all select concat_ws(' ', a.attrelid::regclass, a.attname, a.atttypid, a.attacl) from pg_attribute a where a.attrelid in {ours}
             union all select concat_ws(' ', t.tgrelid::regclass, t.tgname, t.tgenabled) from pg_trigger t where t.tgrelid in {ours}
             union all select to_jsonb(p)::text from pg_policy p
             union all select concat_ws(' ', p.oid::regprocedure, p.proowner, p.proacl, p.proconfig, p.prosecdef, p.prosrc) from pg_proc p
                        where p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace, 'auth'::regnamespace)
             union all select to_jsonb(n)::text from pg_namespace n where n.nspname in ('annals', 'public', 'auth')",
            contents.join(" union all ")
        ),
    )
    .await
}

/// Checks that nothing in [`everything`] has changed since.
async fn assert_untouched(owner: &Client, before: &BTreeSet<String>) {
    let after = everything(owner).await;
    let changed: Vec<&String> = before.symmetric_difference(&after).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

/// The same, except that numbers may have been drawn, because a sequence is not rolled back.
async fn assert_untouched_but_numbers(owner: &Client, before: &BTreeSet<String>) {
    let after = everything(owner).await;
    let changed: Vec<&String> = before
        .symmetric_difference(&after)
        .filter(|line| !line.contains("\"sequencename\": \"event_numbers\""))
        .collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

/// Checks the log: versions 1…n in each stream, its head at n, numbers and recorded times rising, one starter for each stream.
async fn assert_whole(owner: &Client) {
    let broken = "
        select count(*)::text from annals.heads h
          full join (select e.tenant_id, e.aggregate_type, e.aggregate_id, count(*) as events, min(e.aggregate_version) as lowest,
                            max(e.aggregate_version) as highest, count(distinct e.started_by) as starters, min(e.started_by) as starter,
                            bool_or(e.wrong) as wrong
                       from (select e.*, e.event_number <= lag(e.event_number) over stream or e.created_at <= lag(e.created_at) over stream
                                         or e.created_at > clock_timestamp() + interval '1 second' as wrong
                               from annals.events e
                             window stream as (partition by e.tenant_id, e.aggregate_type, e.aggregate_id order by e.aggregate_version)) as e
                      group by 1, 2, 3) as s using (tenant_id, aggregate_type, aggregate_id)
         where (h.version, h.version, 1, 1::bigint, h.started_by, false)
               is distinct from (s.events, s.highest, s.lowest, s.starters, s.starter, coalesce(s.wrong, false))";
    assert_eq!(text(owner, broken).await, "0", "a stream is broken");
}
