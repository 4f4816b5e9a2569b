//! Importers that are killed at any statement, and importers whose lease has expired without their knowledge.

use annals_domain::RowCounts;
use annals_import::{ImportError, ImportOutcome};
use annals_store::{AcquireOutcome, CheckedEvents, ChunkOutcome, PartitionProgress, StoreError, TAKEN_OVER};
use serde_json::json;
use tests::{Asked, Cutter, Person, Strike, Victim, When, World};

use super::{figures, sales, sales_events, scalar, story};

/// More statements than an import of the file runs.
const ENOUGH: usize = 1_000;
/// Rows so wide that few of them make a chunk: every partition has several chunks.
const ROWS: usize = 20;

fn wide_file(turn: &str, ids: bool) -> String {
    let mut file = if ids {
        "sale_id,sale_date,amount,notes\n"
    } else {
        "sale_date,amount,notes\n"
    }
    .to_owned();
    for row in 0..ROWS {
        // Rows without ids come in pairs that are equal.
        let (id, row) = match ids {
            // The last one brings the first one's id.
            true if row == ROWS - 1 => (format!("{turn}-0,"), row),
            true => (format!("{turn}-{row},"), row),
            false => (String::new(), row / 2),
        };
        let date = if row == 4 { "never" } else { "2026-01-31" };
        file += &format!("{id}{date},{row}.00,{turn} {row} {}\n", "wide ".repeat(5_000));
    }
    file
}

async fn until_it_ends(world: &World, asked: &Asked) {
    for _ in 0..2_000 {
        world.forget_holder(asked).await;
        match world.importer().import(asked.id, None).await {
            Ok(ImportOutcome::Ended) => return,
            // The server may need a moment to notice that the killed importer's connections are closed.
            Ok(ImportOutcome::Busy) | Err(_) => tokio::task::yield_now().await,
            Ok(other) => panic!("{other:?}"),
        }
    }
    panic!("it never ends");
}

/// Runs one import with a fault at one statement, and continues it. Returns whether the fault occurred.
async fn strike(
    world: &World,
    process: &World,
    cutter: &Cutter,
    strike: Strike,
    fields: serde_json::Value,
    ids: bool,
) -> bool {
    let staff = Person::staff();
    let turn = format!("{:?}{:?}{}", strike.victim, strike.when, strike.statement);
    let asked = world.ask_for_upload(&staff, fields).await;
    world.put_file(&asked, wide_file(&turn, ids)).await;
    let before = sales_events(world).await;
    cutter.arm(strike);
    let done = match strike.victim {
        Victim::Connection => process.importer().import(asked.id, None).await.ok(),
        Victim::Process => tokio::select! {
            biased;
            () = cutter.struck() => None,
            done = async { process.importer().import(asked.id, None).await } => done.ok(),
        },
    };
    let struck = cutter.has_struck();
    cutter.disarm();
    if done != Some(ImportOutcome::Ended) {
        until_it_ends(world, &asked).await;
    }
    let total = i64::try_from(ROWS).unwrap();
    let bad = 2;
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        figures(&upload),
        [total, total - bad, bad, 0, 0, 0, total - bad],
        "{strike:?}"
    );
    assert_eq!(
        upload["errors"].as_array().unwrap().len(),
        usize::try_from(bad).unwrap(),
        "{strike:?}"
    );
    assert_eq!(sales_events(world).await - before, total - bad, "{strike:?}");
    let told = ["import.requested", "import.started", "import.completed"];
    assert_eq!(story(world, &asked).await, told, "{strike:?}");
    struck
}

async fn strike_everywhere(victim: Victim, when: When, step: usize, ids: bool) {
    let (world, cutter) = (World::new().await, Cutter::start().await);
    let process = cutter.before(&world).with_files_of(&world);
    let mut most = 0;
    for statement in (1..ENOUGH).step_by(step) {
        let at = Strike {
            victim,
            when,
            statement,
        };
        if !strike(&world, &process, &cutter, at, sales(), ids).await {
            break;
        }
        most = statement;
    }
    assert!(most > 30, "{most}");
    world.importer().import_due(None).await.unwrap();
    assert_eq!(scalar(&world, "select count(*) from annals.import_contents").await, 0);
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn killed_after_any_statement_an_import_loses_and_repeats_nothing() {
    strike_everywhere(Victim::Process, When::After, 1, true).await;
}

#[tokio::test]
async fn an_import_of_rows_without_ids_counts_equal_rows_although_it_is_killed() {
    strike_everywhere(Victim::Process, When::After, 1, false).await;
}

#[tokio::test]
async fn connections_may_end_before_any_statement() {
    strike_everywhere(Victim::Connection, When::Before, 3, true).await;
}

#[tokio::test]
async fn connections_may_end_after_any_statement() {
    strike_everywhere(Victim::Connection, When::After, 3, false).await;
}

#[tokio::test]
async fn an_all_or_nothing_import_that_is_killed_has_imported_all_or_nothing() {
    let (world, cutter) = (World::new().await, Cutter::start().await);
    let process = cutter.before(&world).with_files_of(&world);
    let staff = Person::staff();
    for statement in 1..ENOUGH {
        let asked = world
            .ask_for_upload(&staff, json!({"dataset": "sales", "mode": "all_or_nothing"}))
            .await;
        world
            .put_file(
                &asked,
                wide_file(&format!("T{statement}"), true)
                    .replace("never", "2026-01-01")
                    .replace("-0,2026-01-31,19", "-last,2026-01-31,19"),
            )
            .await;
        let before = sales_events(&world).await;
        cutter.arm(Strike {
            victim: Victim::Process,
            when: When::After,
            statement,
        });
        let done = tokio::select! {
            biased;
            () = cutter.struck() => None,
            done = async { process.importer().import(asked.id, None).await } => done.ok(),
        };
        let struck = cutter.has_struck();
        cutter.disarm();
        let total = i64::try_from(ROWS).unwrap();
        let so_far = sales_events(&world).await - before;
        assert!(so_far == 0 || so_far == total, "{statement}: {so_far}");
        if done.is_none() {
            until_it_ends(&world, &asked).await;
        }
        let upload = world.upload(&staff, &asked).await.expect(200).body;
        assert_eq!(figures(&upload), [total, total, 0, 0, 0, 0, total], "{statement}");
        assert_eq!(sales_events(&world).await - before, total);
        if !struck {
            assert!(statement > 20, "{statement}");
            return;
        }
    }
    panic!("it says statements for ever");
}

/// A worker whose lease has expired makes no more progress once another worker has taken the import over.
#[tokio::test]
async fn of_two_workers_that_believe_that_they_hold_an_import_only_one_proceeds() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, super::file(8_000)).await;
    let (one, other) = (world.importer(), world.importer());
    let slow = async {
        loop {
            // The lease of the working importer expires again and again.
            world.forget_holder(&asked).await;
            tokio::task::yield_now().await;
        }
    };
    let both = async { tokio::join!(one.import(asked.id, None), other.import(asked.id, None)) };
    let (first, second) = tokio::select! {
        both = both => both,
        never = slow => never,
    };
    let lost = |outcome: &Result<ImportOutcome, ImportError>| match outcome {
        Ok(ImportOutcome::Ended | ImportOutcome::Busy) => false,
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.to_string().contains("taken"),
    };
    assert!(!lost(&first) || !lost(&second), "{first:?} {second:?}");
    until_it_ends(&world, &asked).await;
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&upload), [8_000, 7_992, 8, 0, 0, 80, 7_992]);
    assert_eq!(sales_events(&world).await, 7_992);
    assert_eq!(
        story(&world, &asked).await,
        ["import.requested", "import.started", "import.completed"]
    );
}

/// A worker whose lease has expired can append nothing any more, and no rows are processed twice.
#[tokio::test]
async fn a_partition_advances_for_the_holder_of_the_lease_only_and_from_its_progress() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, super::file(6_000)).await;
    world.import_a_little(&asked).await.unwrap();
    let store = &world.app.store;
    let acquire = async || match store.acquire_lease(asked.id).await.unwrap() {
        AcquireOutcome::Acquired(import) => import,
        other => panic!("{other:?}"),
    };
    let expired = acquire().await;
    assert!(matches!(
        store.acquire_lease(asked.id).await.unwrap(),
        AcquireOutcome::Busy
    ));
    world.forget_holder(&asked).await;
    let current = acquire().await;
    let partition = current.partitions[0];
    let done = |from: i64| ChunkOutcome {
        from: PartitionProgress {
            done_row: from,
            ..partition
        },
        to: PartitionProgress {
            done_row: partition.done_row + 1,
            counts: RowCounts {
                duplicate: partition.counts.duplicate + 1,
                ..partition.counts
            },
            ..partition
        },
        events: CheckedEvents::NONE,
        reported: &[],
        contents: &[],
    };
    let refused = |appended: Result<(), StoreError>| match appended {
        Err(StoreError::Refused(refusal)) => assert_eq!(refusal.code, TAKEN_OVER),
        other => panic!("{other:?}"),
    };
    refused(store.append_chunk(&expired, &done(partition.done_row)).await);
    refused(store.append_chunk(&current, &done(partition.done_row - 1)).await);
    store.append_chunk(&current, &done(partition.done_row)).await.unwrap();
    refused(store.append_chunk(&current, &done(partition.done_row)).await);
    refused(store.renew_lease(asked.id, expired.holder).await);
    // Only the holder can have ended an import, and it is cleaning up: its lease is not lost.
    store.release_lease(asked.id, current.holder, false).await.unwrap();
    world.importer().import(asked.id, None).await.unwrap();
    store.renew_lease(asked.id, current.holder).await.unwrap();
}
