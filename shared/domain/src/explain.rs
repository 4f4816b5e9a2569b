//! Finds the places where data do not match a schema: a bounded number of them, in bounded memory.
//!
//! `jsonschema` collects all errors before it returns the first. An error of `anyOf` includes all errors of all its branches: 300 branches
//! over a list of 60,000 wrong items are 18 million errors, which took 24 GB. This module therefore asks for errors only where there cannot
//! be many. Before that it narrows the place down, from data to members and items, by checking only whether each is valid. That check takes
//! no memory.

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::fault::FieldFault;
use super::json_pointer;
use super::validator::{build, weight_of};
use super::weight::{count_values, shortened};

/// A refusal names at most this many places.
pub const MAX_FAULTS: usize = 50;
/// If the weight of the schema times the number of values is at most this, all errors may be collected: some 20 MB in the worst
/// case.
const MAX_COLLECTED_STEPS: usize = 50_000;
/// A message longer than this many characters is given without the value that it quotes.
const MAX_QUOTED: usize = 200;

/// Keywords that produce one error each, however large the data are.
const SINGLE_ERROR_KEYWORDS: [&str; 17] = [
    "type",
    "required",
    "dependentRequired",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// The places where invalid data do not match the schema: at least one, at most [`MAX_FAULTS`].
pub(super) fn explain(schema: &Value, validator: &Validator, data: &Value) -> Vec<FieldFault> {
    let mut faults = Faults(Vec::new());
    faults.find(schema, validator, data, "");
    faults.0
}

struct Faults(Vec<FieldFault>);

impl Faults {
    fn find(&mut self, schema: &Value, validator: &Validator, data: &Value, at: &str) {
        if weight_of(schema).saturating_mul(count_values(data)) <= MAX_COLLECTED_STEPS {
            return self.collect(validator, data, at);
        }
        let before = self.0.len();
        if let Some(keywords) = schema.as_object() {
            self.find_below(keywords, data, at);
            self.find_here(keywords, data, at);
        }
        if self.0.len() == before {
            self.add(at, "does not match the schema".to_owned());
        }
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    fn add(&mut self, at: &str, message: String) {
        if !self.is_full() {
            self.0.push(FieldFault::new(at, "schema_violation", message));
        }
    }

    fn collect(&mut self, validator: &Validator, data: &Value, at: &str) {
        for error in validator.iter_errors(data).take(MAX_FAULTS - self.0.len()) {
            self.add(&format!("{at}{}", error.instance_path()), message_of(&error));
        }
    }

    /// Searches members and items that do not match their own schemas.
    fn find_below(&mut self, keywords: &Map<String, Value>, data: &Value, at: &str) {
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.descend(part, [(at.to_owned(), data)].into_iter());
        }
        let properties = keywords.get("properties").and_then(Value::as_object);
        if let Value::Object(members) = data {
            for (name, schema) in properties.into_iter().flatten() {
                let member = members.get(name).map(|value| (json_pointer::child(at, name), value));
                self.descend(schema, member.into_iter());
            }
            if let Some(schema @ Value::Object(_)) = keywords.get("additionalProperties")
                && !keywords.contains_key("patternProperties")
            {
                let others = members
                    .iter()
                    .filter(|(name, _)| properties.is_none_or(|known| !known.contains_key(*name)));
                self.descend(
                    schema,
                    others.map(|(name, value)| (json_pointer::child(at, name), value)),
                );
            }
        }
        if let Value::Array(items) = data {
            let first = keywords.get("prefixItems").and_then(Value::as_array);
            for (index, schema) in first.into_iter().flatten().enumerate() {
                let item = items
                    .get(index)
                    .map(|item| (json_pointer::child(at, &index.to_string()), item));
                self.descend(schema, item.into_iter());
            }
            if let Some(schema) = keywords.get("items") {
                let rest = items.iter().enumerate().skip(first.map_or(0, Vec::len));
                self.descend(
                    schema,
                    rest.map(|(index, item)| (json_pointer::child(at, &index.to_string()), item)),
                );
            }
        }
    }

    fn descend<'a>(&mut self, schema: &Value, values: impl Iterator<Item = (String, &'a Value)>) {
        // A part of a usable schema is usable too, unless it refers to something outside of itself.
        let Ok(validator) = build(schema) else { return };
        for (at, value) in values {
            if self.is_full() {
                return;
            }
            if !validator.is_valid(value) {
                self.find(schema, &validator, value, &at);
            }
        }
    }

    /// Checks this value alone: against its schema with the schemas of its members and items left out.
    fn find_here(&mut self, keywords: &Map<String, Value>, data: &Value, at: &str) {
        let (mut plain, mut others) = (Map::new(), allowing_all_below(keywords));
        for keyword in SINGLE_ERROR_KEYWORDS {
            if let Some(value) = others.remove(keyword) {
                plain.insert(keyword.to_owned(), value);
            }
        }
        if let Ok(validator) = build(&Value::Object(plain)) {
            self.collect(&validator, data, at);
        }
        let names: Vec<&str> = others
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "properties")
            .collect();
        let message = format!("does not satisfy {}", names.join(", "));
        if build(&Value::Object(others)).is_ok_and(|validator| !validator.is_valid(data)) {
            self.add(at, message);
        }
    }
}

fn allowing_all_below(keywords: &Map<String, Value>) -> Map<String, Value> {
    let mut here = keywords.clone();
    here.remove("allOf");
    for name in ["title", "description", "$id", "$schema", "$comment"] {
        here.remove(name);
    }
    if let Some(properties) = here.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|schema| *schema = json!(true));
    }
    if let Some(first) = here.get_mut("prefixItems").and_then(Value::as_array_mut) {
        first.iter_mut().for_each(|schema| *schema = json!(true));
    }
    if let Some(items) = here.get_mut("items") {
        *items = json!(true);
    }
    if !keywords.contains_key("patternProperties")
        && let Some(others @ Value::Object(_)) = here.get_mut("additionalProperties")
    {
        *others = json!(true);
    }
    here
}

/// The message of an error. It quotes the value only if the message is short.
fn message_of(error: &jsonschema::ValidationError<'_>) -> String {
    let message = error.to_string();
    match message.chars().nth(MAX_QUOTED) {
        None => message,
        Some(_) => shortened(&error.masked_with("the value").to_string(), MAX_QUOTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(schema: &Value, data: &Value) -> Vec<(String, String)> {
        let validator = build(schema).expect("a schema");
        assert!(!validator.is_valid(data));
        explain(schema, &validator, data)
            .into_iter()
            .map(|fault| (fault.pointer, fault.detail))
            .collect()
    }

    #[test]
    fn a_large_list_of_wrong_items_is_reported_by_its_first_ones() {
        let branches: Vec<Value> = (0..300).map(|n| json!({"const": n.to_string()})).collect();
        let schema = json!({"type": "object", "properties": {"tags": {"type": "array", "items": {"anyOf": branches}}}});
        let found = places(&schema, &json!({"tags": vec!["x"; 6_000]}));
        assert_eq!(found.len(), MAX_FAULTS);
        assert_eq!(found[1].0, "/tags/1");
        assert!(found[1].1.contains("anyOf"), "{}", found[1].1);
    }

    #[test]
    fn one_wrong_place_in_large_data_is_found_wherever_it_is() {
        let item = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}, "additionalProperties": false});
        let list = json!({"type": "array", "items": item, "maxItems": 50_000});
        let schema = json!({"allOf": [{"required": ["list"]}], "properties": {"list": list}, "additionalProperties": {"type": "string"}});
        let good: Vec<Value> = (0..30_000).map(|id| json!({"id": id})).collect();
        let mut data = json!({"list": good, "other": "text"});
        data["list"][20_000] = json!({"id": 1, "more": 2});
        assert_eq!(places(&schema, &data)[0].0, "/list/20000");
        data["list"][20_000] = json!({});
        assert_eq!(
            places(&schema, &data),
            [("/list/20000".to_owned(), "\"id\" is a required property".to_owned())]
        );
        data["list"][20_000] = json!({"id": 1});
        data["other"] = json!(5);
        assert_eq!(places(&schema, &data)[0].0, "/other");
        let all = json!({"list": vec![json!({"id": 1}); 50_001]});
        assert_eq!(places(&schema, &all)[0].0, "/list");
        let unequal = json!({"properties": {"list": {"contains": {"const": 1}}}});
        assert_eq!(
            places(&unequal, &json!({"list": vec![2; 60_000]})),
            [("/list".to_owned(), "does not satisfy contains".to_owned())]
        );
    }

    #[test]
    fn messages_do_not_repeat_what_is_long() {
        let found = places(
            &json!({"properties": {"a": {"type": "integer"}}}),
            &json!({"a": "x".repeat(10_000)}),
        );
        assert_eq!(found[0].1, "the value is not of type \"integer\"");
    }
}
