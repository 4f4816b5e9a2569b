//! JSON Schemas of events' data: draft 2020-12, formats asserted, numbers compared exactly.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::event::FieldFault;

/// A refusal names at most this many places.
pub const MAX_FAULTS: usize = 50;

/// Does what the first [`Checker`] of a process would: the drafts' own schemas are read then, which takes milliseconds.
pub fn prepare() {
    // The whole of it is read where a schema is more than true or false, and expressions come with a machine of their own.
    let _ready = Checker::compile(&json!({"properties": {"any": {"pattern": "^.$", "format": "date"}}}));
}

/// A schema, ready to check data.
#[derive(Debug)]
pub struct Checker(jsonschema::Validator);

impl Checker {
    /// Compiles a schema; references lead nowhere outside of it.
    ///
    /// # Errors
    /// Why it is no usable JSON Schema.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(schema)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// Checks data.
    ///
    /// # Errors
    /// Each place that the schema refuses, at most [`MAX_FAULTS`].
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldFault>> {
        let data = Value::Object(data.clone());
        if self.0.is_valid(&data) {
            return Ok(());
        }
        Err(self
            .0
            .iter_errors(&data)
            .take(MAX_FAULTS)
            .map(|e| FieldFault::new(e.instance_path().to_string(), "schema_violation", e.to_string()))
            .collect())
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
