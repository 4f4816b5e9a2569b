//! Side channels to rows that policies hide: functions that are evaluated before the policy, errors that quote rows, statistics, queries of
//! other sessions, files, large objects.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::Person;

use crate::policies::scene::Scene;
use crate::policies::{Shows, Viewer, relations, rows_of, strings};

#[tokio::test]
async fn an_attackers_function_sees_no_row_that_its_caller_may_not_see() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let person = &scene.home.users[0];
    let hostile = scene.world.hostile(Some(person)).await;
    hostile
        .batch_execute(
            "create temp table leaked (row_seen text);
             create function pg_temp.leak(seen text) returns boolean language plpgsql cost 0.0000001 as
                 $$ begin insert into pg_temp.leaked values (seen); return true; end $$;
             create operator pg_temp.<<< (function = pg_catalog.texteq, leftarg = text, rightarg = text)",
        )
        .await
        .unwrap();
    let events = rows_of(&owner, "annals.events").await;
    let viewer = Viewer::of(person, &events);
    for (relation, shows) in relations(&owner)
        .await
        .into_iter()
        .filter(|(_, shows)| *shows != Shows::Nothing)
    {
        for query in [
            format!("select count(*) from {relation} t where pg_temp.leak(to_jsonb(t)::text)"),
            format!("select count(*) from {relation} t where pg_temp.leak(to_jsonb(t)::text) or false"),
            format!("select count(*) from (select * from {relation} offset 0) t where pg_temp.leak(to_jsonb(t)::text)"),
            format!(
                "select count(*) from {relation} a join {relation} t on pg_temp.leak(to_jsonb(t)::text) where false"
            ),
            format!("select max(case when pg_temp.leak(to_jsonb(t)::text) then 1 end) from {relation} t"),
            format!(
                "create or replace temp view mine as select * from {relation}; select count(*) from mine t where pg_temp.leak(to_jsonb(t)::text)"
            ),
            format!(
                "prepare p as select count(*) from {relation} t where pg_temp.leak(to_jsonb(t)::text); execute p; deallocate p"
            ),
        ] {
            hostile.batch_execute("drop view if exists mine").await.unwrap();
            hostile
                .batch_execute(&query)
                .await
                .unwrap_or_else(|e| panic!("{query}: {e:?}"));
        }
        let source = if shows == Shows::Events {
            "annals.events"
        } else {
            &relation
        };
        let id = |row: &Value| {
            if shows == Shows::Events {
                row["id"].to_string()
            } else {
                row.to_string()
            }
        };
        let visible: BTreeSet<String> = rows_of(&owner, source)
            .await
            .iter()
            .filter(|row| viewer.see(shows, row))
            .map(id)
            .collect();
        let leaked = strings(&hostile, "select row_seen from pg_temp.leaked").await;
        let leaked: BTreeSet<String> = leaked
            .iter()
            .map(|row| id(&serde_json::from_str(row).unwrap()))
            .collect();
        let hidden: Vec<&String> = leaked.difference(&visible).collect();
        assert!(hidden.is_empty(), "{relation} leaks {hidden:#?}");
        assert_eq!(leaked, visible, "{relation}: the probe itself finds visible rows");
        hostile.batch_execute("truncate pg_temp.leaked").await.unwrap();
    }
}

#[tokio::test]
async fn errors_plans_and_statistics_reveal_nothing_about_hidden_rows() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let (person, victim) = (&scene.home.users[0], &scene.elsewhere.users[0]);
    let hostile = scene.world.hostile(Some(person)).await;
    owner.batch_execute("analyze").await.unwrap();
    for view in ["pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"] {
        // Relations with row security for this reader are left out of the statistics; everybody may read the others anyway.
        let visible = format!(
            "select count(*)::text from {view} where schemaname in ('annals', 'public') and tablename <> 'schema_history'"
        );
        assert_eq!(super::text(&hostile, &visible).await, "0", "{view}");
    }
    for catalog in [
        "pg_statistic",
        "pg_largeobject",
        "pg_authid",
        "pg_user_mapping",
        "pg_statistic_ext_data",
        "pg_subscription",
    ] {
        assert_eq!(
            super::refusal(&hostile, &format!("select * from {catalog}")).await,
            "42501",
            "{catalog}"
        );
    }
    let secret = victim.tenant.to_string();
    for (relation, shows) in relations(&owner)
        .await
        .into_iter()
        .filter(|(_, shows)| *shows != Shows::Nothing)
    {
        if shows == Shows::Everything {
            continue;
        }
        let cast =
            format!("select (to_jsonb(t)::text)::int from {relation} t where to_jsonb(t)::text like '%{secret}%'");
        hostile
            .batch_execute(&cast)
            .await
            .unwrap_or_else(|e| panic!("{relation}: an error quotes a hidden row: {e:?}"));
        let divide =
            format!("select 1 / (case when to_jsonb(t)::text like '%{secret}%' then 0 else 1 end) from {relation} t");
        hostile
            .batch_execute(&divide)
            .await
            .unwrap_or_else(|e| panic!("{relation}: an error reveals a hidden row: {e:?}"));
        let rows = hostile
            .query(
                &format!("explain (analyze, verbose, costs off, timing off, summary off) select * from {relation}"),
                &[],
            )
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(!plan.join("\n").contains(&secret), "{relation}: {plan:#?}");
    }
}

#[tokio::test]
async fn copies_and_cursors_hold_only_rows_that_the_policy_shows() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let staff = &scene.home.staff;
    let agent = scene.home.agents[0].caller().database_claims().to_string();
    let hostile = scene.world.hostile(Some(staff)).await;
    // Planned as staff and executed as an agent: the policy is evaluated again.
    hostile
        .batch_execute("set plan_cache_mode = force_generic_plan; prepare p as select count(*)::text from annals.events; execute p; execute p")
        .await
        .unwrap();
    let events = rows_of(&owner, "annals.events").await;
    let count = |person: &Person| {
        events
            .iter()
            .filter(|e| Viewer::of(person, &events).see(Shows::Events, e))
            .count()
    };
    assert_ne!(count(staff), count(&scene.home.agents[0]));
    hostile
        .execute("select set_config('request.jwt.claims', $1, false)", &[&agent])
        .await
        .unwrap();
    for sql in [
        "create temp table counted as execute p",
        "create temp table copied as select * from annals.events",
    ] {
        hostile.batch_execute(sql).await.unwrap();
    }
    let expected = count(&scene.home.agents[0]).to_string();
    assert_eq!(super::text(&hostile, "select count from counted").await, expected);
    assert_eq!(
        super::text(&hostile, "select count(*)::text from copied").await,
        expected
    );
}

#[tokio::test]
async fn queries_of_others_files_and_large_objects_cannot_be_reached() {
    let scene_free = super::world_of(&Person::user()).await;
    let (api, owner) = (scene_free.session_of(&Person::staff()).await, scene_free.owner().await);
    let hostile = scene_free.hostile(Some(&Person::user())).await;
    api.batch_execute("select 'the api''s secret'").await.unwrap();
    owner.batch_execute("select 'the owner''s secret'").await.unwrap();
    owner
        .batch_execute("select lo_from_bytea(4242, 'secret')")
        .await
        .unwrap();
    let queries =
        "select count(*)::text from pg_stat_activity where query like '%''''s secret%' and pid <> pg_backend_pid()";
    assert_eq!(super::text(&hostile, queries).await, "0");
    for attempt in [
        "select pg_read_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "select pg_stat_file('postgresql.conf')",
        "select lo_import('/etc/passwd')",
        "select lo_export(4242, '/tmp/exported')",
        "select lo_get(4242)",
        "select lo_put(4242, 0, 'x')",
        "select lo_unlink(4242)",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/copied'",
        "load '/tmp/x.so'",
        "create function pg_temp.c() returns int language c as '/tmp/x.so'",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user and usename is not null and pid <> pg_backend_pid()",
        "select pg_reload_conf()",
        "select pg_switch_wal()",
        "select * from pg_hba_file_rules",
        "select pg_logical_emit_message(true, 'x', 'y'), pg_create_logical_replication_slot('x', 'pgoutput')",
        "alter system set fsync = off",
        "checkpoint",
        "vacuum full annals.events; select 1/0",
    ] {
        let code = super::refusal(&hostile, attempt).await;
        // The last attempt only gives a warning; the division by zero proves that it was reached.
        assert!(
            ["42501", "22012", "25001"].contains(&code.as_str()),
            "{attempt}: {code}"
        );
    }
}
