//! What became of a state, field by field.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::json;

/// A field before and after; null: there was, or is, none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its value before.
    pub old: Value,
    /// Its value after.
    pub new: Value,
}

/// The fields that differ between two states, by name.
pub fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> BTreeMap<String, Change> {
    let value = |state: &Map<String, Value>, field: &String| state.get(field).cloned().unwrap_or(Value::Null);
    before
        .keys()
        .chain(after.keys().filter(|field| !before.contains_key(*field)))
        .filter(|field| match (before.get(*field), after.get(*field)) {
            (Some(old), Some(new)) => !json::same(old, new),
            (old, new) => old.is_some() || new.is_some(),
        })
        .map(|field| {
            let change = Change {
                old: value(before, field),
                new: value(after, field),
            };
            (field.clone(), change)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differing_fields_are_named_once_with_both_values() {
        let state = |value: Value| value.as_object().cloned().unwrap_or_default();
        let before = state(json!({"same": [1], "changed": 1, "gone": "x", "null": null}));
        let after = state(json!({"same": [1], "changed": 1.0, "new": {}}));
        assert_eq!(
            json!(changes(&before, &after)),
            json!({"changed": {"old": 1, "new": 1.0}, "gone": {"old": "x", "new": null},
                   "new": {"old": null, "new": {}}, "null": {"old": null, "new": null}})
        );
    }
}
