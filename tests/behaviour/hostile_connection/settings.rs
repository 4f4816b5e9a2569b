//! Session settings: the attacker cannot change settings that would disable a protection, and the other settings do not affect what the
//! append functions decide.

use tests::{Person, World};

use super::appends::{UPDATE, many, one};

#[tokio::test]
async fn settings_that_would_disable_a_protection_are_refused() {
    let world = super::world_of(&Person::user()).await;
    let hostile = world.hostile(Some(&Person::staff())).await;
    // Before its language is loaded, a setting of plpgsql is a placeholder; loading the language then refuses to take it over.
    hostile.batch_execute("do $$ begin end $$").await.unwrap();
    for setting in [
        "session_replication_role = replica",
        "allow_system_table_mods = on",
        "zero_damaged_pages = on",
        "log_statement = 'none'",
        "lc_messages = 'C'",
        "session_preload_libraries = 'x'",
        "plpgsql.variable_conflict = use_column",
        "commit_delay = 100000",
        "session authorization annals_owner",
    ] {
        assert_eq!(
            super::refusal(&hostile, &format!("set {setting}")).await,
            "42501",
            "{setting}"
        );
    }
    hostile.batch_execute("set row_security = off").await.unwrap();
    for relation in [
        "annals.events",
        "public.event_stream",
        "public.events",
        "public.customers",
        "annals.heads",
    ] {
        assert_eq!(
            super::refusal(&hostile, &format!("select * from {relation}")).await,
            "42501",
            "{relation}"
        );
    }
}

/// A retry is recognised by comparing values that the function derives from the request, so they must not depend on settings.
#[tokio::test]
async fn settings_that_any_role_may_change_do_not_affect_an_append() {
    let world = World::without_requirements().await;
    let owner = world.owner().await;
    let user = Person::user();
    let given = [
        (
            "data",
            "jsonb_build_object('name', 'A\\b', 'email', 'a@b.cd', 'n', 0.1::float8, 'big', 12345678901234567890.123456789)",
        ),
        ("timestamp", "'2026-02-03 04:05:06.789012+00'"),
        ("idempotency_key", "'k'"),
        ("causation_id", "'018f8a2e-0000-7000-8000-000000000001'"),
    ];
    let single = one("single", &given);
    let batch = many("batch", &given).replace("'k'", "'l'");
    let first = world.appender(Some(&user)).await;
    for sql in [&single, &batch] {
        first.batch_execute(sql).await.unwrap();
    }
    for setting in [
        "search_path = pg_temp, public",
        "search_path = ''",
        "datestyle = 'German, DMY'",
        "intervalstyle = iso_8601",
        "timezone = 'Asia/Kolkata'",
        "bytea_output = escape",
        "extra_float_digits = -15",
        "backslash_quote = on",
        "array_nulls = off",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "escape_string_warning = off",
        "xmloption = document",
        "default_text_search_config = 'pg_catalog.english'",
        "check_function_bodies = off",
        "plpgsql.variable_conflict = error",
        "plpgsql.variable_conflict = use_variable",
        "plpgsql.variable_conflict = use_column",
        "plpgsql.extra_errors = 'all'",
        "plpgsql.check_asserts = off",
        "plan_cache_mode = force_generic_plan",
        "enable_indexscan = off",
        "enable_nestloop = off",
        "enable_hashjoin = off",
        "enable_material = off",
        "force_parallel_mode = on",
        "debug_parallel_query = on",
        "jit_above_cost = 0",
        "join_collapse_limit = 1",
        "work_mem = 64",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "constraint_exclusion = on",
        "standard_conforming_strings = off",
    ] {
        let hostile = world.appender(Some(&user)).await;
        // Some settings are unknown in some versions, or have another name.
        let _known = hostile.batch_execute(&format!("set {setting}")).await;
        for sql in [&single, &batch] {
            // With that setting off, a backslash in the attacker's own literals is an escape, so the literals avoid it.
            let sql = sql.replace("'A\\b'", "'A' || chr(92) || 'b'");
            hostile
                .batch_execute(&sql)
                .await
                .unwrap_or_else(|e| panic!("{setting}: {e:?}"));
        }
        let fresh = setting.replace('\'', "");
        for sql in [one(&fresh, &[]), many(&format!("{fresh}, batch"), &[])] {
            hostile
                .batch_execute(&sql)
                .await
                .unwrap_or_else(|e| panic!("{setting}: {e:?}"));
        }
    }
    let retried = super::text(
        &owner,
        "select count(*)::text from annals.events where idempotency_key is not null",
    )
    .await;
    assert_eq!(retried, "2", "every retry was recognised");
    super::assert_whole(&owner).await;
}

#[tokio::test]
async fn a_read_only_transaction_appends_nothing_and_one_with_an_old_snapshot_appends_in_order() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.appender(Some(&user)).await;
    for append in [one("theirs", &UPDATE), many("theirs", &UPDATE)] {
        for read_only in [
            "begin read only",
            "set default_transaction_read_only = on",
            "begin; set transaction_read_only = on",
        ] {
            hostile.batch_execute(read_only).await.unwrap();
            assert_eq!(super::refusal(&hostile, &append).await, "25006", "{read_only}");
            hostile
                .batch_execute("rollback; reset default_transaction_read_only")
                .await
                .unwrap();
        }
        // A transaction with a snapshot from before another append cannot overwrite that append.
        hostile
            .batch_execute("begin isolation level repeatable read; select annals.known_keys(current_setting('request.jwt.claims')::jsonb, '{k}')")
            .await
            .unwrap();
        world.appender(Some(&user)).await.batch_execute(&append).await.unwrap();
        assert_eq!(super::refusal(&hostile, &append).await, "40001");
        hostile.batch_execute("rollback").await.unwrap();
    }
    super::assert_whole(&owner).await;
}

/// Requests and the projector do not wait for locks that are held on purpose.
#[tokio::test]
async fn locks_held_on_purpose_block_neither_appends_nor_projection() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&Person::user())).await;
    hostile
        .batch_execute(&format!(
            "select pg_advisory_lock(key) from generate_series(-50, 50) as key; select pg_advisory_lock({}); begin;
             select count(*) from annals.events; select count(*) from annals.heads; lock table annals.events in access share mode",
            0x616e_6e61_6c73_i64
        ))
        .await
        .unwrap();
    let data = serde_json::json!({"phone": "1"});
    world.append(&user, "customer.profile_updated", "theirs", data).await;
    world.project().await;
    let lag = "select count(*)::text from annals.heads where projected_version < version";
    assert_eq!(super::text(&owner, lag).await, "0");
    hostile.batch_execute("rollback").await.unwrap();
}
