//! Reverts of large uploads: the importer does them step by step, and the status shows the progress.

use std::time::Instant;

use annals_import::RevertOutcome;
use serde_json::json;
use tests::{Person, World};

use super::{assert_compensated, counts, dry_run, revert, reverter, rows, scalar, status, story};

#[tokio::test]
async fn a_large_revert_is_done_by_the_importer_and_shows_its_progress() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = world
        .import(&staff, json!({"dataset": "sales"}), rows(0..5_200))
        .await
        .body;
    let id = upload["upload_id"].as_str().unwrap();
    for row in [7, 2_600, 5_100] {
        let path = format!("/entities/sale/S-{row}");
        world.patch(&staff, &path, json!({"product": "Lamp"})).await.expect(200);
    }
    let told = dry_run(&world, &staff, id).await.expect(200).body;
    assert_eq!(counts(&told["revert"]), [5_200, 5_197, 3]);
    let answer = revert(&world, &staff, id).await.expect(202).body;
    assert_eq!(
        (&answer["status"], counts(&answer["revert"])),
        (&json!("reverting"), [5_200, 0, 0])
    );
    // A second request, or a dry run, shows the same revert.
    assert_eq!(revert(&world, &staff, id).await.expect(202).body, answer);
    assert_eq!(dry_run(&world, &staff, id).await.expect(202).body, answer);

    let (mut steps, mut last) = (0, 0);
    while reverter(&world)
        .run(id.parse().unwrap(), Some(Instant::now()))
        .await
        .unwrap()
        == RevertOutcome::GoesOn
    {
        let so_far = status(&world, &staff, id).await.expect(202).body;
        assert_eq!(so_far["status"], "reverting");
        let [_, compensated, left] = counts(&so_far["revert"]);
        assert!(compensated + left > last, "{so_far}");
        (steps, last) = (steps + 1, compensated + left);
        if steps == 4 {
            break;
        }
    }
    assert_eq!(steps, 4);
    world.importer().import_due(None).await.unwrap();
    let done = status(&world, &staff, id).await.expect(200).body;
    assert_eq!(
        (&done["status"], counts(&done["revert"])),
        (&json!("reverted"), [5_200, 5_197, 3])
    );
    assert_compensated(&world, id, [5_200, 5_197, 3]).await;
    let told = [
        "import.requested",
        "import.started",
        "import.completed",
        "import.revert_requested",
        "import.revert_completed",
    ];
    assert_eq!(story(&world, id).await, told);
    assert_eq!(revert(&world, &staff, id).await.problem(409), "already_reverted");

    world.sweep().await;
    assert_eq!(
        scalar(&world, "select count(*) from public.sales where deleted_at is null").await,
        3
    );
    world.assert_read_models_are_the_fold().await;
    world.assert_kpis_are_the_events().await;
}

/// Wake-ups name many streams each.
#[tokio::test]
async fn the_wake_ups_of_a_revert_are_few() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = world
        .import(&staff, json!({"dataset": "sales"}), rows(0..6_000))
        .await
        .body;
    let id = upload["upload_id"].as_str().unwrap();
    world.project().await;
    revert(&world, &staff, id).await.expect(202);
    world.importer().import_due(None).await.unwrap();
    let wake_ups = world.take_wake_ups().await;
    assert!(wake_ups.len() <= 12, "{}", wake_ups.len());
    assert!(world.deliver(wake_ups).await.is_empty());
    assert_eq!(
        scalar(&world, "select count(*) from public.sales where deleted_at is null").await,
        0
    );
}

/// The caller's permission may be gone when the importer comes to the events. They are left alone, and the revert ends.
#[tokio::test]
async fn a_permission_that_is_lost_during_a_revert_ends_it() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = world
        .import(&staff, json!({"dataset": "sales"}), rows(0..2_500))
        .await
        .body;
    let id = upload["upload_id"].as_str().unwrap();
    revert(&world, &staff, id).await.expect(202);
    reverter(&world)
        .run(id.parse().unwrap(), Some(Instant::now()))
        .await
        .unwrap();
    let sql = "update annals.event_types set posters = '{service}' where event_type in ('sale.deleted', 'import.revert_completed')";
    world.owner().await.batch_execute(sql).await.unwrap();
    world.importer().import_due(None).await.unwrap();
    let done = status(&world, &staff, id).await.expect(200).body;
    assert_eq!(
        (&done["status"], counts(&done["revert"])),
        (&json!("reverted"), [2_500, 500, 2_000])
    );
    assert_eq!(done["revert"]["left_by_code"], json!({"event_type_forbidden": 2_000}));
}

/// Workers whose leases expire again and again do nothing twice.
#[tokio::test]
async fn of_two_workers_that_believe_that_they_hold_a_revert_only_one_proceeds() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = world
        .import(&staff, json!({"dataset": "sales"}), rows(0..4_000))
        .await
        .body;
    let id = upload["upload_id"].as_str().unwrap();
    revert(&world, &staff, id).await.expect(202);
    let expire = async {
        loop {
            forget_holder(&world, id).await;
            tokio::task::yield_now().await;
        }
    };
    let (one, other) = (reverter(&world), reverter(&world));
    let run = async || tokio::join!(one.run(id.parse().unwrap(), None), other.run(id.parse().unwrap(), None));
    let _outcomes = tokio::select! {
        outcomes = run() => outcomes,
        never = expire => never,
    };
    for _ in 0..50 {
        forget_holder(&world, id).await;
        world.importer().import_due(None).await.unwrap();
        if status(&world, &staff, id).await.body["status"] == "reverted" {
            break;
        }
    }
    let done = status(&world, &staff, id).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [4_000, 4_000, 0]);
    assert_compensated(&world, id, [4_000, 4_000, 0]).await;
}

/// Makes the lease on the revert expire.
pub async fn forget_holder(world: &World, upload: &str) {
    let sql = "update annals.reverts set held_until = clock_timestamp() - interval '1 second' where upload_id = $1::text::uuid and holder is not null";
    world.superuser().await.execute(sql, &[&upload]).await.unwrap();
}
