//! What an event changed, found from the fields that it touches, is what a comparison of the whole states finds.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// Names that collide often. Two of them look like pointers.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "list", "changes", "/a", "a~b"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let plain = prop::sample::select(vec![
        json!(null),
        json!(1),
        json!("1"),
        json!(true),
        json!({}),
        json!([]),
    ]);
    // Equal as numbers, although their texts differ.
    let number = prop::sample::select(vec!["1.0", "1e0", "2"]).prop_map(|text| text.parse().expect("JSON"));
    prop_oneof![plain, number].prop_recursive(3, 12, 4, |inner| {
        let child = (0..3, inner.clone()).prop_map(|(id, value)| json!({"id": id, "value": value}));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(child, 0..4).prop_map(Value::Array),
            object_of(inner).prop_map(Value::Object),
        ]
    })
}

fn object_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(name(), value, 0..5).prop_map(|members| members.into_iter().collect())
}

/// Data for any effect.
fn data() -> impl Strategy<Value = Map<String, Value>> {
    let change =
        (value(), value(), any::<bool>(), any::<bool>()).prop_map(|(old, new, has_new, removed)| match has_new {
            true => json!({"old": old, "new": new, "removed": removed}),
            false => json!({"old": old, "removed": removed}),
        });
    let changes =
        object_of(change).prop_map(|changes| Map::from_iter([("changes".to_owned(), Value::Object(changes))]));
    let child = (0..3, object_of(value())).prop_map(|(id, mut members)| {
        members.insert("id".to_owned(), json!(id));
        members
    });
    prop_oneof![object_of(value()), changes, child]
}

fn effect() -> impl Strategy<Value = Effect> {
    let sources = prop::sample::select(vec![json!("/a"), json!("/b/list"), json!(""), json!({"const": 1})]);
    let set = prop::collection::btree_map(name(), sources, 0..3).prop_map(|fields| json!({"set": fields}));
    let child = prop::sample::select(vec!["add_child", "update_child", "remove_child"])
        .prop_flat_map(|kind| name().prop_map(move |collection| json!({kind: collection})));
    let plain = prop::sample::select(
        ["create", "merge", "changes", "delete", "none"]
            .map(|name| json!(name))
            .to_vec(),
    );
    prop_oneof![plain, set, child].prop_map(|effect| Effect::from_json(&effect.to_string()).expect("an effect"))
}

proptest! {
    #[test]
    fn an_event_changes_what_differs_between_the_states(steps in prop::collection::vec((effect(), data()), 1..12)) {
        let mut entity = Entity::before(Timestamp::now());
        for (effect, data) in &steps {
            let fact = Fact { version: entity.version + 1, created_at: Timestamp::now(), effect, data };
            let (before, mut folded) = (entity.clone(), entity.clone());
            folded.try_apply(&fact).expect("a small state");
            let found = entity.try_apply_noting(&fact).expect("a small state");
            prop_assert_eq!(&entity, &folded);
            prop_assert_eq!(found, changes(&before.state, &folded.state));
        }
    }
}

#[test]
fn fields_are_reported_as_a_whole_in_the_same_order_when_there_are_too_many_pointers() {
    // Each field has a member whose pointer takes more than a third of what one diff may have.
    let long = |n: i32, new: i32| {
        let member = format!("{n}").repeat(100_000);
        (format!("field{}", 9 - n), json!({member: new, "other": 1}))
    };
    let state = |new| (1..=5).map(|n| long(n, new)).collect::<Map<_, _>>();
    let effect = Effect::Merge;
    let mut entity = Entity::before(Timestamp::now());
    entity.state = state(1);
    entity.state.remove("field6");
    let (before, after) = (entity.state.clone(), state(2));
    let fact = Fact {
        version: 1,
        created_at: Timestamp::now(),
        effect: &effect,
        data: &after,
    };
    assert_eq!(entity.try_apply_noting(&fact), Ok(changes(&before, &after)));
}

#[test]
fn an_event_that_is_too_large_changes_nothing() {
    let mut entity = Entity::before(Timestamp::now());
    let data = Map::from_iter([("a".to_owned(), Value::String("x".repeat(MAX_STATE_BYTES)))]);
    for effect in [Effect::Create, Effect::Merge] {
        let fact = Fact {
            version: 1,
            created_at: Timestamp::now(),
            effect: &effect,
            data: &data,
        };
        assert_eq!(entity.try_apply_noting(&fact), Err(TooLarge));
        assert!(entity.state.is_empty() && entity.version == 0);
    }
}
