//! Upcasters: how data stored under an old version of a type's schema become data of the current version. Steps are declared and contain no
//! code. A step that finds nothing to do does nothing, so upcasting fails only if the data become larger than [`MAX_UPCAST_BYTES`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json;
use super::json_pointer;
use super::weight::{MAX_DATA_BYTES, text_bytes};

/// Maximum bytes of upcast data as JSON text: twice the limit of an event's `data`, so upcasters can add as much as an event may have.
pub const MAX_UPCAST_BYTES: usize = 2 * MAX_DATA_BYTES;

/// An upcaster: the steps from one version of an event type to a later version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upcaster {
    /// Version that the data have before the steps.
    pub from_version: String,
    /// Version that the data have after the steps. It is later than `from_version`.
    pub to_version: String,
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Step>,
}

/// One step of an upcaster. Fields are [`FieldPointer`]s. Its JSON is the catalog's: `{"rename": {"size": "width"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Moves the value of each field to another field and replaces what that field held. A value that would be nested too deep
    /// there is not moved.
    Rename(BTreeMap<FieldPointer, FieldPointer>),
    /// Gives each absent field the value. A field that is null is not absent.
    Default(BTreeMap<FieldPointer, Value>),
    /// Looks up the text of one field in a table and writes the result to another field.
    Map(ValueTable),
    /// Turns the text of each field into a list: cut at the separator, trimmed, without empty parts. Other values stay.
    Split(BTreeMap<FieldPointer, Separator>),
    /// Sets each field to the value.
    Set(BTreeMap<FieldPointer, Value>),
    /// Removes the fields.
    Remove(Vec<FieldPointer>),
}

/// A table from texts to values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTable {
    /// Field whose text is looked up.
    pub from: FieldPointer,
    /// Field that gets the value found.
    pub to: FieldPointer,
    /// The value for each text.
    pub values: BTreeMap<String, Value>,
    /// The value for any other content of `from`. If this is absent, `to` stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "json::given")]
    pub otherwise: Option<Value>,
}

/// The text at which a field is cut. It is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Separator(String);

impl TryFrom<String> for Separator {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("a separator is empty");
        }
        Ok(Self(text))
    }
}

impl From<Separator> for String {
    fn from(separator: Separator) -> Self {
        separator.0
    }
}

/// Names a field in data: a plain name, or a JSON pointer (RFC 6901) if it begins with a slash. The last step of a pointer names
/// a member of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPointer(Vec<String>);

/// Maximum number of steps of a pointer.
const MAX_PARTS: usize = 16;
/// Maximum number of levels of nesting that steps may create. State and answers wrap data in more levels, and serde_json reads at most 127.
const MAX_LEVELS: usize = 110;

impl TryFrom<String> for FieldPointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let parts = match text.strip_prefix('/') {
            None if text.is_empty() => return Err("a field's name is empty"),
            None => vec![text],
            Some(path) => path.split('/').map(json_pointer::unescape).collect(),
        };
        if parts.len() > MAX_PARTS {
            return Err("a pointer has more than 16 parts");
        }
        // serde_json interprets members with such names as its own markers, and could not read the state again.
        if parts.iter().any(|part| part.starts_with("$serde_json::private::")) {
            return Err("a field's name is reserved");
        }
        Ok(Self(parts))
    }
}

impl From<FieldPointer> for String {
    fn from(field: FieldPointer) -> Self {
        match field.0.as_slice() {
            [name] if !name.starts_with('/') => name.clone(),
            parts => json_pointer::join(&parts.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }
}

impl FieldPointer {
    /// The value there, if there is one.
    fn get<'a>(&self, data: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(data.get(first)?, |value, part| value.get(part))
    }

    fn take(&self, data: &mut Map<String, Value>) -> Option<Value> {
        let (last, path) = self.0.split_last()?;
        let mut object = data;
        for part in path {
            object = object.get_mut(part)?.as_object_mut()?;
        }
        object.remove(last)
    }

    /// Whether the value may be put there. Otherwise several harmless steps together could nest data deeper than readers accept.
    fn fits(&self, value: &Value) -> bool {
        !json::is_deeper(value, MAX_LEVELS.saturating_sub(self.0.len()))
    }

    /// Writes the value and creates missing objects on the path. Does nothing if the path leads through something that is not an
    /// object, or if the value would be nested too deep.
    fn put(&self, data: &mut Map<String, Value>, value: Value) {
        if !self.fits(&value) {
            return;
        }
        let Some((last, path)) = self.0.split_last() else {
            return;
        };
        let mut object = data;
        for part in path {
            let next = object.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
            match next.as_object_mut() {
                Some(found) => object = found,
                None => return,
            }
        }
        object.insert(last.clone(), value);
    }
}

impl Upcaster {
    /// Whether it has no steps and so changes nothing.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes of the steps' JSON text. The values in it may be added to every event that this upcasts.
    pub fn text_bytes(&self) -> usize {
        text_bytes(&self.steps)
    }

    /// Applies the steps to data of `from_version`.
    pub fn apply(&self, data: &mut Map<String, Value>) {
        for step in &self.steps {
            step.apply(data);
        }
    }
}

impl Step {
    fn apply(&self, data: &mut Map<String, Value>) {
        match self {
            Self::Rename(fields) => {
                for (from, to) in fields {
                    if from.get(data).is_some_and(|value| to.fits(value))
                        && let Some(value) = from.take(data)
                    {
                        to.put(data, value);
                    }
                }
            }
            Self::Default(fields) => {
                for (field, value) in fields {
                    if field.get(data).is_none() {
                        field.put(data, value.clone());
                    }
                }
            }
            Self::Map(table) => table.apply(data),
            Self::Split(fields) => {
                for (field, separator) in fields {
                    if let Some(Value::String(text)) = field.get(data) {
                        let parts = split(text, separator);
                        field.put(data, parts);
                    }
                }
            }
            Self::Set(fields) => {
                for (field, value) in fields {
                    field.put(data, value.clone());
                }
            }
            Self::Remove(fields) => {
                for field in fields {
                    field.take(data);
                }
            }
        }
    }
}

impl ValueTable {
    fn apply(&self, data: &mut Map<String, Value>) {
        let Some(found) = self.from.get(data) else { return };
        let known = found.as_str().and_then(|text| self.values.get(text));
        if let Some(value) = known.or(self.otherwise.as_ref()).cloned() {
            self.to.put(data, value);
        }
    }
}

fn split(text: &str, Separator(separator): &Separator) -> Value {
    let parts = text
        .split(separator.as_str())
        .map(str::trim)
        .filter(|part| !part.is_empty());
    Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upcast(steps: Value, data: Value) -> Value {
        let steps: Vec<Step> = serde_json::from_value(steps).expect("steps");
        let upcaster = Upcaster {
            from_version: "1.0".into(),
            to_version: "2.0".into(),
            steps,
        };
        let Value::Object(mut data) = data else {
            panic!("data is an object")
        };
        upcaster.apply(&mut data);
        Value::Object(data)
    }

    #[test]
    fn every_kind_of_step_is_applied() {
        let steps = json!([
            {"rename": {"market_size": "market_size_estimate"}},
            {"map": {"from": "kind", "to": "category", "values": {"nlp": "language"}, "otherwise": "other"}},
            {"default": {"confidence": 0.5, "kept": 0}},
            {"split": {"domains": ","}},
            {"set": {"seen": true}},
            {"remove": ["gone", "never there"]},
        ]);
        let data = json!({"market_size": 1, "kind": "nlp", "kept": null, "domains": "ai, ml,,", "gone": 1});
        assert_eq!(
            upcast(steps.clone(), data),
            json!({"market_size_estimate": 1, "kind": "nlp", "category": "language", "confidence": 0.5, "kept": null,
                   "domains": ["ai", "ml"], "seen": true})
        );
        assert_eq!(
            upcast(steps, json!({"kind": 5, "domains": ["as", "it", "is"]})),
            json!({"kind": 5, "category": "other", "confidence": 0.5, "kept": 0, "domains": ["as", "it", "is"], "seen": true})
        );
    }

    #[test]
    fn pointers_reach_only_into_objects() {
        let steps = json!([
            {"rename": {"/changes/a": "/changes/b", "/changes/x/y": "/deep/er"}},
            {"set": {"/text/inside": 1, "/a~1b": 2}},
        ]);
        assert_eq!(
            upcast(steps.clone(), json!({"changes": {"a": {"new": 1}}, "text": "t"})),
            json!({"changes": {"b": {"new": 1}}, "text": "t", "a/b": 2})
        );
        assert_eq!(
            upcast(steps, json!({"changes": {"x": {"y": 1}}})),
            json!({"changes": {"x": {}}, "deep": {"er": 1}, "text": {"inside": 1}, "a/b": 2})
        );
    }

    #[test]
    fn a_table_without_an_entry_leaves_the_field_alone() {
        let steps = json!([{"map": {"from": "a", "to": "a", "values": {"x": 1}}}]);
        assert_eq!(upcast(steps.clone(), json!({"a": "y"})), json!({"a": "y"}));
        assert_eq!(upcast(steps, json!({"a": "x"})), json!({"a": 1}));
    }

    #[test]
    fn steps_are_written_as_they_were_read() {
        let steps = json!([{"rename": {"a": "/b/c"}}, {"map": {"from": "a", "to": "b", "values": {}, "otherwise": null}}, {"remove": ["/a~1b"]}]);
        let read: Vec<Step> = serde_json::from_value(steps.clone()).expect("steps");
        assert_eq!(
            json!(read),
            json!([{"rename": {"a": "/b/c"}}, {"map": {"from": "a", "to": "b", "values": {}, "otherwise": null}}, {"remove": ["a/b"]}])
        );
        for bad in [
            json!({"explode": {}}),
            json!({"rename": {"": "a"}}),
            json!({"rename": {"a": 1}}),
            json!({"split": {"a": ""}}),
            json!({"remove": ["/a".repeat(17)]}),
            json!({"set": {"/a/$serde_json::private::Number": 1}}),
            json!({"map": {"from": "a"}}),
            json!("rename"),
        ] {
            assert!(serde_json::from_value::<Step>(bad.clone()).is_err(), "{bad}");
        }
    }
}
