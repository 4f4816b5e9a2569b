//! The roles: what each of them may do, and that none can become another.

use std::collections::BTreeSet;

use tests::{Person, World};
use tokio_postgres::Client;

use crate::policies::strings;

const RELATIONS: &str = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                          where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v', 'm', 'f')";

/// Rights of a role on relations, columns and sequences, each as `relation right`.
async fn rights(owner: &Client, role: &str) -> BTreeSet<String> {
    strings(
        owner,
        &format!(
            "select c.oid::regclass || ' ' || p from pg_class c join pg_namespace n on n.oid = c.relnamespace
              cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p
              where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege('{role}', c.oid, p)
             union all
             select c.oid::regclass || '.' || a.attname || ' ' || p from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              cross join unnest(array['insert', 'update', 'references']) as p
              where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v') and has_column_privilege('{role}', c.oid, a.attnum, p)
                and not has_table_privilege('{role}', c.oid, p)
             union all
             select c.oid::regclass || ' ' || p from pg_class c join pg_namespace n on n.oid = c.relnamespace
              cross join unnest(array['usage', 'select', 'update']) as p
              where n.nspname in ('annals', 'public', 'auth') and c.relkind = 'S' and has_sequence_privilege('{role}', c.oid, p)"
        ),
    )
    .await
}

async fn functions(owner: &Client, role: &str) -> BTreeSet<String> {
    strings(
        owner,
        &format!(
            "select distinct n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
              where n.nspname in ('annals', 'public') and has_function_privilege('{role}', p.oid, 'execute')"
        ),
    )
    .await
}

#[tokio::test]
async fn no_role_has_an_attribute_or_a_membership_beyond_the_design() {
    let owner = World::new().await.owner().await;
    let attributes = "select concat_ws(' ', rolname, rolcanlogin, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls)
                        from pg_roles where rolname in ('annals_api', 'annals_projector', 'authenticated', 'anon')";
    let expected = [
        "annals_api t f f f f f f",
        "annals_projector f f f f f f f",
        "anon f f f f f f f",
        "authenticated f f f f f f f",
    ];
    assert_eq!(strings(&owner, attributes).await, expected.map(str::to_owned).into());
    let members = "select m.roleid::regrole || ' to ' || m.member::regrole from pg_auth_members m
                    where m.roleid::regrole::text in ('annals_api', 'annals_projector', 'authenticated', 'anon')
                       or m.member::regrole::text in ('annals_api', 'annals_projector', 'authenticated', 'anon')";
    let expected = [
        "annals_api to annals_owner",
        "annals_projector to annals_api",
        "authenticated to annals_api",
    ];
    let mut found = strings(&owner, members).await;
    found.remove("authenticated to hostile");
    // From PostgreSQL 16 on, the creator of a role administers it.
    found.retain(|grant| expected.contains(&grant.as_str()) || !grant.ends_with("to annals_owner"));
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn the_api_login_can_only_append_and_register_and_anon_can_do_nothing() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    for role in ["annals_api", "anon"] {
        assert_eq!(rights(&owner, role).await, BTreeSet::new(), "{role}");
        let schemas = format!(
            "select nspname::text from pg_namespace where nspname in ('annals', 'public') and
                (has_schema_privilege('{role}', oid, 'create') or (nspname = 'annals' and '{role}' = 'anon' and has_schema_privilege('{role}', oid, 'usage')))"
        );
        assert_eq!(strings(&owner, &schemas).await, BTreeSet::new(), "{role}");
    }
    assert_eq!(functions(&owner, "anon").await, BTreeSet::new());
    let appending = [
        "append_event",
        "append_events",
        "known_keys",
        "register_event_type",
        "register_indexed_type",
        "find_appended",
    ];
    let appending = appending.map(|function| format!("annals.{function}"));
    assert_eq!(functions(&owner, "annals_api").await, appending.into());
    // No other role reaches these functions, however it connects.
    for role in ["anon", "authenticated", "annals_projector"] {
        let reached = functions(&owner, role).await;
        assert!(appending_of(&reached).is_empty(), "{role}: {reached:?}");
    }
    let relations = strings(&owner, RELATIONS).await;
    let as_anon = world.superuser().await;
    as_anon.batch_execute("set role anon").await.unwrap();
    for session in [world.api_login().await, as_anon] {
        for relation in &relations {
            for verb in ["select from", "delete from", "truncate"] {
                let code = super::refusal(&session, &format!("{verb} {relation}")).await;
                // A view that does not allow deletes reports that before the missing right.
                let refused = code == "42501"
                    || (["event_stream", "events", "event_types", "kpi_days"].contains(&relation.as_str())
                        && ["42809", "55000"].contains(&code.as_str()));
                assert!(refused, "{verb} {relation}: {code}");
            }
        }
        for call in [
            "annals.caller_role()",
            "annals.oldest_open_append()",
            "annals.high_water_mark()",
            "public.post_event('{}')",
            "annals.uuid_v7()",
        ] {
            assert_eq!(
                super::refusal(&session, &format!("select {call}")).await,
                "42501",
                "{call}"
            );
        }
    }
}

fn appending_of(functions: &BTreeSet<String>) -> Vec<&String> {
    let known = ["append_event", "find_appended", "known_keys", "register_"];
    functions
        .iter()
        .filter(|name| known.iter().any(|known| name.contains(known)))
        .collect()
}

#[tokio::test]
async fn the_projector_writes_read_models_and_progress_and_nothing_else() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    let mut written: BTreeSet<String> = rights(&owner, "annals_projector").await;
    written.retain(|right| !right.ends_with(" select"));
    let mut expected = BTreeSet::from([
        "annals.event_minutes insert".to_owned(),
        "annals.event_minutes update".to_owned(),
        "annals.kpi_changes insert".to_owned(),
        "annals.kpi_changes delete".to_owned(),
        "annals.kpi_changes_id_seq usage".to_owned(),
        "annals.events_left_alone insert".to_owned(),
        "annals.field_values insert".to_owned(),
        "annals.field_values delete".to_owned(),
        "annals.heads.projected_version update".to_owned(),
        "annals.import_partitions insert".to_owned(),
        "annals.import_partitions update".to_owned(),
        "annals.imports insert".to_owned(),
        "annals.imports update".to_owned(),
        "annals.indexed_events update".to_owned(),
        "annals.indexed_fields delete".to_owned(),
        "annals.indexed_fields.filled_to update".to_owned(),
        "annals.kept_keys delete".to_owned(),
        "annals.noted_events update".to_owned(),
        "annals.rebuild_ids usage".to_owned(),
        "annals.rejected_rows delete".to_owned(),
        "annals.rejected_rows insert".to_owned(),
        "annals.reverts insert".to_owned(),
        "annals.reverts update".to_owned(),
        "annals.fold_versions.rebuilt_version update".to_owned(),
        "annals.skipped_events insert".to_owned(),
        "annals.uploads insert".to_owned(),
        "annals.uploads update".to_owned(),
        "annals.usage_counts insert".to_owned(),
        "annals.usage_counts update".to_owned(),
    ]);
    let state_tables = strings(&owner, "select format('%I', table_name) from annals.state_tables").await;
    for table in [
        "annals.entities",
        "annals.parked_streams",
        "annals.checkpoints",
        "annals.event_counts",
        "annals.event_rates",
        "annals.kpi_days",
        "annals.kpi_names",
        "annals.kpi_repeat_customers",
        "annals.import_contents",
        "annals.rebuilds",
        "annals.snapshots",
    ]
    .map(str::to_owned)
    .iter()
    .chain(&state_tables)
    {
        expected.extend(["insert", "update", "delete"].map(|verb| format!("{table} {verb}")));
    }
    assert_eq!(written, expected);
    let callable = functions(&owner, "annals_projector").await;
    assert!(
        !callable.iter().any(|f| f.contains("append_event")
            || f.contains("find_appended")
            || f.contains("register")
            || f.contains("declare")
            || f.contains("post_event")),
        "{callable:?}"
    );

    let before = super::everything(&owner).await;
    let projector = world.api_login().await;
    projector.batch_execute("set role annals_projector").await.unwrap();
    for attempt in [
        "insert into annals.events select * from annals.events",
        "update annals.events set created_by = 'system'",
        "delete from annals.events",
        "truncate annals.events",
        "insert into annals.heads select * from annals.heads",
        "update annals.heads set version = version + 1",
        "update annals.heads set started_by = 'system'",
        "delete from annals.heads",
        "update annals.event_types set posters = '{user}'",
        "insert into annals.event_type_versions select * from annals.event_type_versions",
        "update annals.catalog_revision set revision = 0",
        "update annals.state_tables set table_name = 'sales'",
        "update annals.skipped_events set event_id = instruction_id",
        "delete from annals.skipped_events",
        "delete from annals.schema_history",
        "truncate public.customers",
        "select nextval('annals.event_numbers')",
        "select setval('annals.event_numbers', 1)",
        "create table annals.mine ()",
        "create table public.mine ()",
        "alter table public.customers disable row level security",
        "select annals.append_event(null, null, null, null, null, null)",
    ] {
        assert_eq!(super::refusal(&projector, attempt).await, "42501", "{attempt}");
    }
    super::assert_untouched(&owner, &before).await;
}

#[tokio::test]
async fn no_role_can_become_another() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    let roles = strings(
        &owner,
        "select quote_ident(rolname) from pg_roles where rolname not in ('hostile', 'authenticated')",
    )
    .await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    for role in &roles {
        for attempt in [format!("set role {role}"), format!("set session authorization {role}")] {
            assert_eq!(super::refusal(&hostile, &attempt).await, "42501", "{attempt}");
        }
    }
    // PostgreSQL refuses some of these for all roles, with other codes.
    for role in roles.iter().filter(|role| !role.starts_with("pg_")) {
        for attempt in [
            format!("grant {role} to hostile"),
            format!("grant hostile to {role}"),
            format!("alter role {role} password 'mine'"),
            format!("alter role {role} set search_path = pg_temp"),
            format!("alter role {role} in database postgres set search_path = pg_temp"),
            format!("drop role {role}"),
        ] {
            let code = super::refusal(&hostile, &attempt).await;
            assert!(
                ["42501", "0LP01", "2BP01"].contains(&code.as_str()),
                "{attempt}: {code}"
            );
        }
    }
    for attempt in [
        "alter role hostile createrole",
        "alter role hostile bypassrls",
        "alter role authenticated bypassrls",
        "alter database postgres set search_path = pg_temp",
    ] {
        assert_eq!(super::refusal(&hostile, attempt).await, "42501", "{attempt}");
    }
    // The API's own login can become two roles, and no others.
    let api = world.api_login().await;
    for role in roles
        .iter()
        .filter(|role| !["annals_api", "annals_projector"].contains(&role.as_str()))
    {
        assert_eq!(
            super::refusal(&api, &format!("set role {role}")).await,
            "42501",
            "{role}"
        );
    }
}
