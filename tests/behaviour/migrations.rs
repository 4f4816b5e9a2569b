//! Migrations on what a managed PostgreSQL hands over: a role that is no superuser and may create roles, in an empty database
//! or in Supabase's; once, again, at the same moment, in two databases of one cluster. And what every migration owes the
//! reader and the advisors, taken from the system catalogs.

use std::collections::BTreeSet;

use local::cluster::{Cluster, FAST_BUT_UNSAFE, OWNER, Options};
use serde_json::json;
use tests::{
    Person, World, connect, install_schema_check, landed_file, landed_lines, schema_file, schema_sql, set_api_password,
};
use tokio_postgres::Client;

/// Roles belong to a cluster: who wants to see them made needs one of their own.
async fn cluster() -> Cluster {
    Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE))
        .await
        .expect("a cluster")
}

async fn strings(client: &Client, sql: &str) -> BTreeSet<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

fn nothing() -> BTreeSet<String> {
    BTreeSet::new()
}

/// Objects, rights, function bodies, policies, comments, catalog and history, in one text.
async fn everything(client: &Client) -> String {
    let sql = "select concat_ws(e'\\n',
        (select string_agg(concat_ws(' ', c.oid::regclass, c.relkind, c.relrowsecurity, c.relacl), e'\\n' order by c.oid) from pg_class c
          where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace)),
        (select string_agg(concat_ws(' ', p.oid::regprocedure, p.proacl, p.proconfig, p.prosrc), e'\\n' order by p.oid) from pg_proc p
          where p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace, 'auth'::regnamespace)),
        (select string_agg(p::text, e'\\n' order by p.oid) from pg_policy p),
        (select string_agg(d::text, e'\\n' order by d::text) from pg_description d where d.objoid >= 16384),
        (select string_agg(r::text, e'\\n' order by r.rolname) from pg_roles r),
        (select string_agg(concat_ws(' ', m.roleid::regrole, m.member::regrole), e'\\n' order by 1) from pg_auth_members m),
        (select string_agg(t::text, e'\\n' order by t::text) from annals.event_types t),
        (select string_agg(h::text, e'\\n' order by h.version) from annals.schema_history h))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_role_that_may_create_roles_migrates_an_empty_database_and_again_without_harm() {
    let cluster = cluster().await;
    let owner = connect(&cluster.url()).await;
    let attributes = owner
        .query_one(
            "select rolsuper or rolbypassrls or rolreplication or rolcreatedb, rolcreaterole from pg_roles where rolname = current_user",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((attributes.get(0), attributes.get(1)), (false, true));

    let first = annals_store::migrate(&cluster.url()).await.unwrap();
    assert!(first.applied.len() >= 16, "{:?}", first.applied);
    let before = everything(&owner).await;
    let second = annals_store::migrate(&cluster.url()).await.unwrap();
    assert_eq!(second.applied, Vec::<String>::new());
    assert_eq!(everything(&owner).await, before);
    let others = "select c.oid::regclass::text from pg_class c
                   where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace)
                     and c.relowner <> (select oid from pg_roles where rolname = current_user)";
    assert_eq!(strings(&owner, others).await, nothing(), "all is the migrating role's");
    cluster.stop().await.unwrap();
}

/// For Supabase's editor, and for whoever pushes migrations by another tool.
#[tokio::test]
async fn the_migrations_as_sql_leave_behind_what_a_run_of_them_does() {
    let cluster = cluster().await;
    let owner = connect(&cluster.url()).await;
    owner
        .batch_execute(&annals_store::migration_script(None))
        .await
        .unwrap();
    let script = everything(&owner).await;
    let run = annals_store::migrate(&cluster.url()).await.unwrap();
    assert_eq!(run.applied, Vec::<String>::new());
    assert_eq!(everything(&owner).await, script);
    set_api_password(&cluster).await;
    let world = World::at("annals".to_owned(), &cluster.url());
    world
        .append(&Person::staff(), "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    world.project().await;

    let newer = annals_store::migration_script(Some(7));
    assert!(!newer.contains("-- V7__") && newer.contains("-- V8__"), "{newer}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn two_migrations_at_the_same_moment_apply_each_step_once() {
    let cluster = cluster().await;
    let url = cluster.url();
    let (one, two) = tokio::try_join!(annals_store::migrate(&url), annals_store::migrate(&url)).unwrap();
    let mut applied = one.applied;
    applied.extend(two.applied);
    let distinct: BTreeSet<&String> = applied.iter().collect();
    assert_eq!(
        (distinct.len(), applied.len() >= 16),
        (applied.len(), true),
        "{applied:?}"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn databases_of_one_cluster_migrate_at_the_same_moment_and_share_its_roles() {
    let cluster = cluster().await;
    let admin = connect(&cluster.superuser_url_of("postgres")).await;
    for name in ["one", "two", "three"] {
        let sql = format!("create database {name} owner {OWNER}");
        admin.batch_execute(&sql).await.unwrap();
    }
    let [one, two, three] = ["one", "two", "three"].map(|name| cluster.url_of(name));
    let (first, second, third) = tokio::try_join!(
        annals_store::migrate(&one),
        annals_store::migrate(&two),
        annals_store::migrate(&three)
    )
    .unwrap();
    assert_eq!(first.applied, second.applied);
    assert_eq!(first.applied, third.applied);
    let later = annals_store::migrate(&cluster.url()).await.unwrap();
    assert_eq!(
        later.applied, first.applied,
        "and one that comes when the roles are long there"
    );
    for url in [one, two, three, cluster.url()] {
        let owner = connect(&url).await;
        owner
            .batch_execute(
                "set role annals_api; begin; set local role authenticated; select from public.event_stream; commit",
            )
            .await
            .unwrap();
    }
    cluster.stop().await.unwrap();
}

/// The parts of a new Supabase project that matter here: its roles, the schema auth of supabase_auth_admin, and default
/// privileges that hand everything in public to the API's roles.
const SUPABASE_ROLES: &str = "
    create role anon nologin inherit;
    create role authenticated nologin inherit;
    create role service_role nologin inherit bypassrls;
    create role authenticator noinherit login password 'only-for-tests';
    create role supabase_auth_admin noinherit createrole nologin;
    grant anon, authenticated, service_role to authenticator;
    grant anon, authenticated, service_role to annals_owner with admin option;";
const SUPABASE_DATABASE: &str = "
    create schema auth authorization supabase_auth_admin;
    grant usage on schema auth to anon, authenticated, service_role, annals_owner;
    grant usage on schema public to anon, authenticated, service_role;
    set role supabase_auth_admin;
    create table auth.users (id uuid primary key, email text);
    create function auth.uid() returns uuid language sql stable as $$
        select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
    create function auth.role() returns text language sql stable as $$
        select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'))::text $$;
    reset role;
    alter default privileges for role annals_owner in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges for role annals_owner in schema public grant all on functions to anon, authenticated, service_role;
    alter default privileges for role annals_owner in schema public grant all on sequences to anon, authenticated, service_role;";
pub(crate) const SUPABASE_JWT: &str = "
    set role supabase_auth_admin;
    create function auth.jwt() returns jsonb language sql stable as $$
        select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
                        nullif(current_setting('request.jwt.claims', true), ''))::jsonb $$;
    reset role;";
/// What is Supabase's, and stays as it was.
const SUPABASES_OWN: &str = "
    select concat_ws(' ', p.oid::regprocedure, p.proowner::regrole, p.proacl, p.proconfig, p.prosrc) from pg_proc p where p.pronamespace = 'auth'::regnamespace
    union all
    select concat_ws(' ', n.nspname, n.nspowner::regrole, n.nspacl) from pg_namespace n where n.nspname = 'auth'
    union all
    select r::text from pg_roles r where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator', 'supabase_auth_admin')
    union all
    select concat_ws(' ', m.roleid::regrole, m.member::regrole) from pg_auth_members m where m.member::regrole::text = 'authenticator'";

/// A cluster with Supabase's roles and the database `annals` as Supabase lays it out, with or without auth.jwt().
pub(crate) async fn supabase(jwt: &str) -> Cluster {
    let cluster = cluster().await;
    let admin = connect(&cluster.superuser_url()).await;
    for sql in [SUPABASE_ROLES, SUPABASE_DATABASE, jwt] {
        admin.batch_execute(sql).await.unwrap();
    }
    cluster
}

#[tokio::test]
async fn supabases_roles_and_helpers_stay_as_they_are_and_its_default_privileges_open_nothing() {
    let cluster = supabase(SUPABASE_JWT).await;
    let admin = connect(&cluster.superuser_url()).await;
    let before = strings(&admin, SUPABASES_OWN).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    assert_eq!(
        annals_store::migrate(&cluster.url()).await.unwrap().applied,
        Vec::<String>::new()
    );
    assert_eq!(strings(&admin, SUPABASES_OWN).await, before);

    let rights = |role: &str| {
        format!(
            "select c.oid::regclass || ' ' || privilege from pg_class c
              cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
              where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'v', 'm', 'p')
                and has_table_privilege('{role}', c.oid, privilege)"
        )
    };
    let functions = |role: &str| {
        format!(
            "select p.oid::regprocedure::text from pg_proc p where p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace)
                and has_function_privilege('{role}', p.oid, 'execute')"
        )
    };
    assert_eq!(strings(&admin, &rights("anon")).await, nothing());
    assert_eq!(strings(&admin, &functions("anon")).await, nothing());
    for role in ["authenticated", "service_role"] {
        let beyond: Vec<String> = strings(&admin, &rights(role)).await.into_iter().collect();
        let beyond: Vec<&String> = beyond
            .iter()
            .filter(|r| !r.ends_with(" select") && !r.starts_with("event_stream "))
            .collect();
        assert!(beyond.is_empty(), "{role}: {beyond:?}");
    }
    let sequences = "select c.oid::regclass::text from pg_class c cross join unnest(array['anon', 'authenticated', 'service_role']) as role
                      where c.relkind = 'S' and has_sequence_privilege(role, c.oid, 'usage, select, update')
                        and c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace)";
    assert_eq!(strings(&admin, sequences).await, nothing());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn in_supabases_database_requests_run_and_postgrest_has_the_same_log() {
    let cluster = supabase(SUPABASE_JWT).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    set_api_password(&cluster).await;
    let world = World::at("annals".to_owned(), &cluster.url());
    let user = Person::user();
    let data = json!({"name": "Ada", "email": "ada@example.com"});
    let event = world.append(&user, "customer.registered", "C-1", data).await;
    world.project().await;

    // As PostgREST does: log in as authenticator, become the token's role, set its claims.
    let url = format!(
        "postgresql://authenticator:only-for-tests@127.0.0.1:{}/annals",
        cluster.port()
    );
    let postgrest = connect(&url).await;
    postgrest.batch_execute("set role authenticated").await.unwrap();
    let claims = user.claims().to_string();
    postgrest
        .execute("select set_config('request.jwt.claims', $1, false)", &[&claims])
        .await
        .unwrap();
    let posted = "select public.post_event(jsonb_build_object('event_type', 'customer.profile_updated', 'aggregate_type', 'customer',
                      'aggregate_id', 'C-1', 'data', jsonb_build_object('phone', '1'))) ->> 'aggregate_version'";
    let refused = postgrest.query(posted, &[]).await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(
        refused.constraint(),
        Some("pg_jsonschema_missing"),
        "nothing is posted unchecked"
    );
    install_schema_check(&connect(&cluster.superuser_url_of("annals")).await).await;
    assert_eq!(postgrest.query_one(posted, &[]).await.unwrap().get::<_, &str>(0), "2");
    let seen = strings(&postgrest, "select id::text from public.event_stream where processed").await;
    assert_eq!(seen, BTreeSet::from([event["id"].as_str().unwrap().to_owned()]));
    let under_its_plain_name = "select id::text from events where processed";
    assert_eq!(strings(&postgrest, under_its_plain_name).await, seen);
    postgrest.batch_execute("set role anon").await.unwrap();
    for sql in [
        posted,
        "select from public.event_stream",
        "select from public.events",
        "select from public.event_types",
        "select from public.customers",
        "select public.get_aggregate_events('customer', 'C-1')",
    ] {
        let refused = postgrest.query(sql, &[]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_auth_schema_of_somebody_elses_that_lacks_a_helper_is_left_alone() {
    let cluster = supabase("").await;
    let admin = connect(&cluster.superuser_url()).await;
    let before = strings(&admin, SUPABASES_OWN).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    assert_eq!(strings(&admin, SUPABASES_OWN).await, before);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_migrating_role_whose_name_needs_quotes_is_as_good_as_any() {
    let cluster = cluster().await;
    let admin = connect(&cluster.superuser_url_of("postgres")).await;
    for sql in [
        "create role \"Ops.Team\" login createrole password 'only-for-tests'",
        "create database ops owner \"Ops.Team\"",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    let url = format!("postgresql://Ops.Team:only-for-tests@127.0.0.1:{}/ops", cluster.port());
    annals_store::migrate(&url).await.unwrap();
    connect(&url).await.batch_execute("set role annals_api").await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn every_table_column_view_sequence_function_and_schema_says_what_it_is() {
    let owner = World::new().await.owner().await;
    assert_eq!(without_comment(&owner).await, nothing());
}

pub(crate) async fn without_comment(owner: &Client) -> BTreeSet<String> {
    let silent = "
        select c.oid::regclass::text from pg_class c
         where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'S')
           and obj_description(c.oid, 'pg_class') is null
        union all
        select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
           and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
        union all
        select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace, 'auth'::regnamespace)
           and obj_description(p.oid, 'pg_proc') is null
        union all
        select n.nspname from pg_namespace n where n.nspname in ('annals', 'auth') and obj_description(n.oid, 'pg_namespace') is null";
    strings(owner, silent).await
}

#[tokio::test]
async fn every_table_has_row_security_and_every_policy_names_its_roles() {
    let owner = World::new().await.owner().await;
    assert_eq!(without_row_security(&owner).await, nothing());
}

pub(crate) async fn without_row_security(owner: &Client) -> BTreeSet<String> {
    let open = "select c.oid::regclass::text from pg_class c
                 where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'p') and not c.relrowsecurity
                union all
                select p.polrelid::regclass || ' ' || p.polname from pg_policy p where p.polroles = '{0}'
                union all
                select c.oid::regclass::text from pg_class c
                 where c.relnamespace in ('annals'::regnamespace, 'public'::regnamespace) and c.relkind = 'v'
                   and not coalesce(c.reloptions @> '{security_invoker=true}', false)
                union all
                select c.oid::regclass::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('m', 'f')";
    strings(owner, open).await
}

/// Not just any path: with pg_temp anywhere but last, a caller's own types and views would stand in for PostgreSQL's.
#[tokio::test]
async fn every_function_looks_for_names_in_pg_catalog_first_and_in_pg_temp_last() {
    let owner = World::new().await.owner().await;
    let lax = "select p.oid::regprocedure || ' ' || coalesce(p.proconfig::text, 'has no settings') from pg_proc p
                where p.pronamespace in ('annals'::regnamespace, 'public'::regnamespace, 'auth'::regnamespace)
                  and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)";
    assert_eq!(strings(&owner, lax).await, nothing());
}

/// Databases that have applied a migration refuse a program that has another text of it.
#[test]
fn migrations_that_have_landed_are_never_edited() {
    let landed = std::fs::read_to_string(landed_file()).unwrap();
    let landed: Vec<&str> = landed.lines().collect();
    assert_eq!(
        landed_lines(),
        landed,
        "a migration in migrations/landed.txt was edited, or a new one is not in it: see migrations/README.md"
    );
}

/// The last migration of the baseline.
const BASELINE: &str = "V46__entity_reads";

/// A database that has only the migrations up to [`BASELINE`], with events and read models.
#[tokio::test]
async fn a_database_of_the_baseline_is_upgraded_with_all_that_it_has() {
    let cluster = cluster().await;
    let owner = connect(&cluster.url()).await;
    let all = annals_store::migration_script(None);
    let (baseline, later) = all.split_once(&format!("\n-- {BASELINE}\n")).unwrap();
    let last = later
        .split("\n-- V")
        .next()
        .unwrap()
        .trim_end()
        .trim_end_matches("commit;");
    let script = format!("{baseline}{last}\ncommit;");
    owner.batch_execute(&script).await.unwrap();
    set_api_password(&cluster).await;
    let staff = Person::staff();
    let events = format!(
        "set request.jwt.claims = '{}';
         select public.post_event(jsonb_build_object('event_type', 'customer.created', 'aggregate_type', 'customer', 'aggregate_id', 'C-' || n,
                                                     'data', '{{\"name\": \"Ada\"}}'::jsonb)) from generate_series(1, 3) as n",
        Person::service("old").claims()
    );
    owner.batch_execute(&events).await.unwrap();

    annals_store::migrate(&cluster.url()).await.unwrap();
    let world = World::at("annals".to_owned(), &cluster.url());
    world
        .append(&staff, "customer.created", "C-4", json!({"name": "Grace"}))
        .await;
    world.projector.sweep().await.unwrap();
    let found = world.get(&staff, "/events?limit=10").await.expect(200);
    assert_eq!(found.items().len(), 4);
    for id in ["C-1", "C-4"] {
        let path = format!("/entities/customer/{id}");
        assert_eq!(world.get(&staff, &path).await.expect(200).body["projected_version"], 1);
    }
    assert_eq!(
        schema_sql(&owner).await,
        std::fs::read_to_string(schema_file()).unwrap()
    );
    cluster.stop().await.unwrap();
}

/// `migrations/schema.sql` is for readers, so nothing else would show that it is old.
#[tokio::test]
async fn schema_sql_is_what_the_migrations_make() {
    let owner = World::new().await.owner().await;
    let made = schema_sql(&owner).await;
    let written = std::fs::read_to_string(schema_file()).unwrap();
    let differing = made
        .lines()
        .zip(written.lines())
        .find(|(made, written)| made != written);
    assert!(
        made == written,
        "migrations/schema.sql is not what the migrations make, first at {differing:?}: cargo run -p tests --bin schema -- write"
    );
}
