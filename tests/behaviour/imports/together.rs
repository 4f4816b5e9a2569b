//! Concurrent imports: few run at the same time, and none keeps more than its share.

use annals_import::ImportOutcome;
use annals_store::{AcquireOutcome, MAX_RUNNING_IMPORTS};
use futures_util::future::join_all;
use serde_json::json;
use tests::{Asked, Person, World};

use super::{figures, file, sales, scalar};

/// Workers that try to acquire leases at the same moment.
#[tokio::test]
async fn no_more_imports_run_at_the_same_time_than_are_allowed() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut all: Vec<Asked> = Vec::new();
    for _ in 0..10 {
        let asked = world.ask_for_upload(&staff, sales()).await;
        world.put_file(&asked, file(20)).await;
        all.push(asked);
    }
    for _ in 0..5 {
        let takers = join_all(all.iter().map(|asked| world.app.store.acquire_lease(asked.id))).await;
        let held: Vec<_> = takers
            .into_iter()
            .filter_map(|taken| match taken.unwrap() {
                AcquireOutcome::Acquired(import) => Some(import),
                AcquireOutcome::Busy => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(held.len(), usize::try_from(MAX_RUNNING_IMPORTS).unwrap());
        let others = all
            .iter()
            .filter(|asked| held.iter().all(|import| import.id != asked.id));
        for asked in others {
            assert_eq!(
                world.importer().import(asked.id, None).await.unwrap(),
                ImportOutcome::Busy
            );
        }
        for import in held {
            world
                .app
                .store
                .release_lease(import.id, import.holder, false)
                .await
                .unwrap();
        }
    }
    // A killed import counts until its lease expires.
    for asked in &all[..4] {
        assert!(matches!(
            world.app.store.acquire_lease(asked.id).await.unwrap(),
            AcquireOutcome::Acquired(_)
        ));
    }
    assert_eq!(
        world.importer().import(all[4].id, None).await.unwrap(),
        ImportOutcome::Busy
    );
    world.forget_holder(&all[0]).await;
    assert_eq!(
        world.importer().import(all[4].id, None).await.unwrap(),
        ImportOutcome::Ended
    );
}

/// The rejected rows that a partition keeps are limited in bytes, and the empty fields of wide rows count.
#[tokio::test]
async fn rejected_rows_are_kept_up_to_a_limit_in_bytes() {
    let (world, staff) = (World::new().await, Person::staff());
    let blank = ",".repeat(9_000);
    let rows: String = (0..300).map(|row| format!("S-{row},never,5,{blank}\n")).collect();
    let file = format!("sale_id,sale_date,amount,notes{blank}\n{rows}");
    for mode in ["partial", "all_or_nothing"] {
        let fields = json!({"dataset": "sales", "mode": mode});
        let asked = world.ask_for_upload(&staff, fields).await;
        world.put_file(&asked, &file).await;
        assert_eq!(
            world.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
        let upload = world.upload(&staff, &asked).await.expect(200).body;
        assert_eq!(figures(&upload), [300, 0, 300, 0, 0, 0, 0]);
        let kept = upload["rows_reported"].as_i64().unwrap();
        assert!((40..80).contains(&kept), "{mode}: {kept}");
        // All of them are answered: as pages of errors, and as files whose size is limited in bytes.
        let path = format!("/data/uploads/{}/errors", asked.id);
        let pages = world.all_pages(&staff, &path).await;
        assert_eq!(i64::try_from(pages.len()).unwrap(), kept);
        let csv = world.get(&staff, &format!("{path}?format=csv")).await.expect(200);
        assert_eq!(i64::try_from(csv.text.lines().count()).unwrap(), kept + 1, "{mode}");
    }
    assert_eq!(
        scalar(
            &world,
            "select count(*) from annals.import_partitions where reported_bytes > 5000000 and partition > 0"
        )
        .await,
        0
    );
}

/// The status shows progress even if the file has few rows, all of them large.
#[tokio::test]
async fn counts_of_large_rows_are_updated_by_bytes() {
    let (world, staff) = (World::new().await, Person::staff());
    let rows: String = (0..600)
        .map(|row| format!("S-{row},2026-01-31,1.00,{}\n", "wide ".repeat(13_000)))
        .collect();
    let asked = world.ask_for_upload(&staff, sales()).await;
    world
        .put_file(&asked, format!("sale_id,sale_date,amount,notes\n{rows}"))
        .await;
    let broken = "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger no before update on annals.import_partitions for each row when (new.processed_row > 580) execute function public.no()";
    world.owner().await.batch_execute(broken).await.unwrap();
    assert!(world.importer().import(asked.id, None).await.is_err());
    let upload = world.upload(&staff, &asked).await.expect(202).body;
    assert!((400..580).contains(&upload["rows_total"].as_i64().unwrap()), "{upload}");
}

/// Chunks of wide rows take as much memory as others, because the empty fields of a row count as well.
#[tokio::test]
async fn chunks_of_wide_rows_have_fewer_rows() {
    let (world, staff) = (World::new().await, Person::staff());
    let blank = ",".repeat(9_000);
    let rows: String = (0..200).map(|row| format!("S-{row},2026-01-31,5,{blank}\n")).collect();
    let asked = world.ask_for_upload(&staff, sales()).await;
    world
        .put_file(&asked, format!("sale_id,sale_date,amount,notes{blank}\n{rows}"))
        .await;
    assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
    let upload = world.upload(&staff, &asked).await.expect(202).body;
    assert!((1..5).contains(&upload["rows_total"].as_i64().unwrap()), "{upload}");
}

/// If two processes purge the same import, the one that finds nothing to delete does not mark it as purged while the other is deleting.
#[tokio::test]
async fn an_import_that_another_process_is_purging_is_not_marked_as_purged() {
    let (world, staff) = (World::new().await, Person::staff());
    let done = world.import(&staff, sales(), file(10)).await.body;
    let id = done["upload_id"].as_str().unwrap();
    let (superuser, mut other) = (world.superuser().await, world.superuser().await);
    let left = format!(
        "update annals.imports set partitions = 4 where upload_id = '{id}';
         insert into annals.import_contents select '{id}', n, 1 from generate_series(1, 10001) as n"
    );
    superuser.batch_execute(&left).await.unwrap();
    let deleting = other.transaction().await.unwrap();
    let deleted = deleting
        .execute("delete from annals.import_contents where content <= 10000", &[])
        .await
        .unwrap();
    assert_eq!(deleted, 10_000);
    let tidied = async { world.app.store.purge_finished(None).await.unwrap() };
    let committed = async {
        world.until_waiting(1).await;
        deleting.commit().await.unwrap();
    };
    tokio::join!(tidied, committed);
    let sql = "select count(*) from annals.import_contents c join annals.imports i using (upload_id) where i.partitions is null";
    assert_eq!(scalar(&world, sql).await, 0);
    world.app.store.purge_finished(None).await.unwrap();
    assert_eq!(
        scalar(
            &world,
            "select count(*) from annals.imports where partitions is not null"
        )
        .await,
        0
    );
    assert_eq!(scalar(&world, "select count(*) from annals.import_contents").await, 0);
}
