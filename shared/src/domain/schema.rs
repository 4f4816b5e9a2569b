//! JSON Schemas of events' data: draft 2020-12, formats asserted, numbers compared exactly.

use std::sync::OnceLock;

use jsonschema::PatternOptions;
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
/// Most bytes that an expression takes when it is compiled: what it takes to match follows from it and the text's length.
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// A schema, ready to check data.
#[derive(Debug)]
pub struct Checker {
    validator: jsonschema::Validator,
    schema: Box<str>,
    weight: usize,
}

/// Compiles a schema. Expressions are matched in time that grows with the text's length and no faster: look-around and references
/// back, which take longer, are refused.
pub(super) fn build(schema: &Value) -> Result<jsonschema::Validator, String> {
    let patterns = PatternOptions::regex()
        .size_limit(MAX_PATTERN_SIZE)
        .dfa_size_limit(MAX_PATTERN_SIZE);
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|e| shortened(&e.to_string(), MAX_MESSAGE))
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
        Ok(Self {
            validator: build(schema)?,
            weight: weight_of(schema).max(1),
            schema: schema.to_string().into(),
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

/// One version of an event type's data. It stays text until somebody needs more of it: a request needs one type or two, and a
/// function that starts would read a hundred.
#[derive(Debug)]
pub struct EventSchema {
    schema: Box<str>,
    example: Box<str>,
    checker: OnceLock<Result<Checker, String>>,
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
        let checker = self.checker.get_or_init(|| Checker::compile(&self.schema()));
        let checker = checker.as_ref().map_err(|e| {
            let detail = format!("the catalog's schema cannot be used: {e}");
            vec![FieldFault::new("", "unusable_schema", detail)]
        })?;
        checker.check(data)
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
