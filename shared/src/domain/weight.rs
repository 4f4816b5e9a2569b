//! How large JSON values are: as text, in memory, and as work. Everything that takes what callers send is bounded by one of these.

use serde::Serialize;
use serde_json::{Map, Value};

/// What a value takes by itself.
const VALUE: usize = size_of::<Value>();
/// What a node of a map takes: it has room for eleven members.
const NODE: usize = 11 * (size_of::<String>() + VALUE) + 32;
/// What the allocator adds to a small piece of text.
const ALLOCATION: usize = 16;

/// Bytes of memory that a value takes, estimated. Text grows when it is parsed: `{"a":1}` has 7 bytes and takes some 700.
pub fn footprint(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => VALUE,
        // A number keeps its text.
        Value::Number(_) => VALUE + ALLOCATION,
        Value::String(text) => VALUE + of_text(text),
        Value::Array(items) => VALUE + ALLOCATION + items.iter().map(footprint).sum::<usize>(),
        Value::Object(members) => VALUE + footprint_of(members),
    }
}

/// Bytes of memory that an object's members take, estimated.
pub fn footprint_of(members: &Map<String, Value>) -> usize {
    let texts: usize = members.iter().map(|(key, value)| of_text(key) + footprint(value)).sum();
    of_members(members.len()) + texts
}

/// Bytes of memory that a text takes beside the value or key that holds it.
pub(super) fn of_text(text: &str) -> usize {
    ALLOCATION + text.len()
}

/// Bytes of memory that so many members take beside their keys' and values' texts: nodes are half full at worst.
pub(super) fn of_members(count: usize) -> usize {
    count.div_ceil(6) * NODE
}

/// Bytes of memory that so many items of an array take.
pub(super) fn of_items(count: usize) -> usize {
    ALLOCATION + count * VALUE
}

/// Bytes of a value's text.
pub fn text_bytes(value: &impl Serialize) -> usize {
    // JSON values always have a text.
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

/// How many values there are in a value, itself included.
pub fn count_values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count_values).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count_values).sum::<usize>(),
        _ => 1,
    }
}

/// The beginning of a text: at most so many characters, and a mark where something is left out.
pub fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_text_and_of_all_that_is_in_it() {
        let value = json!({"a": [1, 2.50, {"b": "ü\n"}], "c": null});
        assert_eq!(text_bytes(&value), value.to_string().len());
        assert_eq!(count_values(&value), 7);
        let small = json!((0..1_000).map(|_| json!({"a": 1})).collect::<Vec<_>>());
        assert!(footprint(&small) > 500 * 1_000, "{}", footprint(&small));
        assert!(footprint(&json!("x".repeat(1_000))) < 1_100);
    }

    #[test]
    fn a_text_is_shortened_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äöü…");
    }
}
