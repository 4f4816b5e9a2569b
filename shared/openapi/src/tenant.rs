//! The document for one caller: each event type that the caller may post has a schema of its own.

use annals_domain::weight::text_bytes;
use annals_domain::{EventKind, Role};
use serde_json::{Map, Value, json};

use crate::document;

/// Bytes of the types' schemas and examples that the document has at most. It must fit into an answer of Lambda, 6 MB. The data of types after
/// that are described as any object.
const MAX_TYPES_BYTES: usize = 3 << 20;

/// The document in which `NewEvent` is one of the events that this role may post. `kinds` are the tenant's event types.
pub fn for_caller<'a>(role: Role, kinds: impl Iterator<Item = &'a EventKind>) -> Value {
    let mut document = document().clone();
    let general = document["components"]["schemas"]["NewEvent"].take();
    let (mut names, mut bytes) = (Vec::new(), 0);
    for kind in kinds.filter(|kind| !kind.closed && kind.posters.contains(&role)) {
        let name = format!("NewEvent.{}", kind.event_type);
        let schema = of_kind(&general, kind, MAX_TYPES_BYTES - bytes);
        bytes = (bytes + text_bytes(&schema["properties"]["data"])).min(MAX_TYPES_BYTES);
        document["components"]["schemas"][&name] = schema;
        names.push((kind.event_type.as_str().to_owned(), reference(&name)));
    }
    let refs: Vec<Value> = names.iter().map(|(_, to)| json!({"$ref": to})).collect();
    let mapping: Map<String, Value> = names.into_iter().map(|(name, to)| (name, json!(to))).collect();
    document["components"]["schemas"]["NewEvent"] = match refs.is_empty() {
        true => Value::Bool(false),
        false => json!({
            "description": general["description"],
            "oneOf": refs,
            "discriminator": {"propertyName": "event_type", "mapping": mapping},
        }),
    };
    document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"]
        .as_object_mut()
        .and_then(|media| media.remove("examples"));
    document
}

/// The schema of events of one type. Data of older versions have other schemas, so `version` must be the current one.
fn of_kind(general: &Value, kind: &EventKind, left: usize) -> Value {
    let mut schema = general.clone();
    let (name, version) = (kind.event_type.as_str(), kind.current_version.as_str());
    schema["title"] = json!(name);
    schema["description"] = json!(kind.description);
    let properties = &mut schema["properties"];
    properties["event_type"] = json!({"const": name});
    properties["aggregate_type"] = json!({"const": kind.aggregate_type.as_str()});
    properties["version"] = json!({"enum": [version, null]});
    let mut data = properties["data"].take();
    if let Some(current) = kind.current() {
        let (own, example) = (current.schema(), current.example());
        if text_bytes(&own) + text_bytes(&example) < left {
            data["allOf"] = json!([own]);
            data["examples"] = json!([example]);
        }
    }
    properties["data"] = data;
    schema
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}
