//! The fields by which events of a type can be found (`GET /events?data.sku=…`).

use std::collections::BTreeSet;

use annals_domain::EventKind;
use annals_domain::catalog::has_scalar_field;
use annals_domain::event::FieldFault;
use serde_json::Value;

use super::faults::fault;

/// Maximum number of indexed fields of a type. The sweep writes one row for each of them for every event. The database counts those of the
/// built-in type, too.
const MAX_FIELDS: usize = 5;
/// Maximum number of characters of a name.
const MAX_NAME: usize = 63;

/// Each must be the name of a field that this version or an earlier one describes. Events that are stored at an earlier version have its fields.
pub(super) fn check(fields: &[String], schema: &Value, known: Option<&EventKind>, faults: &mut Vec<FieldFault>) {
    if fields.len() > MAX_FIELDS {
        fault(faults, "indexed", format!("must list at most {MAX_FIELDS} fields"));
    }
    let mut listed = BTreeSet::new();
    for (place, field) in fields.iter().enumerate() {
        let is_described = has_scalar_field(schema, field) || known.is_some_and(|k| k.is_indexable(field));
        let detail = if !is_name(field) {
            "must be the name of a top-level field of data: at most 63 letters without accents, digits and _, not a digit first"
        } else if !is_described {
            "must be a string, number, integer or boolean by the schema of this version or an earlier one"
        } else if !listed.insert(field) {
            "is listed twice"
        } else {
            continue;
        };
        fault(faults, &format!("indexed/{place}"), detail);
    }
}

fn is_name(field: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    field.starts_with(is_letter) && field.len() <= MAX_NAME && field.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}
