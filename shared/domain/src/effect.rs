//! Effects: how the catalog says that an event changes its aggregate's state. They contain no code and apply to any data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::same_or_absent;
use super::json_pointer;
use super::weight::text_bytes;

/// Bytes of JSON text for punctuation: a colon, commas, the brackets of a new collection.
const SEPARATORS: usize = 6;

/// What an event does to the state. Its JSON is the catalog's: `"merge"`, `{"add_child": "gst"}`, `{"set": {"price":
/// "/new_price"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The data become the state.
    Create,
    /// The top-level fields of the data replace those of the state.
    Merge,
    /// `data.changes`: each field gets the value of its `new`. If the change says `removed` and `new` is null or absent, the field is
    /// removed. Any other change without `new` does nothing.
    Changes,
    /// The entity is marked as deleted. Its state stays.
    Delete,
    /// The data are added to the named collection, and replace a child with the same `id`.
    AddChild(String),
    /// The fields of the data replace those of the child with the same `id`. If there is no such child, it is added.
    UpdateChild(String),
    /// The child with the `id` in the data is removed from the collection.
    RemoveChild(String),
    /// Each named field gets its value. A field whose pointer finds nothing stays as it is.
    Set(BTreeMap<String, FieldSource>),
    /// The state does not change.
    None,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldSource {
    /// A JSON pointer into the data.
    Pointer(String),
    /// Always the same value: `{"const": "approved"}`.
    Constant {
        /// The value that the field gets.
        #[serde(rename = "const")]
        value: Value,
    },
}

impl FieldSource {
    /// The value. `None` if the pointer finds nothing.
    pub fn value(&self, data: &Map<String, Value>) -> Option<Value> {
        match self {
            Self::Constant { value } => Some(value.clone()),
            Self::Pointer(pointer) if pointer.is_empty() => Some(Value::Object(data.clone())),
            Self::Pointer(pointer) => point(data, pointer).cloned(),
        }
    }

    /// Bytes of the value's JSON text.
    pub(super) fn text_bytes(&self, data: &Map<String, Value>) -> usize {
        match self {
            Self::Constant { value } => text_bytes(value),
            Self::Pointer(pointer) if pointer.is_empty() => text_bytes(data),
            Self::Pointer(pointer) => point(data, pointer).map_or(0, text_bytes),
        }
    }
}

/// As `Value::pointer`, for an object that is not wrapped in a `Value`. The empty pointer is not supported.
fn point<'a>(data: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = json_pointer::split_first(pointer)?;
    data.get(&first)?.pointer(rest)
}

/// How events of a type are compensated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inverse {
    /// Type of the compensating event.
    pub event_type: String,
    /// Where its data come from in the data of the event. `None`: they are derived from the two types' effects and the state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<BTreeMap<String, FieldSource>>,
}

impl Inverse {
    /// Reads an inverse from the catalog's JSON.
    ///
    /// # Errors
    /// A human-readable text that says what is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let inverse: Self = serde_json::from_str(json).map_err(|e| e.to_string())?;
        check_sources(inverse.data.iter().flatten().map(|(_, source)| source))?;
        Ok(inverse)
    }
}

fn check_sources<'a>(sources: impl Iterator<Item = &'a FieldSource>) -> Result<(), String> {
    for source in sources {
        if let FieldSource::Pointer(pointer) = source
            && !(pointer.is_empty() || pointer.starts_with('/'))
        {
            return Err(format!("{pointer} is not a JSON pointer"));
        }
    }
    Ok(())
}

impl Effect {
    /// Maximum bytes of JSON text that an event with these data adds to a state. For `create`, the size of the new state.
    pub fn growth(&self, data: &Map<String, Value>) -> usize {
        match self {
            Self::Create => text_bytes(data),
            Self::Merge | Self::Changes => text_bytes(data) + 1,
            Self::Delete | Self::None | Self::RemoveChild(_) => SEPARATORS,
            Self::AddChild(collection) | Self::UpdateChild(collection) => {
                text_bytes(data) + text_bytes(collection) + SEPARATORS
            }
            Self::Set(fields) => fields
                .iter()
                .map(|(field, source)| text_bytes(field) + source.text_bytes(data) + SEPARATORS)
                .sum(),
        }
    }

    /// The fields that an event with these data may change in this state, each once. `None`: any field.
    pub(super) fn fields<'a>(
        &'a self,
        state: &Map<String, Value>,
        data: &'a Map<String, Value>,
    ) -> Option<Vec<&'a String>> {
        match self {
            Self::Create => None,
            Self::Merge => {
                let differs = |(field, new): &(&String, &Value)| !same_or_absent(state.get(*field), Some(*new));
                Some(data.iter().filter(differs).map(|(field, _)| field).collect())
            }
            Self::Changes => match data.get("changes") {
                Some(Value::Object(changes)) => Some(changes.keys().collect()),
                _ => Some(Vec::new()),
            },
            Self::Delete | Self::None => Some(Vec::new()),
            Self::AddChild(collection) | Self::UpdateChild(collection) | Self::RemoveChild(collection) => {
                Some(vec![collection])
            }
            Self::Set(fields) => Some(fields.keys().collect()),
        }
    }

    /// Reads an effect from the catalog's JSON.
    ///
    /// # Errors
    /// A human-readable text that says what is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let effect: Self = serde_json::from_str(json).map_err(|e| e.to_string())?;
        if let Self::Set(fields) = &effect {
            check_sources(fields.values())?;
        }
        Ok(effect)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn effects_are_written_as_they_were_read() {
        for json in [
            json!("create"),
            json!("none"),
            json!({"add_child": "gst"}),
            json!({"set": {"base_price": "/new_price", "status": {"const": "approved"}}}),
        ] {
            let effect = Effect::from_json(&json.to_string());
            assert_eq!(effect.map(|e| json!(e)), Ok(json));
        }
        for bad in [
            json!("explode"),
            json!({"set": {"a": "no-pointer"}}),
            json!({"add_child": 1}),
            json!(null),
        ] {
            assert!(Effect::from_json(&bad.to_string()).is_err(), "{bad}");
        }
    }
}
