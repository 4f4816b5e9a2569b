//! The attacker's rights, object by object, as PostgreSQL reports them.

use std::collections::BTreeSet;

use tests::{Person, World};
use tokio_postgres::Client;

use crate::policies::{Shows, relations, strings};

/// Functions that requests may call; each is attacked in `posts`, `arguments` and `shadows`. The append functions and the registration of
/// types are not in the list, because they trust the claims that they are given.
const CALLABLE: [&str; 61] = [
    "annals.caller_actor",
    "annals.caller_claims",
    "annals.caller_role",
    "annals.caller_sees_tenant",
    "annals.caller_tenant",
    "annals.caller_user_id",
    "annals.open_appends",
    "annals.high_water_mark",
    "annals.field_key",
    "annals.list_events_of_caller_by_field",
    "annals.list_events_of_causation_by_field",
    "annals.list_events_of_command_by_field",
    "annals.list_events_of_correlation_by_field",
    "annals.list_events_of_field",
    "annals.list_events_of_id_by_field",
    "annals.list_events_unprocessed_by_field",
    "annals.refuse_if_behind",
    "annals.find_entity",
    "annals.find_events",
    "annals.find_kept_key",
    "annals.find_past",
    "annals.is_parked",
    "annals.is_projected",
    "annals.is_rebuild_held",
    "annals.needs_rebuild",
    "annals.keep_key",
    "annals.list_events",
    "annals.list_events_of_actor",
    "annals.list_events_of_aggregate_type",
    "annals.list_events_of_caller",
    "annals.list_events_of_causation",
    "annals.list_events_of_command",
    "annals.list_events_of_correlation",
    "annals.list_events_of_id",
    "annals.list_events_of_person",
    "annals.list_events_of_source",
    "annals.list_events_of_types",
    "annals.list_events_unprocessed",
    "annals.list_facts",
    "annals.list_history",
    "annals.list_replays",
    "annals.oldest_open_append",
    "annals.page_context",
    "annals.changes_pending",
    "annals.post_event",
    "annals.refuse",
    "annals.request_rebuild",
    "annals.wait_for_high_water_mark",
    "annals.fold_version_of",
    "annals.sees_an_event",
    "annals.sees_state",
    "annals.snapshot_digest",
    "annals.starter_sees_all",
    "annals.streams_of_id",
    "annals.version_at",
    "annals.version_at_number",
    "annals.version_key",
    "annals.withheld_metadata",
    "annals.withheld_recorded",
    "public.get_aggregate_events",
    "public.read_events",
];
const ALSO_CALLABLE: [&str; 4] = ["public.post_event", "auth.jwt", "auth.role", "auth.uid"];

const IN_OUR_SCHEMAS: &str = "n.nspname in ('annals', 'public', 'auth')";

async fn session() -> (World, Client, Client) {
    let world = World::new().await;
    let (owner, hostile) = (world.owner().await, world.hostile(Some(&Person::staff())).await);
    (world, owner, hostile)
}

#[tokio::test]
async fn it_may_only_select_and_only_from_the_listed_relations() {
    let (_world, owner, hostile) = session().await;
    for (relation, shows) in relations(&owner).await {
        let held = strings(
            &hostile,
            &format!(
                "select p from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p
                  where has_table_privilege('{relation}', p)
                     or (p in ('select', 'insert', 'update', 'references') and has_any_column_privilege('{relation}', p))"
            ),
        )
        .await;
        let expected = if shows == Shows::Nothing {
            BTreeSet::new()
        } else {
            BTreeSet::from(["select".to_owned()])
        };
        assert_eq!(held, expected, "{relation}");
    }
}

#[tokio::test]
async fn it_may_use_no_sequence_and_only_the_listed_functions() {
    let (_world, owner, hostile) = session().await;
    let sequences = format!(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where {IN_OUR_SCHEMAS} and c.relkind = 'S'"
    );
    let all = strings(&owner, &sequences).await;
    assert!(!all.is_empty());
    for sequence in all {
        for attempt in [
            format!("select nextval('{sequence}')"),
            format!("select setval('{sequence}', 1)"),
            format!("select currval('{sequence}')"),
            format!("select last_value from {sequence}"),
            format!("alter sequence {sequence} restart"),
        ] {
            assert_eq!(super::refusal(&hostile, &attempt).await, "42501", "{attempt}");
        }
    }
    let executable = format!(
        "select distinct n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
          where {IN_OUR_SCHEMAS} and has_function_privilege(p.oid, 'execute')"
    );
    let expected: BTreeSet<String> = CALLABLE
        .iter()
        .chain(&ALSO_CALLABLE)
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(strings(&hostile, &executable).await, expected);
}

#[tokio::test]
async fn every_function_that_is_not_listed_refuses_to_be_called() {
    let (_world, owner, hostile) = session().await;
    let calls = format!(
        "select case when p.prorettype = 'trigger'::regtype
                     then format('create temp table if not exists mine (); create trigger mine after insert on mine execute function %s.%s()',
                                 n.nspname, p.proname)
                     else format('select %s.%s(%s)', n.nspname, p.proname,
                                 (select string_agg(format('%snull::%s', case when p.provariadic <> 0 and t.place = p.pronargs then 'variadic ' end, format_type(t.type, null)), ', ' order by t.place)
                                    from unnest(p.proargtypes::oid[]) with ordinality as t (type, place))) end
           from pg_proc p join pg_namespace n on n.oid = p.pronamespace
          where {IN_OUR_SCHEMAS} and not has_function_privilege('authenticated', p.oid, 'execute')"
    );
    let calls = strings(&owner, &calls).await;
    assert!(calls.len() > 15, "{calls:?}");
    for call in calls {
        assert_eq!(super::refusal(&hostile, &call).await, "42501", "{call}");
    }
}

#[tokio::test]
async fn it_creates_nothing_in_any_schema_and_owns_nothing() {
    let (_world, owner, hostile) = session().await;
    let schemas = strings(
        &hostile,
        "select nspname::text from pg_namespace where has_schema_privilege(oid, 'create') and nspname !~ '^pg_(toast_)?temp_'",
    )
    .await;
    assert_eq!(schemas, BTreeSet::new());
    for attempt in [
        "create schema mine",
        "create table public.mine ()",
        "create function public.lower(text) returns text language sql as 'select $1'",
        "create type public.jsonb as (a int)",
        "create operator public.= (function = texteq, leftarg = text, rightarg = text)",
        "create view annals.mine as select 1",
        "create extension pg_trgm",
        "create table pg_catalog.mine ()",
        "create database mine",
        "create role mine",
        "create cast (text as jsonb) with inout",
        "create event trigger mine on ddl_command_end execute function pg_catalog.pg_event_trigger_ddl_commands()",
        "create publication mine for table annals.events",
        "create server mine foreign data wrapper none",
        "alter schema annals rename to mine",
        "drop schema annals cascade",
        "drop owned by annals_owner",
        "reassign owned by annals_owner to hostile",
    ] {
        let code = super::refusal(&hostile, attempt).await;
        assert!(["42501", "42704"].contains(&code.as_str()), "{attempt}: {code}");
    }
    let owned = "select d.objid::text from pg_shdepend d join pg_roles r on r.oid = d.refobjid and d.refclassid = 'pg_authid'::regclass
                  where d.deptype = 'o' and r.rolname in ('hostile', 'authenticated', 'anon', 'annals_api', 'annals_projector')
                    and d.dbid = (select oid from pg_database where datname = current_database())";
    assert_eq!(strings(&owner, owned).await, BTreeSet::new());
}

/// Row types of our tables are the only types; there are no others that a role could have rights on.
#[tokio::test]
async fn the_only_types_are_row_types() {
    let (_world, owner, _) = session().await;
    let others = format!(
        "select t.oid::regtype::text from pg_type t join pg_namespace n on n.oid = t.typnamespace
          where {IN_OUR_SCHEMAS} and t.typtype <> 'c' and not exists (select from pg_type row where row.typarray = t.oid and row.typtype = 'c')"
    );
    assert_eq!(strings(&owner, &others).await, BTreeSet::new());
}
