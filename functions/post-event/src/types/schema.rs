//! What a schema and its example must be like to be registered at run time.

use annals::domain::event::FieldFault;
use annals::domain::json;
use annals::domain::schema::Checker;
use annals::domain::weight::text_bytes;
use serde_json::Value;

use super::{fault, limits};

/// Most bytes of a schema or example: they are compiled and kept by every function.
pub(super) const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// The schema must be usable, and its example must pass it: an example that lies helps nobody.
pub(super) fn check(schema: &Value, example: &Value, faults: &mut Vec<FieldFault>) {
    for (name, value) in [("schema", schema), ("example", example)] {
        if !value.is_object() {
            return fault(faults, name, "must be an object".to_owned());
        }
        if text_bytes(value) > MAX_SCHEMA_BYTES {
            return fault(
                faults,
                name,
                format!("must be at most {MAX_SCHEMA_BYTES} bytes of JSON"),
            );
        }
    }
    if holds_reference(schema) {
        return fault(
            faults,
            "schema",
            "must not hold $ref: write the schema out in full".to_owned(),
        );
    }
    if let Some(refused) = limits::check(schema) {
        return faults.push(refused);
    }
    let checker = match Checker::compile(schema) {
        Ok(checker) => checker,
        Err(error) => return fault(faults, "schema", format!("is not a valid JSON Schema: {error}")),
    };
    let Ok(Value::Object(example)) = json::parse(example.to_string().as_bytes()) else {
        return;
    };
    if let Err(refused) = checker.check(&example) {
        faults.extend(refused.into_iter().map(|f| FieldFault {
            pointer: format!("/example{}", f.pointer),
            ..f
        }));
    }
}

/// A few references to references make a schema that takes longer to check than the sun will shine; without any, checking is
/// bounded by the schema's size.
fn holds_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || holds_reference(value)
        }),
        Value::Array(items) => items.iter().any(holds_reference),
        _ => false,
    }
}
