//! The schema and example of an event type's version.

#[cfg(feature = "schema-check")]
use std::sync::OnceLock;

use serde_json::Value;
#[cfg(feature = "schema-check")]
use {
    super::checker::{Checker, Reservation},
    super::fault::FieldFault,
    serde_json::Map,
};

/// The schema and example of one version of an event type. Both stay text until they are needed: a request needs one or two
/// types, and parsing all of them would parse a hundred at every start.
#[derive(Debug)]
pub struct EventSchema {
    schema: Box<str>,
    example: Box<str>,
    #[cfg(feature = "schema-check")]
    checker: OnceLock<(Checker, Reservation)>,
}

impl EventSchema {
    /// Schema and example, as JSON text that PostgreSQL wrote.
    pub fn new(schema: Box<str>, example: Box<str>) -> Self {
        Self {
            schema,
            example,
            #[cfg(feature = "schema-check")]
            checker: OnceLock::new(),
        }
    }

    /// Bytes of the two texts.
    pub fn text_bytes(&self) -> usize {
        self.schema.len() + self.example.len()
    }

    /// The JSON Schema of the data.
    pub fn schema(&self) -> Value {
        value_of(&self.schema)
    }

    /// An example of data that the schema accepts.
    pub fn example(&self) -> Value {
        value_of(&self.example)
    }

    /// Checks data against the schema, which is compiled when it is first needed.
    ///
    /// # Errors
    /// Each place that the schema refuses, at most [`MAX_FAULTS`](super::checker::MAX_FAULTS). Or `unusable_schema`, if the schema itself
    /// cannot be compiled.
    #[cfg(feature = "schema-check")]
    pub fn check(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldFault>> {
        if let Some((checker, _)) = self.checker.get() {
            return checker.check(data);
        }
        let compiled = Checker::compile(&self.schema()).map_err(|e| {
            let detail = format!("the catalog's schema cannot be used: {e}");
            vec![FieldFault::new("", "unusable_schema", detail)]
        })?;
        match Reservation::of(compiled.footprint) {
            Some(reserved) => self.checker.get_or_init(|| (compiled, reserved)).0.check(data),
            None => compiled.check(data),
        }
    }
}

/// This cannot fail: PostgreSQL wrote the text, and it was accepted as a JSON value when the type was registered.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
#[cfg(feature = "schema-check")]
mod tests {
    use super::*;

    fn schema(text: &str) -> EventSchema {
        EventSchema::new(text.into(), "{}".into())
    }

    fn check(schema: &EventSchema, data: &str) -> Result<(), Vec<FieldFault>> {
        let data = crate::json::parse(data.as_bytes()).expect("JSON");
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
