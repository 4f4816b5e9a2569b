//! Upcasters implemented again from the comment on `annals.upcasters.steps` alone, so that tests do not compare the code with
//! itself.

use annals_domain::json_pointer;
use serde_json::{Map, Value, json};

/// Data of a stored event in the current version. `upcasters` are those of the tenant, one for each old version.
pub fn upcast(mut data: Map<String, Value>, stored: &str, current: &str, upcasters: &Value) -> Map<String, Value> {
    let mut version = stored.to_owned();
    while version != current {
        let all = upcasters.as_array().unwrap();
        let next = all.iter().find(|u| u["from_version"] == version.as_str());
        let next = next.unwrap_or_else(|| panic!("nothing leads from {version} to {current}"));
        for step in next["steps"].as_array().unwrap() {
            let (kind, argument) = step.as_object().unwrap().iter().next().unwrap();
            take(kind, argument, &mut data);
        }
        next["to_version"].as_str().unwrap().clone_into(&mut version);
    }
    data
}

fn take(kind: &str, argument: &Value, data: &mut Map<String, Value>) {
    if kind == "map" {
        return map(argument, data);
    }
    let fields: Vec<(String, Value)> = match argument {
        Value::Array(names) => names
            .iter()
            .map(|n| (n.as_str().unwrap().to_owned(), json!(0)))
            .collect(),
        other => other.as_object().unwrap().clone().into_iter().collect(),
    };
    for (field, value) in fields {
        match kind {
            "rename" => {
                if let Some(moved) = remove(data, &field) {
                    put(data, value.as_str().unwrap(), moved);
                }
            }
            "default" if get(data, &field).is_none() => put(data, &field, value),
            "default" => {}
            "split" => {
                if let Some(Value::String(text)) = get(data, &field) {
                    let parts: Vec<&str> = text.split(value.as_str().unwrap()).collect();
                    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
                    put(data, &field, parts.collect());
                }
            }
            "set" => put(data, &field, value),
            "remove" => drop(remove(data, &field)),
            other => panic!("unknown step {other}"),
        }
    }
}

fn map(table: &Value, data: &mut Map<String, Value>) {
    let Some(found) = get(data, table["from"].as_str().unwrap()) else {
        return;
    };
    let known = found.as_str().and_then(|text| table["values"].get(text)).cloned();
    if let Some(value) = known.or_else(|| table.get("otherwise").cloned()) {
        put(data, table["to"].as_str().unwrap(), value);
    }
}

fn path(field: &str) -> Vec<String> {
    match field.strip_prefix('/') {
        None => vec![field.to_owned()],
        Some(path) => path.split('/').map(json_pointer::unescape).collect(),
    }
}

fn get(data: &Map<String, Value>, field: &str) -> Option<Value> {
    let path = path(field);
    let mut found = data.get(&path[0])?;
    for part in &path[1..] {
        found = found.as_object()?.get(part)?;
    }
    Some(found.clone())
}

fn remove(data: &mut Map<String, Value>, field: &str) -> Option<Value> {
    let path = path(field);
    let mut object = data;
    for part in &path[..path.len() - 1] {
        object = object.get_mut(part)?.as_object_mut()?;
    }
    object.remove(path.last()?)
}

fn put(data: &mut Map<String, Value>, field: &str, value: Value) {
    let path = path(field);
    let mut object = data;
    for part in &path[..path.len() - 1] {
        match object.entry(part).or_insert_with(|| json!({})) {
            Value::Object(next) => object = next,
            _ => return,
        }
    }
    object.insert(path.last().unwrap().clone(), value);
}
