//! The answers to refused requests. An operation lists the codes and groups of codes that it can answer with (`x-problems`); each code knows
//! its status. So one table says what a code means, and each operation says which codes it has at which status.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Statuses whose answers are the same in most operations, and the names that these answers have as components.
const SHARED: [(u16, &str); 6] = [
    (401, "Unauthorized"),
    (408, "RequestTimeout"),
    (414, "UriTooLong"),
    (431, "HeadersTooLarge"),
    (500, "InternalError"),
    (503, "Unavailable"),
];
/// What API Gateway answers by itself, in its own form.
const THROTTLED: (u16, &str) = (429, "TooManyRequests");

/// The table of codes, and the groups.
pub(crate) struct Problems {
    codes: BTreeMap<String, ProblemCode>,
    groups: BTreeMap<String, Vec<String>>,
}

/// What a problem code says.
#[derive(Debug)]
pub struct ProblemCode {
    /// The code itself, as in `version_conflict`.
    pub name: String,
    /// The statuses of answers with this code. Most codes have one.
    pub statuses: Vec<u16>,
    /// What the code means.
    pub meaning: String,
    /// What to do about it.
    pub action: String,
}

impl Problems {
    pub(crate) fn of(table: &Value) -> Self {
        let code = |(name, entry): (&String, &Value)| {
            let text = |member: &str| entry[member].as_str().unwrap_or_default().to_owned();
            let statuses = entry["status"].as_array().into_iter().flatten();
            let code = ProblemCode {
                name: name.clone(),
                statuses: statuses.filter_map(|status| status.as_u64()?.try_into().ok()).collect(),
                meaning: text("meaning"),
                action: text("action"),
            };
            (name.clone(), code)
        };
        Self {
            codes: members(&table["codes"]).map(code).collect(),
            groups: members(&table["groups"])
                .map(|(name, codes)| (name.clone(), names(codes)))
                .collect(),
        }
    }

    /// The codes by name.
    pub(crate) fn into_codes(self) -> Vec<ProblemCode> {
        self.codes.into_values().collect()
    }

    /// The answers with these codes, by status. Every operation also has those of the group `http`.
    pub(crate) fn responses(&self, listed: &Value) -> Vec<(u16, Value)> {
        let (listed, mut found) = (names(listed), BTreeSet::new());
        for name in listed.iter().map(String::as_str).chain(["@http"]) {
            self.expand(name, &mut found);
        }
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in found {
            for status in &self.codes[code].statuses {
                by_status.entry(*status).or_default().push(code);
            }
        }
        let mut responses: Vec<(u16, Value)> = by_status
            .into_iter()
            .map(|(status, codes)| match self.shared(status) {
                Some((name, shared)) if shared == codes => (status, reference(name)),
                _ => (status, self.response(status, &codes)),
            })
            .collect();
        responses.push((THROTTLED.0, reference(THROTTLED.1)));
        responses
    }

    /// The answers that operations refer to by name.
    pub(crate) fn shared_responses(&self) -> Value {
        let shared = SHARED.iter().filter_map(|(status, _)| {
            let (name, codes) = self.shared(*status)?;
            Some((name.to_owned(), self.response(*status, &codes)))
        });
        let mut shared: Map<String, Value> = shared.collect();
        let message = json!({"type": "object", "properties": {"message": {"type": "string"}}});
        shared.insert(
            THROTTLED.1.to_owned(),
            json!({
                "description": "API Gateway answers this by itself when there are too many requests. Send the request again, later each time.",
                "content": {"application/json": {"schema": message}},
            }),
        );
        Value::Object(shared)
    }

    /// The schemas of a problem and of its code.
    pub(crate) fn schemas(&self) -> [(&'static str, Value); 2] {
        let codes: Vec<Value> = self
            .codes
            .iter()
            .map(|(name, code)| {
                let (meaning, action) = (&code.meaning, &code.action);
                json!({"const": name, "description": format!("{meaning} {action}"), "x-status": code.statuses})
            })
            .collect();
        let problem = json!({
            "description": "A refusal (RFC 9457). Programs decide by `code`.",
            "type": "object",
            "required": ["type", "title", "status", "detail", "code", "request_id"],
            "properties": {
                "type": {
                    "description": "A page of this server that explains the code, as a path (RFC 9457 allows relative references).",
                    "type": "string", "format": "uri-reference", "pattern": "^/docs/problems/[a-z_]+$",
                },
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"description": "What is wrong, for people.", "type": "string", "minLength": 1, "maxLength": 1001},
                "code": {"$ref": "#/components/schemas/ProblemCode"},
                "request_id": {"description": "The server's log has more under this id.", "type": "string"},
                "proposal": {"$ref": "#/components/schemas/Inspection"},
                "errors": {
                    "description": "Each field at fault, the first hundred.",
                    "type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": "#/components/schemas/FieldFault"},
                },
            },
            "unevaluatedProperties": false,
        });
        let code = json!({"description": "What a problem is, and what to do.", "type": "string", "oneOf": codes});
        [("Problem", problem), ("ProblemCode", code)]
    }

    fn expand<'a>(&'a self, name: &'a str, found: &mut BTreeSet<&'a str>) {
        if let Some(group) = name.strip_prefix('@') {
            for member in &self.groups[group] {
                self.expand(member, found);
            }
            return;
        }
        if let Some((code, _)) = self.codes.get_key_value(name) {
            found.insert(code);
        }
    }

    /// The name of the shared answer of this status, and its codes: those that `@token` and `@http` have.
    fn shared(&self, status: u16) -> Option<(&'static str, Vec<&str>)> {
        let (_, name) = SHARED.iter().find(|(shared, _)| *shared == status)?;
        let mut codes = BTreeSet::new();
        for group in ["@token", "@http"] {
            self.expand(group, &mut codes);
        }
        let of_status = |code: &&str| self.codes[*code].statuses.contains(&status);
        Some((name, codes.into_iter().filter(of_status).collect()))
    }

    fn response(&self, status: u16, codes: &[&str]) -> Value {
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("- `{code}`: {}", self.codes[*code].meaning))
            .collect();
        let schema = json!({
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
        });
        let mut response = json!({
            "description": lines.join("\n"),
            "content": {"application/problem+json": {"schema": schema}},
        });
        add_common_headers(&mut response);
        let header = match status {
            401 => Some(("WWW-Authenticate", "WwwAuthenticate")),
            405 => Some(("Allow", "Allow")),
            503 => Some(("Retry-After", "RetryAfter")),
            _ => None,
        };
        if let Some((name, component)) = header {
            response["headers"][name] = json!({"$ref": format!("#/components/headers/{component}")});
        }
        response
    }
}

/// Adds the headers that every answer has.
pub(crate) fn add_common_headers(answer: &mut Value) {
    answer["headers"]["x-request-id"] = json!({"$ref": "#/components/headers/RequestId"});
    answer["headers"]["Cache-Control"] = json!({"$ref": "#/components/headers/CacheControl"});
}

pub(crate) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{name}")})
}

fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten();
    names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}
