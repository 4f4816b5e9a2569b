//! While the triggers exist, not even the owner can change the log: neither by a statement nor through a parent table, a rule, a view
//! or a foreign key.

use serde_json::json;
use tests::{Person, World};
use tokio_postgres::Client;

async fn world_with_history() -> (World, Client) {
    let world = World::new().await;
    let staff = Person::staff();
    for id in ["C-1", "C-2"] {
        let data = json!({"name": "Ada", "email": "ada@example.com"});
        world.append(&staff, "customer.registered", id, data).await;
    }
    world.project().await;
    let owner = world.owner().await;
    (world, owner)
}

/// Everything that must stay unchanged, as one text.
async fn recorded(owner: &Client) -> String {
    let sql = "select jsonb_build_array(
                   (select jsonb_agg(to_jsonb(e) order by e.event_number) from annals.events e),
                   (select jsonb_agg(to_jsonb(v) order by v.event_type, v.version) from annals.event_type_versions v),
                   (select jsonb_agg(h.aggregate_id order by h.aggregate_id) from annals.heads h))::text";
    owner.query_one(sql, &[]).await.unwrap().get(0)
}

/// Runs a script in a transaction of its own; it must end with the trigger's refusal.
async fn refuse(owner: &Client, script: &str) {
    let before = recorded(owner).await;
    let outcome = owner.batch_execute(&format!("begin; {script}; commit;")).await;
    owner.batch_execute("rollback").await.unwrap();
    let error = outcome.err().unwrap_or_else(|| panic!("not refused: {script}"));
    let error = error.as_db_error().unwrap_or_else(|| panic!("{script}"));
    assert_eq!(error.code().code(), "42501", "{script}: {error}");
    assert!(
        error.message().ends_with("is refused: it is append-only"),
        "{script}: {error}"
    );
    assert_eq!(recorded(owner).await, before, "{script}");
}

#[tokio::test]
async fn the_owner_cannot_update_delete_or_truncate_the_log_or_the_versions_of_types() {
    let (_world, owner) = world_with_history().await;
    for (table, column) in [("events", "created_by"), ("event_type_versions", "created_by")] {
        let table = format!("annals.{table}");
        for script in [
            format!("update {table} set {column} = 'system'"),
            format!("update only {table} set {column} = {column}"),
            format!("update {table} set {column} = 'system' where false"),
            format!("delete from {table}"),
            format!("delete from {table} using annals.heads where false"),
            format!("truncate {table}"),
            format!("truncate {table} restart identity cascade"),
            format!("truncate public.sales, {table}"),
            format!(
                "with changed as (update {table} set {column} = 'system' returning *) select count(*) from changed"
            ),
            format!("merge into {table} t using {table} s on t.ctid = s.ctid when matched then delete"),
            format!(
                "merge into {table} t using {table} s on t.ctid = s.ctid when matched then update set {column} = 'system'"
            ),
            format!("insert into {table} select * from {table} on conflict do nothing; delete from {table} where true"),
        ] {
            refuse(&owner, &script).await;
        }
    }
    refuse(
        &owner,
        "insert into annals.events select * from annals.events on conflict (event_number) do update set created_by = 'system'",
    )
    .await;
}

#[tokio::test]
async fn a_parent_table_a_view_a_rule_or_a_function_cannot_bypass_the_triggers() {
    let (_world, owner) = world_with_history().await;
    for table in ["annals.events", "annals.event_type_versions"] {
        let inherit = format!("create table annals.parent (like {table}); alter table {table} inherit annals.parent");
        let view = format!("create view annals.window_on as select * from {table}");
        for script in [
            format!("{inherit}; update annals.parent set created_by = 'system'"),
            format!("{inherit}; delete from annals.parent"),
            format!("{inherit}; truncate annals.parent"),
            format!("{view}; update annals.window_on set created_by = 'system'"),
            format!("{view}; delete from annals.window_on"),
            format!(
                "create rule also as on insert to annals.checkpoints do also delete from {table}; insert into annals.checkpoints (name, consumer) values ('x', '{{}}')"
            ),
            format!(
                "create rule instead as on delete to annals.checkpoints do instead update {table} set created_by = 'system'; delete from annals.checkpoints"
            ),
            format!(
                "create function annals.wipe() returns void language sql security definer as 'delete from {table}'; select annals.wipe()"
            ),
            format!("do $$ begin execute 'delete from {table}'; end $$"),
        ] {
            refuse(&owner, &script).await;
        }
    }
    refuse(
        &owner,
        "create table annals.whole (like annals.events) partition by list (tenant_id);
         alter table annals.whole attach partition annals.events default; update annals.whole set created_by = 'system'",
    )
    .await;
    refuse(
        &owner,
        "create table annals.whole (like annals.events) partition by list (tenant_id);
         alter table annals.whole attach partition annals.events default; truncate annals.whole",
    )
    .await;
}

#[tokio::test]
async fn foreign_keys_cannot_cascade_into_the_log() {
    let (_world, owner) = world_with_history().await;
    let parents = "create table annals.types (name text collate \"C\" primary key);
                   insert into annals.types select distinct event_type from annals.events";
    let key = "alter table annals.events add foreign key (event_type) references annals.types";
    for script in [
        format!("{parents}; {key} on delete cascade; delete from annals.types"),
        format!("{parents}; {key} on delete set default; delete from annals.types"),
        format!("{parents}; {key} on update cascade; update annals.types set name = 'customer.erased'"),
        format!("{parents}; {key}; truncate annals.types cascade"),
    ] {
        refuse(&owner, &script).await;
    }
}

#[tokio::test]
async fn heads_are_never_deleted() {
    let (_world, owner) = world_with_history().await;
    for script in [
        "delete from annals.heads",
        "delete from annals.heads where false",
        "truncate annals.heads",
        "create table annals.parent (like annals.heads); alter table annals.heads inherit annals.parent; delete from annals.parent",
        "merge into annals.heads t using annals.heads s on t.ctid = s.ctid when matched then delete",
    ] {
        refuse(&owner, script).await;
    }
    let moved = owner
        .execute("update annals.heads set projected_version = projected_version", &[])
        .await;
    assert_eq!(moved.unwrap(), 2, "projected_version can still be updated");
}

#[tokio::test]
async fn a_session_in_replica_mode_is_refused_like_any_other() {
    let (world, owner) = world_with_history().await;
    let replica = world.superuser().await;
    replica
        .batch_execute("set session_replication_role = replica")
        .await
        .unwrap();
    for table in ["annals.events", "annals.event_type_versions"] {
        for verb in [
            format!("update {table} set created_by = 'system'"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            refuse(&replica, &verb).await;
        }
    }
    refuse(&replica, "delete from annals.heads").await;
    drop(owner);
}

#[tokio::test]
async fn the_projector_and_the_api_lack_the_rights_to_write_to_the_log() {
    let (world, owner) = world_with_history().await;
    let before = recorded(&owner).await;
    for role in ["authenticated", "annals_projector"] {
        let login = world.api_login().await;
        login.batch_execute(&format!("set role {role}")).await.unwrap();
        for table in ["annals.events", "annals.event_type_versions", "annals.heads"] {
            for sql in [
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("update {table} set tenant_id = tenant_id"),
            ] {
                let error = login.batch_execute(&sql).await.unwrap_err();
                assert!(
                    error.as_db_error().unwrap().message().starts_with("permission denied"),
                    "{role}: {sql}: {error}"
                );
            }
        }
    }
    assert_eq!(recorded(&owner).await, before);
}
