//! Sizes of JSON values: bytes as text, bytes in memory, and number of values. The limits of what callers send are given in these units.

use serde::Serialize;
use serde_json::{Map, Value};

/// Maximum bytes of an event's `data` as JSON text.
pub const MAX_DATA_BYTES: usize = 256 * 1024;
/// Bytes that a value takes without its content.
const VALUE: usize = size_of::<Value>();
/// Bytes of a node of a map. A node has room for eleven members.
const NODE: usize = 11 * (size_of::<String>() + VALUE) + 32;
/// Bytes that the allocator adds to a small piece of text.
const ALLOCATION: usize = 16;

/// Estimated bytes of memory that a value takes. Values take more memory than their text: `{"a":1}` has 7 bytes and takes some
/// 700.
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

/// Estimated bytes of memory that an object's members take.
pub fn footprint_of(members: &Map<String, Value>) -> usize {
    let texts: usize = members.iter().map(|(key, value)| of_text(key) + footprint(value)).sum();
    of_members(members.len()) + texts
}

/// Bytes of memory that a text takes, without the value or key that holds it.
pub(super) fn of_text(text: &str) -> usize {
    ALLOCATION + text.len()
}

/// Bytes of memory that `count` members take, without the texts of their keys and values. In the worst case nodes are half full.
pub(super) fn of_members(count: usize) -> usize {
    count.div_ceil(6) * NODE
}

/// Bytes of memory that an array of `count` items takes, without what the items hold.
pub(super) fn of_items(count: usize) -> usize {
    ALLOCATION + count * VALUE
}

/// Bytes of a value's JSON text.
pub fn text_bytes(value: &impl Serialize) -> usize {
    // JSON values can always be written as text.
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

/// The number of values in a value, itself included.
pub fn count_values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count_values).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count_values).sum::<usize>(),
        _ => 1,
    }
}

/// The beginning of a text: at most `characters` characters, and `…` if something is left out.
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
    fn sizes_include_everything_in_a_value() {
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
