//! Imports that fail, and who may request uploads and see them.

use annals_import::ImportOutcome;
use importer::{Invocation, handle};
use serde_json::{Value, json};
use tests::{Asked, Person, World};
use uuid::Uuid;

use super::{figures, file, sales, sales_events, scalar, story};

async fn failure(world: &World, staff: &Person, asked: &Asked) -> Value {
    let upload = world.upload(staff, asked).await.expect(200).body;
    assert_eq!(upload["status"], "failed");
    assert_eq!(story(world, asked).await.last().unwrap(), "import.failed");
    upload["failure"]["code"].clone()
}

async fn tick(world: &World) {
    let tick: Invocation = serde_json::from_str(include_str!("../../events/schedule_imports.json")).unwrap();
    handle(&world.importer(), tick, None).await.unwrap();
}

/// If a file cannot be read to its end, nothing is appended.
#[tokio::test]
async fn files_that_cannot_be_read_are_refused_as_a_whole() {
    let (world, staff) = (World::new().await, Person::staff());
    for (content, code) in [
        (Vec::new(), "empty_file"),
        (b"PK\x03\x04 and so on".to_vec(), "not_csv"),
        (b"sale_id,sale_date,amount\n".to_vec(), "no_rows"),
        (b"colour,shape\n1,2\n".to_vec(), "no_header"),
        (
            format!("{}S-9,2026-01-31,\"1.00\n", file(4_000)).into_bytes(),
            "unclosed_quote",
        ),
    ] {
        let asked = world.ask_for_upload(&staff, sales()).await;
        world.put_file(&asked, content).await;
        assert_eq!(
            world.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
        assert_eq!(failure(&world, &staff, &asked).await, code);
        // There is no report, now or later, because there are no rows to correct.
        let report = format!("/data/uploads/{}/errors?format=csv", asked.id);
        let report = world.get(&staff, &report).await;
        assert_eq!(report.problem(409), "upload_failed");
        let detail = report.body["detail"].as_str().unwrap();
        assert!(detail.contains(code) && !detail.contains("try again"), "{detail}");
    }
    assert_eq!(sales_events(&world).await, 0);
    let waiting = world.ask_for_upload(&staff, sales()).await;
    let report = format!("/data/uploads/{}/errors?format=csv", waiting.id);
    assert_eq!(world.get(&staff, &report).await.problem(409), "upload_unread");
}

#[tokio::test]
async fn a_file_that_is_overwritten_or_deleted_during_the_import_fails_it() {
    let (world, staff) = (World::new().await, Person::staff());
    for is_deleted in [false, true] {
        let asked = world.ask_for_upload(&staff, sales()).await;
        world.put_file(&asked, file(6_000)).await;
        assert_eq!(world.import_a_little(&asked).await.unwrap(), ImportOutcome::GoesOn);
        match is_deleted {
            true => std::fs::remove_file(world.files.0.join(asked.id.to_string())).unwrap(),
            false => world.put_file(&asked, file(6_001)).await,
        }
        assert_eq!(
            world.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
        assert_eq!(failure(&world, &staff, &asked).await, "file_changed");
        // The status counts what was appended, and sending the file again appends the rest.
        let so_far = figures(&world.upload(&staff, &asked).await.body);
        assert_eq!(so_far[0], so_far[1..5].iter().sum::<i64>());
    }
    let last = world.import(&staff, sales(), file(6_000)).await.body;
    assert_eq!(sales_events(&world).await, 5_994);
    assert!(figures(&last)[3] > 0);
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_read() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, "x").await;
    let path = world.files.0.join(asked.id.to_string());
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    // A sparse file takes no space on the disk.
    file.set_len(annals_storage::MAX_FILE_BYTES + 1).unwrap();
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    assert_eq!(failure(&world, &staff, &asked).await, "file_too_large");
}

#[tokio::test]
async fn late_duplicate_lost_and_foreign_events_change_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, file(1_500)).await;
    // No event announced the file; the scheduled run finds it.
    tick(&world).await;
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(figures(&done), [1_500, 1_499, 1, 0, 0, 15, 1_499]);
    // The object is deleted, and so are the import's temporary data.
    assert!(!world.files.0.join(asked.id.to_string()).exists());
    assert_eq!(
        scalar(
            &world,
            "select count(*) from annals.imports where partitions is not null"
        )
        .await,
        0
    );
    for _ in 0..2 {
        assert_eq!(
            world.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
    }
    world.put_file(&asked, file(1_600)).await;
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    // Nothing else would delete it.
    assert!(!world.files.0.join(asked.id.to_string()).exists());
    assert_eq!(world.upload(&staff, &asked).await.expect(200).body, done);
    assert_eq!(
        world.importer().import(Uuid::now_v7(), None).await.unwrap(),
        ImportOutcome::Unknown
    );
    for event in [
        json!({}),
        json!([]),
        json!({"Records": 5}),
        json!({"Event": "s3:TestEvent"}),
    ] {
        let event: Invocation = serde_json::from_value(event).unwrap();
        handle(&world.importer(), event, None).await.unwrap();
    }
    assert_eq!(story(&world, &asked).await.len(), 3);
}

#[tokio::test]
async fn two_concurrent_importers_import_a_file_once() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, file(2_000)).await;
    let (one, other) = (world.importer(), world.importer());
    let (one, other) = tokio::join!(one.import(asked.id, None), other.import(asked.id, None));
    let mut outcomes = [one.unwrap(), other.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == ImportOutcome::Busy);
    assert_eq!(outcomes, [ImportOutcome::Ended, ImportOutcome::Busy]);
    assert_eq!(sales_events(&world).await, 1_998);
}

#[tokio::test]
async fn an_import_fails_if_its_file_does_not_arrive_in_time() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    tick(&world).await;
    assert_eq!(world.upload(&staff, &asked).await.expect(202).body["status"], "waiting");
    let sql = "update annals.imports set expires_at = clock_timestamp() - interval '7 hours'";
    world.superuser().await.execute(sql, &[]).await.unwrap();
    tick(&world).await;
    assert_eq!(failure(&world, &staff, &asked).await, "file_missing");
}

/// A file that arrived is imported even after the time for sending it.
#[tokio::test]
async fn a_file_that_arrived_is_imported_after_the_time_for_sending_it() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, file(100)).await;
    let sql = "update annals.imports set expires_at = clock_timestamp() - interval '7 hours'";
    world.superuser().await.execute(sql, &[]).await.unwrap();
    tick(&world).await;
    let upload = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&upload["status"], &upload["rows_accepted"]),
        (&json!("completed"), &json!(100))
    );
}

/// If another attempt would fail in the same way, the import ends immediately, with the error's code, even if the caller may not post the
/// event that records the end.
#[tokio::test]
async fn an_import_ends_if_its_caller_may_no_longer_post_the_events() {
    let (world, staff) = (World::new().await, Person::staff());
    let posters = async |posters: &str, event_types: &[&str]| {
        let sql = "update annals.event_types set posters = $1::text::text[] where event_type = any ($2)";
        world
            .superuser()
            .await
            .execute(sql, &[&posters, &event_types])
            .await
            .unwrap();
    };
    for (lost, last) in [
        (&["sale.created"][..], "import.failed"),
        (&["sale.created", "import.failed"], "import.started"),
        (&["import.started"], "import.failed"),
    ] {
        let asked = world.ask_for_upload(&staff, sales()).await;
        world.put_file(&asked, file(50)).await;
        posters("{service}", lost).await;
        assert_eq!(
            world.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
        let upload = world.upload(&staff, &asked).await.expect(200).body;
        assert_eq!(
            (&upload["status"], &upload["failure"]["code"]),
            (&json!("failed"), &json!("event_type_forbidden"))
        );
        assert_eq!(story(&world, &asked).await.last().unwrap(), last);
        assert!(!world.files.0.join(asked.id.to_string()).exists());
        posters("{staff,service}", lost).await;
    }
    assert_eq!(sales_events(&world).await, 0);
}

/// Consumers of an import's events must be able to tell a dry run from a real import.
#[tokio::test]
async fn events_of_a_dry_run_say_that_it_is_one() {
    let (world, staff) = (World::new().await, Person::staff());
    for (dry_run, mode, last) in [
        (false, "partial", "import.completed"),
        (true, "partial", "import.completed"),
        (false, "all_or_nothing", "import.failed"),
        (true, "all_or_nothing", "import.failed"),
    ] {
        let fields = json!({"dataset": "sales", "dry_run": dry_run, "mode": mode});
        let done = world.import(&staff, fields, file(1_000)).await.body;
        let id = done["upload_id"].as_str().unwrap();
        let history = world
            .get(&staff, &format!("/events/aggregate/import/{id}/history"))
            .await
            .expect(200);
        let said: Vec<_> = history
            .items()
            .iter()
            .map(|event| (&event["event_type"], &event["data"]["dry_run"]))
            .collect();
        assert_eq!(said.first().unwrap(), &(&json!("import.requested"), &json!(dry_run)));
        assert_eq!(said.last().unwrap(), &(&json!(last), &json!(dry_run)));
        world.project().await;
        let state = world
            .get(&staff, &format!("/entities/import/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(state["state"]["dry_run"], json!(dry_run));
    }
    world.assert_read_models_are_the_fold().await;
}

/// An import that makes no progress in many attempts fails, visibly.
#[tokio::test]
async fn an_import_without_progress_fails_after_many_attempts() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.put_file(&asked, file(100)).await;
    let owner = world.owner().await;
    let broken =
        "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger no before update on annals.import_partitions for each row when (new.processed_row > 0) execute function public.no()";
    owner.batch_execute(broken).await.unwrap();
    let mut attempts = 0;
    while world.importer().import(asked.id, None).await.is_err() {
        attempts += 1;
        assert!(attempts < 100);
    }
    assert!(attempts > 10, "{attempts}");
    assert_eq!(failure(&world, &staff, &asked).await, "import_stuck");
    assert_eq!(sales_events(&world).await, 0);
}

#[tokio::test]
async fn a_scheduled_run_deletes_old_reports() {
    let (world, staff) = (World::new().await, Person::staff());
    world.import(&staff, sales(), file(1_000)).await;
    assert_eq!(scalar(&world, "select count(*) from annals.rejected_rows").await, 1);
    let sql = "update annals.uploads set finished_at = now() - interval '31 days';
               insert into annals.uploads select (jsonb_populate_record(u, jsonb_build_object('id', gen_random_uuid()))).*
                 from annals.uploads u cross join generate_series(1, 20)";
    world.superuser().await.batch_execute(sql).await.unwrap();
    tick(&world).await;
    assert_eq!(scalar(&world, "select count(*) from annals.rejected_rows").await, 0);
    assert_eq!(
        scalar(&world, "select count(*) from annals.uploads where rows_reported > 0").await,
        0
    );
}

#[tokio::test]
async fn an_upload_is_visible_to_its_owner_and_to_those_who_see_the_tenant() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, sales()).await;
    world.upload(&Person::staff(), &asked).await.expect(202);
    for stranger in [
        Person::user(),
        Person::agent("pricing"),
        Person::staff().in_tenant(Uuid::new_v4()),
    ] {
        assert_eq!(world.upload(&stranger, &asked).await.problem(404), "not_found");
    }
    for other in ["/data/uploads/none", &format!("/data/uploads/{}", Uuid::new_v4())] {
        assert_eq!(world.get(&staff, other).await.problem(404), "not_found");
    }
    let refused = world.post(&Person::agent("pricing"), "/data/uploads", sales()).await;
    assert_eq!(refused.problem(403), "event_type_forbidden");
    assert_eq!(scalar(&world, "select count(*) from annals.uploads").await, 1);
}

#[tokio::test]
async fn fields_are_checked_when_an_upload_is_requested() {
    let (world, staff) = (World::new().await, Person::staff());
    for body in [
        json!([]),
        json!({}),
        json!({"dataset": 5}),
        json!({"dataset": "cats"}),
        json!({"dataset": "sales", "colour": "red"}),
        json!({"dataset": "sales", "mode": "some"}),
        json!({"dataset": "sales", "mapping": {"price": "x"}}),
    ] {
        world.post(&staff, "/data/uploads", body.clone()).await.expect(400);
    }
    let mapping = json!({"dataset": "sales", "mapping": "x"});
    let answer = world.post(&staff, "/data/uploads", mapping).await.expect(400);
    let detail = answer.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("must be a JSON object that maps"), "{detail}");
    let fields = json!({"dataset": "sales", "mapping": {"amount": "Sales"}, "dry_run": true, "max_errors": 7, "delimiter": null});
    let asked = world.ask_for_upload(&staff, fields).await;
    world.put_file(&asked, "sale_date;Sales\n2026-01-31;1.00\n").await;
    world.importer().import(asked.id, None).await.unwrap();
    assert_eq!(
        figures(&world.upload(&staff, &asked).await.expect(200).body),
        [1, 1, 0, 0, 0, 0, 0]
    );
}

/// A deployment without a bucket answers 503, because a bucket can be added.
#[tokio::test]
async fn without_a_bucket_a_large_upload_is_refused() {
    let (mut world, staff) = (World::new().await, Person::staff());
    world.app.storage = annals_storage::Storage::Unconfigured;
    world.router = local::engine::router(world.app.clone());
    let answer = world.post(&staff, "/data/uploads", sales()).await;
    assert_eq!(answer.problem(503), "large_uploads_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(scalar(&world, "select count(*) from annals.uploads").await, 0);
}

/// Events are appended in the name of the caller who requested the upload, with what the server observed of that request.
#[tokio::test]
async fn events_are_appended_in_the_name_of_the_caller_who_requested_the_upload() {
    let (world, service) = (World::new().await, Person::service("till"));
    world.import(&service, sales(), file(10)).await;
    let sql = "select count(*) from annals.events where created_by = 'service:till' and source = 'csv' and correlation_id is not null";
    assert_eq!(scalar(&world, sql).await, 13);
    let sql = "select claims::text || context::text from annals.imports";
    let kept: String = world.superuser().await.query_one(sql, &[]).await.unwrap().get(0);
    assert!(!kept.contains("eyJ"), "no token is kept: {kept}");
}

/// Only Annals itself posts to an import's stream, and attempts of others do not disturb the import.
#[tokio::test]
async fn only_annals_itself_posts_to_an_imports_stream() {
    let (world, staff) = (World::new().await, Person::staff());
    for (event_type, data) in [
        ("import.started", json!({"size_bytes": 1})),
        ("import.failed", json!({"code": "x", "detail": "y"})),
    ] {
        let asked = world.ask_for_upload(&staff, sales()).await;
        let forged =
            json!({"event_type": event_type, "aggregate_type": "import", "aggregate_id": asked.id, "data": data});
        assert_eq!(
            world.post(&staff, "/events", forged).await.problem(403),
            "event_type_forbidden"
        );
        world.put_file(&asked, file(10)).await;
        let outcome = world.importer().import(asked.id, None).await.unwrap();
        assert_eq!(outcome, ImportOutcome::Ended, "{event_type}");
        let upload = world.upload(&staff, &asked).await.expect(200).body;
        assert_eq!(upload["status"], "completed");
    }
}
