//! The checks of a schema and its example that are registered at run time.

use annals_domain::checker::Checker;
use annals_domain::event::FieldFault;
use annals_domain::json;
use annals_domain::weight::text_bytes;
use serde_json::Value;

use super::faults::fault;
use super::limits;

/// Maximum bytes of a schema or example as JSON text. Functions that need schemas keep both texts in memory.
pub(super) const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// The schema must be usable and accept the example. An example that its own schema refuses would mislead readers.
pub(super) fn check(schema: &Value, example: &Value, faults: &mut Vec<FieldFault>) {
    for (name, value) in [("schema", schema), ("example", example)] {
        if !value.is_object() {
            return fault(faults, name, "must be an object");
        }
        if text_bytes(value) > MAX_SCHEMA_BYTES {
            let detail = format!("must be at most {MAX_SCHEMA_BYTES} bytes of JSON");
            return fault(faults, name, detail);
        }
    }
    if holds_reference(schema) {
        let detail = "must not contain $ref: write the schema out in full";
        return fault(faults, "schema", detail);
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

/// References to references can make a check take exponential time. Without references, the schema's size limits the time.
fn holds_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| {
            matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") || holds_reference(value)
        }),
        Value::Array(items) => items.iter().any(holds_reference),
        _ => false,
    }
}
