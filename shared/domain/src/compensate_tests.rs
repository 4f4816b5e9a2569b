//! Every pair of effects that has an inverse, and the conditions under which an event cannot be compensated.

use serde_json::{Map, Value, json};

use super::compensate::{Correction, Refused};
use super::effect::{Effect, Inverse};
use super::fold::{Entity, Fact};
use super::time::Timestamp;

/// A stream: effect and data of each event.
type Stream<'a> = &'a [(Value, Value)];

fn moment(second: i32) -> Timestamp {
    Timestamp::parse(&format!("2026-01-01T00:00:{second:02}Z")).expect("a time")
}

fn fold(entity: &mut Option<Entity>, version: i32, effect: &Effect, data: &Map<String, Value>) {
    let entity = entity.get_or_insert_with(|| Entity::before(moment(version)));
    let applied = entity.try_apply(&Fact {
        version,
        created_at: moment(version),
        effect,
        data,
    });
    assert_eq!(applied, Ok(()));
}

struct Outcome {
    data: Result<Map<String, Value>, Refused>,
    before: Option<Entity>,
    /// The entity after the inverse.
    result: Entity,
}

/// Compensates the event at index `place` of the stream by an inverse with this effect, and folds the inverse in.
fn outcome(stream: Stream<'_>, place: usize, inverse: Value, effect: Value) -> Outcome {
    let read = |json: &Value| Effect::from_json(&json.to_string()).expect("an effect");
    let object = |json: &Value| json.as_object().cloned().expect("an object");
    let version = |place: usize| i32::try_from(place).expect("few") + 1;
    let (mut before, mut now) = (None, None);
    for (at, (effect, data)) in stream.iter().enumerate() {
        if at == place {
            before = now.clone();
        }
        fold(&mut now, version(at), &read(effect), &object(data));
    }
    let (event_effect, event_data) = (read(&stream[place].0), object(&stream[place].1));
    let (inverse, inverse_effect) = (
        Inverse::from_json(&inverse.to_string()).expect("an inverse"),
        read(&effect),
    );
    let mut now = now.expect("a stream");
    let data = Correction {
        event: Fact {
            version: version(place),
            created_at: moment(version(place)),
            effect: &event_effect,
            data: &event_data,
        },
        inverse: &inverse,
        inverse_effect: &inverse_effect,
        before: before.as_ref(),
        now: &now,
        at: moment(59),
    }
    .data();
    if let Ok(data) = &data {
        let applied = now.try_apply(&Fact {
            version: version(stream.len()),
            created_at: moment(59),
            effect: &inverse_effect,
            data,
        });
        assert_eq!(applied, Ok(()));
    }
    Outcome {
        data,
        before,
        result: now,
    }
}

fn derived(stream: Stream<'_>, place: usize, effect: Value) -> Outcome {
    outcome(stream, place, json!({"event_type": "a.b"}), effect)
}

fn refused(outcome: Outcome) -> Refused {
    outcome.data.expect_err("no inverse")
}

fn changed(places: &[&str]) -> Refused {
    Refused::ChangedSince(places.iter().map(|place| (*place).to_owned()).collect())
}

fn created() -> (Value, Value) {
    (
        json!("create"),
        json!({"name": "A", "city": "B", "gst": [{"id": "1", "no": "x"}, {"id": "2", "no": "y"}]}),
    )
}

fn changes(field: &str, new: Value) -> (Value, Value) {
    (
        json!("changes"),
        json!({"changes": {field: {"old": "whatever was said", "new": new}}}),
    )
}

#[test]
fn an_inverse_restores_the_state_before_the_event() {
    let table = [
        (
            changes("city", json!("C")),
            json!("changes"),
            json!({"changes": {"city": {"old": "C", "new": "B"}}}),
        ),
        (changes("city", json!("C")), json!("merge"), json!({"city": "B"})),
        (
            (json!("merge"), json!({"city": "C", "name": "A"})),
            json!("changes"),
            json!({"changes": {"city": {"old": "C", "new": "B"}}}),
        ),
        (
            (json!({"set": {"city": "/to"}}), json!({"to": "C"})),
            json!("changes"),
            json!({"changes": {"city": {"old": "C", "new": "B"}}}),
        ),
        (
            (json!({"add_child": "gst"}), json!({"id": "3", "no": "z"})),
            json!({"remove_child": "gst"}),
            json!({"id": "3"}),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "3", "no": "z"})),
            json!({"remove_child": "gst"}),
            json!({"id": "3"}),
        ),
        (
            (json!({"remove_child": "gst"}), json!({"id": "2"})),
            json!({"add_child": "gst"}),
            json!({"id": "2", "no": "y"}),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "1", "no": "w"})),
            json!({"update_child": "gst"}),
            json!({"id": "1", "no": "x"}),
        ),
        (
            (json!({"add_child": "gst"}), json!({"id": "1", "no": "w"})),
            json!({"update_child": "gst"}),
            json!({"id": "1", "no": "x"}),
        ),
        ((json!("delete"), json!({})), json!("create"), created().1),
    ];
    for (event, effect, data) in table {
        let outcome = derived(&[created(), event.clone()], 1, effect.clone());
        assert_eq!(outcome.data.map(Value::Object), Ok(data), "{event:?} by {effect}");
        let before = outcome.before.expect("created");
        assert_eq!(
            (outcome.result.state, outcome.result.deleted_at),
            (before.state, None),
            "{event:?} by {effect}"
        );
    }
}

#[test]
fn fields_that_were_absent_become_null() {
    let outcome = derived(&[created(), changes("phone", json!("1"))], 1, json!("changes"));
    assert_eq!(
        outcome.data.map(Value::Object),
        Ok(json!({"changes": {"phone": {"old": "1", "new": null}}}))
    );
    let event = (json!({"update_child": "gst"}), json!({"id": "1", "city": "z"}));
    let outcome = derived(&[created(), event], 1, json!({"update_child": "gst"}));
    assert_eq!(outcome.data.map(Value::Object), Ok(json!({"id": "1", "city": null})));
    // The compensation can be compensated too, because null equals absent.
    let back = (json!("changes"), json!({"changes": {"phone": {"new": null}}}));
    let again = derived(&[created(), changes("phone", json!("1")), back], 2, json!("changes"));
    assert_eq!(
        again.data.map(Value::Object),
        Ok(json!({"changes": {"phone": {"old": null, "new": "1"}}}))
    );
}

#[test]
fn an_event_that_created_an_entity_is_compensated_by_its_deletion() {
    let outcome = derived(&[created()], 0, json!("delete"));
    assert_eq!(
        outcome.data.map(Value::Object),
        Ok(json!({"name": "A", "deleted_at": "2026-01-01T00:00:59.000000Z"}))
    );
    assert!(outcome.result.deleted_at.is_some());
    let nameless = derived(&[(json!("merge"), json!({"name": 5}))], 0, json!("delete"));
    assert_eq!(
        nameless.data.map(Value::Object),
        Ok(json!({"deleted_at": "2026-01-01T00:00:59.000000Z"}))
    );
    let delete = || (json!("delete"), json!({}));
    let again = derived(&[created(), delete(), created()], 2, json!("delete"));
    assert!(again.data.is_ok());
    let replaced = refused(derived(&[created(), created()], 1, json!("delete")));
    assert!(matches!(replaced, Refused::NoInverse(_)));
    let since = [
        (changes("city", json!("C")), vec!["/city"]),
        ((json!("merge"), json!({"x~/y": 1})), vec!["/x~0~1y"]),
        ((json!({"add_child": "gst"}), json!({"id": 3})), vec!["/gst/3"]),
        ((json!({"remove_child": "gst"}), json!({"id": "1"})), vec!["/gst/1"]),
        (delete(), vec!["/deleted"]),
    ];
    for (event, places) in since {
        assert_eq!(
            refused(derived(&[created(), event], 0, json!("delete"))),
            changed(&places)
        );
    }
    let none = derived(
        &[created(), (json!("none"), json!({})), changes("city", json!("B"))],
        0,
        json!("delete"),
    );
    assert!(none.data.is_ok());
}

#[test]
fn later_changes_are_named_and_not_overwritten() {
    let child = |effect: &str, data: Value| (json!({effect: "gst"}), data);
    let table = [
        (
            changes("city", json!("C")),
            changes("city", json!("D")),
            json!("changes"),
            vec!["/city"],
        ),
        (
            changes("city", json!("C")),
            (json!("delete"), json!({})),
            json!("changes"),
            vec!["/deleted"],
        ),
        (
            child("add_child", json!({"id": "3"})),
            child("update_child", json!({"id": "3", "no": "z"})),
            json!({"remove_child": "gst"}),
            vec!["/gst/3"],
        ),
        (
            child("add_child", json!({"id": "3"})),
            child("remove_child", json!({"id": "3"})),
            json!({"remove_child": "gst"}),
            vec!["/gst/3"],
        ),
        (
            child("remove_child", json!({"id": "1"})),
            child("add_child", json!({"id": "1"})),
            json!({"add_child": "gst"}),
            vec!["/gst/1"],
        ),
        (
            child("update_child", json!({"id": "1", "no": "w", "city": "z"})),
            child("update_child", json!({"id": "1", "no": "v"})),
            json!({"update_child": "gst"}),
            vec!["/gst/1/no"],
        ),
        (
            child("update_child", json!({"id": "1", "no": "w"})),
            child("remove_child", json!({"id": "1"})),
            json!({"update_child": "gst"}),
            vec!["/gst/1"],
        ),
        (
            (json!("delete"), json!({})),
            created(),
            json!("create"),
            vec!["/deleted"],
        ),
    ];
    for (event, since, effect, places) in table {
        let outcome = derived(&[created(), event.clone(), since.clone()], 1, effect);
        assert_eq!(refused(outcome), changed(&places), "{event:?}, then {since:?}");
    }
    // Unrelated changes do not matter.
    let others = [
        changes("name", json!("N")),
        child("update_child", json!({"id": "2", "no": "z"})),
        child("add_child", json!({"id": "4"})),
    ];
    for since in others {
        let outcome = derived(
            &[created(), changes("city", json!("C")), since.clone()],
            1,
            json!("changes"),
        );
        assert!(outcome.data.is_ok(), "{since:?}");
        let event = child("update_child", json!({"id": "1", "no": "w"}));
        assert!(
            derived(&[created(), event, since], 1, json!({"update_child": "gst"}))
                .data
                .is_ok()
        );
    }
}

#[test]
fn events_without_effect_or_derivable_inverse_are_refused() {
    for (event, effect) in [
        (changes("city", json!("B")), json!("changes")),
        ((json!("merge"), json!({})), json!("changes")),
        (
            (json!({"remove_child": "gst"}), json!({"id": "9"})),
            json!({"add_child": "gst"}),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "1", "no": "x"})),
            json!({"update_child": "gst"}),
        ),
    ] {
        assert_eq!(
            refused(derived(&[created(), event.clone()], 1, effect)),
            Refused::NoEffect,
            "{event:?}"
        );
    }
    for (event, effect) in [
        (
            (json!({"add_child": "gst"}), json!({"id": "3"})),
            json!({"remove_child": "bank"}),
        ),
        (
            (json!({"add_child": "gst"}), json!({"no": "id"})),
            json!({"remove_child": "gst"}),
        ),
        (
            (json!({"add_child": "gst"}), json!({"id": "1"})),
            json!({"remove_child": "gst"}),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "3"})),
            json!({"update_child": "gst"}),
        ),
        (
            (json!({"set": {"city": "/to"}}), json!({"to": "C"})),
            json!({"set": {"city": "/to"}}),
        ),
        ((json!("none"), json!({})), json!("none")),
        (created(), json!("create")),
    ] {
        let refused = refused(derived(&[created(), event.clone()], 1, effect));
        assert!(matches!(refused, Refused::NoInverse(_)), "{event:?}: {refused:?}");
    }
}

#[test]
fn declared_data_come_from_the_event_and_do_not_overwrite_later_changes() {
    let inverse = json!({"event_type": "a.b", "data": {"to": "/from", "from": "/to", "why": {"const": "a mistake"}, "gone": "/nowhere"}});
    let moved = |from: &str, to: &str| (json!({"set": {"city": "/to"}}), json!({"from": from, "to": to}));
    let effect = || json!({"set": {"city": "/to"}});
    let first = outcome(&[created(), moved("B", "C")], 1, inverse.clone(), effect());
    assert_eq!(
        first.data.map(Value::Object),
        Ok(json!({"to": "B", "from": "C", "why": "a mistake"}))
    );
    let moved_on = outcome(
        &[created(), moved("B", "C"), moved("C", "D")],
        1,
        inverse.clone(),
        effect(),
    );
    assert_eq!(refused(moved_on), changed(&["/city"]));
    let elsewhere = outcome(
        &[created(), moved("B", "C"), changes("name", json!("N"))],
        1,
        inverse.clone(),
        effect(),
    );
    assert!(elsewhere.data.is_ok());
    let gone = outcome(
        &[created(), moved("B", "C"), (json!("delete"), json!({}))],
        1,
        inverse.clone(),
        effect(),
    );
    assert_eq!(refused(gone), changed(&["/deleted"]));
    // An inverse that leaves the state unchanged overwrites nothing.
    let noted = outcome(
        &[created(), moved("B", "C"), moved("C", "D")],
        1,
        inverse,
        json!("none"),
    );
    assert!(noted.data.is_ok());
    // A child counts as one place.
    let inverse = json!({"event_type": "a.b", "data": {"id": "/id", "no": {"const": "void"}}});
    let added = || (json!({"add_child": "gst"}), json!({"id": "3", "no": "z"}));
    let other = (json!({"update_child": "gst"}), json!({"id": "1", "no": "q"}));
    let same = (json!({"update_child": "gst"}), json!({"id": "3", "no": "q"}));
    let update = json!({"update_child": "gst"});
    assert!(
        outcome(&[created(), added(), other], 1, inverse.clone(), update.clone())
            .data
            .is_ok()
    );
    assert_eq!(
        refused(outcome(&[created(), added(), same], 1, inverse, update)),
        changed(&["/gst/3"])
    );
}

#[test]
fn numbers_are_compared_by_value() {
    let stream = [
        created(),
        changes("price", json!(100)),
        changes("price", super::json::parse(b"1e2").expect("a number")),
    ];
    assert!(derived(&stream, 1, json!("changes")).data.is_ok());
}

/// Columns of the table: the event's effect and data, the inverse's effect and declared data, and the resulting data, for an
/// entity with city B, price 7 and the children of [`created`].
#[test]
fn old_values_come_from_the_state_and_not_from_the_event() {
    let began = || {
        let (effect, mut data) = created();
        data["price"] = json!(7);
        (effect, data)
    };
    let to_city = json!({"set": {"city": "/to"}});
    let table = [
        // The event gives a wrong old value, or none.
        (
            (to_city.clone(), json!({"from": "a lie", "to": "C"})),
            (to_city.clone(), json!({"to": "/from", "from": "/to"})),
            Some(json!({"to": "B", "from": "C"})),
        ),
        (
            (to_city.clone(), json!({"to": "C"})),
            (to_city, json!({"to": "/from", "from": "/to"})),
            Some(json!({"to": "B", "from": "C"})),
        ),
        // There was no old value.
        (
            (json!({"set": {"place": "/to"}}), json!({"from": "a lie", "to": "C"})),
            (json!({"set": {"place": "/to"}}), json!({"to": "/from"})),
            Some(json!({"to": null})),
        ),
        // Constants stay, and so does what the event wrote to a field that had no value before.
        (
            (
                json!({"set": {"price": "/new", "day": "/day"}}),
                json!({"new": 5, "old": 1, "day": "d"}),
            ),
            (
                json!({"set": {"price": "/new", "day": "/day", "city": "/why"}}),
                json!({"new": "/old", "day": "/day", "why": {"const": "a mistake"}}),
            ),
            Some(json!({"new": 7, "day": "d", "why": "a mistake"})),
        ),
        // What the event wrote over another value does not stay.
        (
            (
                json!({"set": {"price": "/new", "city": "/city"}}),
                json!({"new": 5, "old": 1, "city": "C"}),
            ),
            (
                json!({"set": {"price": "/new", "city": "/city"}}),
                json!({"new": "/old", "city": "/city"}),
            ),
            Some(json!({"new": 7, "city": "B"})),
        ),
        // Neither does what the inverse leaves out.
        (
            (
                json!({"set": {"price": "/new", "city": "/city"}}),
                json!({"new": 5, "old": 7, "city": "C"}),
            ),
            (json!({"set": {"price": "/new"}}), json!({"new": "/old"})),
            None,
        ),
        (
            (json!("merge"), json!({"city": "C", "old_city": "a lie"})),
            (json!("merge"), json!({"city": "/old_city"})),
            Some(json!({"city": "B"})),
        ),
        (
            (
                json!({"update_child": "gst"}),
                json!({"id": "1", "no": "w", "old_no": "a lie"}),
            ),
            (json!({"update_child": "gst"}), json!({"id": "/id", "no": "/old_no"})),
            Some(json!({"id": "1", "no": "x"})),
        ),
        // The same effects, but the event leaves out the old value.
        (
            (json!("merge"), json!({"city": "C"})),
            (json!("merge"), json!({"city": "/old_city"})),
            Some(json!({"city": "B"})),
        ),
        (
            (json!({"set": {"price": "/new"}}), json!({"new": 5})),
            (json!("merge"), json!({"price": "/old", "new": "/new"})),
            Some(json!({"price": 7, "new": 5})),
        ),
        (
            (json!({"set": {"price": "/new"}}), json!({"new": 5})),
            (json!("create"), json!({"price": "/old", "city": {"const": "B"}})),
            Some(json!({"price": 7, "city": "B"})),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "1", "no": "w"})),
            (json!({"update_child": "gst"}), json!({"id": "/id", "no": "/old_no"})),
            Some(json!({"id": "1", "no": "x"})),
        ),
        (
            (json!({"update_child": "gst"}), json!({"id": "1", "no": "w"})),
            (json!({"add_child": "gst"}), json!({"id": "/id", "no": "/old_no"})),
            Some(json!({"id": "1", "no": "x"})),
        ),
        // A field that the event did not write is not restored.
        (
            (json!("merge"), json!({"city": "C"})),
            (json!("merge"), json!({"city": "/old_city", "price": "/old_price"})),
            Some(json!({"city": "B"})),
        ),
        // Deeper within a member, a wrong old value is detected, and a right one is accepted.
        (
            (
                json!({"set": {"price": "/new"}}),
                json!({"new": 5, "old": {"amount": 1}}),
            ),
            (json!({"set": {"price": "/money/amount"}}), json!({"money": "/old"})),
            None,
        ),
        (
            (
                json!({"set": {"price": "/new"}}),
                json!({"new": 5, "old": {"amount": 7.0}}),
            ),
            (json!({"set": {"price": "/money/amount"}}), json!({"money": "/old"})),
            Some(json!({"money": {"amount": 7.0}})),
        ),
    ];
    for (event, (effect, data), expected) in table {
        let inverse = json!({"event_type": "a.b", "data": data});
        let outcome = outcome(&[began(), event.clone()], 1, inverse, effect);
        match expected {
            Some(expected) => assert_eq!(outcome.data.map(Value::Object), Ok(expected), "{event:?}"),
            None => assert!(matches!(refused(outcome), Refused::NoInverse(_)), "{event:?}"),
        }
    }
}

/// A later change at a place that the event changed is never ignored, even if the inverse does not write there.
#[test]
fn declared_inverses_check_everything_that_the_event_changed() {
    let received = |amount: i64| {
        let effect = json!({"set": {"amount": "/amount", "status": {"const": "received"}}});
        (effect, json!({"amount": amount}))
    };
    let refund = json!({"event_type": "a.b", "data": {"amount": "/amount"}});
    let refunded = || json!({"set": {"refunded": "/amount", "status": {"const": "refunded"}}});
    let once = outcome(&[received(100)], 0, refund.clone(), refunded());
    assert_eq!(
        (once.data.map(Value::Object), Value::Object(once.result.state)),
        (
            Ok(json!({"amount": 100})),
            json!({"amount": 100, "refunded": 100, "status": "refunded"})
        )
    );
    let twice = [received(100), received(250)];
    assert_eq!(
        refused(outcome(&twice, 0, refund.clone(), refunded())),
        changed(&["/amount"])
    );
    // It cannot say what the amount was.
    let second = refused(outcome(&twice, 1, refund.clone(), refunded()));
    assert!(matches!(second, Refused::NoInverse(_)), "{second:?}");
    let same = [received(100), received(100)];
    assert_eq!(refused(outcome(&same, 1, refund, refunded())), Refused::NoEffect);
}

#[test]
fn the_last_deletion_is_compensated_whatever_came_after_it() {
    let delete = || (json!("delete"), json!({}));
    let twice = [created(), delete(), delete()];
    assert_eq!(refused(derived(&twice, 1, json!("create"))), changed(&["/deleted"]));
    let brought_back = derived(&twice, 2, json!("create"));
    assert!(brought_back.data.is_ok());
    assert_eq!(brought_back.result.deleted_at, None);
    let noted = [created(), delete(), changes("city", json!("C"))];
    let brought_back = derived(&noted, 1, json!("create"));
    assert!(brought_back.data.is_ok());
    assert_eq!(brought_back.result.state["city"], "C");
}

#[test]
fn a_text_that_an_added_child_replaced_does_not_become_an_empty_list() {
    let event = (json!({"add_child": "city"}), json!({"id": "1"}));
    let refused = refused(derived(&[created(), event], 1, json!({"remove_child": "city"})));
    assert!(matches!(refused, Refused::NoInverse(_)), "{refused:?}");
}

/// Two mistakes are undone one after the other: the first compensation's own reason does not prevent the second.
#[test]
fn a_constant_that_the_state_already_has_overwrites_nothing() {
    let changed = |new: i64, why: &str| {
        let effect = json!({"set": {"price": "/new", "why": "/why"}});
        (effect, json!({"new": new, "why": why}))
    };
    let inverse = json!({"event_type": "a.b", "data": {"new": "/old", "why": {"const": "a mistake"}}});
    let effect = changed(0, "").0;
    let first = [created(), changed(100, "x"), changed(90, "promo"), changed(80, "promo")];
    assert!(outcome(&first, 3, inverse.clone(), effect.clone()).data.is_ok());
    let [created, begun, mistake, other] = first;
    let stream = [created, begun, mistake, other, changed(90, "a mistake")];
    let second = outcome(&stream, 2, inverse, effect);
    assert_eq!(
        second.data.map(Value::Object),
        Ok(json!({"new": 100, "why": "a mistake"}))
    );
}

#[test]
fn a_removed_child_is_not_added_if_another_value_replaced_the_list() {
    let removed = (json!({"remove_child": "gst"}), json!({"id": "1"}));
    let stream = [created(), removed, changes("gst", json!("see the contract"))];
    let refused = refused(derived(&stream, 1, json!({"add_child": "gst"})));
    assert_eq!(refused, changed(&["/gst"]));
}
