//! JSON that may enter the log: unambiguous, storable and exact.
//!
//! serde_json takes the last of two equal keys, and jsonb refuses `\u0000`, which JSON allows. This parser refuses both and names the
//! place.

mod equality;
mod reader;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::equality::{digest, same, same_or_absent};
pub use self::reader::{JsonFault, MAX_DEPTH, MAX_DIGITS, MAX_FOOTPRINT, TOO_MANY_VALUES};

/// Reads JSON text strictly: no duplicate keys, no NUL characters, at most [`MAX_DEPTH`] levels, every number exact, and no more
/// values than fit into [`MAX_FOOTPRINT`].
///
/// # Errors
/// [`JsonFault`], which names the place.
pub fn parse(text: &[u8]) -> Result<Value, JsonFault> {
    let text = std::str::from_utf8(text).map_err(|_| JsonFault::here("malformed_json", "the body is not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| {
        let code = if e.to_string().starts_with("recursion limit") {
            "nesting_too_deep"
        } else {
            "malformed_json"
        };
        JsonFault::here(code, format!("the body is not valid JSON: {e}"))
    })?;
    reader::read(raw.get())
}

/// The number that is written, if it is whole. 7, 7.0 and 70e-1 are the same number.
pub fn whole_number(text: &str) -> Option<i64> {
    let parsed = text.parse().or_else(|_| Decimal::from_scientific(text));
    parsed.ok().filter(Decimal::is_integer)?.try_into().ok()
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

/// Reads a field in which null is a value of its own, and not the same as leaving the field out: `deserialize_with` for an option that is
/// `None` by `default`.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    /// Any value. Texts are of any characters except U+0000.
    fn any_value() -> impl Strategy<Value = Value> {
        let text = || prop_oneof!["[a-z\"\\\\/\n\u{1}ü\u{1F600}]{0,6}", "\\PC{0,6}"];
        let number = prop_oneof!["-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?"]
            .prop_map(|text| text.parse().map(Value::Number).expect("a number"));
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number,
            text().prop_map(Value::String)
        ];
        plain.prop_recursive(4, 40, 6, move |inner| {
            let object = prop::collection::btree_map(text(), inner.clone(), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::Array),
                object.prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_serde_json_reads_it(value in any_value(), is_pretty in any::<bool>()) {
            let text = match is_pretty {
                true => serde_json::to_string_pretty(&value),
                false => serde_json::to_string(&value),
            };
            prop_assert_eq!(parse(text.expect("JSON").as_bytes()), Ok(value));
        }
    }

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
    fn places_are_named_from_the_outside() {
        let place = |text: &str| parse(text.as_bytes()).map_err(|fault| (fault.code, fault.pointer));
        let at = |code, pointer: &str| Err((code, pointer.to_owned()));
        assert_eq!(place(r#"[0, {"a/b": ["\u0000"]}]"#), at("nul_character", "/1/a~1b/0"));
        assert_eq!(place(r#"{"a": {"\u0000": 1}}"#), at("nul_character", "/a/\0"));
        assert_eq!(place(r#"{"a": [{"b": 1e1000}]}"#), at("number_too_long", "/a/0/b"));
        assert_eq!(place(r#"{"a": "\ud800"}"#), at("malformed_json", "/a"));
        let many = format!(r#"{{"a": [{}0]}}"#, r#"{"a":1},"#.repeat(500_000));
        assert_eq!(place(&many), at(TOO_MANY_VALUES, ""));
    }

    #[test]
    fn numbers_have_at_most_a_thousand_digits() {
        for (digits, expected) in [(999, "fine"), (1_000, "number_too_long")] {
            assert_eq!(code(&format!("-0.{}", "1".repeat(digits))), expected);
            assert_eq!(
                code(&format!("-{}", "1".repeat(digits + 1))),
                expected,
                "without a point"
            );
        }
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
