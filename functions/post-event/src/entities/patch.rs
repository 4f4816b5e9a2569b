//! What a PATCH asks for, and what that changes.
//!
//! `application/json`: each field of the body takes the place of the entity's, null included.
//! `application/merge-patch+json` is RFC 7396: objects are merged member by member, and null takes a member out.

use annals::domain::json;
use annals::http::{ApiError, PatchBody};
use serde_json::{Map, Value, json};

use super::fields_of;

/// A body that was read.
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
    /// 400 for anything but an object: an entity is never anything else.
    pub(super) fn read(body: PatchBody) -> Result<Self, ApiError> {
        match body {
            PatchBody::Fields(body) => fields_of(body).map(Self::Fields),
            PatchBody::Merge(body) => fields_of(body).map(Self::Merge),
        }
    }

    /// The fields that it names.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        match self {
            Self::Fields(fields) | Self::Merge(fields) => fields,
        }
    }

    /// The body, with which of the two kinds it is.
    pub(super) fn body(&self) -> Value {
        match self {
            Self::Fields(fields) => Value::Object(fields.clone()),
            Self::Merge(fields) => json!(["merge", fields]),
        }
    }

    /// The changes that an event tells: old and new of each field that comes to something else. One that a merge patch takes out
    /// says `removed`, because null alone would leave it there as null.
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

/// RFC 7396's MergePatch, for a member: none where it is taken out.
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
