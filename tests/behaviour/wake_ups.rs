//! Invariant 5: read models equal the log, whatever happens to the wake-ups. And a part of invariant 6: the live projection is the fold from
//! zero, byte for byte. Every check reads the tables, because reads over the API fold events that are not projected yet.

use std::collections::BTreeSet;

use annals_domain::{AggregateId, AggregateType, Entity, StreamId, TenantId};
use annals_store::{EntityWrite, ProjectionWrite, StoreError, Work};
use futures_util::future::join_all;
use projector::Projector;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

/// Number of random histories; each has a database of its own.
const CASES: u32 = 16;

fn stream(aggregate_type: &str, id: &str) -> StreamId {
    StreamId {
        tenant_id: TenantId::from(Uuid::nil()),
        aggregate_type: AggregateType::try_from(aggregate_type.to_owned()).unwrap(),
        aggregate_id: AggregateId::try_from(id.to_owned()).unwrap(),
    }
}

async fn append_some(world: &World, staff: &Person) {
    for (event_type, id, data) in [
        ("organization.created", "O-1", json!({"name": "One"})),
        (
            "organization.gst.added",
            "O-1",
            json!({"id": "g1", "gstin": "27AAPFU0939F1ZV"}),
        ),
        (
            "product.created",
            "P-1",
            json!({"sku": "S", "name": "Pump", "base_price": 5999.00}),
        ),
        ("organization.gst.updated", "O-1", json!({"id": "g1", "state": "Goa"})),
        (
            "product.price_changed",
            "P-1",
            json!({"old_price": 5999.00, "new_price": 5499.50, "reason": "sale"}),
        ),
        (
            "sale.created",
            "S-1",
            json!({"sale_date": "2018-11-08", "amount_cents": 26196, "currency": "USD"}),
        ),
    ] {
        world.append(staff, event_type, id, data).await;
    }
}

#[tokio::test]
async fn wake_ups_may_arrive_twice_and_in_reverse_order() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_some(&world, &staff).await;
    let mut wake_ups = world.take_wake_ups().await;
    assert!(!wake_ups.is_empty());
    wake_ups.extend(wake_ups.clone());
    wake_ups.reverse();
    assert!(world.deliver(wake_ups.clone()).await.is_empty());
    world.assert_read_models_are_the_fold().await;
    let before = world.read_models().await;
    assert!(world.deliver(wake_ups).await.is_empty());
    assert_eq!(world.read_models().await, before, "a late wake-up changes nothing");
}

#[tokio::test]
async fn nothing_is_projected_before_its_wake_up_and_a_sweep_finds_what_none_reached() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_some(&world, &staff).await;
    assert!(world.rows_of("annals.entities").await.is_empty());
    drop(world.take_wake_ups().await);
    assert_eq!(world.sweep().await, 3);
    world.assert_read_models_are_the_fold().await;
    assert_eq!(world.sweep().await, 0);
}

#[tokio::test]
async fn one_wake_up_projects_everything_that_a_stream_has_left() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let event = |place: usize| json!({"event_type": "product.stock_updated", "aggregate_type": "product", "aggregate_id": "P", "data": {"new_stock": place}});
    let events: Vec<Value> = (0..450).map(event).collect();
    world
        .post(&staff, "/events", json!({"events": events}))
        .await
        .expect(201);
    world.project().await;
    world.assert_read_models_are_the_fold().await;
    let rows = world.rows_of("public.products").await;
    assert_eq!((&rows[0]["version"], &rows[0]["stock"]), (&json!(450), &json!(449)));
}

/// A read of work is limited by bytes, too. It is cut long before it has a hundred events of a stream.
#[tokio::test]
async fn a_sweep_projects_everything_however_large_events_are() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let memo = json!({"event_type": "memo.written", "aggregate_type": "memo", "description": "A memo.", "version": "1.0",
        "schema": {"type": "object"}, "example": {}, "effect": "merge", "posters": ["staff"]});
    world.post(&staff, "/events/types", memo).await.expect(201);
    // Random data, which PostgreSQL cannot compress.
    let text = || -> String { (0..1_600).map(|_| Uuid::new_v4().simple().to_string()).collect() };
    for stream in ["M-1", "M-2", "M-3"] {
        let event = |_| json!({"event_type": "memo.written", "aggregate_type": "memo", "aggregate_id": stream, "data": {"text": text()}});
        let events: Vec<Value> = (0..70).map(event).collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    drop(world.take_wake_ups().await);
    world.sweep().await;
    let left = "select count(*) from annals.heads where projected_version < version";
    assert_eq!(
        world
            .superuser()
            .await
            .query_one(left, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
    world.assert_read_models_are_the_fold().await;
}

/// Several projectors get the same streams at the same time, while events are appended to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_projectors_of_the_same_streams_do_not_disturb_each_other() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let streams: Vec<StreamId> = (0..40)
        .map(|place| stream("organization", &format!("O-{place}")))
        .collect();
    let world = &world;
    let append = async {
        for round in 0..6 {
            let event = |s: &StreamId| {
                let data = json!({"id": format!("b{}", round % 4), "account_number": format!("{round}000")});
                json!({"event_type": "organization.bank_account.added", "aggregate_type": "organization",
                       "aggregate_id": s.aggregate_id, "data": data})
            };
            let events: Vec<Value> = streams.iter().map(event).collect();
            world
                .post(&staff, "/events", json!({"events": events}))
                .await
                .expect(201);
        }
    };
    let project = |place: usize| {
        let mut mine = streams.clone();
        mine.rotate_left(place * 7);
        async move {
            let projector = Projector::new(world.app.store.clone(), None);
            for _ in 0..8 {
                for some in mine.chunks(9 + place) {
                    projector.project(some).await.expect("a projection");
                }
            }
        }
    };
    tokio::join!(append, join_all((0..5).map(project)));
    world.projector.project(&streams).await.unwrap();
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_wake_up_ahead_of_its_commit_does_no_harm() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let early = vec![annals_queue::encode(&[stream("customer", "C-9"), stream("nonsense", "never")]).unwrap()];
    assert!(world.deliver(early.clone()).await.is_empty());
    assert!(world.rows_of("annals.entities").await.is_empty());
    world
        .append(&staff, "customer.created", "C-9", json!({"name": "Ada"}))
        .await;
    assert!(world.deliver(early).await.is_empty());
    world.assert_read_models_are_the_fold().await;
}

/// A projector read a stream, paused, and writes after others have already written the same, less or more.
#[tokio::test]
async fn a_projector_that_was_overtaken_by_another_is_refused() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let late = [stream("customer", "C")];
    for stale_version in [2, 4] {
        for (event_type, data) in [
            ("customer.created", json!({"name": "Ada"})),
            ("customer.profile_updated", json!({"phone": "1"})),
        ] {
            world.append(&staff, event_type, "C", data).await;
        }
        let Work {
            revision,
            streams: work,
            ..
        } = world.app.store.read_work(&late, 100).await.unwrap();
        let mut entity = Entity::before(work[0].events[0].text.created_at);
        entity.version = stale_version;
        let write = ProjectionWrite {
            entities: vec![EntityWrite {
                stream: late[0].clone(),
                started_by: work[0].started_by.clone(),
                from_version: 0,
                entity,
            }],
            ..ProjectionWrite::default()
        };
        if stale_version == 2 {
            world.project().await;
        }
        let before = world.read_models().await;
        let tables = world.app.store.state_tables().await.unwrap();
        let refused = world.app.store.write_projection(revision, &tables, &write).await;
        assert!(matches!(refused, Err(StoreError::Contention(_))), "{refused:?}");
        assert_eq!(world.read_models().await, before);
    }
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

/// One event of a random history: (stream, event type, data).
fn arbitrary_event() -> impl Strategy<Value = (String, &'static str, Value)> {
    let child = |prefix: &'static str| (1..4_u8).prop_map(move |id| format!("{prefix}{id}"));
    let organization = prop_oneof![
        3 => "[A-Za-z ]{1,8}".prop_map(|name| ("organization.created", json!({"name": format!("x{name}"), "type": "corporation"}))),
        3 => any::<u8>().prop_map(|n| ("organization.updated", json!({"changes": {"phone": {"old": null, "new": n.to_string()}, "country": {"old": "was", "new": null}}}))),
        1 => Just(("organization.deleted", json!({"name": "gone"}))),
        4 => (child("g"), any::<bool>()).prop_map(|(id, primary)| ("organization.gst.added", json!({"id": id, "gstin": "27AAPFU0939F1ZV", "is_primary": primary}))),
        4 => (child("g"), "[A-Z]{1,4}").prop_map(|(id, state)| ("organization.gst.updated", json!({"id": id, "state": state}))),
        3 => child("g").prop_map(|id| ("organization.gst.removed", json!({"id": id}))),
        3 => (child("b"), 1000..9999_u32).prop_map(|(id, number)| ("organization.bank_account.added", json!({"id": id, "account_number": number.to_string()}))),
        2 => (child("b"), "[a-z]{1,4}").prop_map(|(id, branch)| ("organization.bank_account.updated", json!({"id": id, "branch": branch}))),
        2 => (child("f"), 1990..2090_u32).prop_map(|(id, year)| ("organization.financial_year.added", json!({"id": id, "start_date": format!("{year}-04-01"), "end_date": format!("{}-03-31", year + 1)}))),
        2 => (child("d"), 1..999_999_999_999_u64).prop_map(|(id, next)| ("organization.document_series.added", json!({"id": id, "document_type": "invoice", "next_number": next}))),
    ];
    let product = prop_oneof![
        (0..10_000_000_u64).prop_map(|cents| (
            "product.created",
            json!({"sku": "S", "name": "Pump", "base_price": decimal(cents)})
        )),
        (0..10_000_000_u64).prop_map(|cents| (
            "product.price_changed",
            json!({"old_price": null, "new_price": decimal(cents), "reason": "r"})
        )),
        (0..1_000_u64).prop_map(|stock| ("product.stock_updated", json!({"old_stock": null, "new_stock": stock}))),
        "[a-zé☃]{1,6}".prop_map(|name| (
            "product.updated",
            json!({"changes": {"name": {"old": null, "new": name}}})
        )),
        Just(("product.deleted", json!({}))),
    ];
    let customer = prop_oneof![
        "[a-z]{1,6}".prop_map(|name| (
            "customer.registered",
            json!({"name": name, "email": "a@example.com", "not_a_column": [1, {"x": 1.50}]})
        )),
        "[0-9]{1,6}".prop_map(|phone| (
            "customer.profile_updated",
            json!({"phone": phone, "created_date": "2024-02-29"})
        )),
    ];
    let sale = any::<i64>().prop_map(|cents| {
        (
            "sale.created",
            json!({"sale_date": "2018-11-08", "amount_cents": cents, "currency": "USD", "quantity": 2}),
        )
    });
    let order = prop_oneof![
        (0..99_u32).prop_map(|total| (
            "order.created",
            json!({"customer_id": "C-1", "total_cents": total, "items": [{"sku": "S", "quantity": 1}]})
        )),
        (1..99_u32).prop_map(|amount| ("order.payment_received", json!({"amount_cents": amount}))),
        "[a-z]{1,6}".prop_map(|status| ("order.status_changed", json!({"new_status": status}))),
    ];
    prop_oneof![
        5 => (1..4_u8, organization).prop_map(|(n, (kind, data))| (format!("O-{n}"), kind, data)),
        3 => (1..3_u8, product).prop_map(|(n, (kind, data))| (format!("P-{n}"), kind, data)),
        2 => (1..3_u8, customer).prop_map(|(n, (kind, data))| (format!("C-{n}"), kind, data)),
        1 => (1..9_u8, sale).prop_map(|(n, (kind, data))| (format!("S-{n}"), kind, data)),
        2 => (1..3_u8, order).prop_map(|(n, (kind, data))| (format!("R-{n}"), kind, data)),
    ]
}

/// A decimal with two places, like a price in a payload, without a float in between.
fn decimal(cents: u64) -> Value {
    serde_json::from_str(&format!("{}.{:02}", cents / 100, cents % 100)).unwrap()
}

/// What happens between two appends: wake-ups of these streams arrive, at several concurrent projectors if there are several.
type Deliveries = Vec<Vec<Index>>;

/// Rounds of events (id, type, data) that are appended together, each with the deliveries after it.
type History = Vec<(Vec<(String, &'static str, Value)>, Deliveries)>;

fn arbitrary_history() -> impl Strategy<Value = History> {
    let events = prop::collection::vec(arbitrary_event(), 1..8);
    let deliveries = prop::collection::vec(prop::collection::vec(any::<Index>(), 0..6), 0..4);
    prop::collection::vec((events, deliveries), 1..8)
}

#[test]
fn any_history_under_any_delivery_gives_the_fold_from_zero() {
    let config = Config {
        cases: CASES,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runner
        .run(&arbitrary_history(), |history| {
            runtime.block_on(play(history));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

async fn play(history: History) {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    // The tenant's own version, which accepts any field, so that the state may have more fields than the table has columns.
    let mut kind = world
        .get(&staff, "/events/types/customer.registered")
        .await
        .expect(200)
        .body;
    kind["schema"]["additionalProperties"] = json!(true);
    let open = json!({"event_type": "customer.registered", "version": "1.1", "schema": kind["schema"], "example": kind["example"]});
    world.post(&staff, "/events/types", open).await.expect(201);
    let mut known: BTreeSet<StreamId> = BTreeSet::new();
    for (events, deliveries) in history {
        let members: Vec<Value> = events
            .iter()
            .map(|(id, event_type, data)| {
                let aggregate_type = event_type.split('.').next().unwrap();
                known.insert(stream(aggregate_type, id));
                json!({"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": id, "data": data})
            })
            .collect();
        world
            .post(&staff, "/events", json!({"events": members}))
            .await
            .expect(201);
        // The real wake-ups are lost. Instead, some of the earlier streams are named, any number of times.
        drop(world.take_wake_ups().await);
        let names: Vec<&StreamId> = known.iter().collect();
        let woken = deliveries.into_iter().map(|picks| {
            let streams: Vec<StreamId> = picks.iter().map(|pick| (*pick.get(&names)).clone()).collect();
            let world = &world;
            async move { world.deliver(vec![annals_queue::encode(&streams).unwrap()]).await }
        });
        for failed in join_all(woken).await {
            assert!(failed.is_empty(), "{failed:?}");
        }
    }
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
    // The streams of days that the sweep has announced are included.
    for head in world.rows_of("annals.heads").await {
        known.insert(stream(
            head["aggregate_type"].as_str().unwrap(),
            head["aggregate_id"].as_str().unwrap(),
        ));
    }
    let live = world.read_models().await;
    for batches in other_batchings(&known) {
        world.delete_read_models().await;
        for batch in batches {
            world.projector.project(&batch).await.unwrap();
        }
        assert_eq!(world.read_models().await, live, "the result depends on the batches");
    }
}

/// Projects from zero in other batches: everything together, and one stream after the other in reverse order.
fn other_batchings(known: &BTreeSet<StreamId>) -> [Vec<Vec<StreamId>>; 2] {
    let all: Vec<StreamId> = known.iter().cloned().collect();
    let one_by_one = all.iter().rev().map(|s| vec![s.clone()]).collect();
    [vec![all], one_by_one]
}
