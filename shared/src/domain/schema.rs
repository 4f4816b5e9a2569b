//! JSON Schemas of events' data: draft 2020-12, formats asserted, numbers compared exactly.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::event::FieldFault;
use super::explain::explain;
use super::weight::{count_values, shortened};

/// A refusal names at most this many places.
pub const MAX_FAULTS: usize = 50;
/// Most characters of what is said of a schema that cannot be used.
const MAX_MESSAGE: usize = 300;

/// Does what the first [`Checker`] of a process would: the drafts' own schemas are read then, which takes milliseconds.
pub fn prepare() {
    // The whole of it is read where a schema is more than true or false, and expressions come with a machine of their own.
    let _ready = Checker::compile(&json!({"properties": {"any": {"pattern": "^.$", "format": "date"}}}));
}

/// Most steps that a check may take: parts of the schema times values of the data. A step takes some nanoseconds.
pub const MAX_STEPS: usize = 30_000_000;
/// Bytes that an expression may take when it is compiled, in steps: it is tried which is enough. Repetitions make the size: `\p{L}`
/// takes some 50 KB, and so `\p{L}{64}` takes 3 MB.
const PATTERN_SIZES: [usize; 4] = [16 << 10, 128 << 10, 1 << 20, 8 << 20];
/// Bytes that a matcher may take beside its expression.
const MATCHER_BYTES: usize = 128 << 10;

/// A schema, ready to check data.
#[derive(Debug)]
pub struct Checker {
    validator: Validator,
    schema: Box<str>,
    weight: usize,
    footprint: usize,
}

/// Compiles a schema. Expressions are matched in time that grows with the text's length and no faster: look-around and references
/// back, which take longer, are refused.
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

/// Bytes of memory that an expression takes at most to be matched; none where it cannot be, or takes too much.
pub fn pattern_bytes(pattern: &str) -> Option<usize> {
    let fits = |size: &&usize| build_within(&json!({"pattern": pattern}), **size).is_ok();
    PATTERN_SIZES.iter().find(fits).map(|size| size + MATCHER_BYTES)
}

/// The expressions of a schema; and what looks like one, such as a constant with a member `pattern`.
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

/// How much a schema may have to do for each value: its parts, and the values that it lists.
pub fn weight_of(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => 1 + members.values().map(weight_of).sum::<usize>(),
        Value::Array(items) => items.iter().map(|item| weight_of(item).max(1)).sum(),
        _ => 0,
    }
}

impl Checker {
    /// Compiles a schema; references lead nowhere outside of it.
    ///
    /// # Errors
    /// Why it is no usable JSON Schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let (text, patterns) = (schema.to_string(), patterns_of(schema).len());
        let fits = |size: &usize| Some((build_within(schema, *size).ok()?, *size));
        let (validator, pattern_size) = match PATTERN_SIZES[..3].iter().find_map(fits) {
            Some(built) => built,
            None => (build(schema)?, PATTERN_SIZES[3]),
        };
        Ok(Self {
            validator,
            weight: weight_of(schema).max(1),
            footprint: COMPILED * text.len() + patterns * (pattern_size + MATCHER_BYTES),
            schema: text.into(),
        })
    }

    /// Checks data.
    ///
    /// # Errors
    /// Each place that the schema refuses, at most [`MAX_FAULTS`]; or that there is too much to check.
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldFault>> {
        let data = Value::Object(data.clone());
        if self.weight.saturating_mul(count_values(&data)) > MAX_STEPS {
            let detail =
                "has more values than the schema, with its many parts, can be checked for; send less in one event";
            return Err(vec![FieldFault::new("", "too_much_to_check", detail)]);
        }
        if self.validator.is_valid(&data) {
            return Ok(());
        }
        Err(explain(&value_of(&self.schema), &self.validator, &data))
    }
}

/// How many times as much memory as its text a compiled schema takes, expressions not included.
const COMPILED: usize = 32;
/// Bytes of memory, estimated, that compiled schemas take together. What finds no room is compiled for each check.
const MAX_KEPT: usize = 64 << 20;
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// A part of [`MAX_KEPT`].
#[derive(Debug)]
struct Room(usize);

impl Room {
    fn take(bytes: usize) -> Option<Self> {
        let before = KEPT.fetch_add(bytes, Ordering::Relaxed);
        let room = Self(bytes);
        // Where there is none it is given back with this value.
        (before + bytes <= MAX_KEPT).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// One version of an event type's data. It stays text until somebody needs more of it: a request needs one type or two, and a
/// function that starts would read a hundred.
#[derive(Debug)]
pub struct EventSchema {
    schema: Box<str>,
    example: Box<str>,
    checker: OnceLock<(Checker, Room)>,
}

impl EventSchema {
    /// A schema, and data that it accepts, as PostgreSQL writes the catalog's JSON.
    pub fn new(schema: Box<str>, example: Box<str>) -> Self {
        Self {
            schema,
            example,
            checker: OnceLock::new(),
        }
    }

    /// Bytes that it keeps.
    pub fn text_bytes(&self) -> usize {
        self.schema.len() + self.example.len()
    }

    /// The JSON Schema.
    pub fn schema(&self) -> Value {
        value_of(&self.schema)
    }

    /// Data that it accepts.
    pub fn example(&self) -> Value {
        value_of(&self.example)
    }

    /// Checks data against the schema.
    ///
    /// # Errors
    /// Each place that the schema refuses, at most [`MAX_FAULTS`]; or that the schema itself cannot be used.
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldFault>> {
        if let Some((checker, _)) = self.checker.get() {
            return checker.check(data);
        }
        let compiled = Checker::compile(&self.schema()).map_err(|e| {
            let detail = format!("the catalog's schema cannot be used: {e}");
            vec![FieldFault::new("", "unusable_schema", detail)]
        })?;
        match Room::take(compiled.footprint) {
            Some(room) => self.checker.get_or_init(|| (compiled, room)).0.check(data),
            None => compiled.check(data),
        }
    }
}

/// Nothing is left to refuse: PostgreSQL wrote it, and the catalog took it as a value once, when it was registered.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> EventSchema {
        EventSchema::new(text.into(), "{}".into())
    }

    fn check(schema: &EventSchema, data: &str) -> Result<(), Vec<FieldFault>> {
        let data = crate::domain::json::parse(data.as_bytes()).expect("JSON");
        schema.check(data.as_object().expect("an object"))
    }

    #[test]
    fn schemas_assert_formats_and_name_places() {
        let schema = schema(
            r#"{"type": "object", "required": ["email"], "properties": {"email": {"type": "string", "format": "email"}}}"#,
        );
        assert!(check(&schema, r#"{"email": "a@example.com"}"#).is_ok());
        let faults = check(&schema, r#"{"email": "nobody"}"#).expect_err("not an address");
        assert_eq!(faults[0].pointer, "/email");
        assert!(check(&schema, "{}").is_err());
    }

    #[test]
    fn schemas_compare_large_numbers_exactly() {
        let schema = schema(r#"{"properties": {"n": {"maximum": 12345678901234567890.5}}}"#);
        assert!(check(&schema, r#"{"n": 12345678901234567890}"#).is_ok());
        assert!(check(&schema, r#"{"n": 12345678901234567899}"#).is_err());
    }
}
