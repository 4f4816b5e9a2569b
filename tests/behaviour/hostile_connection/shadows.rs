//! Names: wherever possible, the attacker creates tables, views, types, functions and operators with the names that an owner's function
//! uses. None of them is ever used, least of all with the owner's rights.

use tests::{Person, World};
use tokio_postgres::Client;

use crate::policies::strings;

/// A function that reveals with whose rights it runs, by an error that cannot be missed.
const SPY: &str = "create function pg_temp.spy() returns boolean language plpgsql volatile as $$
    begin raise exception 'spy: a shadow was used, as %', current_user using errcode = 'SPY00'; end $$";

/// Domains for all types and views for all relations of pg_catalog that an owner's function could name, and then the same for everything in
/// annals and public. Names that cannot be created are skipped.
const SHADOWS: &str = "
    select format('create domain pg_temp.%I as pg_catalog.%I check (value is null or pg_temp.spy())', t.typname, t.typname)
      from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype = 'b' and t.typname !~ '^_|^pg_toast|^pg_[a-z]+s$'
    union all
    select format('create domain pg_temp.%I as pg_catalog.%I check (value is null or pg_temp.spy())', t.typname, t.typname)
      from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typcategory = 'A' and t.typname ~ '^_(text|uuid|jsonb|int4|int8|timestamptz|bytea|name|bool)$'
    union all
    select format('create temp view %I as select * from pg_catalog.%I where pg_temp.spy()', c.relname, c.relname)
      from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
    union all
    select format('create temp view %I as select * from %s where pg_temp.spy()', c.relname, c.oid::regclass)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('annals', 'public') and c.relkind in ('r', 'v') and has_table_privilege(c.oid, 'select')
    union all
    select format('create function pg_temp.%I(%s) returns %s language sql as ''select pg_temp.spy()::text::%s''', p.proname,
                  pg_get_function_identity_arguments(p.oid), format_type(p.prorettype, null), format_type(p.prorettype, null))
      from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not p.proretset
       and p.proname in ('current_setting', 'nullif', 'jsonb_build_object', 'jsonb_typeof', 'format', 'array_agg', 'cardinality',
                         'array_remove', 'substr', 'nextval', 'clock_timestamp', 'sha256', 'convert_to', 'split_part', 'starts_with',
                         'string_to_array', 'jsonb_concat', 'texteq', 'jsonb_object_field', 'jsonb_object_field_text', 'set_config')
    union all
    select format('create operator pg_temp.%s (function = pg_temp.%I, leftarg = %s, rightarg = %s)', o.oprname, f, l, r)
      from (values ('=', 'eq', 'text', 'text'), ('->>', 'arrow', 'jsonb', 'text'), ('||', 'cat', 'jsonb', 'jsonb'), ('->', 'arrow1', 'jsonb', 'text')) as v (oprname, f, l, r)
      join pg_operator o using (oprname) where o.oprleft = l::regtype and o.oprright = r::regtype";

/// A session with all shadows, created before it calls any function of ours, and with a search_path that puts them first.
async fn shadowed_session(world: &World, person: &Person) -> Client {
    let hostile = world.hostile(Some(person)).await;
    let shadows = strings(&hostile, SHADOWS).await;
    hostile.batch_execute(SPY).await.unwrap();
    let mut made = 0;
    for shadow in shadows
        .iter()
        .filter(|sql| sql.starts_with("create temp view"))
        .chain(&shadows)
    {
        // Domains last, because they would be used in place of PostgreSQL's own types by the statements that follow.
        made += i32::from(hostile.batch_execute(shadow).await.is_ok());
    }
    assert!(made > 150, "only {made} shadows of {}", shadows.len());
    let live = super::refusal(&hostile, "select 'x'::pg_temp.text").await;
    assert_eq!(live, "SPY00", "the spy works");
    hostile
        .batch_execute("set search_path = pg_temp, public, annals")
        .await
        .unwrap();
    hostile
}

/// Calls that requests can make, without literals whose types the attacker's own would replace.
const CALLS: [&str; 27] = [
    "select annals.keep_key('customer', 'x', 1, 'kept', pg_catalog.repeat('0', 64), 'unchanged')",
    "select annals.find_kept_key('kept')",
    "select annals.request_rebuild('customer')",
    "select annals.oldest_open_append()",
    "select annals.open_appends()",
    "select annals.is_rebuild_held(1)",
    "select annals.high_water_mark()",
    "select annals.wait_for_high_water_mark('0 s')",
    "select annals.list_replays()",
    "select pg_catalog.count(*) from public.read_events(0, 10)",
    "select annals.starter_sees_all('customer', 'x')",
    "select public.post_event('{\"event_type\": \"customer.registered\", \"aggregate_type\": \"customer\", \"aggregate_id\": \"z\",
         \"data\": {\"name\": \"a\", \"email\": \"a@b.cd\"}}')",
    "select annals.post_event('{\"event_type\": \"customer.registered\", \"aggregate_type\": \"customer\", \"aggregate_id\": \"x\",
         \"idempotency_key\": \"key\", \"expected_version\": 0, \"data\": {\"name\": \"a\", \"email\": \"a@b.cd\"}}')",
    "select annals.post_event('{\"event_type\": \"customer.registered\", \"aggregate_type\": \"customer\", \"aggregate_id\": \"x\",
         \"idempotency_key\": \"key\", \"expected_version\": 0, \"data\": {\"name\": \"a\", \"email\": \"a@b.cd\"}}')",
    "select pg_catalog.count(*) from public.get_aggregate_events('customer', 'x')",
    "select pg_catalog.count(*) from public.event_stream",
    "select pg_catalog.count(*) from annals.list_events(true, null, 10, 1000)",
    "select pg_catalog.count(*) from annals.list_events_unprocessed(false, 0, 10, 1000)",
    "select pg_catalog.count(*) from annals.list_events_of_id(true, null, 10, 1000, stream_id => 'x')",
    "select pg_catalog.count(*) from annals.list_events_of_field(true, null, 10, 1000, event_types => '{product.created}', field => 'sku', wanted => '{1}')",
    "select pg_catalog.count(*) from annals.list_events_of_caller_by_field(true, null, 10, 1000, field => 'sku', wanted => '{1}')",
    "select pg_catalog.count(*) from annals.list_history(false, 0, 10, 1000, stream_type => 'customer', stream_id => 'x')",
    "select pg_catalog.count(*) from annals.find_entity('customer', 'x')",
    "select pg_catalog.count(*) from annals.find_events(false, null, 1, 1000, ids => '{00000000-0000-4000-8000-000000000001}')",
    "select pg_catalog.count(*) from annals.find_past('customer', 'x', 1, null, true)",
    "select pg_catalog.count(*) from annals.list_facts('customer', 'x', 0, 1, 10, 1000)",
    "select annals.is_projected(1)",
];

#[tokio::test]
async fn no_function_uses_a_name_of_the_attacker() {
    let staff = Person::staff();
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    for call in CALLS {
        let hostile = shadowed_session(&world, &staff).await;
        // Another transaction appends, so that the status has one to report.
        owner
            .batch_execute("begin; lock table annals_locks.appends in row exclusive mode")
            .await
            .unwrap();
        let outcome = hostile.batch_execute(call).await;
        owner.batch_execute("rollback").await.unwrap();
        outcome.unwrap_or_else(|e| panic!("{call}: {e:?}"));
    }
    super::assert_whole(&owner).await;
    let appended = super::text(&owner, "select count(*)::text from annals.events").await;
    assert_eq!(appended, "4", "the calls took effect, and the retry was recognised");
}

/// The test above covers every function that can be called, except those that use no names that could be shadowed.
#[tokio::test]
async fn every_function_with_the_owners_rights_is_called_with_shadows() {
    let world = World::new().await;
    let definers = "select distinct n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                     where n.nspname in ('annals', 'public', 'auth') and p.prosecdef and has_function_privilege('authenticated', p.oid, 'execute')";
    for definer in strings(&world.owner().await, definers).await {
        assert!(
            CALLS.iter().any(|call| call.contains(&format!("{definer}("))),
            "{definer} is not called with shadows"
        );
    }
}

/// Triggers with the owner's rights run inside the owner's functions, where a shadow would do the most harm.
#[tokio::test]
async fn a_temporary_table_cannot_use_an_owners_trigger() {
    let world = World::new().await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    hostile.batch_execute("create temp table mine (a int)").await.unwrap();
    for function in ["raise_catalog_revision", "refuse_change"] {
        let sql =
            format!("create trigger mine after insert on mine for each statement execute function annals.{function}()");
        assert_eq!(super::refusal(&hostile, &sql).await, "42501");
    }
}
