//! Effects: how the catalog says an event changes its aggregate's state. Total, and without code.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::weight::text_bytes;

/// What JSON text needs between things: a colon, commas, the brackets of a new collection.
const SEPARATORS: usize = 6;

/// What an event does to state. Its JSON is the catalog's: `"merge"`, `{"add_child": "gst"}`, `{"set": {"price": "/new_price"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// State becomes data.
    Create,
    /// Data's top-level fields replace state's.
    Merge,
    /// `data.changes`: each field becomes its `new`; one whose `new` is null goes altogether where the change says `removed`.
    Changes,
    /// The entity is marked as deleted; its state stays.
    Delete,
    /// Data joins the named collection, in place of a child with the same `id`.
    AddChild(String),
    /// Data's fields replace those of the child with its `id`; an unknown child is a new one.
    UpdateChild(String),
    /// The child with data's `id` leaves the collection.
    RemoveChild(String),
    /// Each named field takes its value; one whose pointer leads nowhere stays as it is.
    Set(BTreeMap<String, FieldSource>),
    /// Nothing.
    None,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldSource {
    /// A JSON pointer into data.
    Pointer(String),
    /// Always the same value: `{"const": "approved"}`.
    Constant {
        /// The value.
        #[serde(rename = "const")]
        value: Value,
    },
}

impl FieldSource {
    /// The value; none where the pointer leads nowhere.
    pub fn value(&self, data: &Map<String, Value>) -> Option<Value> {
        match self {
            Self::Constant { value } => Some(value.clone()),
            Self::Pointer(pointer) if pointer.is_empty() => Some(Value::Object(data.clone())),
            Self::Pointer(pointer) => point(data, pointer).cloned(),
        }
    }

    /// Bytes of the value's text.
    pub(super) fn text_bytes(&self, data: &Map<String, Value>) -> usize {
        match self {
            Self::Constant { value } => text_bytes(value),
            Self::Pointer(pointer) if pointer.is_empty() => text_bytes(data),
            Self::Pointer(pointer) => point(data, pointer).map_or(0, text_bytes),
        }
    }
}

/// `Value::pointer`, for an object that is not wrapped in a `Value`; not for the object itself.
fn point<'a>(data: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.find('/').map_or((path, ""), |slash| path.split_at(slash));
    data.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// How events of a type are compensated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inverse {
    /// Type of the compensating event.
    pub event_type: String,
    /// Where its data come from in the data of the event; none: they follow from the two types' effects and the state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<BTreeMap<String, FieldSource>>,
}

impl Inverse {
    /// Reads an inverse as the catalog writes it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
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
    /// By how many bytes of JSON text an event with these data lets a state grow at most; for `create`, how large it leaves it.
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

    /// Reads an effect as the catalog writes it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
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
    fn effects_read_as_they_are_written() {
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
