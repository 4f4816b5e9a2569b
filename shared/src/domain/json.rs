//! JSON as it may enter the log: unambiguous, storable and exact.
//!
//! serde_json alone takes the last of two equal keys, and jsonb refuses what JSON allows (`\u0000`), so both are looked for
//! here, with the place. Each value is first taken raw and then opened by its first character: that way a number's text is
//! in hand before anything could round it, and a key can never be mistaken for serde_json's own marker of a number.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Arrays and objects may stand within each other this deep.
pub const MAX_DEPTH: usize = 64;
/// Digits that a number may need when it is written out.
pub const MAX_DIGITS: i64 = 1_000;

/// Why a text is not JSON that the log takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonFault {
    /// Stable code, e.g. `duplicate_key`.
    pub code: &'static str,
    /// JSON pointer to the place, where there is one.
    pub pointer: String,
    /// What is wrong, for people.
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

/// Reads JSON text strictly: no duplicate keys, no NUL characters, at most [`MAX_DEPTH`] levels, every number exact.
///
/// # Errors
/// A [`JsonFault`] that names the place.
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
    open(raw, &mut String::new(), 0)
}

fn open(raw: &RawValue, pointer: &mut String, depth: usize) -> Result<Value, JsonFault> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => Err(JsonFault::at(
            pointer,
            "nesting_too_deep",
            format!("is nested more than {MAX_DEPTH} levels deep"),
        )),
        Some(b'{') => open_object(text, pointer, depth),
        Some(b'[') => open_array(text, pointer, depth),
        Some(b'"') => open_string(text, pointer).map(Value::String),
        Some(b'-' | b'0'..=b'9') => open_number(text, pointer),
        _ => serde_json::from_str(text).map_err(|e| JsonFault::at(pointer, "malformed_json", e.to_string())),
    }
}

fn open_object(text: &str, pointer: &mut String, depth: usize) -> Result<Value, JsonFault> {
    let members: Members<'_> =
        serde_json::from_str(text).map_err(|e| JsonFault::at(pointer, "malformed_json", e.to_string()))?;
    let mut object = Map::new();
    for (key, raw) in members.0 {
        let parent = pointer.len();
        pointer.push('/');
        pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
        refuse_nul(&key, pointer)?;
        if key.starts_with("$serde_json::private::") {
            return Err(JsonFault::at(
                pointer,
                "reserved_key",
                "is a reserved key: choose another name",
            ));
        }
        let value = open(raw, pointer, depth + 1)?;
        if object.insert(key.into_owned(), value).is_some() {
            return Err(JsonFault::at(pointer, "duplicate_key", "occurs twice in its object"));
        }
        pointer.truncate(parent);
    }
    Ok(Value::Object(object))
}

fn open_array(text: &str, pointer: &mut String, depth: usize) -> Result<Value, JsonFault> {
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|e| JsonFault::at(pointer, "malformed_json", e.to_string()))?;
    let mut array = Vec::with_capacity(items.len());
    for (place, raw) in items.into_iter().enumerate() {
        let parent = pointer.len();
        pointer.push_str(&format!("/{place}"));
        array.push(open(raw, pointer, depth + 1)?);
        pointer.truncate(parent);
    }
    Ok(Value::Array(array))
}

fn open_string(text: &str, pointer: &str) -> Result<String, JsonFault> {
    let string: String = serde_json::from_str(text).map_err(|e| {
        JsonFault::at(
            pointer,
            "malformed_json",
            format!("is not a string of Unicode characters: {e}"),
        )
    })?;
    refuse_nul(&string, pointer)?;
    Ok(string)
}

fn refuse_nul(text: &str, pointer: &str) -> Result<(), JsonFault> {
    if text.contains('\0') {
        return Err(JsonFault::at(
            pointer,
            "nul_character",
            "holds the character U+0000, which cannot be stored",
        ));
    }
    Ok(())
}

fn open_number(text: &str, pointer: &str) -> Result<Value, JsonFault> {
    if digits_needed(text) > MAX_DIGITS {
        return Err(JsonFault::at(
            pointer,
            "number_too_long",
            format!("needs more than {MAX_DIGITS} digits when it is written out"),
        ));
    }
    let number: Number = text
        .parse()
        .map_err(|_| JsonFault::at(pointer, "malformed_json", "is not a number"))?;
    Ok(Value::Number(number))
}

/// Digits of the number when it is written without an exponent: what PostgreSQL's numeric would have to keep.
fn digits_needed(text: &str) -> i64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa
        .trim_start_matches('-')
        .split_once('.')
        .unwrap_or((mantissa.trim_start_matches('-'), ""));
    let count = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX / 4);
    // An exponent that is itself beyond i64 is beyond every limit, unless the number is zero: even then nobody needs it.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 4);
    let before = count(whole).saturating_add(exponent).max(1);
    let after = count(fraction).saturating_sub(exponent).max(0);
    before.saturating_add(after)
}

/// The value with every number written out as jsonb keeps it: `1e2` is `100`, `-0.0` is `0.0`. Two values that the log would
/// store alike are equal in this form.
pub fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => written_out(&number.to_string())
            .parse()
            .map_or_else(|_| value.clone(), Value::Number),
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), normal(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Whether a value has more levels than these; looks no deeper than that.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(left)) => items.iter().any(|item| is_deeper(item, left)),
        (Value::Object(members), Some(left)) => members.values().any(|member| is_deeper(member, left)),
        _ => false,
    }
}

/// Equality as the log has it: `1e2` is stored as `100`.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || normal(a) == normal(b)
}

/// SHA-256 of the value in its [`normal`] form, keys in order, as hexadecimal digits.
pub fn digest(value: &Value) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(normal(value).to_string())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A JSON number without exponent and without the sign of a zero. Only for numbers within [`MAX_DIGITS`].
fn written_out(text: &str) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let Ok(exponent) = exponent.parse::<i64>() else {
        return text.to_owned();
    };
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent);
    let Ok(length) = i64::try_from(digits.len()) else {
        return text.to_owned();
    };
    if point.saturating_sub(length).saturating_abs() > 2 * MAX_DIGITS {
        return text.to_owned();
    }
    let (whole, fraction) = if point <= 0 {
        let zeros = usize::try_from(-point).unwrap_or(0);
        ("0".to_owned(), format!("{}{digits}", "0".repeat(zeros)))
    } else if point >= length {
        let zeros = usize::try_from(point - length).unwrap_or(0);
        (format!("{digits}{}", "0".repeat(zeros)), String::new())
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        (whole.to_owned(), fraction.to_owned())
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if digits.bytes().all(|b| b == b'0') { "" } else { sign };
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// An object's members in order, doubles included.
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

/// `Cow` deserialises as owned unless a field says otherwise.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

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

    #[test]
    fn numbers_are_normal_when_written_as_jsonb_writes_them() {
        let pairs = [
            ("1e2", "100"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("1.50", "1.50"),
            ("1.5e1", "15"),
            ("1.50e1", "15.0"),
            ("12e-3", "0.012"),
            ("0.5E1", "5"),
            ("-1e-2", "-0.01"),
            ("0e5", "0"),
        ];
        for (given, normal_form) in pairs {
            let given = parse(given.as_bytes()).expect("a number");
            assert_eq!(normal(&given).to_string(), normal_form);
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
    fn sixty_four_levels_are_enough_and_more_are_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(code(&nested(64)), "fine");
        assert_eq!(code(&nested(65)), "nesting_too_deep");
        assert_eq!(code(&nested(5_000)), "nesting_too_deep");
    }
}
