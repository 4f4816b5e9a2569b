//! Inverses: which built-in types declare one, and that each leads to an event that the catalog takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tests::{Person, World};

use super::{catalog, event, kind_of};

/// Types of which SQL says, in comments that begin with `-- No inverse:`, that no other type takes their effect back.
pub(super) fn named_without_inverse(sql: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_about_it = false;
    for line in sql.lines() {
        let Some(comment) = line.strip_prefix("-- ") else {
            is_about_it = false;
            continue;
        };
        is_about_it |= comment.starts_with("No inverse:");
        if is_about_it {
            let words = comment
                .split_whitespace()
                .map(|word| word.trim_end_matches(['.', ',', ';', ':']));
            names.extend(words.filter(|word| word.contains('.')).map(str::to_owned));
        }
    }
    names
}

/// The effect that undoes another, for inverses whose data follow from the two.
fn opposite(effect: &Value) -> Value {
    match effect {
        Value::String(kind) if kind == "create" => json!("delete"),
        Value::String(kind) if kind == "delete" => json!("create"),
        Value::String(kind) if kind == "changes" => json!("changes"),
        Value::Object(members) => {
            let (kind, collection) = members.iter().next().unwrap();
            let kind = match kind.as_str() {
                "add_child" => "remove_child",
                "remove_child" => "add_child",
                "update_child" => "update_child",
                other => panic!("nothing follows from {other}"),
            };
            json!({kind: collection})
        }
        other => panic!("nothing follows from {other}"),
    }
}

/// A new type cannot have no inverse by mistake: its migration gives the reason in a comment.
#[tokio::test]
async fn every_type_that_another_can_take_back_says_so() {
    let world = World::new().await;
    let named = named_without_inverse(&annals_store::migration_script(None));
    assert_inverses(&catalog(&world).await, &named);
}

/// These types have inverses, except those that are named as having none, and each leads to a type that undoes them.
pub(super) fn assert_inverses(types: &[Value], named_without: &BTreeSet<String>) {
    let without: BTreeSet<String> = types
        .iter()
        .filter(|kind| kind["inverse"].is_null())
        .map(|kind| kind["event_type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(&without, named_without);
    for kind in types.iter().filter(|kind| !kind["inverse"].is_null()) {
        let name = &kind["event_type"];
        let inverse = types
            .iter()
            .find(|other| other["event_type"] == kind["inverse"]["event_type"])
            .unwrap();
        assert_eq!(inverse["aggregate_type"], kind["aggregate_type"], "{name}");
        if kind["inverse"]["data"].is_null() {
            assert_eq!(inverse["effect"], opposite(&kind["effect"]), "{name}");
        }
    }
}

/// What an inverse's data are for an event, from the comment on `annals.event_types.inverse`.
fn inverted(sources: &Map<String, Value>, data: &Value) -> Value {
    let source = |from: &Value| match from {
        Value::String(pointer) => data.pointer(pointer).cloned(),
        constant => Some(constant["const"].clone()),
    };
    sources
        .iter()
        .filter_map(|(field, from)| Some((field.clone(), source(from)?)))
        .collect()
}

#[tokio::test]
async fn every_inverse_that_names_its_data_takes_its_types_example_back() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let mut posted = 0;
    for kind in catalog(&world).await {
        let (name, Some(sources)) = (
            kind["event_type"].as_str().unwrap(),
            kind["inverse"]["data"].as_object(),
        ) else {
            continue;
        };
        let inverse = kind["inverse"]["event_type"].as_str().unwrap();
        let data = inverted(sources, &kind["example"]);
        world.append(&staff, name, name, kind["example"].clone()).await;
        let answer = world.post(&staff, "/events", event(inverse, name, &data)).await;
        assert_eq!(answer.status, 201, "{name} {data}: {}", answer.text);
        posted += 1;
    }
    assert!(posted >= 9, "{posted}");
    let state = async |event_type: &str| {
        let path = format!("/entities/{}/{event_type}", kind_of(event_type));
        world.get(&staff, &path).await.expect(200).body["state"].clone()
    };
    assert_eq!(
        state("product.price_changed").await["base_price"].to_string(),
        "5999.00"
    );
    assert_eq!(state("product.stock_updated").await["stock"], 40);
    assert_eq!(state("price.changed").await["price"].to_string(), "5999.00");
    assert_eq!(state("order.status_changed").await["status"], "placed");
    let payment = state("payment.received").await;
    assert_eq!(
        (&payment["status"], &payment["refunded_cents"]),
        (&json!("refunded"), &payment["amount_cents"])
    );
    assert_eq!(state("trade.executed").await["status"], "cancelled");
    assert_eq!(state("agent.decision_approved").await["status"], "rejected");
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}
