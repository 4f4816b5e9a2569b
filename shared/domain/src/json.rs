//! JSON that may enter the log: unambiguous, storable and exact.
//!
//! serde_json takes the last of two equal keys, and jsonb refuses `\u0000`, which JSON allows. This parser refuses both and names the
//! place. Each value is first read as raw text and then parsed according to its first character. A number's text is then available before
//! it could be rounded, and a key can never be confused with serde_json's own marker of a number.

mod equality;

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

pub use self::equality::{digest, same, same_or_absent};
use super::{json_pointer, weight};

/// Maximum number of levels of nested arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Maximum number of digits that a number may need when it is written without an exponent.
pub const MAX_DIGITS: i64 = 1_000;
/// Maximum bytes of memory that the values of one text may take (`weight::footprint`). Without this limit, 4 MiB of `{"a":1}` would take
/// 370 MB.
pub const MAX_FOOTPRINT: usize = 96 << 20;
/// Code of the fault if a text exceeds [`MAX_FOOTPRINT`].
pub const TOO_MANY_VALUES: &str = "too_many_values";

/// Why the log does not accept a text as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonFault {
    /// Stable code, e.g. `duplicate_key`.
    pub code: &'static str,
    /// JSON pointer to the place. Empty if the fault is about the whole text.
    pub pointer: String,
    /// Human-readable text: what is wrong.
    pub message: String,
}

impl JsonFault {
    fn at(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: pointer.to_owned(),
            message: message.into(),
        }
    }
}

/// Reads JSON text strictly: no duplicate keys, no NUL characters, at most [`MAX_DEPTH`] levels, every number exact, and no more
/// values than fit into [`MAX_FOOTPRINT`].
///
/// # Errors
/// [`JsonFault`], which names the place.
pub fn parse(text: &[u8]) -> Result<Value, JsonFault> {
    let text = std::str::from_utf8(text).map_err(|_| JsonFault::at("", "malformed_json", "the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| {
        let code = if e.to_string().starts_with("recursion limit") {
            "nesting_too_deep"
        } else {
            "malformed_json"
        };
        JsonFault::at("", code, format!("the body is not valid JSON: {e}"))
    })?;
    let mut at = Position {
        pointer: String::new(),
        bytes_left: MAX_FOOTPRINT,
    };
    open(raw, &mut at, 0)
}

/// The current position of the parser, and the memory that is left.
struct Position {
    pointer: String,
    /// Bytes of memory that further values may take.
    bytes_left: usize,
}

impl Position {
    /// Must be called before the memory is taken.
    fn reserve(&mut self, bytes: usize) -> Result<(), JsonFault> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            let message = "the body has too many values; send less at a time";
            JsonFault::at("", TOO_MANY_VALUES, message)
        })?;
        Ok(())
    }
}

fn open(raw: &RawValue, at: &mut Position, depth: usize) -> Result<Value, JsonFault> {
    let (text, pointer) = (raw.get(), &at.pointer);
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => Err(JsonFault::at(
            pointer,
            "nesting_too_deep",
            format!("is nested more than {MAX_DEPTH} levels deep"),
        )),
        Some(b'{') => open_object(text, at, depth),
        Some(b'[') => open_array(text, at, depth),
        Some(b'"') => {
            at.reserve(weight::of_text(text))?;
            open_string(text, &at.pointer).map(Value::String)
        }
        Some(b'-' | b'0'..=b'9') => {
            at.reserve(weight::of_text(text))?;
            open_number(text, &at.pointer)
        }
        _ => serde_json::from_str(text).map_err(|e| JsonFault::at(pointer, "malformed_json", e.to_string())),
    }
}

fn open_object(text: &str, at: &mut Position, depth: usize) -> Result<Value, JsonFault> {
    let members: Members<'_> =
        serde_json::from_str(text).map_err(|e| JsonFault::at(&at.pointer, "malformed_json", e.to_string()))?;
    at.reserve(weight::of_members(members.0.len()))?;
    let mut object = Map::new();
    for (key, raw) in members.0 {
        let parent = at.pointer.len();
        at.pointer.push('/');
        at.pointer.push_str(&json_pointer::escape(&key));
        refuse_nul(&key, &at.pointer)?;
        if key.starts_with("$serde_json::private::") {
            let message = "is a reserved key: choose another name";
            return Err(JsonFault::at(&at.pointer, "reserved_key", message));
        }
        at.reserve(weight::of_text(&key))?;
        let value = open(raw, at, depth + 1)?;
        if object.insert(key.into_owned(), value).is_some() {
            let message = "occurs twice in its object";
            return Err(JsonFault::at(&at.pointer, "duplicate_key", message));
        }
        at.pointer.truncate(parent);
    }
    Ok(Value::Object(object))
}

fn open_array(text: &str, at: &mut Position, depth: usize) -> Result<Value, JsonFault> {
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|e| JsonFault::at(&at.pointer, "malformed_json", e.to_string()))?;
    at.reserve(weight::of_items(items.len()))?;
    let mut array = Vec::with_capacity(items.len());
    for (index, raw) in items.into_iter().enumerate() {
        let parent = at.pointer.len();
        at.pointer.push_str(&format!("/{index}"));
        array.push(open(raw, at, depth + 1)?);
        at.pointer.truncate(parent);
    }
    Ok(Value::Array(array))
}

fn open_string(text: &str, pointer: &str) -> Result<String, JsonFault> {
    let malformed = |e| format!("is not a string of Unicode characters: {e}");
    let string: String =
        serde_json::from_str(text).map_err(|e| JsonFault::at(pointer, "malformed_json", malformed(e)))?;
    refuse_nul(&string, pointer)?;
    Ok(string)
}

fn refuse_nul(text: &str, pointer: &str) -> Result<(), JsonFault> {
    if text.contains('\0') {
        let message = "contains the character U+0000, which cannot be stored";
        return Err(JsonFault::at(pointer, "nul_character", message));
    }
    Ok(())
}

fn open_number(text: &str, pointer: &str) -> Result<Value, JsonFault> {
    if digits_needed(text) > MAX_DIGITS {
        let message = format!("has more than {MAX_DIGITS} digits when written without an exponent");
        return Err(JsonFault::at(pointer, "number_too_long", message));
    }
    let number: Number = text
        .parse()
        .map_err(|_| JsonFault::at(pointer, "malformed_json", "is not a number"))?;
    Ok(Value::Number(number))
}

/// Digits of the number when it is written without an exponent. PostgreSQL's numeric would have to store as many.
fn digits_needed(text: &str) -> i64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa
        .trim_start_matches('-')
        .split_once('.')
        .unwrap_or((mantissa.trim_start_matches('-'), ""));
    let count = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX / 4);
    // An exponent that does not fit into an i64 exceeds every limit. This also refuses zeros with such an exponent, which have no use.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 4);
    let before = count(whole).saturating_add(exponent).max(1);
    let after = count(fraction).saturating_sub(exponent).max(0);
    before.saturating_add(after)
}

/// Whether a value has more levels of nesting than `levels`. Deeper levels are not visited.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(left)) => items.iter().any(|item| is_deeper(item, left)),
        (Value::Object(members), Some(left)) => members.values().any(|member| is_deeper(member, left)),
        _ => false,
    }
}

/// An object's members in order, duplicate keys included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Without the attribute, a `Cow` is deserialised as owned.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a field in which null is a value of its own, and not the same as leaving the field out: `deserialize_with` for an option that is
/// `None` by `default`.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text.as_bytes()).map_or_else(|fault| fault.code, |_| "fine")
    }

    #[test]
    fn numbers_keep_every_digit() {
        for number in [
            "12345678901234567890.123456789",
            "-0.1",
            "1e+2",
            "100000000000000000000000000000001",
        ] {
            let parsed = parse(number.as_bytes()).map(|v| v.to_string());
            assert_eq!(parsed.as_deref(), Ok(number));
        }
        assert_eq!(code("1e999"), "fine");
        assert_eq!(code("1e1000"), "number_too_long");
        assert_eq!(code("1e-1000"), "number_too_long");
        assert_eq!(code("1e99999999999999999999"), "number_too_long");
    }

    fn value(text: &str) -> Value {
        parse(text.as_bytes()).expect("JSON")
    }

    #[test]
    fn numbers_are_compared_by_value_and_null_equals_absent() {
        for (a, b) in [
            ("44.00", "44"),
            ("1e2", "100"),
            ("-0.0", "0"),
            ("0e5", "0"),
            ("0.0120e5", "1200"),
            ("12e-3", "0.012"),
            ("-1e-2", "-0.01"),
            ("12345678901234567890.10", "12345678901234567890.1"),
            (r#"{"a": [1, {"b": 2.0}]}"#, r#"{"a": [1.0, {"b": 2, "c": null}]}"#),
            (r#"{"a": null}"#, "{}"),
        ] {
            assert!(same(&value(a), &value(b)) && same(&value(b), &value(a)), "{a} {b}");
        }
        assert_eq!(digest(&value(r#"{"a": 1e2}"#)), digest(&value(r#"{"a": 100.0}"#)));
        for (a, b) in [
            ("1", "-1"),
            ("10", "1"),
            ("0.1", "0.01"),
            ("1", "\"1\""),
            ("[1, 2]", "[2, 1]"),
            ("[null]", "[]"),
            ("null", "0"),
            (r#"{"a": 1}"#, "{}"),
            (r#"{"a": 1}"#, r#"{"a": 2}"#),
            ("12345678901234567890.1", "12345678901234567890.2"),
        ] {
            assert!(!same(&value(a), &value(b)) && !same(&value(b), &value(a)), "{a} {b}");
            assert_ne!(digest(&value(a)), digest(&value(b)), "{a} {b}");
        }
    }

    #[test]
    fn ambiguity_is_refused_with_its_place() {
        let fault = parse(br#"{"data": {"a": [0, {"b": 1, "\u0062": 2}]}}"#);
        assert_eq!(
            fault.map_err(|f| (f.code, f.pointer)),
            Err(("duplicate_key", "/data/a/1/b".to_owned()))
        );
        assert_eq!(code(r#"{"a": "\u0000"}"#), "nul_character");
        assert_eq!(code(r#"{"\u0000": 1}"#), "nul_character");
        assert_eq!(code(r#""\ud800""#), "malformed_json");
        assert_eq!(code(r#"{"\udc00": 1}"#), "malformed_json");
        assert_eq!(code(r#"{"$serde_json::private::Number": "1"}"#), "reserved_key");
        assert_eq!(code("{} {}"), "malformed_json");
        assert_eq!(code(""), "malformed_json");
        assert_eq!(code("NaN"), "malformed_json");
    }

    #[test]
    fn many_small_values_are_refused_before_they_take_memory() {
        let small = |count: usize| format!("[{}0]", r#"{"a":1},"#.repeat(count));
        assert_eq!(code(&small(10_000)), "fine");
        assert_eq!(code(&small(500_000)), TOO_MANY_VALUES);
        // 4 MiB of most other values are accepted.
        assert_eq!(code(&format!("[{}0]", "[],".repeat(1_390_000))), "fine");
        assert_eq!(code(&format!("[\"{}\"]", "x".repeat(4 << 20))), "fine");
    }

    #[test]
    fn sixty_four_levels_are_accepted_and_more_are_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(code(&nested(64)), "fine");
        assert_eq!(code(&nested(65)), "nesting_too_deep");
        assert_eq!(code(&nested(5_000)), "nesting_too_deep");
    }
}
