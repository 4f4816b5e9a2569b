//! Invariant 6 for random catalogs, histories and kills: live read models, rebuilt ones, and a snapshot plus the events after it are equal,
//! byte for byte. All of them equal a small independent fold in the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tests::{Effort, Person, World, check_property};
use uuid::Uuid;

use crate::rebuild::{module, rebuild};
use crate::verify::verify_of;

const STREAMS: usize = 4;

/// Event types of an aggregate type with tables, each with its effect.
const KINDS: [(&str, &str); 8] = [
    ("widget.created", r#""create""#),
    ("widget.merged", r#""merge""#),
    ("widget.changed", r#""changes""#),
    ("widget.deleted", r#""delete""#),
    ("widget.part.added", r#"{"add_child": "part"}"#),
    ("widget.part.updated", r#"{"update_child": "part"}"#),
    ("widget.part.removed", r#"{"remove_child": "part"}"#),
    (
        "widget.set",
        r#"{"set": {"a": "/b", "c": "/deep/a", "n": {"const": 1.50}}}"#,
    ),
];

#[derive(Debug, Clone)]
enum Action {
    /// An event, at the current version of its type or an older one.
    Append {
        kind: usize,
        stream: usize,
        old: bool,
        fields: Vec<(usize, Value)>,
    },
    /// A new version of a type, with upcaster steps.
    Evolve {
        kind: usize,
        steps: Vec<Value>,
    },
    Project,
    Sweep,
    Snapshot {
        stream: usize,
    },
    /// A rebuild that is cancelled after so many microseconds.
    Kill {
        micros: u64,
    },
    Rebuild {
        of_tenant: bool,
    },
}

fn field() -> impl Strategy<Value = usize> {
    0..FIELDS.len()
}
const FIELDS: [&str; 6] = ["a", "b", "c", "n", "id", "deep"];
const PLACES: [&str; 7] = ["a", "b", "c", "n", "/deep/a", "/changes/a", "/changes/b/new"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..4u8).prop_map(|n| json!(n)),
        prop_oneof![Just("1.0"), Just("1.00"), Just("12345678901234567890.5"), Just("1e2")]
            .prop_map(|number| serde_json::from_str(number).unwrap()),
        prop_oneof![Just("x"), Just("x, y,,z"), Just("0"), Just("1"), Just("1.00"), Just("")]
            .prop_map(|text| json!(text)),
        Just(Value::Null),
        Just(json!({"a": "x", "b": 2})),
        Just(json!(["x", 1])),
    ]
}

fn place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PLACES[..])
}

fn step() -> impl Strategy<Value = Value> {
    prop_oneof![
        (place(), place()).prop_map(|(from, to)| json!({"rename": {from: to}})),
        (place(), value()).prop_map(|(field, value)| json!({"default": {field: value}})),
        (place(), value()).prop_map(|(field, value)| json!({"set": {field: value}})),
        place().prop_map(|field| json!({"split": {field: ","}})),
        place().prop_map(|field| json!({"remove": [field]})),
        (place(), place(), value())
            .prop_map(|(from, to, value)| json!({"map": {"from": from, "to": to, "values": {"x": value, "1": 7}}})),
        (place(), value())
            .prop_map(|(field, value)| json!({"map": {"from": field, "to": field, "values": {}, "otherwise": value}})),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let append = (
        0..KINDS.len(),
        0..STREAMS,
        any::<bool>(),
        prop::collection::vec((field(), value()), 0..4),
    );
    prop_oneof![
        14 => append.prop_map(|(kind, stream, old, fields)| Action::Append { kind, stream, old, fields }),
        2 => (0..KINDS.len(), prop::collection::vec(step(), 0..4)).prop_map(|(kind, steps)| Action::Evolve { kind, steps }),
        3 => Just(Action::Project),
        1 => Just(Action::Sweep),
        1 => (0..STREAMS).prop_map(|stream| Action::Snapshot { stream }),
        1 => (0..60_000u64).prop_map(|micros| Action::Kill { micros }),
        1 => any::<bool>().prop_map(|of_tenant| Action::Rebuild { of_tenant }),
    ]
}

/// Data of an event. A child has an id, of two kinds that its table cannot distinguish.
fn data(kind: usize, fields: &[(usize, Value)]) -> Value {
    let mut data: Map<String, Value> = fields
        .iter()
        .map(|(field, value)| (FIELDS[*field].to_owned(), value.clone()))
        .collect();
    if KINDS[kind].1.contains("child") {
        let id = match data.get("id") {
            Some(Value::Number(number)) if number.to_string().len() == 1 => Value::Number(number.clone()),
            Some(Value::String(text)) if text.len() == 1 => json!(text),
            _ => json!("0"),
        };
        data.insert("id".to_owned(), id);
    } else {
        data.remove("id");
    }
    if KINDS[kind].0 == "widget.changed" {
        let changes: Map<String, Value> = data
            .into_iter()
            .map(|(field, new)| (field, json!({"old": null, "new": new})))
            .collect();
        return json!({ "changes": changes });
    }
    Value::Object(data)
}

struct Case<'a> {
    world: &'a World,
    staff: Person,
    versions: BTreeMap<usize, u32>,
}

impl Case<'_> {
    async fn register(&self, kind: usize, version: u32, steps: &[Value]) {
        let effect: Value = serde_json::from_str(KINDS[kind].1).unwrap();
        let mut body = json!({"event_type": KINDS[kind].0, "version": format!("{version}.0"), "effect": effect,
                              "schema": {"type": "object"}, "example": {}});
        if version > 1 {
            body["upcasters"] = json!([{"from_version": format!("{}.0", version - 1), "steps": steps}]);
        }
        self.world.post(&self.staff, "/events/types", body).await.expect(201);
    }

    async fn act(&mut self, action: Action) {
        let world = self.world;
        match action {
            Action::Append {
                kind,
                stream,
                old,
                fields,
            } => {
                let version = if old { 1 } else { self.versions[&kind] };
                let event = json!({"event_type": KINDS[kind].0, "aggregate_type": "widget", "aggregate_id": format!("W-{stream}"),
                                   "version": format!("{version}.0"), "data": data(kind, &fields)});
                world.post(&self.staff, "/events", event).await.expect(201);
            }
            Action::Evolve { kind, steps } => {
                let version = self.versions[&kind] + 1;
                self.register(kind, version, &steps).await;
                self.versions.insert(kind, version);
            }
            Action::Project => {
                world.deliver(world.take_wake_ups().await).await;
            }
            Action::Sweep => drop(world.sweep().await),
            Action::Snapshot { stream } => {
                let path = format!("/entities/widget/W-{stream}/snapshots");
                let answer = world.post(&self.staff, &path, json!({})).await;
                assert!([201, 404, 409, 503].contains(&answer.status), "{}", answer.text);
            }
            Action::Kill { micros } => {
                let _killed =
                    tokio::time::timeout(Duration::from_micros(micros), rebuild(world, &module("widget", None))).await;
            }
            Action::Rebuild { of_tenant } => {
                let due = module("widget", of_tenant.then_some(self.staff.tenant));
                rebuild(world, &due).await.unwrap();
            }
        }
    }

    /// Projects everything, and checks that all ways to compute a state agree.
    async fn check(&self) {
        let world = self.world;
        world.sweep().await;
        let parked = world.rows_of("annals.parked_streams").await;
        assert_eq!(parked, [] as [Value; 0]);
        world.sweep().await;
        world.assert_read_models_are_the_fold().await;
        assert_eq!(verify_of(world, &module("widget", None)).await, []);
        let live = world.read_models().await;
        assert_eq!(rebuild(world, &module("widget", None)).await.unwrap().changed_rows, 0);
        assert_eq!(world.read_models().await, live);
        for stream in 0..STREAMS {
            let path = format!("/entities/widget/W-{stream}");
            let now = world.get(&self.staff, &path).await;
            if now.status == 404 {
                continue;
            }
            let version = now.body["version"].as_i64().unwrap();
            world
                .post(&self.staff, &format!("{path}/snapshots"), json!({}))
                .await
                .expect(201);
            let tail = json!({"event_type": "widget.merged", "aggregate_type": "widget", "aggregate_id": format!("W-{stream}"), "data": {"b": "tail"}});
            world.post(&self.staff, "/events", tail).await.expect(201);
            // From the snapshot and the event after it, before and after it is projected.
            let from_snapshot = world
                .get(&self.staff, &format!("{path}?version={}", version + 1))
                .await
                .expect(200);
            world.project().await;
            let projected = world.get(&self.staff, &path).await.expect(200);
            assert_eq!(
                from_snapshot.body["state"].to_string(),
                projected.body["state"].to_string()
            );
        }
        world.assert_read_models_are_the_fold().await;
        assert_eq!(verify_of(world, &module("widget", None)).await, []);
    }
}

async fn run(actions: Vec<Action>) {
    let world = &World::without_requirements().await;
    world.owner().await.batch_execute(TABLES).await.unwrap();
    let staff = Person::staff().in_tenant(Uuid::new_v4());
    let mut case = Case {
        world,
        staff,
        versions: (0..KINDS.len()).map(|kind| (kind, 1)).collect(),
    };
    for kind in 0..KINDS.len() {
        case.register(kind, 1, &[]).await;
    }
    for action in actions {
        case.act(action).await;
    }
    case.check().await;
}

/// The module's tables, as a migration creates them; every column accepts any value of the state.
const TABLES: &str = "create table public.widgets (like annals.state_row including all, a jsonb, b jsonb, c jsonb, n jsonb, deep jsonb);
    select annals.register_state_table('public.widgets', 'widget');
    create table public.widget_parts (like annals.child_row including all, widget_id text collate \"C\" not null, a jsonb, b jsonb, n jsonb,
                                      constraint widget_parts_pkey primary key (tenant_id, widget_id, id));
    select annals.register_state_table('public.widget_parts', 'widget', 'part')";

/// 1 and "1" are two children in the fold and one row in the table: the row is the last of them, however they were appended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_whose_ids_are_equal_as_text_share_one_row_derived_from_the_state() {
    let world = &World::without_requirements().await;
    world.owner().await.batch_execute(TABLES).await.unwrap();
    let staff = Person::staff();
    let case = Case {
        world,
        staff: staff.clone(),
        versions: BTreeMap::new(),
    };
    for kind in 4..7 {
        case.register(kind, 1, &[]).await;
    }
    for (action, data, row) in [
        ("added", json!({"id": 1, "a": "number"}), "number"),
        ("added", json!({"id": "1", "a": "text"}), "text"),
        ("updated", json!({"id": 1, "a": "another"}), "text"),
        ("removed", json!({"id": "1"}), "another"),
    ] {
        world
            .append(&staff, &format!("widget.part.{action}"), "W-1", data)
            .await;
        world.project().await;
        assert_eq!(world.rows_of("public.widget_parts").await[0]["a"], row);
        assert_eq!(verify_of(world, &module("widget", None)).await, []);
    }
}

#[test]
fn live_read_models_equal_rebuilt_ones_and_a_snapshot_plus_later_events() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let effort = Effort { cases: 12, shrinks: 60 };
    check_property(&runtime, effort, &prop::collection::vec(action(), 1..40), run);
}
