//! Recorded payloads as Lambda delivers them: queue messages with partial failures, and ticks of the schedules.

use annals_domain::{AggregateId, AggregateType, StreamId, TenantId};
use annals_queue::Queue;
use local::engine::App;
use projector::{Answer, Invocation};
use serde_json::{Value, json};
use tests::{Person, World};
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

const WAKE_UP: &str = include_str!("../events/sqs_wake_up.json");
const MIXED_BATCH: &str = include_str!("../events/sqs_mixed_batch.json");
const FOREIGN_BODIES: &str = include_str!("../events/sqs_foreign_bodies.json");
const TICK: &str = include_str!("../events/schedule_tick.json");
const REBUILDS: &str = include_str!("../events/schedule_rebuilds.json");

/// Passes a payload through as Lambda's runtime does: from bytes to the type, and the answer back to JSON.
async fn invoke(world: &World, payload: &str) -> Value {
    let invocation: Invocation = serde_json::from_slice(payload.as_bytes()).expect("an invocation");
    serde_json::to_value(world.projector.handle(invocation).await.expect("an answer")).unwrap()
}

fn failures(answer: &Value) -> Vec<&str> {
    let failures = answer["batchItemFailures"].as_array().expect("an answer to a batch");
    failures
        .iter()
        .map(|failure| failure["itemIdentifier"].as_str().unwrap())
        .collect()
}

async fn append_events_for_the_fixtures(world: &World) {
    let staff = Person::staff();
    world
        .append(&staff, "customer.created", "CUST-0042", json!({"name": "Ada"}))
        .await;
    let sale = json!({"sale_date": "2018-11-08", "amount_cents": 26196, "currency": "USD"});
    world.append(&staff, "sale.created", "32", sale).await;
}

#[tokio::test]
async fn a_recorded_wake_up_projects_the_streams_it_names() {
    let world = World::without_requirements().await;
    append_events_for_the_fixtures(&world).await;
    world
        .append(&Person::staff(), "customer.created", "another", json!({"name": "N"}))
        .await;
    assert_eq!(invoke(&world, WAKE_UP).await, json!({"batchItemFailures": []}));
    assert_eq!(world.rows_of("annals.entities").await.len(), 2, "and no others");
    assert_eq!(world.rows_of("public.sales").await[0]["amount_cents"], 26196);
    assert_eq!(world.rows_of("public.customers").await[0]["name"], "Ada");
}

#[tokio::test]
async fn in_a_mixed_batch_exactly_the_messages_at_fault_fail() {
    let world = World::without_requirements().await;
    append_events_for_the_fixtures(&world).await;
    let answer = invoke(&world, MIXED_BATCH).await;
    assert_eq!(
        failures(&answer),
        [
            "00000000-0000-4000-8000-000000000002",
            "00000000-0000-4000-8000-000000000004"
        ]
    );
    assert_eq!(world.rows_of("public.customers").await.len(), 1);
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn each_message_in_a_foreign_format_fails() {
    let world = World::without_requirements().await;
    let answer = invoke(&world, FOREIGN_BODIES).await;
    let recorded: Value = serde_json::from_str(FOREIGN_BODIES).unwrap();
    let recorded: Vec<&Value> = recorded["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["messageId"])
        .collect();
    assert!(recorded.len() > 3);
    assert_eq!(failures(&answer), recorded);
}

#[tokio::test]
async fn a_tick_of_the_schedule_of_rebuilds_runs_those_that_are_needed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_events_for_the_fixtures(&world).await;
    world.project().await;
    world
        .post(&staff, "/projector/rebuild", json!({"module": "sale"}))
        .await
        .expect(202);
    assert_eq!(invoke(&world, REBUILDS).await, Value::Null);
    let status = world.get(&staff, "/projector/status").await.expect(200);
    assert_eq!(status.body["rebuilds"][0]["status"], "done");
}

#[tokio::test]
async fn a_tick_of_the_schedule_sweeps() {
    let world = World::without_requirements().await;
    append_events_for_the_fixtures(&world).await;
    let invocation: Invocation = serde_json::from_str(TICK).unwrap();
    assert!(matches!(invocation, Invocation::Tick(_)), "{invocation:?}");
    let mut swept = 0;
    while world.app.store.sweep_position().await.unwrap() < world.last_event_number().await {
        let answer = invoke(&world, TICK).await;
        swept += answer["streams"].as_u64().expect("a sweep's answer");
    }
    assert_eq!(swept, 2);
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_batch_is_never_read_as_a_tick() {
    for payload in [WAKE_UP, MIXED_BATCH] {
        let Invocation::Messages { records } = serde_json::from_str(payload).unwrap() else {
            panic!("read as a tick, its failures would be lost");
        };
        assert!(
            records
                .iter()
                .all(|record| record.message_id.is_some() && record.body.is_some())
        );
    }
}

#[tokio::test]
async fn each_invalid_body_fails_alone() {
    let world = World::without_requirements().await;
    append_events_for_the_fixtures(&world).await;
    let good = world.take_wake_ups().await;
    let nil = Uuid::nil();
    let mut bodies: Vec<String> = good.clone();
    bodies.extend(
        [
            "",
            "{}",
            "null",
            "hello",
            "\u{0}",
            r#"{"streams":{}}"#,
            r#"{"streams":[["x"]]}"#,
            r#"{"sweep":{"now":true}}"#,
            r#"{"streams":[],"sweep":{}}"#,
        ]
        .map(str::to_owned),
    );
    bodies.push(format!(r#"{{"streams":[["{nil}","Sale","1"]]}}"#));
    bodies.push(format!(r#"{{"streams":[["{nil}","sale","{}"]]}}"#, "x".repeat(129)));
    bodies.push("[".repeat(100_000));
    let expected: Vec<String> = (good.len()..bodies.len()).map(|place| place.to_string()).collect();
    let mut failed = world.deliver(bodies).await;
    failed.sort_by_key(|id| id.parse::<usize>().unwrap());
    assert_eq!(failed, expected);
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn empty_and_unknown_wake_ups_are_harmless() {
    let world = World::without_requirements().await;
    assert!(world.deliver(Vec::new()).await.is_empty());
    let bodies = vec![
        r#"{"streams":[]}"#.to_owned(),
        annals_queue::encode(&streams(3)).unwrap(),
    ];
    assert!(world.deliver(bodies).await.is_empty());
    assert!(world.rows_of("annals.entities").await.is_empty());
}

#[tokio::test]
async fn while_the_database_is_down_every_message_fails_and_so_does_a_tick() {
    let away = World::at(
        "gone".to_owned(),
        "postgresql://nobody:nothing@127.0.0.1:1/nowhere?sslmode=disable",
    );
    let answer = invoke(&away, MIXED_BATCH).await;
    assert_eq!(failures(&answer).len(), 4);
    let answer = invoke(&away, WAKE_UP).await;
    assert_eq!(failures(&answer), ["059f36b4-87a3-44ab-83d2-661975830a7d"]);
    let tick: Invocation = serde_json::from_str(TICK).unwrap();
    assert!(away.projector.handle(tick).await.is_err());
}

/// One message that cannot be projected must not make the others fail: after the batch has failed, each is tried alone.
#[tokio::test]
async fn if_a_stream_cannot_be_projected_now_only_its_own_message_fails() {
    let world = World::without_requirements().await;
    append_events_for_the_fixtures(&world).await;
    world.begin_outage("public.sales").await;
    let bodies = world.take_wake_ups().await;
    assert_eq!(bodies.len(), 2);
    assert_eq!(world.deliver(bodies.clone()).await, ["1"]);
    assert_eq!(world.rows_of("public.customers").await.len(), 1);
    world.end_outage("public.sales").await;
    assert!(world.deliver(bodies).await.is_empty());
    world.assert_read_models_are_the_fold().await;
}

fn streams(count: usize) -> Vec<StreamId> {
    let name = |place: usize| StreamId {
        tenant_id: TenantId::from(Uuid::max()),
        aggregate_type: AggregateType::try_from("a".repeat(50)).unwrap(),
        // The longest possible id in bytes and in JSON: four bytes for each character.
        aggregate_id: AggregateId::try_from(format!("{place:06}{}", "\u{1f600}".repeat(122))).unwrap(),
    };
    (0..count).map(name).collect()
}

/// SQS allows 256 KiB. A larger wake-up would be refused, and its streams would wait for the sweep.
#[tokio::test]
async fn messages_are_as_few_as_possible_and_none_is_too_large() {
    let (sender, mut receiver) = unbounded_channel();
    let queue = Queue::Channel(sender);
    let many = streams(1_000);
    queue.wake(many.iter().cloned().chain(many.iter().cloned())).await;
    drop(queue);
    let mut sizes = Vec::new();
    while let Some(body) = receiver.recv().await {
        assert!(annals_queue::decode(&body).is_ok());
        sizes.push(body.len());
    }
    assert!(
        (3..=5).contains(&sizes.len()),
        "duplicate names are sent once: {sizes:?}"
    );
    assert!(sizes.iter().all(|size| *size <= 256 * 1024), "{sizes:?}");
}

#[tokio::test]
async fn an_append_of_five_hundred_sends_one_message() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let event = |place: usize| {
        json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": format!("C-{}", place % 450),
               "data": {"name": "N"}})
    };
    let events: Vec<Value> = (0..500).map(event).collect();
    world
        .post(&staff, "/events", json!({"events": events}))
        .await
        .expect(201);
    let bodies = world.take_wake_ups().await;
    assert_eq!(bodies.len(), 1);
    assert!(world.deliver(bodies).await.is_empty());
    world.assert_read_models_are_the_fold().await;
}

/// If a wake-up cannot be sent, the append succeeds all the same.
#[tokio::test]
async fn an_append_succeeds_whether_or_not_its_wake_up_can_be_sent() {
    let mut world = World::without_requirements().await;
    let (sender, receiver) = unbounded_channel();
    drop(receiver);
    world.router = local::engine::router(App {
        queue: Queue::Channel(sender),
        ..world.app.clone()
    });
    append_events_for_the_fixtures(&world).await;
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
}

#[test]
fn answers_have_the_format_that_lambda_reads() {
    let swept = Answer::Tick(projector::Swept {
        position: 5,
        streams: 1,
    });
    assert_eq!(
        serde_json::to_value(swept).unwrap(),
        json!({"position": 5, "streams": 1})
    );
}
