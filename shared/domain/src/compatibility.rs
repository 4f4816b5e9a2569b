//! Whether a new version of a schema breaks readers of the version before.
//!
//! A new minor or patch version must not. This is decided from the two schemas, as far as they say what a reader relies on:
//! required fields, types, and listed values.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fault::FieldFault;
use super::json_pointer;

/// The places where the new schema accepts data that a reader of the old schema does not expect. The code of each fault is
/// `breaks_readers`. Pointers lead into the data, not into the schema.
pub fn breaking_changes(old: &Value, new: &Value) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    compare(old, new, "", &mut faults);
    faults
}

fn compare(old: &Value, new: &Value, at: &str, faults: &mut Vec<FieldFault>) {
    let mut fault = |detail: String| faults.push(FieldFault::new(at, "breaks_readers", detail));
    if let Some(known) = types(old) {
        match types(new) {
            Some(types) if types.iter().all(|name| fits(name, &known)) => {}
            _ => fault(format!(
                "must stay {}, as readers of the previous version expect",
                listed(&known)
            )),
        }
    }
    if let Some(known) = values(old)
        && values(new).is_none_or(|values| values.iter().any(|value| !known.contains(value)))
    {
        fault("must not allow values that the previous version did not list".to_owned());
    }
    let missing = required(old).difference(&required(new)).copied().collect::<Vec<_>>();
    if !missing.is_empty() {
        fault(format!("must still require {}", missing.join(", ")));
    }
    if let Some(known) = properties(old) {
        for (name, field) in known {
            let at = format!("{at}/{}", json_pointer::escape(name));
            match properties(new).and_then(|fields| fields.get(name)) {
                Some(now) => compare(field, now, &at, faults),
                None => faults.push(FieldFault::new(at, "breaks_readers", "must still be described")),
            }
        }
    }
    if let Some(items) = old.get("items") {
        compare(
            items,
            new.get("items").unwrap_or(&Value::Bool(true)),
            &format!("{at}/-"),
            faults,
        );
    }
}

fn types(schema: &Value) -> Option<BTreeSet<&str>> {
    match schema.get("type")? {
        Value::String(name) => Some(BTreeSet::from([name.as_str()])),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn fits(name: &str, known: &BTreeSet<&str>) -> bool {
    known.contains(name) || (name == "integer" && known.contains("number"))
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(" or ")
}

fn values(schema: &Value) -> Option<Vec<&Value>> {
    match schema.get("const") {
        Some(only) => Some(vec![only]),
        None => Some(schema.get("enum")?.as_array()?.iter().collect()),
    }
}

fn required(schema: &Value) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(old: Value, new: Value) -> Vec<String> {
        breaking_changes(&old, &new)
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    }

    fn object(properties: Value, required: Value) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    #[test]
    fn additions_and_narrower_fields_break_no_reader() {
        let old = object(
            json!({"a": {"type": ["string", "array"]}, "n": {"type": "number"}}),
            json!(["a"]),
        );
        let new = object(
            json!({"a": {"type": "array"}, "n": {"type": "integer"}, "b": {"type": "object"}}),
            json!(["a", "b"]),
        );
        assert_eq!(places(old, new), Vec::<String>::new());
    }

    #[test]
    fn changes_that_readers_do_not_expect_are_reported() {
        let field = |schema: Value| object(json!({"a": schema}), json!([]));
        let old = object(json!({"a": {"type": "string"}}), json!(["a"]));
        assert_eq!(places(old.clone(), field(json!({"type": "string"}))), [""]);
        assert_eq!(places(old, object(json!({}), json!(["a"]))), ["/a"]);
        for (before, after) in [
            (json!({"type": "integer"}), json!({"type": "number"})),
            (json!({"type": "string"}), json!({"type": ["string", "null"]})),
            (json!({"type": "string"}), json!({})),
            (json!({"enum": ["x"]}), json!({"enum": ["x", "y"]})),
            (json!({"enum": ["x"]}), json!({"type": "string"})),
        ] {
            assert_eq!(
                places(field(before.clone()), field(after.clone())),
                ["/a"],
                "{before} {after}"
            );
        }
        assert_eq!(
            places(object(json!({"a": {}}), json!([])), json!({"type": "object"})),
            ["/a"]
        );
        let items = |schema: Value| field(json!({"type": "array", "items": schema}));
        assert_eq!(
            places(items(json!({"type": "string"})), field(json!({"type": "array"}))),
            ["/a/-"]
        );
        let list = |item: Value| field(json!({"type": "array", "items": object(json!({"x": item}), json!([]))}));
        assert_eq!(
            places(list(json!({"type": "string"})), list(json!({"type": "integer"}))),
            ["/a/-/x"]
        );
    }
}
