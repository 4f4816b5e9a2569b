//! The body of a PATCH, and what it changes.
//!
//! `application/json`: each field of the body replaces the entity's, null included.
//! `application/merge-patch+json` is RFC 7396: objects are merged member by member, and null removes a member.

use annals_domain::event::FieldFault;
use annals_domain::json;
use annals_http::{ApiError, PatchBody};
use serde_json::{Map, Value, json};

/// The body of a PATCH.
pub(super) enum Patch {
    /// Fields that replace the entity's.
    Fields(Map<String, Value>),
    /// A merge patch.
    Merge(Map<String, Value>),
}

impl Patch {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 unless it is an object, as every entity is.
    pub(super) fn read(body: PatchBody) -> Result<Self, ApiError> {
        match body {
            PatchBody::Fields(body) => fields_of(body).map(Self::Fields),
            PatchBody::Merge(body) => fields_of(body).map(Self::Merge),
        }
    }

    /// The fields that the body names.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        match self {
            Self::Fields(fields) | Self::Merge(fields) => fields,
        }
    }

    /// The body with its kind, for the digest of the request.
    pub(super) fn body(&self) -> Value {
        match self {
            Self::Fields(fields) => Value::Object(fields.clone()),
            Self::Merge(fields) => json!(["merge", fields]),
        }
    }

    /// The changes of an event: the old and the new value of each field that gets another value. A field that a merge patch removes has
    /// `removed`, because a new value of null alone would keep the field with the value null.
    pub(super) fn changes(&self, state: &Map<String, Value>) -> Map<String, Value> {
        let mut changes = Map::new();
        for (field, asked) in self.fields() {
            let old = state.get(field);
            let new = match self {
                Self::Fields(_) => Some(asked.clone()),
                Self::Merge(_) => merged(old, asked),
            };
            if json::same_or_absent(old, new.as_ref()) {
                continue;
            }
            let mut change = json!({"old": old, "new": new});
            if new.is_none() {
                change["removed"] = Value::Bool(true);
            }
            changes.insert(field.clone(), change);
        }
        changes
    }
}

/// The fields that a body gives.
pub(super) fn fields_of(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::malformed(vec![FieldFault::new(
            "",
            "wrong_type",
            "the body must be a JSON object of the entity's fields",
        )])),
    }
}

/// RFC 7396's MergePatch for one member; `None` if the member is removed.
fn merged(target: Option<&Value>, patch: &Value) -> Option<Value> {
    match patch {
        Value::Null => None,
        Value::Object(members) => {
            let mut result = target.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, member) in members {
                match merged(result.get(name), member) {
                    Some(value) => result.insert(name.clone(), value),
                    None => result.remove(name),
                };
            }
            Some(Value::Object(result))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7396, appendix A, where both sides are objects.
    #[test]
    fn members_are_merged_as_the_rfc_has_it() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merged(Some(&target), &patch), Some(result), "{target} {patch}");
        }
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        let object = |value: Value| value.as_object().cloned().expect("an object");
        let state = object(json!({"price": 44.00, "address": {"city": "B", "zip": "1"}, "phone": "1"}));
        let fields = Patch::Fields(object(json!({"price": 44, "phone": null, "fax": null})));
        assert_eq!(
            Value::Object(fields.changes(&state)),
            json!({"phone": {"old": "1", "new": null}})
        );
        let merge = Patch::Merge(object(
            json!({"price": 44, "address": {"zip": null, "city": "C"}, "phone": null, "fax": null}),
        ));
        assert_eq!(
            Value::Object(merge.changes(&state)),
            json!({"address": {"old": {"city": "B", "zip": "1"}, "new": {"city": "C"}},
                   "phone": {"old": "1", "new": null, "removed": true}})
        );
        assert_ne!(Patch::Fields(Map::new()).body(), Patch::Merge(Map::new()).body());
    }
}
