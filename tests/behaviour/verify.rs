//! Verify names every difference from the log, down to the column, and writes nothing. A rebuild repairs everything except heads.

mod proof;

use std::sync::Arc;

use annals_store::{Difference, Purpose};
use serde_json::{Value, json};
use tests::{Person, World};

use crate::rebuild::{WORKERS, all_there_is, assert_no_shadow_is_left, everything, module, populate, rebuild};

pub(crate) async fn verify(world: &World) -> Vec<Difference> {
    verify_of(world, &everything()).await
}

pub(crate) async fn verify_of(world: &World, due: &annals_store::DueRebuild) -> Vec<Difference> {
    let mut found = Vec::new();
    let verified = world
        .projector
        .verify(due, WORKERS, Arc::default(), |difference| found.push(difference))
        .await
        .unwrap();
    assert_eq!(usize::try_from(verified.differences).unwrap(), found.len());
    found
}

/// Differences in short: table, key without its tenant, column, value found, value expected.
fn in_short(found: &[Difference]) -> Vec<Value> {
    let mut in_short: Vec<Value> = found
        .iter()
        .map(|d| {
            let mut key = d.key.clone();
            key.as_object_mut().unwrap().remove("tenant_id");
            let key: Vec<String> = key
                .as_object()
                .unwrap()
                .values()
                .map(|v| v.to_string().replace('"', ""))
                .collect();
            json!([d.table, key.join(" "), d.column, d.live, d.expected])
        })
        .collect();
    in_short.sort_by_key(Value::to_string);
    in_short
}

async fn plant(world: &World, sql: &str) {
    // Even a superuser can only change heads or events with their triggers disabled.
    let client = world.superuser().await;
    let triggers = |state: &str| {
        ["heads", "events"]
            .map(|t| format!("alter table annals.{t} {state} trigger all;"))
            .concat()
    };
    let sql = format!("{} {sql}; {}", triggers("disable"), triggers("enable"));
    client
        .batch_execute(&sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn correct_read_models_have_no_differences_and_are_not_written() {
    let world = World::without_requirements().await;
    let (staff, _) = populate(&world).await;
    // A stream that is partly projected and one that is parked are right up to their progress.
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    let poison = json!({"id": "fy", "start_date": "2026-04-01", "end_date": "2025-04-01"});
    world
        .append(&staff, "organization.financial_year.added", "ORG-1", poison)
        .await;
    world.take_wake_ups().await;
    let before = all_there_is(&world).await;
    assert_eq!(verify(&world).await, []);
    assert_eq!(all_there_is(&world).await, before);
    world.sweep().await;
    assert_eq!(verify(&world).await, []);
    assert_no_shadow_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_differences_in_read_models_are_named_to_the_column_and_repaired_by_a_rebuild() {
    let world = World::without_requirements().await;
    let (staff, _) = populate(&world).await;
    let right = all_there_is(&world).await;
    plant(
        &world,
        "set session_replication_role = replica; create temp table home as select '00000000-0000-0000-0000-000000000000'::uuid as id;
         update public.organizations set country = 'XX' where id = 'ORG-1' and tenant_id = (select id from home);
         update public.orders set items = '[{\"sku\": \"S\", \"quantity\": 1.50}]' where tenant_id = (select id from home);
         delete from public.customers where tenant_id = (select id from home);
         update public.organization_bank_accounts set account_number = '1' where organization_id = 'ORG-2' and tenant_id = (select id from home);
         delete from public.organization_financial_years where organization_id = 'ORG-3' and id = 'fy-2021' and tenant_id = (select id from home);
         insert into public.organization_gst_registrations (tenant_id, organization_id, id, started_by) select id, 'ORG-0', 'gst', 'system' from home;
         update annals.entities set state = state - 'country' where aggregate_id = 'ORG-2' and tenant_id = (select id from home);
         update annals.entities set version = 1, updated_at = created_at where aggregate_id = 'O-1' and tenant_id = (select id from home);
         delete from annals.entities where aggregate_id = 'ORG-0' and tenant_id = (select id from home)",
    )
    .await;
    let damaged = all_there_is(&world).await;
    let found = verify(&world).await;
    assert!(
        found.iter().all(|d| d.key["tenant_id"] == json!(staff.tenant)),
        "{found:?}"
    );
    let messages: Vec<String> = in_short(&found).iter().map(ToString::to_string).collect();
    let exact = [
        json!(["public.organizations", "ORG-1", "country", "XX", "IN"]),
        json!([
            "public.orders",
            "O-1",
            "items",
            r#"[{"sku": "S", "quantity": 1.50}]"#,
            r#"[{"sku": "S", "quantity": 1.5}]"#
        ]),
        json!([
            "public.organization_bank_accounts",
            "bank ORG-2",
            "account_number",
            "1",
            "50100012345678"
        ]),
        json!(["annals.entities", "O-1 order", "version", "1", "2"]),
    ];
    for expected in exact.map(|d| d.to_string()) {
        assert!(messages.contains(&expected), "{expected} is not in {messages:#?}");
    }
    let starts = [
        r#"["public.customers","C-1",null,null,"{"#,
        r#"["public.organization_financial_years","fy-2021 ORG-3",null,null,"{"#,
        r#"["public.organization_gst_registrations","gst ORG-0",null,"{"#,
        r#"["annals.entities","ORG-2 organization","state","{"#,
        r#"["annals.entities","O-1 order","updated_at","2"#,
        r#"["annals.entities","ORG-0 organization",null,null,"{"#,
    ];
    for start in starts {
        assert!(
            messages.iter().any(|d| d.starts_with(start)),
            "{start} is not in {messages:#?}"
        );
    }
    assert_eq!(messages.len(), exact_and(starts.len()), "{messages:#?}");
    assert_eq!(all_there_is(&world).await, damaged, "verify writes nothing");
    assert_eq!(verify_of(&world, &module("order", None)).await.len(), 3);

    rebuild(&world, &everything()).await.unwrap();
    assert_eq!(verify(&world).await, []);
    assert_eq!(all_there_is(&world).await, right);
}

/// Splits the differences: four that are compared exactly, and the others.
fn exact_and(others: usize) -> usize {
    4 + others
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_differences_in_heads_and_in_the_log_are_named() {
    let world = World::without_requirements().await;
    populate(&world).await;
    let home = "tenant_id = '00000000-0000-0000-0000-000000000000'";
    plant(
        &world,
        &format!(
            "update annals.heads set version = version + 5, projected_version = 1 where aggregate_id = 'ORG-1' and {home};
             update annals.heads set last_created_at = '2020-01-01', started_by = 'agent:nobody' where aggregate_id = 'O-1' and {home};
             insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
             select tenant_id, 'customer', 'C-9', 1, now(), 'system' from annals.heads where aggregate_id = 'O-1' and {home};
             delete from annals.heads where aggregate_id = 'C-1' and {home};
             delete from annals.events where aggregate_id = 'ORG-3' and aggregate_version = 2 and {home}"
        ),
    )
    .await;
    let found = in_short(&verify(&world).await);
    let messages: Vec<String> = found.iter().map(ToString::to_string).collect();
    let starts = [
        r#"["annals.heads","ORG-1 organization","version","8","3"]"#,
        // Its head says that less is projected than the tables contain.
        r#"["annals.entities","ORG-1 organization","version","3","1"]"#,
        r#"["annals.heads","O-1 order","last_created_at","2020-01-01"#,
        r#"["annals.heads","O-1 order","started_by","agent:nobody","user:"#,
        r#"["annals.heads","C-9 customer",null,"1",null]"#,
        r#"["annals.heads","C-1 customer",null,null,"1"]"#,
        r#"["annals.events","ORG-3 organization","aggregate_version","4","5"]"#,
        r#"["annals.events","ORG-3 organization",null,null,"the log has no event 2"]"#,
        // A stream without a head or without events has no read models.
        r#"["public.customers","C-1",null,"{"#,
        r#"["public.organizations","ORG-3",null,"{"#,
    ];
    for start in starts {
        assert!(
            messages.iter().any(|d| d.starts_with(start)),
            "{start} is not in {messages:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_differences_in_snapshots_are_named_and_removed_by_a_rebuild() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    for id in ["C-1", "C-2", "C-3"] {
        let event = |n: usize| {
            json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id,
                                      "data": {"phone": n.to_string()}})
        };
        let events: Vec<Value> = (1..=65).map(event).collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    world.project().await;
    let right = world.rows_of("annals.snapshots").await;
    assert_eq!(right.len(), 9);
    assert_eq!(verify(&world).await, []);
    let redigested = "digest = annals.snapshot_digest(s)";
    plant(
        &world,
        &format!(
            "update annals.snapshots set state = '{{\"phone\": \"by hand\"}}' where aggregate_id = 'C-1' and version = 40;
             update annals.snapshots set state = '{{\"phone\": \"forged\"}}' where aggregate_id = 'C-2' and version = 60;
             update annals.snapshots s set {redigested} where aggregate_id = 'C-2' and version = 60;
             update annals.snapshots set version = 80 where aggregate_id = 'C-3' and version = 60;
             update annals.snapshots s set {redigested} where aggregate_id = 'C-3'"
        ),
    )
    .await;
    let state = |phone: &str| json!({"phone": phone}).to_string();
    let expected = [
        json!([
            "annals.snapshots",
            "C-1 customer 40",
            "digest",
            "of something else",
            "of the snapshot"
        ]),
        json!([
            "annals.snapshots",
            "C-1 customer 40",
            "state",
            state("by hand"),
            state("40")
        ]),
        json!([
            "annals.snapshots",
            "C-2 customer 60",
            "state",
            state("forged"),
            state("60")
        ]),
        json!(["annals.snapshots", "C-3 customer 80", "version", "80", null]),
    ];
    assert_eq!(in_short(&verify(&world).await), expected);
    assert_eq!(world.rows_of("annals.snapshots").await.len(), 9);

    assert_eq!(rebuild(&world, &everything()).await.unwrap().changed_rows, 0);
    assert_eq!(verify(&world).await, []);
    let left = world.rows_of("annals.snapshots").await;
    assert_eq!(left.len(), 6);
    assert!(
        left.iter().all(|row| right.contains(row)),
        "the correct snapshots still exist"
    );

    // A snapshot taken of a wrong state is wrong, however late it was taken.
    plant(
        &world,
        "update annals.entities set state = '{\"phone\": \"wrong\"}' where aggregate_id = 'C-1'",
    )
    .await;
    world
        .post(&staff, "/entities/customer/C-1/snapshots", json!({"reason": "a test"}))
        .await
        .expect(201);
    let wrong = in_short(&verify(&world).await);
    assert!(
        wrong.contains(&json!([
            "annals.snapshots",
            "C-1 customer 65",
            "state",
            state("wrong"),
            state("65")
        ])),
        "{wrong:?}"
    );
    rebuild(&world, &everything()).await.unwrap();
    assert_eq!(verify(&world).await, []);
    assert_eq!(
        world
            .get(&staff, "/entities/customer/C-1?version=65")
            .await
            .expect(200)
            .body["state"],
        json!({"phone": "65"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_during_other_work_finds_no_difference() {
    let world = Arc::new(World::without_requirements().await);
    let (staff, _) = populate(&world).await;
    let writing = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for n in 0..60 {
                world
                    .append(
                        &staff,
                        "customer.profile_updated",
                        "C-1",
                        json!({"phone": n.to_string()}),
                    )
                    .await;
                let organization = format!("ORG-{}", n % 4);
                world
                    .append(
                        &staff,
                        "organization.gst.added",
                        &organization,
                        json!({"id": format!("g-{n}"), "gstin": "27AAPFU0939F1ZV"}),
                    )
                    .await;
                world.project().await;
            }
        }
    });
    let mut proofs = 0;
    while !writing.is_finished() {
        let mut found = Vec::new();
        let verified = world
            .projector
            .verify(&everything(), WORKERS, Arc::default(), |difference| {
                found.push(difference)
            })
            .await
            .unwrap();
        assert_eq!(found, []);
        // Streams that get events meanwhile are folded more than once and counted once.
        let log = world.log().await;
        assert!(
            verified.events <= log.events && verified.streams <= log.heads,
            "{verified:?} of {log:?}"
        );
        proofs += 1;
    }
    writing.await.unwrap();
    assert!(proofs > 0);
    assert_eq!(verify(&world).await, []);
}

/// A snapshot is taken exactly between the list of streams and the read of their snapshots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_taken_after_its_stream_was_listed_is_no_difference() {
    let world = World::without_requirements().await;
    let (staff, _) = populate(&world).await;
    let path = "/entities/customer/C-1/snapshots";
    world.post(&staff, path, json!({"reason": "before"})).await.expect(201);
    let shadow = world
        .app
        .store
        .start_rebuild(Purpose::Verify, &everything(), "system")
        .await
        .unwrap();
    let mut listed = shadow.list_streams(None).await.unwrap();
    listed.retain(|stream| stream.last_snapshot.is_some());
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world.post(&staff, path, json!({"reason": "after"})).await.expect(201);
    let listed: Vec<_> = listed.iter().collect();
    let found = shadow.read_snapshots(&listed).await.unwrap();
    let versions: Vec<i32> = found.iter().map(|snapshot| snapshot.entity.version()).collect();
    assert_eq!((listed.len(), versions), (1, vec![1]));
    shadow.end_verify().await.unwrap();
    assert_eq!(verify(&world).await, []);
}
