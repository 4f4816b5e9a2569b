//! Limits of a schema. A schema is used to check any data that callers send, in functions that all callers share.

use annals_domain::Catalog;
use annals_domain::checker::{pattern_bytes, patterns_of, weight_of};
use annals_domain::event::FieldFault;
use annals_domain::weight::shortened;
use annals_http::ApiError;
use serde_json::Value;

/// Maximum number of parts and listed values of a schema. Each may be compared with each value of the data.
const MAX_PARTS: usize = 10_000;
/// Maximum number of branches of all `anyOf`, `oneOf` and `allOf` of a schema. A value that matches none is checked against all of them.
const MAX_BRANCHES: usize = 500;
/// Maximum number of levels of schemas within schemas.
const MAX_LEVELS: usize = 32;
/// Maximum number of characters of a regular expression.
const MAX_PATTERN: usize = 500;
/// Maximum bytes of memory that all regular expressions of a schema take.
const MAX_PATTERNS: usize = 16 << 20;

/// Keywords whose value is a schema.
const ONE: [&str; 12] = [
    "items",
    "additionalProperties",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "additionalItems",
];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords whose value names schemas.
const NAMED: [&str; 5] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "$defs",
    "definitions",
];

/// Maximum of the estimated bytes of memory that all types of a tenant take. A function that checks an event of the tenant keeps all of
/// them in memory.
const MAX_REGISTERED: usize = 16 << 20;

/// Refuses a registration if the tenant's types take too much memory already.
pub(super) fn refuse_full_catalog(catalog: &Catalog) -> Result<(), ApiError> {
    if catalog.own_footprint() > MAX_REGISTERED {
        let detail = format!(
            "the tenant's event types take more than {} MiB; no more can be registered",
            MAX_REGISTERED >> 20
        );
        return Err(ApiError::unprocessable("catalog_full", detail, Vec::new()));
    }
    Ok(())
}

/// The first fault of a schema's size or of its regular expressions.
pub(super) fn check(schema: &Value) -> Option<FieldFault> {
    if weight_of(schema) > MAX_PARTS {
        return Some(too_complex(
            "/schema",
            format!("has more than {MAX_PARTS} subschemas and listed values"),
        ));
    }
    let mut walk = Walk { branches: 0 };
    walk.check(schema, "/schema", 0)
        .err()
        .or_else(|| check_patterns(schema))
}

fn too_complex(at: &str, detail: String) -> FieldFault {
    FieldFault::new(at, "schema_too_complex", detail)
}

struct Walk {
    branches: usize,
}

impl Walk {
    fn check(&mut self, schema: &Value, at: &str, level: usize) -> Result<(), FieldFault> {
        let Value::Object(keywords) = schema else { return Ok(()) };
        if level > MAX_LEVELS {
            return Err(too_complex(
                at,
                format!("has more than {MAX_LEVELS} levels of nested schemas"),
            ));
        }
        for keyword in ONE {
            if let Some(part) = keywords.get(keyword) {
                self.check(part, &format!("{at}/{keyword}"), level + 1)?;
            }
        }
        for keyword in LISTS {
            let parts = keywords.get(keyword).and_then(Value::as_array);
            for (place, part) in parts.into_iter().flatten().enumerate() {
                self.count_branch(at)?;
                self.check(part, &format!("{at}/{keyword}/{place}"), level + 1)?;
            }
        }
        for keyword in NAMED {
            let parts = keywords.get(keyword).and_then(Value::as_object);
            for (name, part) in parts.into_iter().flatten() {
                self.check(part, &format!("{at}/{keyword}/{name}"), level + 1)?;
            }
        }
        Ok(())
    }

    fn count_branch(&mut self, at: &str) -> Result<(), FieldFault> {
        self.branches += 1;
        match self.branches > MAX_BRANCHES {
            true => Err(too_complex(
                at,
                format!("has more than {MAX_BRANCHES} branches; list values in an enum"),
            )),
            false => Ok(()),
        }
    }
}

fn check_patterns(schema: &Value) -> Option<FieldFault> {
    let mut bytes = 0;
    for pattern in patterns_of(schema) {
        let refused = match (pattern.chars().nth(MAX_PATTERN), pattern_bytes(pattern)) {
            (Some(_), _) => format!("a regular expression may have at most {MAX_PATTERN} characters"),
            (None, Some(more)) => {
                bytes += more;
                if bytes <= MAX_PATTERNS {
                    continue;
                }
                "its regular expressions need too much memory: use fewer of them, with fewer repetitions".to_owned()
            }
            (None, None) => {
                "has a regular expression that cannot be matched in linear time: look-around, backreferences and large \
                             repetitions are not allowed"
                    .to_owned()
            }
        };
        return Some(FieldFault::new(
            "/schema",
            "unsupported_pattern",
            format!("{refused}: {}", shortened(pattern, 100)),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(schema: &Value) -> Option<&'static str> {
        check(schema).map(|fault| fault.code)
    }

    #[test]
    fn expressions_that_take_longer_than_their_text_are_refused_wherever_they_are() {
        for pattern in ["(?<=x).*(?=y).*z", r"^(a+)\1$", "(?!x)y", "((a{0,100}){0,100}){0,100}"] {
            assert_eq!(
                code(&json!({"pattern": pattern})),
                Some("unsupported_pattern"),
                "{pattern}"
            );
            let deep = json!({"properties": {"a": {"items": {"anyOf": [{"pattern": pattern}]}}}});
            assert_eq!(code(&deep), Some("unsupported_pattern"), "{pattern}");
            assert_eq!(
                code(&json!({"patternProperties": {pattern: true}})),
                Some("unsupported_pattern")
            );
            assert_eq!(code(&json!({"properties": {"pattern": {"const": pattern}}})), None);
        }
        for pattern in ["^[A-Z]{3}$", r"^\d{4}-\d\d$", r"^\p{L}[\p{L} .'-]*$", "^(a+)+$"] {
            assert_eq!(code(&json!({"pattern": pattern})), None, "{pattern}");
        }
        assert_eq!(code(&json!({"pattern": "x".repeat(501)})), Some("unsupported_pattern"));
    }

    #[test]
    fn branches_parts_and_levels_have_their_limits() {
        let branches = |count: usize| json!({"items": {"anyOf": vec![json!({"const": 1}); count]}});
        assert_eq!(code(&branches(500)), None);
        assert_eq!(code(&branches(501)), Some("schema_too_complex"));
        let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"not": inner}));
        assert_eq!(code(&nested(32)), None);
        assert_eq!(code(&nested(33)), Some("schema_too_complex"));
        assert_eq!(code(&json!({"enum": (0..9_000).collect::<Vec<_>>()})), None);
        assert_eq!(
            code(&json!({"enum": (0..10_001).collect::<Vec<_>>()})),
            Some("schema_too_complex")
        );
    }
}
