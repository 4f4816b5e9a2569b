//! Checkpoints have the fields of the documentation's table: `last_event_id`, `event_count`, `metadata`.

use serde_json::{Value, json};
use tests::{DataDir, Person, World, annals_local};

async fn replay(world: &World, arguments: &[&str]) -> std::process::Output {
    let mut command = annals_local(&DataDir::fresh().0);
    let tenant = uuid::Uuid::nil().to_string();
    command
        .env("DATABASE_URL", &world.address)
        .args(["replay", "--checkpoint", "daily_replay", "--tenant", &tenant])
        .args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

async fn shown(world: &World, staff: &Person) -> Value {
    let mut status = world.get(staff, "/projector/status").await.expect(200).body;
    status["replays"][0].take()
}

#[tokio::test]
async fn a_checkpoint_shows_its_last_event_the_event_count_and_its_consumers_metadata() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    let last = world
        .append(&staff, "customer.created", "C-2", json!({"name": "Eve"}))
        .await;
    world
        .append(&staff, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    let metadata = r#"{"owner": "reporting", "share": 0.10}"#;
    let done = replay(&world, &["--type", "customer.*", "--metadata", metadata]).await;
    assert!(done.status.success(), "{done:?}");
    let checkpoint = shown(&world, &staff).await;
    assert_eq!(
        (
            &checkpoint["checkpoint"],
            &checkpoint["event_count"],
            &checkpoint["last_event_id"]
        ),
        (&json!("daily_replay"), &json!(2), &last["id"])
    );
    assert_eq!(
        checkpoint["metadata"].to_string(),
        r#"{"owner":"reporting","share":0.10}"#
    );
    // A run without metadata keeps them, and a run without events keeps the last event.
    let done = replay(&world, &["--type", "customer.*"]).await;
    assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
    let again = shown(&world, &staff).await;
    assert_eq!(
        (&again["metadata"], &again["last_event_id"]),
        (&checkpoint["metadata"], &last["id"])
    );
    let done = replay(&world, &["--type", "customer.*", "--metadata", "{}"]).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(shown(&world, &staff).await["metadata"], json!({}));
}

#[tokio::test]
async fn metadata_other_than_an_object_are_refused_before_anything_is_read() {
    let world = World::new().await;
    let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(16 * 1024));
    for wrong in [
        "[]",
        "owner",
        r#"{"a": 1, "a": 2}"#,
        r#"{"a": "\u0000"}"#,
        r#"{"$serde_json::private::Number": "1"}"#,
        &long,
    ] {
        let refused = replay(&world, &["--metadata", wrong]).await;
        assert_eq!(refused.status.code(), Some(2), "{wrong:.50}: {refused:?}");
    }
    let kept = "select count(*) from annals.checkpoints where name <> 'sweep'";
    let owner = world.owner().await;
    assert_eq!(owner.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 0);
}
