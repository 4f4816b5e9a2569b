//! Equality of JSON values, and a digest that equal values share.

use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::hex;

/// Equality by value: `44`, `44.00` and `4.4e1` are the same number, and a null member equals an absent one.
///
/// Every comparison of values uses this function: PATCH, diff, history, imports, and the check of a compensation. If two values
/// are the same, the text that was written first is kept.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || is_same_number(&a.to_string(), &b.to_string()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let differs = |(name, value): (&String, &Value)| !same_or_absent(Some(value), b.get(name));
            !a.iter().any(differs) && b.iter().all(|(name, value)| a.contains_key(name) || value.is_null())
        }
        _ => a == b,
    }
}

/// As [`same`], for values that may be absent: absent equals null.
pub fn same_or_absent(a: Option<&Value>, b: Option<&Value>) -> bool {
    same(a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))
}

/// SHA-256 of the value in hexadecimal digits, with keys in order. Equal numbers give the same digest, however they are written.
pub fn digest(value: &Value) -> String {
    hex::encode(Sha256::digest(canonical(value).to_string()))
}

/// The value with each number in one canonical spelling.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Number(number) => canonical_number(number).map_or_else(|| value.clone(), Value::Number),
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), canonical(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn canonical_number(number: &Number) -> Option<Number> {
    let text = number.to_string();
    let parts = Parts::of(&text)?;
    let sign = if parts.is_negative { "-" } else { "" };
    let digits = if parts.digits.is_empty() { "0" } else { &parts.digits };
    format!("{sign}{digits}e{}", parts.exponent).parse().ok()
}

fn is_same_number(a: &str, b: &str) -> bool {
    matches!((Parts::of(a), Parts::of(b)), (Some(a), Some(b)) if a == b)
}

/// The parts of a number's value: `-0.0120e5` is minus, `12`, and exponent `2`. Zero has no digits and no sign.
#[derive(PartialEq, Eq)]
struct Parts {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Parts {
    /// `None` if the exponent does not fit into an i64. Such numbers never enter the log.
    fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (is_negative, mantissa) = mantissa
            .strip_prefix('-')
            .map_or((false, mantissa), |rest| (true, rest));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len() - digits.len()).ok()?;
        let exponent = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(dropped)?;
        let digits = digits.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        Some(Self {
            is_negative: is_negative && !is_zero,
            digits,
            exponent: if is_zero { 0 } else { exponent },
        })
    }
}
