//! `GET /events` and similar lists: every filter alone and in combination, compared with the whole log filtered in Rust.

mod answers;
mod fields;
mod minutes;
mod params;
mod plans;

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

/// A filter as a query parameter and as a predicate on an event.
struct Filter {
    name: &'static str,
    query: String,
    holds: Box<dyn Fn(&Value) -> bool>,
}

fn filter(name: &'static str, value: &str, holds: impl Fn(&Value) -> bool + 'static) -> Filter {
    Filter {
        name,
        query: format!("{name}={value}"),
        holds: Box::new(holds),
    }
}

/// Filters on text fields, by equality.
fn equal(name: &'static str, value: &str) -> Filter {
    let wanted = value.to_owned();
    filter(name, value, move |event| event[name] == wanted.as_str())
}

struct Scene {
    world: World,
    staff: Person,
    ada: Person,
    /// All events in the form of `GET /events`, oldest first.
    all: Vec<Value>,
}

/// About two dozen events of four actors in eight streams of three types; the first half is projected.
async fn scene() -> Scene {
    let world = World::without_requirements().await;
    let (staff, ada, agent, service) = (
        Person::staff(),
        Person::user(),
        Person::agent("pricing"),
        Person::service("crm"),
    );
    let mut first = None;
    for round in 0..2 {
        for place in ["A", "B"] {
            let id = format!("{place}{round}");
            let post = async |person: &Person, event_type: &str, more: Value| {
                let aggregate_type = event_type.split('.').next().unwrap();
                let data = match aggregate_type {
                    "customer" => json!({"name": "N", "email": "a@b.cd"}),
                    "order" => json!({"customer_id": "C"}),
                    _ => json!({"decision": "D"}),
                };
                let mut event = json!({"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": id, "data": data});
                for (name, value) in more.as_object().unwrap() {
                    event[name] = value.clone();
                }
                world.post(person, "/events", event).await.expect(201).body
            };
            let event = post(&ada, "customer.registered", json!({"correlation_id": "flow-1"})).await;
            let cause = first.get_or_insert(event)["id"].clone();
            post(
                &staff,
                "order.created",
                json!({"correlation_id": "flow-1", "causation_id": cause, "source": "web", "command_id": format!("cmd-{place}")}),
            )
            .await;
            post(
                &staff,
                "order.placed",
                json!({"correlation_id": format!("flow-{place}")}),
            )
            .await;
            post(
                &agent,
                "agent.decision_proposed",
                json!({"causation_id": cause, "source": "batch", "command_id": "cmd-A"}),
            )
            .await;
            post(&service, "customer.profile_updated", json!({"created_by": ada.actor()})).await;
            post(
                &service,
                "order.fulfilled",
                json!({"created_by": "agent:pricing", "user_id": ada.sub, "data": {"carrier": "X"}}),
            )
            .await;
        }
        if round == 0 {
            world.project().await;
        }
    }
    let all = world.all_pages(&staff, "/events?order=asc").await;
    assert_eq!(all.len(), 24);
    Scene { world, staff, ada, all }
}

impl Scene {
    fn filters(&self) -> Vec<Filter> {
        let middle = self.all[12]["created_at"].as_str().unwrap().to_owned();
        let (from, to) = (middle.clone(), middle.clone());
        let (ada, staff) = (self.ada.sub.to_string(), self.staff.sub.to_string());
        let starts =
            |prefix: &'static str| move |event: &Value| event["event_type"].as_str().unwrap().starts_with(prefix);
        vec![
            equal("event_type", "customer.registered"),
            filter("event_type", "order.*", starts("order.")),
            filter(
                "event_type",
                "order.*&event_type=customer.registered&event_type=order.placed",
                move |e| starts("order.")(e) || e["event_type"] == "customer.registered",
            ),
            filter("event_type", "nothing.*", |_| false),
            filter("event_type", "customer.vanished", |_| false),
            equal("aggregate_type", "order"),
            equal("aggregate_type", "nothing"),
            equal("aggregate_id", "A0"),
            equal("user_id", &ada),
            equal("user_id", &staff),
            filter("user_id", &Uuid::new_v4().to_string(), |_| false),
            equal("created_by", "agent:pricing"),
            equal("created_by", &self.ada.actor()),
            equal("correlation_id", "flow-1"),
            equal("causation_id", self.all[0]["id"].as_str().unwrap()),
            equal("source", "web"),
            equal("source", "api"),
            equal("source", "nowhere"),
            equal("command_id", "cmd-A"),
            filter("from", &middle, move |e| {
                e["created_at"].as_str().unwrap() >= from.as_str()
            }),
            filter("to", &middle, move |e| e["created_at"].as_str().unwrap() < to.as_str()),
            filter("processed", "true", |e| e["processed"] == true),
            filter("processed", "false", |e| e["processed"] == false),
        ]
    }

    async fn check(&self, filters: &[&Filter]) {
        let query: Vec<&str> = filters.iter().map(|f| f.query.as_str()).collect();
        let mut expected: Vec<Value> = self
            .all
            .iter()
            .filter(|e| filters.iter().all(|f| (f.holds)(e)))
            .cloned()
            .collect();
        for order in ["asc", "desc"] {
            let path = format!("/events?{}&order={order}", query.join("&"));
            assert_eq!(
                self.world.get(&self.staff, &path).await.expect(200).items(),
                &expected,
                "{path}"
            );
            assert_eq!(
                self.world.all_pages(&self.staff, &format!("{path}&limit=4")).await,
                expected,
                "{path} page by page"
            );
            expected.reverse();
        }
    }
}

#[tokio::test]
async fn every_filter_works_alone_and_with_every_other() {
    let scene = scene().await;
    let filters = scene.filters();
    for (place, one) in filters.iter().enumerate() {
        scene.check(&[one]).await;
        for other in filters[place + 1..].iter().filter(|other| other.name != one.name) {
            scene.check(&[one, other]).await;
        }
    }
}

#[tokio::test]
async fn all_filters_work_together() {
    let scene = scene().await;
    let last = &scene.all[1];
    let text = |field: &str| last[field].as_str().unwrap().to_owned();
    let filters: Vec<Filter> = scene.filters();
    let pick = |name: &str, place: usize| filters.iter().filter(|f| f.name == name).nth(place).unwrap();
    let all = [
        pick("event_type", 1),
        pick("aggregate_type", 0),
        pick("aggregate_id", 0),
        pick("user_id", 1),
        pick("correlation_id", 0),
        pick("causation_id", 0),
        pick("source", 0),
        pick("command_id", 0),
        pick("to", 0),
        pick("processed", 0),
    ];
    scene.check(&all).await;
    let query: Vec<&str> = all.iter().map(|f| f.query.as_str()).collect();
    let found = scene
        .world
        .get(&scene.staff, &format!("/events?{}", query.join("&")))
        .await
        .expect(200);
    assert_eq!(
        found
            .items()
            .iter()
            .map(|e| e["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>(),
        [text("id")]
    );
}

#[tokio::test]
async fn the_newest_event_comes_first_unless_the_order_is_given() {
    let scene = scene().await;
    let mut newest = scene.all.clone();
    newest.reverse();
    assert_eq!(
        &newest,
        scene.world.get(&scene.staff, "/events").await.expect(200).items()
    );
    let history = scene
        .world
        .get(&scene.staff, "/events/aggregate/order/A0/history")
        .await
        .expect(200);
    let versions: Vec<i64> = history
        .items()
        .iter()
        .map(|e| e["aggregate_version"].as_i64().unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    let unprocessed = scene.world.get(&scene.staff, "/events/unprocessed").await.expect(200);
    assert_eq!(unprocessed.items(), &scene.all[12..]);
}

#[tokio::test]
async fn from_is_inclusive_and_to_is_not() {
    let scene = scene().await;
    let at = |place: usize| scene.all[place]["created_at"].as_str().unwrap();
    for (query, expected) in [
        (format!("from={}&to={}", at(3), at(6)), &scene.all[3..6]),
        (format!("from={}&to={}", at(3), at(3)), &scene.all[3..3]),
        (format!("from={}&to={}", at(6), at(3)), &scene.all[6..6]),
        (format!("from={}", at(23)), &scene.all[23..]),
        (format!("to={}", at(0)), &scene.all[..0]),
        (format!("from={}", at(3).replace('Z', "%2B00:00")), &scene.all[3..]),
        (format!("from={}", at(3).replace('Z', "+00:00")), &scene.all[3..]),
    ] {
        let found = scene
            .world
            .get(&scene.staff, &format!("/events?order=asc&{query}"))
            .await
            .expect(200);
        assert_eq!(found.items(), expected, "{query}");
    }
}

#[tokio::test]
async fn parameters_that_are_unknown_repeated_or_unreadable_are_refused() {
    let scene = scene().await;
    for query in [
        "colour=red",
        "Event_type=order.created",
        "event_types=order.created",
        "user_id=ada",
        "user_id=",
        "causation_id=1",
        "from=yesterday",
        "to=",
        "processed=yes",
        "processed=",
        "order=newest",
        "order=ASC",
        "aggregate_id=A0&aggregate_id=B0",
        "order=asc&order=asc",
        "from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z",
        "event_type=order.created,order.placed",
        "event_type=order.created&event_type=order.*,customer.*",
        "aggregate_type=order,customer",
    ] {
        let answer = scene.world.get(&scene.staff, &format!("/events?{query}")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{query}");
        let pointer = format!("?{}", query.split('=').next().unwrap());
        assert_eq!(answer.body["errors"][0]["pointer"], pointer.as_str());
    }
    assert_eq!(
        scene
            .world
            .get(&scene.staff, "/events?aggregate_id=a%00b")
            .await
            .problem(400),
        "nul_character"
    );
    let id = scene.all[0]["id"].as_str().unwrap();
    for path in [
        &*format!("/events/{id}"),
        "/events/types",
        "/events/types/order.created",
        "/events/stats",
        "/events/unprocessed",
        "/events/aggregate/order/A0/history",
        "/audit/entity/A0",
        "/audit/user/x",
        "/audit/recent",
        "/audit/count/A0",
        "/entities/order/A0",
        "/entities/order",
        "/projector/status",
        "/status",
    ] {
        scene.world.get(&scene.staff, path).await.expect(200);
        let answer = scene.world.get(&scene.staff, &format!("{path}?colour=red")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_are_answered_by_complete_problems() {
    let scene = scene().await;
    for path in [
        "/nothing",
        "/events/1",
        "/events/018f8a2e-0000-7000-8000-000000000001",
        "/events/types/order.vanished",
        "/entities/nothing",
        "/entities/nothing/A0",
        "/entities/order/nothing",
        "/events/aggregate/order/nothing/history",
        "/events/aggregate/order/A0",
        "/events/aggregate/customer/a%0Ab/history",
    ] {
        assert_eq!(
            scene.world.get(&scene.staff, path).await.problem(404),
            "not_found",
            "{path}"
        );
    }
    for path in [
        "/entities/order/%FF",
        "/events/aggregate/order/%FF/history",
        "/events/%FF",
        "/audit/entity/%FF",
        "/audit/user/%C3",
    ] {
        let answer = scene.world.get(&scene.staff, path).await;
        assert_eq!(answer.problem(400), "malformed_path", "{path}");
    }
    for path in [
        "/audit/entity/%00",
        "/audit/user/%00",
        "/audit/count/%00",
        "/entities/order/%00",
        "/entities/%00",
        "/events/aggregate/order/%00/history",
        "/events/types/%00",
    ] {
        let answer = scene.world.get(&scene.staff, path).await;
        assert_eq!(answer.problem(400), "nul_character", "{path}");
    }
    let answer = scene.world.put(&scene.staff, "/events", json!({})).await;
    assert_eq!(answer.problem(405), "method_not_allowed");
}
