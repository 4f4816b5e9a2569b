//! Compiles JSON Schemas within memory bounds, and estimates what checking against a schema costs.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use super::weight::shortened;

/// Maximum number of characters of the message about a schema that cannot be compiled.
const MAX_MESSAGE: usize = 300;

/// Sizes in bytes that compiled expressions may have. They are tried in this order until one is enough. Repetitions make
/// expressions large: `\p{L}` takes some 50 KB, so `\p{L}{64}` takes 3 MB.
const PATTERN_SIZES: [usize; 4] = [16 << 10, 128 << 10, 1 << 20, 8 << 20];
/// Bytes that matching may take in addition to the compiled expression.
const MATCHER_BYTES: usize = 128 << 10;

/// Compiles a schema. Matching time of expressions is linear in the length of the text. Look-around and back-references would
/// take longer, so they are refused.
pub(super) fn build(schema: &Value) -> Result<Validator, String> {
    build_within(schema, PATTERN_SIZES[3]).map_err(|e| shortened(&e.to_string(), MAX_MESSAGE))
}

fn build_within(schema: &Value, pattern_size: usize) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex()
        .size_limit(pattern_size)
        .dfa_size_limit(MATCHER_BYTES);
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .build(schema)
}

/// Maximum bytes of memory that an expression takes when it is matched. `None`: it cannot be compiled, or it takes too much.
pub fn pattern_bytes(pattern: &str) -> Option<usize> {
    let fits = |size: &&usize| build_within(&json!({"pattern": pattern}), **size).is_ok();
    PATTERN_SIZES.iter().find(fits).map(|size| size + MATCHER_BYTES)
}

/// The expressions of a schema. The result may also contain text that only looks like one, such as a constant with a member
/// `pattern`.
pub fn patterns_of(schema: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    find_patterns(schema, &mut found);
    found
}

fn find_patterns<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| find_patterns(item, found)),
        Value::Object(members) => {
            for (keyword, value) in members {
                match (keyword.as_str(), value) {
                    ("pattern", Value::String(pattern)) => found.push(pattern),
                    ("patternProperties", Value::Object(named)) => found.extend(named.keys().map(String::as_str)),
                    _ => {}
                }
                find_patterns(value, found);
            }
        }
        _ => {}
    }
}

/// Maximum number of checks that a schema may need for each value: the number of its parts, plus the number of values that it lists.
pub fn weight_of(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => 1 + members.values().map(weight_of).sum::<usize>(),
        Value::Array(items) => items.iter().map(|item| weight_of(item).max(1)).sum(),
        _ => 0,
    }
}

/// Compiles a schema with the smallest bound that its expressions fit into. Also returns the maximum bytes of memory that they take.
pub(super) fn compile_smallest(schema: &Value) -> Result<(Validator, usize), String> {
    let fits = |size: &usize| Some((build_within(schema, *size).ok()?, *size));
    let (validator, size) = match PATTERN_SIZES[..3].iter().find_map(fits) {
        Some(built) => built,
        None => (build(schema)?, PATTERN_SIZES[3]),
    };
    Ok((validator, patterns_of(schema).len() * (size + MATCHER_BYTES)))
}
