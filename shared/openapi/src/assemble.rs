//! Puts the files of `document/` together.

use serde_json::{Map, Value};

use crate::problems::{ProblemCode, Problems, add_common_headers, members};

const API: &str = include_str!("../document/api.json");
const PROBLEMS: &str = include_str!("../document/problems.json");
const RESOURCES: [&str; 8] = [
    include_str!("../document/analytics.json"),
    include_str!("../document/audit.json"),
    include_str!("../document/data.json"),
    include_str!("../document/entities.json"),
    include_str!("../document/event-types.json"),
    include_str!("../document/events.json"),
    include_str!("../document/projector.json"),
    include_str!("../document/status.json"),
];

/// The whole document: `api.json`, the paths and components of every resource, and the answers to refused requests.
pub(crate) fn assemble() -> Value {
    let mut document = read(API);
    let problems = Problems::of(&read(PROBLEMS));
    let mut paths = Map::new();
    for resource in RESOURCES.map(read) {
        for (section, entries) in members(&resource["components"]) {
            for (name, entry) in members(entries) {
                document["components"][section][name] = entry.clone();
            }
        }
        for (path, item) in members(&resource["paths"]) {
            paths.insert(path.clone(), described(item, &problems));
        }
    }
    document["paths"] = Value::Object(paths);
    document["components"]["responses"] = problems.shared_responses();
    for (name, schema) in problems.schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// The problem codes by name.
pub(crate) fn problem_codes() -> Vec<ProblemCode> {
    Problems::of(&read(PROBLEMS)).into_codes()
}

/// The path item with every answer of every operation.
fn described(item: &Value, problems: &Problems) -> Value {
    let mut item = item.clone();
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let codes = operation
            .as_object_mut()
            .and_then(|members| members.remove("x-problems"));
        for answer in operation["responses"]
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
        {
            add_common_headers(answer);
        }
        for (status, answer) in problems.responses(&codes.unwrap_or_default()) {
            operation["responses"][status.to_string()] = answer;
        }
    }
    item
}

#[expect(
    clippy::expect_used,
    reason = "the files are part of the program, and a test reads them"
)]
fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a file of the document is not JSON")
}
