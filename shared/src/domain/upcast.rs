//! Upcasters: how data that was stored under an old version of a type's schema becomes data of the current one. Total, and
//! without code: a step that finds nothing to do does nothing, so that no stored event can fail to be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::MAX_DATA_BYTES;
use super::json;
use super::weight::text_bytes;

/// Most bytes of lifted data as JSON text: twice what an event may bring, so that a long way may add as much again.
pub const MAX_LIFTED_BYTES: usize = 2 * MAX_DATA_BYTES;

/// From one version of an event type to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upcaster {
    /// Version that it lifts.
    pub from_version: String,
    /// Version that it leads to.
    pub to_version: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// What an upcaster does. Fields are [`Place`]s. Its JSON is the catalog's: `{"rename": {"size": "width"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Each field's value moves to another, in place of what stands there; one that would nest too deep stays.
    Rename(BTreeMap<Place, Place>),
    /// Each field takes the value where there is none; null is one.
    Default(BTreeMap<Place, Value>),
    /// One field's text is looked up, and what it stands for becomes another field.
    Map(ValueTable),
    /// Each field's text becomes a list: cut at the separator, trimmed, without empty parts. What is no text stays.
    Split(BTreeMap<Place, Separator>),
    /// Each field takes the value.
    Set(BTreeMap<Place, Value>),
    /// The fields go.
    Remove(Vec<Place>),
}

/// A table of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTable {
    /// Field that is looked up.
    pub from: Place,
    /// Field that takes what is found.
    pub to: Place,
    /// What each text stands for.
    pub values: BTreeMap<String, Value>,
    /// What all others stand for; absent: nothing, the field stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub otherwise: Option<Value>,
}

/// A null that is written is a value.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What a text is cut at; not empty.
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

/// Where in data: a field's name, or, if it begins with a slash, a JSON pointer (RFC 6901) whose last part names a member of an
/// object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place(Vec<String>);

/// Most parts of a pointer.
const MAX_PARTS: usize = 16;
/// Most levels of data that steps may make: with what state and answers put around them, serde_json still follows (127).
const MAX_LEVELS: usize = 110;

impl TryFrom<String> for Place {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let parts = match text.strip_prefix('/') {
            None if text.is_empty() => return Err("a field's name is empty"),
            None => vec![text],
            Some(path) => path
                .split('/')
                .map(|part| part.replace("~1", "/").replace("~0", "~"))
                .collect(),
        };
        if parts.len() > MAX_PARTS {
            return Err("a pointer has more than 16 parts");
        }
        // serde_json takes members of these names for marks of its own, and could not read the state again.
        if parts.iter().any(|part| part.starts_with("$serde_json::private::")) {
            return Err("a field's name is reserved");
        }
        Ok(Self(parts))
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        match place.0.as_slice() {
            [name] if !name.starts_with('/') => name.clone(),
            parts => parts
                .iter()
                .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
                .collect(),
        }
    }
}

impl Place {
    /// What stands there.
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

    /// Whether a value can stand there: steps, each of them harmless, could otherwise nest data deeper than any reader follows.
    fn holds(&self, value: &Value) -> bool {
        !json::is_deeper(value, MAX_LEVELS.saturating_sub(self.0.len()))
    }

    /// Makes the objects on the way where there are none; a way through something else, or too deep, leads nowhere.
    fn put(&self, data: &mut Map<String, Value>, value: Value) {
        if !self.holds(&value) {
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
    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// Bytes that its steps say themselves, and so may put into every event that it lifts.
    pub fn text_bytes(&self) -> usize {
        text_bytes(&self.steps)
    }

    /// Lifts data.
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
                    if from.get(data).is_some_and(|value| to.holds(value))
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

    fn lifted(steps: Value, data: Value) -> Value {
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
    fn every_step_does_what_it_says() {
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
            lifted(steps.clone(), data),
            json!({"market_size_estimate": 1, "kind": "nlp", "category": "language", "confidence": 0.5, "kept": null,
                   "domains": ["ai", "ml"], "seen": true})
        );
        assert_eq!(
            lifted(steps, json!({"kind": 5, "domains": ["as", "it", "is"]})),
            json!({"kind": 5, "category": "other", "confidence": 0.5, "kept": 0, "domains": ["as", "it", "is"], "seen": true})
        );
    }

    #[test]
    fn pointers_reach_into_objects_and_nowhere_else() {
        let steps = json!([
            {"rename": {"/changes/a": "/changes/b", "/changes/x/y": "/deep/er"}},
            {"set": {"/text/inside": 1, "/a~1b": 2}},
        ]);
        assert_eq!(
            lifted(steps.clone(), json!({"changes": {"a": {"new": 1}}, "text": "t"})),
            json!({"changes": {"b": {"new": 1}}, "text": "t", "a/b": 2})
        );
        assert_eq!(
            lifted(steps, json!({"changes": {"x": {"y": 1}}})),
            json!({"changes": {"x": {}}, "deep": {"er": 1}, "text": {"inside": 1}, "a/b": 2})
        );
    }

    #[test]
    fn a_table_without_an_entry_leaves_the_field_alone() {
        let steps = json!([{"map": {"from": "a", "to": "a", "values": {"x": 1}}}]);
        assert_eq!(lifted(steps.clone(), json!({"a": "y"})), json!({"a": "y"}));
        assert_eq!(lifted(steps, json!({"a": "x"})), json!({"a": 1}));
    }

    #[test]
    fn steps_read_as_they_are_written() {
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
